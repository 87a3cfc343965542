"""Reading of a picture's arguments: bare arrays of any library, and the geometry arguments of `tconv.definition`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from tconv import _textbook_arguments
from tconv._arguments import Ints, entries_of, ints_of, shown
from tconv._arrays import Array
from tconv.draw.array_grid import MOST_AXES
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry

Words = ParamSpec("Words")
Drawn = TypeVar("Drawn")


def flat_arrays(**given: Any) -> list[Array]:
    """Return the arrays of one call as NumPy, all of 1, 2 or 3 axes, in their common dtype; integers are int64.

    Raises ShapeError for other numbers of axes.
    """
    _, (*read, _) = _textbook_arguments.take(**given)  # the last is the bias, which pictures do not have
    for name, array in zip(given, read, strict=True):
        if not 1 <= array.ndim <= MOST_AXES:
            extra = ", ".join("0" for _ in range(max(2, array.ndim - 3)))
            raise ShapeError(
                f"{name} has shape {array.shape}; a bare array of 1, 2 or 3 axes is needed, without batch and "
                f"channels. Write {f'{name}[{extra}], one channel of one image' if array.ndim else f'[{name}]'}"
            )
        if array.ndim != read[0].ndim:
            raise ShapeError(
                f"x has shape {read[0].shape} and {name} has shape {array.shape}; both must have the same number of "
                f"axes. Write {'x' if array.ndim > read[0].ndim else name}"
                f"[{', '.join(['None'] * abs(array.ndim - read[0].ndim))}], which adds axes of one element"
            )
    return [array.astype(np.int64) if array.dtype.kind in "iu" else array for array in read]


def geometry_of(kernel: tuple[int, ...], spec: dict[str, Any]) -> Geometry:
    """Return the Geometry that `spec` describes; a picture shows one channel, so groups is no argument."""
    return _textbook_arguments.geometry_of(
        kernel, spec, [name for name in _textbook_arguments.ARGUMENTS if name != "groups"]
    )


def sizes_of(kernel: Ints, input_shape: Ints) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the kernel and the input's shape, one int per axis of 1 to 3; an int stands for every axis of the other.

    >>> sizes_of(3, (4, 5)), sizes_of(3, 4)
    (((3, 3), (4, 5)), ((3,), (4,)))
    """
    ndim = max(len(entries_of(given) or (given,)) for given in (kernel, input_shape))
    if ndim > MOST_AXES:
        raise ShapeError(
            f"kernel is {shown(kernel)} and input_shape {shown(input_shape)}; up to {MOST_AXES} axes can be drawn. "
            "Write the sizes of 3 of them"
        )
    small = ints_of(input_shape, "input_shape", ndim)
    return ints_of(kernel, "kernel", ndim, least=1), small


def names_input_shape(draw: Callable[Words, Drawn]) -> Callable[Words, Drawn]:
    """Return a picture's function that says what to write for `input=`, the name of this size in other functions."""

    @wraps(draw)
    def named(*words: Words.args, **spec: Words.kwargs) -> Drawn:
        if "input" in spec:
            raise ArgumentError(
                f"input= was given; the size of the input is input_shape= in this picture. Write "
                f"input_shape={shown(spec['input'])}"
            )
        return draw(*words, **spec)

    return named


def has_output(geometry: Geometry, input_shape: tuple[int, ...]) -> bool:
    """Return True if the crop leaves something of the full result."""
    sizes = zip(geometry.full_shape(input_shape), geometry.crop, strict=True)
    return all(full - lo - hi > 0 for full, (lo, hi) in sizes)
