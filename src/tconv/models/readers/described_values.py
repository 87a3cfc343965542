"""Values of one layer of a description, read and checked key by key; messages name the key and what it needs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import int_of, ints_of, pairs_of, shown
from tconv._arrays import Array
from tconv.errors import FileError

_LARGEST = float(np.finfo(np.float32).max)
_MOST = 1 << 14
"""Largest number of pixels that a description may pad, crop or take at once, and largest factor."""

Pair = tuple[int, int]


def text_of(value: Any) -> str:
    """Return a value as the description writes it."""
    return shown(value) if isinstance(value, str) else json.dumps(value)[:100]


def given(values: dict[str, Any], key: str, kind: Any, needed: str) -> Any:
    """Return the value of a key. Raises FileError if it is missing or of another type."""
    if key not in values:
        raise FileError(f"{key!r} is missing")
    if not isinstance(values[key], kind):
        raise FileError(f"{key!r} is {text_of(values[key])}; {needed} is needed")
    return values[key]


class LayerValues(NamedTuple):
    """Values of a layer by key, and the tensors of the file by name. Methods raise FileError and GeometryError."""

    values: dict[str, Any]
    tensors: dict[str, Array]

    def has(self, key: str) -> bool:
        """Return True for a key with a value that is not null."""
        return self.values.get(key) is not None

    def named(self, name: str, axes: int) -> Array:
        """Return the tensor of this name."""
        if name not in self.tensors:
            raise FileError(f"there is no tensor {name!r}; there are {shown(', '.join(self.tensors))[1:-1]}")
        tensor = self.tensors[name]
        if tensor.ndim != axes:
            raise FileError(f"{name} has shape {tensor.shape}; {axes} axes are needed")
        if 0 in tensor.shape:
            raise FileError(f"{name} has shape {tensor.shape}, which is empty")
        return tensor

    def tensor(self, key: str, axes: int) -> Array:
        """Return the tensor that a key names."""
        return self.named(given(self.values, key, str, "the name of a tensor"), axes)

    def number(self, key: str, default: float) -> float:
        """Return a finite number."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
            raise FileError(f"{key!r} is {text_of(value)}; a number is needed. Write {default:g}, for example")
        return float(value)

    def constant(self, key: str, default: float) -> Array:
        """Return a number, or one for each channel from a tensor, as an array of three axes."""
        if isinstance(self.values.get(key), str):
            return self.tensor(key, 1).reshape(-1, 1, 1)
        return np.full((1, 1, 1), self.number(key, default), np.float32)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer from 1 on."""
        if default is None and key not in self.values:
            raise FileError(f"{key!r} is missing")
        number = int_of(self.values.get(key, default), key, 1, example=f'"{key}": 2')
        self._limit(key, [number])
        return number

    def integers(self, key: str, default: Any) -> Pair:
        """Return a pair of integers from 1 on, for rows and for columns."""
        if default is None and key not in self.values:
            raise FileError(f"{key!r} is missing")
        pair = ints_of(self.values.get(key, default), key, 2, least=1, example=f'"{key}": [1, 1]')
        self._limit(key, pair)
        return pair[0], pair[1]

    def sides(self, key: str, default: Any = 0) -> tuple[Pair, Pair]:
        """Return ((top, bottom), (left, right))."""
        if default is None and key not in self.values:
            raise FileError(f"{key!r} is missing")
        pairs = pairs_of(self.values.get(key, default), key, 2, example=f'"{key}": [[1, 1], [1, 1]]')
        self._limit(key, [n for pair in pairs for n in pair])
        return pairs[0], pairs[1]

    def _limit(self, key: str, numbers: Sequence[int]) -> None:
        if max(map(abs, numbers)) > _MOST:
            raise FileError(f"{key!r} is {text_of(self.values[key])}; numbers up to {_MOST} are read")

    def flag(self, key: str) -> bool:
        """Return true or false; false without the key."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise FileError(f"{key!r} is {text_of(value)}; true or false is needed")
        return value

    def choice(self, key: str, names: Sequence[str], default: str | None) -> str:
        """Return one of the names."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in names:
            raise FileError(f"{key!r} is {text_of(value)}; one of {', '.join(names)} is needed")
        return value

    def factors(self, key: str) -> tuple[Fraction, Fraction]:
        """Return factors for rows and columns: a number, a text such as "3/2", or a list of two of them."""
        value = given(self.values, key, object, "")
        entries = value if isinstance(value, list) and len(value) == 2 else [value, value]
        result = [_fraction(entry) for entry in entries]
        if None in result:
            raise FileError(f'{key!r} is {text_of(value)}; a number above 0 is needed, or a text such as "3/2"')
        return result[0], result[1]  # type: ignore[return-value]


def _fraction(value: Any) -> Fraction | None:
    """Return a factor from 1/_MOST to _MOST of small numbers; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        result = Fraction(str(value).strip()).limit_denominator(1 << 20)
    except (ValueError, ZeroDivisionError):
        return None
    return result if Fraction(1, _MOST) <= result <= _MOST else None
