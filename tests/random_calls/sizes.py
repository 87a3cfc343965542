"""The generator of random sizes, geometries and whole numbers that every random call starts from.

It draws from a NumPy generator, or through another source such as that of Hypothesis in strategies.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tconv import Geometry, TconvError

Span = tuple[int, int]
"""Smallest and largest number that is drawn."""


class Source(Protocol):
    """Another source of random numbers than a NumPy generator."""

    def integer(self, low: int, high: int) -> int: ...
    def chance(self, probability: float) -> bool: ...


AnySource = np.random.Generator | Source


def integer(source: AnySource, span: Span) -> int:
    """Draw an integer from the smallest to the largest of a span."""
    low, high = span
    if isinstance(source, np.random.Generator):
        return int(source.integers(low, high + 1))
    return source.integer(low, high)


def integers(source: AnySource, count: int, span: Span) -> tuple[int, ...]:
    """Draw several integers of one span."""
    return tuple(integer(source, span) for _ in range(count))


def choice(source: AnySource, options: Sequence[Any]) -> Any:
    """Draw one of the options, the more often the more often it is listed."""
    return options[integer(source, (0, len(options) - 1))]


def chance(source: AnySource, probability: float) -> bool:
    """Draw True with this probability."""
    if probability in (0, 1):
        return bool(probability)
    if isinstance(source, np.random.Generator):
        return bool(source.random() < probability)
    return source.chance(probability)


class Sizes(NamedTuple):
    """Sizes of one call: input n, kernel k, stride s and dilation d per spatial axis, groups, channels and batch."""

    n: tuple[int, ...]
    k: tuple[int, ...]
    s: tuple[int, ...]
    d: tuple[int, ...]
    groups: int
    in_per_group: int
    out_per_group: int
    batch: int

    @property
    def c_in(self) -> int:
        return self.groups * self.in_per_group

    @property
    def c_out(self) -> int:
        return self.groups * self.out_per_group

    @property
    def extent(self) -> tuple[int, ...]:
        """Outputs that one input element spans per axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.k, self.d, strict=True))

    @property
    def full(self) -> tuple[int, ...]:
        """Output sizes before the crop."""
        return tuple(s * (n - 1) + e for n, s, e in zip(self.n, self.s, self.extent, strict=True))

    def geometry(self, crop: Any = 0) -> Geometry:
        return Geometry(self.k, self.s, crop, self.d, self.groups)


def random_sizes(
    source: AnySource,
    ndim: int,
    *,
    n: Span = (1, 5),
    k: Span = (1, 4),
    s: Span = (1, 3),
    d: Span = (1, 3),
    strided: float = 1,
    dilated: float = 1,
    groups: Sequence[int] = (1,),
    in_per_group: Sequence[int] = (1, 2, 5, 7),
    out_per_group: Sequence[int] = (1, 2, 3),
    batch: Sequence[int] = (1, 2),
) -> Sizes:
    """Draw the sizes of a call. `strided` and `dilated` are the probabilities of a stride and dilation not of 1s."""
    return Sizes(
        integers(source, ndim, n),
        integers(source, ndim, k),
        integers(source, ndim, s) if chance(source, strided) else (1,) * ndim,
        integers(source, ndim, d) if chance(source, dilated) else (1,) * ndim,
        choice(source, groups),
        choice(source, in_per_group),
        choice(source, out_per_group),
        choice(source, batch),
    )


def random_crop(source: AnySource, ndim: int, span: Span, probability: float = 1) -> tuple[tuple[int, int], ...]:
    """Draw a (lo, hi) pair per axis with this probability, else no crop."""
    if not chance(source, probability):
        return ((0, 0),) * ndim
    return tuple(integers(source, 2, span) for _ in range(ndim))


def has_output(geometry: Geometry, n: tuple[int, ...]) -> bool:
    """Return True if every axis of the output for this input shape has an element."""
    try:
        geometry.output_shape(n)
    except TconvError:
        return False
    return True


def random_geometry(
    source: np.random.Generator, ndims: Sequence[int], *, crop: Span, cropped: float = 1, **spans: Any
) -> tuple[Geometry, tuple[int, ...]]:
    """Draw a geometry and an input shape for which it has an output; `spans` are those of `random_sizes`."""
    while True:
        ndim = choice(source, ndims)
        sizes = random_sizes(source, ndim, **spans)
        geometry = sizes.geometry(random_crop(source, ndim, crop, cropped))
        if has_output(geometry, sizes.n):
            return geometry, sizes.n


def whole_numbers(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Draw asymmetric data without zeros: whole numbers small enough that every sum is exact in float32."""
    return (rng.integers(1, 9, tuple(shape)) * rng.choice([-1, 1], tuple(shape))).astype(dtype)
