"""`tconv explain`: what one transposed convolution does to sizes and positions, in the words of every dialect."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tconv.cli.figures import new_picture
from tconv.dialects import dialect as find_dialect
from tconv.dialects import names
from tconv.errors import ArgumentError, DialectError, ShapeError, TconvError
from tconv.geometry import Geometry

_WIDEST = 50  # places that the text picture may take, two columns each
_USUAL = ("torch", "tensorflow", "keras", "jax", "onnx")  # the dialects shown without --all
_MOST_PHASES = 1 << 16  # the overlap is a number for each
_FLAGS = {
    "--kernel": ("kernel",),
    "--stride": ("input_dilation", "stride", "strides"),
    "--padding": ("padding", "pads", "auto_pad"),
    "--output-padding": ("output_padding", "output_pad"),
    "--dilation": ("dilation", "dilations", "dilation_rate", "rhs_dilation", "kernel_dilation"),
    "--groups": ("groups", "group", "feature_group_count"),
    "--input": ("input", "input_shape"),
    "--output": ("output_shape", "output_size"),
    "--dialect": ("dialect",),
}
"""Each option, and what the library and its dialects call it."""
_WRITTEN = re.compile(r"\b(\w+)=('[^']*'|\"[^\"]*\"|\[[^\[\]]*\]|\([^()]*\)|\w+)")


def whole_numbers(_: Any, tokens: Any) -> list[int]:
    """The values of an option: "3.5" is refused, where a plain int would be rounded to."""
    given = [token.value for token in tokens]
    if not all(text.removeprefix("-").isdecimal() for text in given):
        raise ArgumentError(f"{' '.join(given)} is not a list of whole numbers. Write --kernel 3 3, for example")
    return [int(text) for text in given]


_Sizes = Annotated[list[int] | None, Parameter(consume_multiple=True, converter=whole_numbers, negative="")]
_Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def _ints(text: list[int]) -> int | tuple[int, ...]:
    return text[0] if len(text) == 1 else tuple(text)


def explain(
    *,
    kernel: Annotated[list[int], Parameter(consume_multiple=True, converter=whole_numbers, negative="")],
    stride: _Sizes = None,
    padding: _Words = None,
    output_padding: _Sizes = None,
    dilation: _Sizes = None,
    groups: int = 1,
    input: _Sizes = None,
    output: _Sizes = None,
    dialect: str = "torch",
    option: _Words = None,
    picture: Annotated[Path | None, Parameter(name=["-o", "--picture"])] = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Explain a transposed convolution: sizes, formula, overlap, a picture, the same call in other dialects.

    Parameters
    ----------
    kernel
        Kernel size: one number for all axes, or one per axis.
    stride
        Stride. Default 1.
    padding
        Padding in the dialect's words: numbers, or SAME or VALID.
    output_padding
        Extra size behind, in the dialects that have it.
    dilation
        Dilation. Default 1.
    groups
        Groups.
    input
        Spatial size of the input. Default 4 on each axis.
    output
        Spatial size of the output, in the dialects that are told it.
    dialect
        Whose words these are.
    option
        Further native arguments, NAME=VALUE, the value as JSON or plain text.
    picture
        Also draw the scatter to this file (.svg, .png, .pdf); needs the extra "draw".
    every
        Show the call in all dialects, not only the most used.
    as_json
        Print one JSON object instead of text.
    """
    ndim = max(len(given) for given in (kernel, stride, padding, output_padding, dilation, input, output) if given)
    if len(kernel) == 1 and ndim == 1 and input is None:
        ndim = 2  # one number is a square kernel
    sizes = tuple(kernel) * ndim if len(kernel) == 1 else tuple(kernel)
    n = tuple(input or [4]) * (len(sizes) if input is None or len(input) == 1 else 1)
    if output is not None and len(output) == 1:
        output = output * len(sizes)
    strides = tuple(stride or [1]) * (1 if stride and len(stride) > 1 else len(sizes))
    try:
        speaker = find_dialect(dialect)
        words = _words(speaker, strides, padding, output_padding, dilation, groups, output, option)
        geometry = speaker.geometry(kernel=sizes, input=n, **words)
        if max(geometry.stride) > _MOST_PHASES:
            raise ArgumentError(
                f"stride is {max(geometry.stride)}; taps are counted in each phase here, of which there may be "
                f"{_MOST_PHASES} on an axis. Write stride={_MOST_PHASES}, or less"
            )
        shown = names() if every or as_json else [name for name in names() if name in (*_USUAL, dialect)]
        facts = _facts(geometry, n, dialect, shown)
    except TconvError as error:
        raise type(error)(_in_flags(str(error))) from None
    with new_picture(picture, as_json) as draw:
        if picture is not None:
            _refuse_unreadable(geometry, n)
        print(json.dumps(facts) if as_json else _text(geometry, n, facts))
        draw(lambda: _scatter(geometry, n))


