"""Shapes that Keras' layers give, for files that do not state them: those of Keras 2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tconv.dialects import dialect
from tconv.errors import FileError, TconvError
from tconv.models.inventory.model_layer import Size
from tconv.models.inventory.symbols import plus, times

CLASS = re.compile(r"(?:Conv|Convolution|Deconvolution)([123])D(?:Transpose)?$")
"""Names of Keras' layers that are convolutions."""
_SAME_SHAPE = frozenset(
    (
        "Activation",
        "BatchNormalization",
        "Dropout",
        "ELU",
        "GaussianDropout",
        "GaussianNoise",
        "GroupNormalization",
        "LayerNormalization",
        "LeakyReLU",
        "PReLU",
        "ReLU",
        "Softmax",
        "SpatialDropout2D",
        "UnitNormalization",
    )
)
_LARGE = 1 << 20


def numbers_of(settings: Mapping[str, Any], key: str, ndim: int, usual: Any = 1) -> list[Any]:
    """Return an argument per axis as a list. Raises FileError for what is none."""
    given = settings.get(key, usual)
    listed = given if isinstance(given, list) else [given] * ndim
    whole = all(type(each) is int or (each is None and key == "output_padding") for each in listed)
    if len(listed) != ndim or not whole or any(each is not None and abs(each) > 1 << 32 for each in listed):
        raise FileError(f"{settings.get('name')} has {key}={str(given)[:60]}; {ndim} integers are needed")
    return listed


def is_transposed(name: str) -> bool:
    """Return True for the class name of a transposed convolution."""
    return bool(CLASS.search(name)) and ("Transpose" in name or "Deconvolution" in name)


def arguments_of(settings: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    """Return the arguments of a transposed convolution in the dialect of Keras. Raises FileError."""
    arguments: dict[str, Any] = {
        "strides": numbers_of(settings, "strides", ndim),
        "padding": str(settings.get("padding", "valid")),
    }
    if settings.get("output_padding") is not None:
        arguments["output_padding"] = numbers_of(settings, "output_padding", ndim)
    arguments["data_format"] = str(settings.get("data_format") or "channels_last")
    dilation = numbers_of(settings, "dilation_rate", ndim)
    if dilation != [1] * ndim:
        arguments["dilation_rate"] = dilation
    groups = settings.get("groups", 1)
    if type(groups) is not int or groups < 1:
        raise FileError(f"{settings.get('name')} has groups={str(groups)[:40]}; an integer from 1 up is needed")
    return arguments | ({"groups": groups} if groups > 1 else {})


def output_shape(
    x: tuple[Size, ...] | None, speaker: str, kernel: tuple[int, ...], filters: int, arguments: dict[str, Any]
) -> tuple[Size, ...] | None:
    """Return the shape of y: numbers, or "2*height" where those of x vary; None if they do not follow."""
    if x is None or len(x) != len(kernel) + 2:
        return None
    first = 2 if speaker == "torch" or arguments["data_format"] == "channels_first" else 1
    sizes = x[first : first + len(kernel)]
    known = tuple(size if isinstance(size, int) else _LARGE for size in sizes)
    try:
        geometry = dialect(speaker).geometry(kernel=kernel, input=known, **arguments)
        large = geometry.output_shape(known)
    except TconvError:
        return None
    made: list[Size] = []
    for size, whole, stride in zip(sizes, large, geometry.stride, strict=True):
        named = isinstance(size, str)
        made.append(plus(times(size, stride), whole - stride * _LARGE) if named else None if size is None else whole)
    return (x[0], filters, *made) if first == 2 else (x[0], *made, filters)


def shape_after(name: str, settings: Mapping[str, Any], x: tuple[Size, ...] | None) -> tuple[Size, ...] | None:
    """Return the shape that a layer of this class gives; None if it is not known."""
    if name in _SAME_SHAPE:
        return x
    target, filters = settings.get("target_shape"), settings.get("filters")
    if name == "Reshape" and isinstance(target, list) and all(type(size) is int and size > 0 for size in target):
        return (x[0] if x else None, *target)
    if x is None or type(filters) is not int or not is_transposed(name) or len(x) not in (3, 4, 5):
        return None
    try:
        ndim = len(x) - 2
        kernel = tuple(numbers_of(settings, "kernel_size", ndim))
        made = output_shape(x, "keras", kernel, filters, arguments_of(settings, ndim))
    except FileError:
        return None
    return None if made is None else tuple(size if isinstance(size, int) else None for size in made)
