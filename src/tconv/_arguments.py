"""Readers of arguments: integers, one number, one per axis, or one pair per axis, as Python ints; sample rates.

Every public function reads its integers and pairs here, so that the same mistake has the same error everywhere.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any

from tconv.errors import ArgumentError, GeometryError

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


def sizes_text(shape: Sequence[Any]) -> str:
    """Return a shape as a tuple is printed, also with sizes that are not known.

    >>> sizes_text([None, 8]), sizes_text((3,))
    ('(None, 8)', '(3,)')
    """
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def _number(value: Any) -> int | None:
    """Return `value` as a Python int; None if it is not an integer, or a boolean, or a size that is not known."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except Exception:  # a TypeError, or other kinds for the arrays of some libraries
        return _size_of_dimension(value)


def _size_of_dimension(value: Any) -> int | None:
    """Return the size of an axis that a library describes by an object: OpenVINO, and protobufs of ONNX and TensorFlow.

    None if it is not known, and for any other object.
    """
    if hasattr(value, "get_length") and hasattr(value, "is_dynamic"):
        return None if value.is_dynamic else int(value.get_length())
    if hasattr(value, "HasField"):
        if hasattr(value, "dim_value"):
            return int(value.dim_value) if value.HasField("dim_value") else None
        size = getattr(value, "size", None)
        return size if isinstance(size, int) and size >= 0 else None
    return None


def _is_unknown(entry: Any) -> bool:
    """Return True for an entry of a shape whose size is not known: None, a name, or a library's symbol."""
    named = isinstance(entry, str) and not entry.isdigit()
    return entry is None or named or (_number(entry) is None and "Dim" in type(entry).__name__)


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
        unknown = ", whose rank is unknown" if hasattr(value, "as_list") or hasattr(value, "rank") else ""
        raise GeometryError(f"{name} is {shown(value)}{unknown}; an integer is needed. Write {instead}, for example")
    if least is not None and number < least:
        instead = example or f"{name}={max(least, 1)}"
        raise GeometryError(f"{name} is {number}; it must be at least {least}. Write {instead}, for example")
    return number


def sample_rate_of(value: Any, example: int = 24_000) -> float | None:
    """Return a sample rate, in Hz, as a Python number; None for None. Raises ArgumentError for anything else.

    >>> sample_rate_of(16_000)
    16000
    """
    if value is None:
        return None
    is_number = not isinstance(value, bool) and isinstance(value, Real)
    if not is_number or not 0 < value < math.inf:
        raise ArgumentError(
            f"sample_rate is {shown(value)}; the samples per second of the output are needed. Write "
            f"sample_rate={example}, for example"
        )
    return int(value) if isinstance(value, Integral) else float(value)


def entries_of(value: Any) -> tuple[Any, ...] | None:
    """Return the entries of a sequence, an array or a shape of any library; None for anything else.

    Not every shape is a sequence: TensorFlow's TensorShape, OpenVINO's Shape and PartialShape, and the messages of ONNX
    and TensorFlow files are none. None also stands for a shape without a known rank.
    """
    if type(value) in (tuple, list):
        return tuple(value)
    if type(value) is int or value is None or isinstance(value, (str, bytes, Mapping, Set)):
        return None
    axes = getattr(value, "ndim", None)
    try:
        if isinstance(value, Sequence) or (isinstance(axes, int) and axes > 0):
            return tuple(value)
        if hasattr(value, "as_list"):
            return tuple(value.as_list())
        if hasattr(value, "HasField") and hasattr(value, "dim"):
            return None if getattr(value, "unknown_rank", False) else tuple(value.dim)
        if axes is None and hasattr(value, "__iter__") and hasattr(value, "__getitem__"):
            return tuple(value)
    except (TypeError, ValueError, RuntimeError):  # a symbolic tensor of a graph, or a shape without a known rank
        return None
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
    if unknown := [str(axis) for axis, entry in enumerate(given) if _is_unknown(entry)]:
        text = f"{text}, of unknown size on axis {' and '.join(unknown)}"
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