def _words(
    speaker: Any,
    stride: tuple[int, ...],
    padding: list[str] | None,
    output_padding: list[int] | None,
    dilation: list[int] | None,
    groups: int,
    output: list[int] | None,
    option: list[str] | None,
) -> dict[str, Any]:
    """The options under the names that the dialect gives them."""
    known = speaker.argument_names()

    def name(flag: str, *candidates: str) -> str:
        """What this dialect calls an option: the first of these, or of all names of it, that it has."""
        found = _called(speaker, candidates or _FLAGS[flag])
        if found is None:
            others = [name for name in names() if _called(find_dialect(name), candidates or _FLAGS[flag])]
            raise ArgumentError(
                f"{flag} does not go with the {speaker.name} dialect, which has {', '.join(known)}; it goes with "
                f"{', '.join(others)}. Write --dialect {others[0]}, or --option NAME=VALUE in the words it has"
            )
        return found

    words: dict[str, Any] = {}
    if set(stride) != {1} or "strides" in known:  # some dialects have a name for each axis, others need to be told 1
        words[name("--stride")] = stride
    if dilation is not None:
        words[name("--dilation")] = _ints(dilation)
    if output_padding is not None:
        words[name("--output-padding")] = _ints(output_padding)
    if output is not None:
        words[name("--output")] = tuple(output)
    if groups != 1:
        words[name("--groups")] = groups
    if padding is not None:
        numbers = [int(entry) for entry in padding if entry.lstrip("-").isdigit()]
        if len(numbers) == len(padding):
            words[name("--padding", "padding", "pads")] = _ints(numbers)
        elif len(padding) == 1:
            words[name("--padding", "padding", "auto_pad")] = padding[0]
        else:
            raise ArgumentError(
                f"padding is {' '.join(padding)}; numbers or one word are needed. Write --padding 1 or SAME"
            )
    words |= native_options(option)
    speaker.check_names(words)
    return words


def native_options(entries: Sequence[str] | None) -> dict[str, Any]:
    """NAME=VALUE as native arguments, the value as JSON or plain text.

    >>> native_options(["strides=[2, 2]", "padding=SAME"])
    {'strides': [2, 2], 'padding': 'SAME'}
    """
    words: dict[str, Any] = {}
    for entry in entries or ():
        key, _, value = entry.partition("=")
        try:
            words[key] = json.loads(value)
        except ValueError:
            words[key] = value
    return words


def _called(speaker: Any, candidates: Sequence[str]) -> str | None:
    known = speaker.argument_names()
    return next((candidate for candidate in candidates if candidate in known), None)


def _in_flags(message: str) -> str:
    """A message of the library, what it says to write said in options.

    >>> _in_flags("output_shape is missing. Write output_shape=[N, 8, 8, C_out]")
    'output_shape is missing. Write --output 8 8'
    """
    flags = {name: flag for flag, called in _FLAGS.items() for name in called}

    def said(found: re.Match[str]) -> str:
        name, value = found.groups()
        entries = re.findall(r"-?\d+", value) if value[0] in "([" else [value.strip("'\"")]
        return " ".join([flags[name], *entries]) if name in flags and entries else found[0]

    before, write, after = message.partition("Write ")
    return before + write + _WRITTEN.sub(said, after)


def _facts(g: Geometry, n: tuple[int, ...], dialect: str, shown: Sequence[str]) -> dict[str, Any]:
    macs = g.macs(n, g.groups, g.groups)  # one channel a group
    calls = {}
    for name in shown:
        try:
            calls[name] = find_dialect(name).code(g, n)
        except TconvError as error:
            calls[name] = f"# {error}"
    return {
        "dialect": dialect,
        "geometry": asdict(g),
        "input": n,
        "full": g.full_shape(n),
        "output": g.output_shape(n),
        "overlap": g.overlap,
        "receptive_field": g.receptive_field,
        "macs_exact": macs.exact,
        "macs_border_free": macs.border_free,
        "calls": calls,
    }


