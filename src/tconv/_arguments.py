"""Readers of arguments: one number or one per axis, as Python ints, or an error that says what to write instead.

Every public function reads its integers and pairs here, so that a mistake is answered in the same words everywhere.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from tconv.errors import GeometryError

Ints = int | Sequence[int]
Crop = int | Sequence[int | tuple[int, int]]


def shown(value: Any) -> str:
    """`value` as a message shows it: in one line, and a large array by its shape.

    >>> shown(range(3)), shown([0] * 99)[:12]
    ('range(0, 3)', '[0, 0, 0, 0,')
    """
    shape = getattr(value, "shape", ())
    if isinstance(shape, tuple) and len(shape) > 1:
        return f"an array of shape {tuple(shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _number(value: Any) -> int | None:
    """`value` as a Python int; None for what is none, booleans among it."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except Exception:  # TypeError; arrays of other libraries have several kinds for it
        return None


def _usual(least: int | None) -> int:
    """What a message proposes: 2 for strides, dilations and kernels, 1 for paddings and whatever else may be 0."""
    return 2 if least == 1 else 1


def int_of(value: Any, name: str, least: int | None = None, *, example: str | None = None) -> int:
    """`value` as a Python int, or a GeometryError that names the argument; `example` is what to write instead."""
    number = _number(value)
    if number is None:
        instead = example or f"{name}={_usual(least)}"
        raise GeometryError(f"{name} is {shown(value)}; an integer is needed. Write {instead}, for example")
    if least is not None and number < least:
        instead = example or f"{name}={max(least, 1)}"
        raise GeometryError(f"{name} is {number}; it must be at least {least}. Write {instead}, for example")
    return number


def entries_of(value: Any) -> tuple[Any, ...] | None:
    """The entries of a sequence or array; None for anything else, which can only be one number."""
    axes = getattr(value, "ndim", 0)
    if isinstance(value, (str, bytes)) or not (isinstance(value, Sequence) or (isinstance(axes, int) and axes > 0)):
        return None
    try:
        return tuple(value)
    except TypeError:  # a symbol of a graph
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
    """`value` as one int per axis: an int means the same on every axis.

    `needed` says what there are `ndim` of where that is not the spatial axes, `example` what to write instead.
    """
    given = entries_of(value)
    if given is None:
        return (int_of(value, name, least, example=example),) * ndim
    numbers = [_number(entry) for entry in given]
    whole = tuple(number for number in numbers if number is not None)
    if len(whole) == len(given) == ndim and (least is None or all(number >= least for number in whole)):
        return whole
    said = shown(tuple(entry if number is None else number for entry, number in zip(given, numbers, strict=True)))
    if len(given) != ndim:
        raise GeometryError(
            f"{name} is {said}, which has {len(given)} entries; {needed or f'there are {ndim} spatial axes'}. "
            f"Write {example or f'one integer for all axes, or {(1,) * ndim}'}"
        )
    rule = "an integer" if len(whole) < ndim else f"at least {least}"
    fixed = tuple(_usual(least) if n is None else n if least is None else max(n, least) or 1 for n in numbers)
    raise GeometryError(
        f"{name} is {said}; every entry must be {rule}. Write {example or f'{name}={fixed}'}, for example"
    )


def pairs_of(
    value: Any, name: str, ndim: int, *, axes: str = "spatial", example: str | None = None
) -> tuple[tuple[int, int], ...]:
    """`value` as one (lo, hi) pair per axis: an int means that much on both sides.

    `axes` says which axes these are, `example` what to write instead.
    """
    given = entries_of(value)
    if given is None:
        size = int_of(value, name, example=f"{name}=1")
        return ((size, size),) * ndim
    example = example or f"{name}={((1, 1),) * ndim}"
    if len(given) != ndim:
        raise GeometryError(
            f"{name} is {shown(value)}, which has {len(given)} entries; there are {ndim} {axes} axes. "
            f"Write {example}: one (lo, hi) pair per axis"
        )
    pairs = []
    for entry in given:
        sides = entries_of(entry)
        lo, hi = map(_number, (entry, entry) if sides is None else sides if len(sides) == 2 else (None, None))
        if lo is None or hi is None:
            raise GeometryError(
                f"{name} holds {shown(entry)}; one (lo, hi) pair of integers per {axes} axis is needed. "
                f"Write {example}, for example"
            )
        pairs.append((lo, hi))
    return tuple(pairs)
