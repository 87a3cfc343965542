"""Options of `tconv explain` as native arguments of a dialect, and the library's advice as options.

The command reads its options here, so that a message proposes what can be written on the command line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tconv.dialects import Dialect, names
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError

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
    "--channels": ("channels",),
    "--theme": ("theme",),
    "--seconds": ("seconds",),
    "--width": ("width",),
}
"""Each option, and its names in the library and its dialects."""
_PICTURES = (".svg", ".png", ".pdf")
_CROP = re.compile(
    r"crop=\(\(lo, hi\), \.\.\.\)"
    r"( alone, where lo = padding and hi = padding - output_padding| with hi = padding - output_padding)?"
)
"""Advice of the library to write the crop itself."""
_OTHER_RULE = re.compile(r"crop=tconv\.dialect\('(\w+)'\)\.geometry\(.*\)\.crop")
"""Advice of the library to compute the crop by the rule of another dialect."""
_JOINED = re.compile(r"[\[(]?\d+([x*,;]+\d+)*[x*,;]?[\])]?", re.IGNORECASE)
"""Whole numbers in one text: 3x3, 3,3 or [3,3]."""
_PAIRS = r"\((?:\([-\d, ]*\)(?:, ?)?)+\)"
"""A (lo, hi) pair for each axis: ((1, 1), (0, 1))."""
_KEYWORD = re.compile(rf"\b(\w+)=({_PAIRS}|'[^']*'|\"[^\"]*\"|\[[^\[\]]*\]|\([^()]*\)|\w+)")


def whole_numbers(_: Any, tokens: Any) -> list[int]:
    """Return the values of an option. Raises ArgumentError for "3.5", which the parser would round."""
    given = [token.value for token in tokens]
    if all(text.removeprefix("-").isdecimal() for text in given):
        return [int(text) for text in given]
    flag = next((token.keyword for token in tokens if token.keyword), "--kernel")
    if flag == "--output" and given[0].endswith(_PICTURES):
        raise ArgumentError(
            f"--output is {' '.join(given)}, and --output is the size of the output. Write -o {given[0]} to draw a "
            "picture"
        )
    raise ArgumentError(
        f"{flag} is {' '.join(given)}; whole numbers are needed. Write {flag} {' '.join(map(_whole, given))}, for "
        "example"
    )


def _whole(text: str) -> str:
    """Return the whole numbers that a message proposes instead of a text: "2" for "2.5", "3 3" for "3x3"."""
    if _JOINED.fullmatch(text):
        return " ".join(re.findall("[0-9]+", text))
    try:
        return str(max(1, int(float(text))))
    except (ValueError, OverflowError):
        return "2"


def _ints(text: list[int]) -> int | tuple[int, ...]:
    return text[0] if len(text) == 1 else tuple(text)


def native_arguments(
    rules: Dialect,
    stride: tuple[int, ...],
    padding: list[str] | None,
    output_padding: list[int] | None,
    dilation: list[int] | None,
    groups: int,
    output: list[int] | None,
    option: list[str] | None,
) -> dict[str, Any]:
    """Return the options under their names in the dialect."""
    known = rules.argument_names()

    def name(flag: str, *candidates: str) -> str:
        """Return the name of an option in this dialect: the first of these, or of all its names, that it has."""
        match = _name_of_option(rules, candidates or _FLAGS[flag])
        if match is None:
            others = [name for name in names() if _name_of_option(find_dialect(name), candidates or _FLAGS[flag])]
            raise ArgumentError(
                f"{flag} is not an option of the {rules.name} dialect, which has {', '.join(known)}; the dialects "
                f"{', '.join(others)} have it. Write --dialect {others[0]}, or --option NAME=VALUE with one of its "
                "names"
            )
        return match

    native: dict[str, Any] = {}
    if set(stride) != {1} or "strides" in known:  # some need a stride of 1, too, others have a name per axis
        native[name("--stride")] = stride
    if dilation is not None:
        native[name("--dilation")] = _ints(dilation)
    if output_padding is not None:
        native[name("--output-padding")] = _ints(output_padding)
    if output is not None:
        native[name("--output")] = tuple(output)
    if groups != 1:
        native[name("--groups")] = groups
    if padding is not None:
        numbers = [int(entry) for entry in padding if entry.lstrip("-").isdigit()]
        if len(numbers) == len(padding):
            native[name("--padding", "padding", "pads")] = _ints(numbers)
        elif all(map(_JOINED.fullmatch, padding)):
            raise ArgumentError(
                f"--padding is {' '.join(padding)}; whole numbers are needed. Write --padding "
                f"{' '.join(map(_whole, padding))}, for example"
            )
        elif len(padding) == 1:
            native[name("--padding", "padding", "auto_pad")] = padding[0]
        else:
            raise ArgumentError(
                f"padding is {' '.join(padding)}; numbers or one name are needed. Write --padding 1, or --padding SAME"
            )
    native |= (further := native_options(option))
    if sizes := [name for name in ("kernel", "input") if name in further]:
        value = " ".join(re.findall("[0-9]+", str(further[sizes[0]])) or ["3"])
        raise ArgumentError(
            f"--option {sizes[0]}={further[sizes[0]]} was given; this size is an option of its own. Write "
            f"--{sizes[0]} {value}"
        )
    rules.check_names(native)
    return native


def native_options(entries: Sequence[str] | None) -> dict[str, Any]:
    """Return NAME=VALUE entries as native arguments, with the values read as JSON or plain text.

    >>> native_options(["strides=[2, 2]", "padding=SAME"])
    {'strides': [2, 2], 'padding': 'SAME'}
    """
    native: dict[str, Any] = {}
    for entry in entries or ():
        key, _, value = entry.partition("=")
        try:
            native[key] = json.loads(value)
        except ValueError:
            native[key] = value
    return native


def _name_of_option(rules: Dialect, candidates: Sequence[str]) -> str | None:
    """Return the first of these names that is an argument of the dialect."""
    known = rules.argument_names()
    return next((candidate for candidate in candidates if candidate in known), None)


def _crop_option(ndim: int, padding: list[str] | None, output_padding: list[int] | None) -> str:
    """Return the crop of these paddings as an option.

    >>> _crop_option(2, ["1"], [2])
    '--option "crop=[[1, -1], [1, -1]]" instead of --padding and --output-padding'
    """
    numbers = [int(entry) for entry in padding or ["0"] if entry.lstrip("-").isdigit()]
    extra = output_padding or [0]
    if {len(numbers), len(extra)} <= {1, ndim}:
        sides = zip(numbers * (ndim // len(numbers)), extra * (ndim // len(extra)), strict=True)
        pairs = json.dumps([[pad, pad - more] for pad, more in sides])
    else:
        pairs = json.dumps([[0, 0]] * ndim)
    return f'--option "crop={pairs}" instead of --padding and --output-padding'


def as_options(message: str, ndim: int, padding: list[str] | None, output_padding: list[int] | None) -> str:
    """Return a message of the library with the crop and the arguments that it proposes converted to options."""
    crop = _crop_option(ndim, padding, output_padding)
    return _with_flags(_OTHER_RULE.sub(r"--dialect \1", _CROP.sub(lambda _: crop, message)))


def _with_flags(message: str) -> str:
    """Return a message of the library with the code that it proposes converted to options.

    >>> _with_flags("output_shape is missing. Write output_shape=[N, 8, 8, C_out]")
    'output_shape is missing. Write --output 8 8'
    >>> _with_flags("padding is None. Write padding=((1, 1), (1, 1))")
    'padding is None. Write --option "padding=[[1, 1], [1, 1]]"'
    """
    flags = {name: flag for flag, known in _FLAGS.items() for name in known}

    def as_option(keyword: re.Match[str]) -> str:
        name, value = keyword.groups()
        if value.startswith("(("):
            pairs = value.replace(",)", ")").replace("(", "[").replace(")", "]")
            return f'--option "{name}={pairs}"'
        entries = re.findall(r"-?\d+", value) if value[0] in "([" else [value.strip("'\"")]
        return " ".join([flags[name], *entries]) if name in flags and entries else keyword[0]

    before, write, after = message.partition("Write ")
    return before + write + _KEYWORD.sub(as_option, after)
