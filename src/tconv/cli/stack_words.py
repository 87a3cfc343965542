"""Layers of a stack in the words of the command line: "conv 7 padding 3, transposed 16 stride 8 padding 4"."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from tconv._arguments import shown
from tconv.cli.explain_options import native_arguments
from tconv.dialects import Dialect
from tconv.errors import ArgumentError, TconvError
from tconv.streaming.chain_layers import ChainLayer, ordinary_convolution

EXAMPLE = "tconv explain conv 7 padding 3, transposed 16 stride 8 padding 4"

_HEADS = {"conv": False, "convolution": False, "transposed": True, "conv_transpose": True, "convtranspose": True}
"""Words with which a layer begins; True for transposed convolutions."""
_NAMES = {
    "kernel": "kernel", "kernel_size": "kernel",
    "stride": "stride", "strides": "stride",
    "padding": "padding", "pad": "padding", "pads": "padding",
    "output_padding": "output_padding",
    "dilation": "dilation", "dilations": "dilation", "dilation_rate": "dilation", "rhs_dilation": "dilation",
    "groups": "groups", "group": "groups",
    "output": "output", "output_shape": "output",
}  # fmt: skip
"""Names of arguments that options have, too; a dialect's others are taken as they are."""
_NUMBER = re.compile(r"-?\d+(:-?\d+)?(x-?\d+(:-?\d+)?)*")
"""Number, (lo:hi) pair, or one for each axis: 3, 6:0, 3x3."""


def stack_layers(words: Sequence[str], rules: Dialect, input_shape: Sequence[int] | None) -> list[ChainLayer]:
    """Return the layers that words describe; numbers of the first size of each are in `input_shape`, if it is known."""
    layers: list[ChainLayer] = []
    sizes = None if input_shape is None else tuple(input_shape)
    for number, text in enumerate(_texts(words), 1):
        try:
            layers.append(_layer(text.split(), rules, sizes))
            if sizes is not None:
                sizes = layers[-1].output_shape(sizes if len(sizes) > 1 else sizes * layers[-1].geometry.ndim)
        except TconvError as error:
            raise type(error)(f"layer {number}, {text!r}: {_in_words(str(error))}") from None
    return layers


def _texts(words: Sequence[str]) -> list[str]:
    """Return the text of each layer: commas, quotes around a layer, or the next layer's first word end one."""
    text = re.sub(r"[,;]\s*(?=[a-zA-Z]|$)", " ; ", " ".join(words))
    heads = "|".join(_HEADS)
    text = re.sub(rf"(?<=\S)\s+(?=(?:{heads})(?:\dd)?(?:\s|=|$))", " ; ", text, flags=re.IGNORECASE)
    texts = [" ".join(part.split()) for part in text.split(";")]
    return [part for part in texts if part]


def _layer(words: list[str], rules: Dialect, sizes: tuple[int, ...] | None) -> ChainLayer:
    head, *rest = words
    transposed = _HEADS.get(re.sub(r"\dd$", "", head.lower()))
    if transposed is None:
        raise ArgumentError(f"it begins with {head!r}; a layer begins with conv or transposed. Write {EXAMPLE}")
    given = _values(rest, head)
    known: dict[str, Any] = {name: given.pop(name) for name in list(given) if name in set(_NAMES.values())}
    if "kernel" not in known:
        raise ArgumentError(f"it has no kernel. Write {head} 7, for example")
    kernel = _numbers(known.pop("kernel"), "kernel")
    sides = [value for name in ("stride", "dilation") for value in known.get(name, [])]
    sides += [value for value in known.get("padding", []) if "x" in value]
    ndim = max(len(kernel), len(sizes or ()), *(len(_axes([value])) for value in sides), 1)
    kernel = kernel * (ndim if len(kernel) == 1 else 1)
    if transposed:
        return ChainLayer(
            "transposed", rules.geometry(kernel=tuple(kernel), **_native(known, given, rules, ndim, sizes)), True
        )
    if given or "output" in known or "output_padding" in known:
        name = next(iter(given), "output_padding" if "output_padding" in known else "output")
        raise ArgumentError(
            f"{name} is none of an ordinary convolution, which has kernel, stride, padding, dilation and groups. Write "
            f"{head} {'x'.join(map(str, kernel))} padding 3, for example"
        )
    stride, dilation = (_numbers(known.get(name, ["1"]), name) for name in ("stride", "dilation"))
    padding = known.get("padding", ["0"])
    shape = None if sizes is None else sizes * (ndim if len(sizes) == 1 else 1)
    strides, dilations = (each[0] if len(each) == 1 else each for each in (stride, dilation))
    made = ordinary_convolution(tuple(kernel), strides, _padding(padding, ndim), dilations, shape)
    return ChainLayer("convolution", made.geometry, False)


