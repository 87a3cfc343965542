"""Readers of integer arguments: one number, one per axis, or one pair per axis, as Python ints.

Every public function reads its integers and pairs here, so that the same mistake has the same error everywhere.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from tconv.errors import GeometryError

Ints = int | Sequence[int]
Crop = int | Sequence[int | tuple[int, int]]


def shown(value: Any) -> str:
    """Return `value` as text for a message: in one line, and a large array by its shape.

    >>> shown(range(3)), shown([0] * 99)[:12]
    ('range(0, 3)', '[0, 0, 0, 0,')
    """
    shape = getattr(value, "shape", ())
    if isinstance(shape, tuple) and len(shape) > 1:
        return f"an array of shape {tuple(shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _number(value: Any) -> int | None:
    """Return `value` as a Python int; None if it is not an integer, or a boolean."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except Exception:  # a TypeError, or other kinds for the arrays of some libraries
        return None


def _usual(least: int | None) -> int:
    """Return the number that a message proposes: 2 for strides, dilations and kernels, 1 for paddings."""
    return 2 if least == 1 else 1


def _entries(given: Sequence[Any]) -> str:
    """Return the number of entries as text."""
    return f"{len(given)} {'entry' if len(given) == 1 else 'entries'}"


def int_of(value: Any, name: str, least: int | None = None, *, example: str | None = None) -> int:
    """Return `value` as a Python int.

    Raises GeometryError for another type or a number below `least`. Its message proposes `example`.
    """
    number = _number(value)
    if number is None:
        instead = example or f"{name}={_usual(least)}"
        raise GeometryError(f"{name} is {shown(value)}; an integer is needed. Write {instead}, for example")
    if least is not None and number < least:
        instead = example or f"{name}={max(least, 1)}"
        raise GeometryError(f"{name} is {number}; it must be at least {least}. Write {instead}, for example")
    return number


def entries_of(value: Any) -> tuple[Any, ...] | None:
    """Return the entries of a sequence or array; None for anything else, which can only be one number."""
    axes = getattr(value, "ndim", 0)
    if isinstance(value, (str, bytes)) or not (isinstance(value, Sequence) or (isinstance(axes, int) and axes > 0)):
        return None
    try:
        return tuple(value)
    except TypeError:  # a symbolic tensor of a graph
        return None


def shape_entries(shape: Any) -> tuple[Any, ...] | None:
    """Return the entries of a shape, None if it has none. (A tf.TensorShape is not a sequence.)"""
    try:
        return entries_of(shape.as_list() if hasattr(shape, "as_list") else shape)
    except ValueError:  # tf.TensorShape(None), of no known rank
        return None


def ints_of(
    value: Any,
    name: str,
    ndim: int,
    least: int | None = None,
    *,
    needed: str | None = None,
    example: str | None = None,
) -> tuple[int, ...]:
    """Return `value` as one int per axis: an int means the same on every axis.

    Raises GeometryError for a wrong length, type or a number below `least`. Its message states the right length with
    the words of `needed` (default: the number of spatial axes), and proposes `example`.
    """
    given = entries_of(value)
    if given is None:
        return (int_of(value, name, least, example=example),) * ndim
    numbers = [_number(entry) for entry in given]
    integers = tuple(number for number in numbers if number is not None)
    if len(integers) == len(given) == ndim and (least is None or all(number >= least for number in integers)):
        return integers
    text = shown(tuple(entry if number is None else number for entry, number in zip(given, numbers, strict=True)))
    if len(given) != ndim:
        raise GeometryError(
            f"{name} is {text}, which has {_entries(given)}; {needed or f'there are {ndim} spatial axes'}. "
            f"Write {example or f'one integer for all axes, or {(integers or (1,))[:1] * ndim}'}"
        )
    rule = "an integer" if len(integers) < ndim else f"at least {least}"
    corrected = tuple(_usual(least) if n is None else n if least is None else max(n, least) or 1 for n in numbers)
    raise GeometryError(
        f"{name} is {text}; every entry must be {rule}. Write {example or f'{name}={corrected}'}, for example"
    )


def pairs_of(
    value: Any, name: str, ndim: int, *, axes: str = "spatial", example: str | None = None
) -> tuple[tuple[int, int], ...]:
    """Return `value` as one (lo, hi) pair per axis: an int means that much on both sides.

    Raises GeometryError for anything else. Its message names the kind of `axes`, and proposes `example`.
    """
    given = entries_of(value)
    if given is None:
        size = int_of(value, name, example=f"{name}=1")
        return ((size, size),) * ndim
    example = example or f"{name}={((1, 1),) * ndim}"
    if len(given) != ndim:
        raise GeometryError(
            f"{name} is {shown(value)}, which has {_entries(given)}; there are {ndim} {axes} axes. "
            f"Write {example}: one (lo, hi) pair per axis"
        )
    pairs = []
    for entry in given:
        sides = entries_of(entry)
        lo, hi = map(_number, (entry, entry) if sides is None else sides if len(sides) == 2 else (None, None))
        if lo is None or hi is None:
            raise GeometryError(
                f"{name} contains {shown(entry)}; one (lo, hi) pair of integers per {axes} axis is needed. "
                f"Write {example}, for example"
            )
        pairs.append((lo, hi))
    return tuple(pairs)