def _text(g: Geometry, n: tuple[int, ...], facts: dict[str, Any]) -> str:
    axes = f"; one spatial axis, write --input {n[0]} {n[0]} for two" if len(n) == 1 else ""
    lines = [
        f"{_by(n)} -> {_by(facts['output'])}   (full result {_by(facts['full'])}{axes})",
        "",
        "size per axis: stride*(input - 1) + dilation*(kernel - 1) + 1 - crop in front - crop behind",
    ]
    for axis, (size, k, s, d, (lo, hi), L) in enumerate(
        zip(n, g.kernel, g.stride, g.dilation, g.crop, facts["output"], strict=True)
    ):
        behind = f"- {hi}" if hi >= 0 else f"+ {-hi}"
        front = f"- {lo}" if lo >= 0 else f"+ {-lo}"
        lines.append(f"  axis {axis}: {s}*({size} - 1) + {d}*({k} - 1) + 1 {front} {behind} = {L}")
    lines += ["", "overlap: how many taps meet in each output, by its phase (place in the full result mod stride)"]
    for axis, counts in enumerate(g.overlap):
        even = _evenness(counts, g.dilation[axis])
        lines.append(f"  axis {axis}: {' '.join(map(str, counts[:16]))}{' ...' * (len(counts) > 16)}   ({even})")
    lines += ["", *_picture(g, n), ""]
    lines.append(
        f"receptive field {_by(g.receptive_field)}; {facts['macs_exact']} multiply-adds per channel pair "
        f"({facts['macs_border_free']} without a border)"
    )
    lines += ["", "the same call, x and weight in the layouts of each:"]
    width = max(map(len, facts["calls"]))
    for name, code in facts["calls"].items():
        lines.append(f"  {name:<{width}}  " + code.replace("\n", f"\n  {'':<{width}}  "))
    return "\n".join(lines)


def _evenness(counts: tuple[int, ...], dilation: int) -> str:
    """What the counts of one axis mean."""
    if len(set(counts)) == 1:
        return "even"
    if 0 in counts:
        cause = (
            "the dilation shares a factor with the stride" if dilation > 1 else "the kernel is smaller than the stride"
        )
        return f"outputs without any tap hold bias alone: {cause}"
    return "uneven: a checkerboard is likely" + ("" if dilation > 1 else ", make the kernel a multiple of the stride")


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _picture(g: Geometry, n: tuple[int, ...]) -> list[str]:
    """The scatter along the last axis: a line per input element, its taps where they land, the crop as x."""
    s, d, k, (lo, hi) = g.stride[-1], g.dilation[-1], g.kernel[-1], g.crop[-1]
    full = g.full_shape(n)[-1]
    front, behind = max(0, -lo), max(0, -hi)
    width = full + front + behind
    if width > _WIDEST or n[-1] > 12 or k > 36:
        return [f"scatter along the last axis: {full} places, more than fit on a line here"]
    taps = "0123456789abcdefghijklmnopqrstuvwxyz"
    rows = ["scatter along the last axis: a row per input element, a letter per tap; rows are summed downwards"]
    for i in range(n[-1]):
        row = ["."] * width
        for t in range(k):
            row[front + s * i + d * t] = taps[t]
        rows.append(f"  x[{i}]".ljust(9) + " ".join(row))
    kept = ["y"] * width
    kept[: max(0, lo)] = ["x"] * max(0, lo)
    if hi > 0:
        kept[-hi:] = ["x"] * hi
    rows.append("  keep".ljust(9) + " ".join(kept) + "   (y stays, x is cropped)")
    return rows


def _refuse_unreadable(g: Geometry, n: tuple[int, ...]) -> None:
    """DialectError or ShapeError where the picture could not be read."""
    from tconv.draw.scatter_layout import LARGEST

    if g.ndim > 2:
        raise DialectError(f"the picture shows 1 or 2 axes; there are {g.ndim}. Write fewer axes, or leave -o out")
    if max(full := g.full_shape(n)) > LARGEST:
        raise ShapeError(
            f"the full result has {_by(full)} cells; up to {LARGEST} on an axis can be drawn. Write a smaller "
            "--kernel, --stride or --input, or leave -o out"
        )


def _scatter(g: Geometry, n: tuple[int, ...]) -> Any:
    """The scatter of numbers 0, 1, 2, ... with a kernel of the same; 1-D and 2-D."""
    import numpy as np

    from tconv import draw

    x, w = np.arange(np.prod(n)).reshape(n), np.arange(1, np.prod(g.kernel) + 1).reshape(g.kernel)
    return draw.scatter(x, w, geometry=Geometry(g.kernel, g.stride, g.crop, g.dilation))