def _values(words: list[str], head: str) -> dict[str, list[str]]:
    """Return the values of every argument by its name; numbers before the first name are the kernel."""
    given: dict[str, list[str]] = {}
    name = "kernel"
    for word in chain.from_iterable(map(_split, words)):
        is_value = _NUMBER.fullmatch(word) is not None or (name in given and not given[name])
        if is_value:
            given.setdefault(name, []).append(word)
            continue
        own = word.lower()
        name = _NAMES.get(own, word)
        if not re.fullmatch(r"[a-zA-Z_]\w*", word):
            raise ArgumentError(f"{word!r} is neither a name nor a whole number. Write {head} 16 stride 8, for example")
        if name in given:
            raise ArgumentError(f"{word} was given twice. Write it once")
        given[name] = []
    empty = [name for name, value in given.items() if not value]
    if empty:
        raise ArgumentError(f"{empty[0]} has no value. Write {empty[0]} 1, for example")
    return given


def _split(word: str) -> list[str]:
    """Return NAME=VALUE as two words."""
    name, equal, value = word.partition("=")
    return [name, value] if equal and name and value else [word]


def _axes(values: list[str]) -> list[str]:
    """Return one text per axis: 3x3 has two."""
    if values and values[0].startswith("["):
        return [part.strip() for part in values[0].strip("[]").split(",")]
    if values and all(map(_NUMBER.fullmatch, values)):
        return [part for value in values for part in value.split("x")]
    return values[:1]


def _numbers(values: list[str], name: str) -> list[int]:
    parts = _axes(values)
    if not all(re.fullmatch(r"-?\d+", part) for part in parts):
        raise ArgumentError(f"{name} is {' '.join(values)}; whole numbers are needed. Write {name} 2, for example")
    return [int(part) for part in parts]


def _padding(values: list[str], ndim: int) -> Any:
    """Return the padding of an ordinary convolution: a word, a number, or a number or a pair for each axis."""
    if not all(map(_NUMBER.fullmatch, _axes(values))):
        return values[0]
    pairs = [tuple(map(int, part.split(":"))) for part in _axes(values)]
    sides = [(pair[0], pair[-1]) for pair in pairs]
    return sides * (ndim if len(sides) == 1 else 1)


def _native(
    known: dict[str, list[str]], given: dict[str, list[str]], rules: Dialect, ndim: int, sizes: tuple[int, ...] | None
) -> dict[str, Any]:
    """Return the arguments of a transposed convolution under their names in the dialect."""
    numbers = {name: _numbers(value, name) for name, value in known.items() if name != "padding"}
    stride = numbers.get("stride", [1])
    options = [f"{name}={_as_json(value, ndim)}" for name, value in given.items()]
    padding = known.get("padding")
    if padding is not None and any(":" in word for word in padding):
        raise ArgumentError(
            f"padding is {' '.join(padding)}; the padding of a transposed convolution is a number for each axis. Write "
            f"crop {padding[0]}, which is cut from both ends of the output, for example"
        )
    groups = numbers.get("groups", [1])[0]
    native = native_arguments(
        rules, tuple(stride * (ndim if len(stride) == 1 else 1)), None if padding is None else _axes(padding),
        numbers.get("output_padding"), numbers.get("dilation"), groups, numbers.get("output"), options,
    )  # fmt: skip
    if sizes is not None:
        native["input"] = sizes * (ndim if len(sizes) == 1 else 1)
    return native


def _as_json(values: list[str], ndim: int) -> str:
    """Return the value of another argument as JSON: pairs lo:hi for each axis, numbers, or text."""
    parts = _axes(values)
    if not all(map(_NUMBER.fullmatch, parts)):
        return values[0]
    if any(":" in part for part in parts):
        pairs = [[int(part.split(":")[0]), int(part.split(":")[-1])] for part in parts]
        return json.dumps(pairs * (ndim if len(pairs) == 1 else 1))
    whole = [int(part) for part in parts]
    return json.dumps(whole[0] if len(whole) == 1 else whole)


def _in_words(message: str) -> str:
    """Return a message of the library with the arguments that it proposes as words of a layer."""
    before, write, after = message.partition("Write ")
    after = after.replace("input_shape=", "--input 100").replace('"', "").replace("crop=((lo, hi), ...)", "crop lo:hi")
    before = re.sub(r"--(?=stride|padding|output|dilation|groups)", "", before)
    after = re.sub(r"--(?=stride|padding|output|dilation|groups)", "", after)
    return before + write + re.sub(r"\b([a-z_]+)=(-?\w+)", r"\1 \2", after)


def refuse_options_of_one_layer(given: dict[str, Any]) -> None:
    """Raise ArgumentError for options that describe one layer, beside a stack."""
    names = [name for name, value in given.items() if value not in (None, False)]
    if names:
        raise ArgumentError(
            f"--{names[0].replace('_', '-')} was given beside a stack, {shown(given[names[0]])}; each layer has "
            f"its own words. Write {EXAMPLE}"
        )
