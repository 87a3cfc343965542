"""The explorer with your settings: a page that needs no network, for a browser, a file or a notebook.

The page is built from explorer/; its address contains the settings, as in `#dialect=keras&kernel=3&strides=2`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tconv._arguments import Ints, entries_of, ints_of
from tconv._arrays import Array
from tconv.dialects import dialect as find_dialect
from tconv.dialects.base import Dialect
from tconv.draw.explorer_limits import MOST_NUMBERS, refuse_beyond_page
from tconv.draw.operands import Operands, read_operands
from tconv.draw.whole_weight import read_whole_weight
from tconv.errors import ArgumentError, FileError, GeometryError, ShapeError, TconvError
from tconv.io.output_files import NewFile

_MOST_AXES = 2
_ONE_IS_NONE = ("dilation", "dilations", "dilation_rate", "rhs_dilation", "kernel_dilation", "group", "groups")
"""Arguments that a person leaves out where they are 1. ncnn's dilation_h is none: left out, it is dilation_w."""

_PER_AXIS = ("stride", "dilation", "padding", "output_padding", "rhs_dilation", "input_dilation", "kernel_dilation")


class Explorer:
    """The explorer's page at one setting. A notebook shows it; `save` writes it, `open` opens it in a browser.

    >>> explorer = explore(kernel=3, stride=2)
    >>> explorer.address
    '#dialect=torch&kernel=3&stride=2&input=3'
    >>> explorer.link.endswith("explorer.html" + explorer.address)
    True
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def page(self) -> str:
        """The page with the settings inside of it, as HTML: it begins there without an address."""
        head, found, rest = _page().partition("</head>")
        assert found, "the built page has a head"
        start = self.address.replace("<", "%3C")
        return f'{head}<script>location.hash || (location.hash = "{start}")</script>\n{found}{rest}'

    @property
    def link(self) -> str:
        """Address of the installed page with these settings, file:///.../explorer.html#..."""
        return f"{page_path().as_uri()}{self.address}"

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the page with its settings to a file, and return its path.

        Raises FileError for a path that does not end in .html, exists (unless `overwrite`) or cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise FileError(
                f"{path} is no name of a page. Write {path.with_suffix('.html') if path.name else 'page.html'}"
            )
        with NewFile([path], overwrite, ", or overwrite=True") as new:
            new.file.write(self.page.encode())
        return new.path

    def open(self) -> bool:
        """Open the page in the browser; return False where there is none."""
        if not has_browser():
            return False
        try:
            return webbrowser.open(self.link if sys.platform.startswith("linux") else self._copy().as_uri())
        except webbrowser.Error:
            return False

    def _copy(self) -> Path:
        """Write the page with its settings to a temporary file: macOS and Windows drop the address behind a file's."""
        handle, name = tempfile.mkstemp(".html", "tconv-explorer-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.page)
        return Path(name)

    def _repr_html_(self) -> str:
        """Return the page as a frame of its own."""
        return (
            f'<iframe title="Transposed convolution: the explorer" srcdoc="{escape(self.page)}" '
            'style="width:100%;height:900px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<Explorer: {self.address}>"


def explore(
    x: Any = None,
    w: Any = None,
    *,
    input: Ints | None = None,
    kernel: Ints | None = None,
    dialect: str = "torch",
    channels: tuple[int, int] | None = None,
    **spec: Any,
) -> Explorer:
    """Return the explorer at these settings: move them, point at a cell, play the scatter, see the matrix.

    >>> import tconv
    >>> tconv.draw.explore(kernel=(3, 3), dialect="keras", strides=2, padding="same")
    <Explorer: #dialect=keras&kernel=3&strides=2&padding=same&input=3>
    >>> tconv.draw.explore(w=[[1, 2], [3, 4]], input=(2, 3), stride=2)
    <Explorer: #dialect=torch&kernel=2&stride=2&input=2x3&weight=2x2:1,2,3,4>

    A notebook shows it, `.save("page.html")` writes it, `.open()` opens it in a browser. `spec` are the arguments of
    the `dialect` under its own names; x and w are bare 1-D or 2-D arrays whose numbers the page shows, `input` and
    `kernel` sizes alone: an int for both is one axis, one alone as many as the other array has, and an int for the
    kernel alone a square. w has its taps in the order in which the dialect stores them; with more axes it is the weight
    of a whole layer in the dialect's layout, with its channels.
    `channels` are those of input and output, by default one in each group.

    Raises what `animate` raises for settings that describe no operator; ShapeError for other axes, or fewer than the
    dialect has, for a bare array where there are several channels, and for more than the page draws: 64 inputs and 16
    taps on an axis in 2-D, 16 channels, 4096 numbers in an array, for example.
    """
    rules = find_dialect(dialect)
    whole = read_whole_weight(w, rules, spec)
    if whole is not None and kernel is None:
        given = read_operands(x, input=input, kernel=whole.kernel, dialect=dialect, grouped=True, **spec)
    else:
        given = read_operands(x, w, input=input, kernel=kernel, dialect=dialect, grouped=True, **spec)
    if given.x.ndim > _MOST_AXES:
        raise ShapeError(
            f"the kernel has {given.x.ndim} axes; the explorer has 1 or 2. Write kernel=(3, 3), or draw the volume: "
            "tconv.draw.scatter(x, w, ...)"
        )
    if given.x.ndim < rules.ranks[0]:
        raise ShapeError(f"the kernel has 1 axis; {rules.framework} needs {rules.ranks[0]}. Write kernel=(1, 3)")
    pairs = [("dialect", rules.name)]
    if given.x.ndim == 1:
        pairs.append(("rank", "1"))
    pairs.append(("kernel", _sizes_text(given.w.shape)))
    words = [
        (name, _word_text(_compact(name, value, given.x.ndim)))
        for name, value in _without_layout(rules, spec, given).items()
    ]
    pairs += [(name, text) for name, text in words if not (text == "1" and name in _ONE_IS_NONE)]
    pairs.append(("input", _sizes_text(given.x.shape)))
    groups = given.geometry.groups
    weight = given.w
    if whole is not None:
        weight = whole.canonical(groups)
        if channels is not None:
            raise ArgumentError("channels= was given; w has its own. Write the call without channels=")
        channels = weight.shape[0], weight.shape[1] * groups
    small, large = (groups, groups) if channels is None else ints_of(channels, "channels", 2, least=1)
    if small % groups or large % groups:
        raise GeometryError(
            f"channels is {(small, large)}, which {groups} groups do not divide. Write channels={(groups, groups)}"
        )
    if (small, large) != (1, 1):
        pairs.append(("channels", f"{small}:{large}"))
    bare = [name for name, array in (("x", x), ("w", None if whole is not None else w)) if array is not None]
    refuse_beyond_page(given.geometry, given.x.shape, (small, large), tuple(bare))
    if whole is not None and x is not None and small > 1:
        raise ShapeError(
            f"x is a bare array of one channel; w has {small} input channels. Write the size of x alone, "
            f"input={given.x.shape}"
        )
    if (x is not None and small > 1) or (w is not None and whole is None and (small, large) != (1, 1)):
        raise ShapeError(
            f"x and w are bare arrays of one channel; the call has {small} input and {large} output channels. Write "
            "their sizes alone, input= and kernel=, or the call without groups and channels"
        )
    if weight.shape[:2] == (1, 1) and whole is not None:
        weight = weight[0, 0]
    own = {"x": (x, given.x), "weight": (w, weight)}  # the page has the weight in the order of the scatter, too
    pairs += [(name, _numbers_text(name, read)) for name, (array, read) in own.items() if array is not None]
    return Explorer("#" + "&".join(f"{name}={quote(value, safe=':,()[]')}" for name, value in pairs))


def page_path() -> Path:
    """Return the path of the built page. Raises FileError where the installation has none."""
    path = Path(str(files("tconv").joinpath("data/explorer.html")))
    if not path.is_file():
        raise FileError(
            f"{path} does not exist, the built page of the explorer. Write: cd explorer && npm ci && npm run build"
        )
    return path


def has_browser() -> bool:
    """Return True where a browser with windows can be opened; those of a terminal cannot run the page."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _sizes_text(shape: tuple[int, ...]) -> str:
    """Return sizes as the page writes them: one number where all axes agree."""
    return str(shape[0]) if len(set(shape)) == 1 else "x".join(map(str, shape))


def _without_layout(rules: Dialect, spec: dict[str, Any], given: Operands) -> dict[str, Any]:
    """Return the arguments that say where the outputs lie; the order of axes stays where they are read in it."""
    bare = {name: value for name, value in spec.items() if name not in rules.layout_arguments}
    try:
        geometry = rules.geometry(kernel=given.w.shape, input=given.x.shape, **bare)
    except TconvError:
        return spec
    return bare if geometry == given.geometry else spec


def _compact(name: str, value: Any, ndim: int) -> Any:
    """Return one number for a value that is the same on every axis, as a person would write it."""
    entries = entries_of(value)
    if entries is None or len(entries) != ndim or not name.startswith(_PER_AXIS):
        return value
    texts = set(map(str, entries))
    return entries[0] if len(texts) == 1 and texts.pop().lstrip("-").isdecimal() else value


def _word_text(value: Any) -> str:
    """Return an argument as the text of a field: "2", "2x3", "((0,1),(1,0))", "same".

    >>> _word_text((2, 3)), _word_text([[0, 1], (1, -1)]), _word_text("SAME"), _word_text(None)
    ('2x3', '((0,1),(1,-1))', 'SAME', 'None')
    """
    if isinstance(value, str):
        return value
    entries = entries_of(value)
    if entries is None:
        return str(value)
    texts = [_word_text(entry) for entry in entries]
    if len(texts) > 1 and all(text.isdecimal() for text in texts):
        return "x".join(texts)
    inner = [
        f"({text.replace('x', ',')})" if "x" in text and not isinstance(entry, str) else text
        for text, entry in zip(texts, entries, strict=True)
    ]
    return f"({','.join(inner)}{',' if len(inner) == 1 else ''})"


def _numbers_text(name: str, array: Array) -> str:
    """Return an array as the page reads it: 2x2:0,1,2,3. Raises ShapeError and ArgumentError for one that it cannot."""
    if array.size > MOST_NUMBERS:
        raise ShapeError(
            f"{name} has shape {array.shape}, {array.size} numbers; an address has at most {MOST_NUMBERS}. "
            "Write a part of it, or its size alone"
        )
    if array.dtype.kind == "c":
        raise ArgumentError(
            f"{name} has complex numbers; the page shows real ones. Write its real part, or its size alone"
        )
    if not np.isfinite(array).all():
        raise ArgumentError(
            f"{name} has numbers that are not finite; the page compares sums, and NaN equals nothing. Write finite "
            "ones, or its size alone; tconv.draw.scatter draws the others"
        )
    return f"{'x'.join(map(str, array.shape))}:{','.join(map(str, array.ravel()))}"


@cache
def _page() -> str:
    return page_path().read_text("utf-8")
