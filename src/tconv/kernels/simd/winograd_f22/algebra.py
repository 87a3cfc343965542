"""Mathematics of minimal filtering F(2,2): two outputs of a phase with two taps, from three products instead of four.

    y0 = x[c-1]*b + x[c]*a                     m = x[c]*(a + b)
    y1 = x[c]*b + x[c+1]*a                     y0 = m + (x[c-1] - x[c])*b,  y1 = m - (x[c] - x[c+1])*a

(Winograd, Arithmetic complexity of computations, 1980: F(2, 2).) The factors are 0, 1 and -1: on integers it is exact.
On an axis with s < k <= 2s every phase has one tap or two. Positions are then grouped by two, i = 2j and 2j + 1, and a
layer becomes one of stride 2s over positions j: the first output of phase r has phase r, the second r + s. The factors
of the taps are planes: x[2j + place], or x[2j + place] - x[2j + place + 1], for all j. On two axes a plane belongs to
both, and there are 9 products for 16. An axis with one tap is not changed.

A group begins at an even output position of its phase, wherever tiles begin, so results do not depend on the tiling.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd.phase_axes import Axis, Length, grid, lengths

MOST_STRIDE = 16
"""Largest stride of an axis whose positions are grouped; a larger one would need too many sums at a time."""

MOST_PLACES = 32
"""Largest number of taps of an output on one of the last two axes: each is a few lines of machine code."""


class Plane(NamedTuple):
    """x[first + step*j + place] for all positions j of an axis, or its difference to the next element of x."""

    place: int
    difference: bool


class Product(NamedTuple):
    """A plane times a sum of taps, each with a sign; it is added to the outputs `to` of a group of positions."""

    plane: Plane
    taps: tuple[tuple[int, int], ...]
    to: tuple[int, ...]


class FilteredAxis(NamedTuple):
    """Axis, without its length, with the products that its outputs are sums of."""

    stride: int
    step: int
    """positions of a group: 2, or 1 where the sum is not changed"""
    first: int
    """element of x from which places are counted at position 0: not 0 where a crop moves the output far"""
    products: tuple[tuple[Product, ...], ...]
    """of each phase"""
    planes: tuple[Plane, ...]
    """all planes, in ascending order"""
    places: tuple[int, ...]
    """the elements of x, counted from x[first + step*j], that planes are computed from"""
    reach: tuple[int, int]
    """distances from j to the first and the last j whose elements are read: at most 0, at least 0"""

    @property
    def phases(self) -> int:
        """Outputs of a position j."""
        return self.stride * self.step


class FilteredLength(NamedTuple):
    """Length of an axis."""

    inputs: int
    outputs: int
    output_positions: int
    """positions j that have an output"""
    positions: int
    """positions j, with those behind the last output whose x is read"""


def _products(taps: list[tuple[int, int]], step: int) -> tuple[Product, ...]:
    """Return the products of a phase with these (place, tap)."""
    if step == 1:
        return tuple(Product(Plane(place, False), ((tap, 1),), (0,)) for place, tap in taps)
    (c, first), *more = taps
    if not more:
        return tuple(Product(Plane(c + each, False), ((first, 1),), (each,)) for each in (0, 1))
    second = more[0][1]
    return (
        Product(Plane(c, False), ((first, 1), (second, 1)), (0, 1)),
        Product(Plane(c - 1, True), ((second, 1),), (0,)),
        Product(Plane(c, True), ((first, -1),), (1,)),
    )


def group_size(kernel: int, stride: int, dilation: int) -> int:
    """Return how many positions of an axis are grouped: 2 if each phase has one tap, or two neighbouring ones."""
    return 2 if dilation == 1 and stride < kernel <= 2 * stride and stride <= MOST_STRIDE else 1


def _filtered_axis(axis: Axis, step: int) -> FilteredAxis:
    """Return an axis with this many positions in a group."""
    first = -axis.shifts[-1] // step * step
    if -MOST_PLACES < first < 0:
        first = 0  # x is zero before it, and another first would cost every row one more position
    products = tuple(_products([(-shift - first, tap) for shift, tap in phase], step) for phase in axis.taps)
    planes = sorted({each.plane for phase in products for each in phase})
    places = sorted({plane.place + more for plane in planes for more in range(1 + plane.difference)})
    distances = [place // step for place in places]
    reach = min(0, *distances), max(0, *distances)
    return FilteredAxis(axis.stride, step, first, products, tuple(planes), tuple(places), reach)


def _filtered_length(axis: FilteredAxis, length: Length) -> FilteredLength:
    """Return the length of an axis in groups of positions."""
    output_positions = -(-length.positions // axis.step)
    input_positions = -((axis.first - length.inputs) // axis.step)
    positions = max(output_positions, min(output_positions + axis.reach[1], input_positions))
    return FilteredLength(length.inputs, length.outputs, output_positions, positions)


class PlaneProduct(NamedTuple):
    """Product on all axes: its plane, its taps, and the rows of sums that it is added to."""

    block: int
    """number of the shifts of the outer axes"""
    plane: int
    """slow plane * fast planes + fast plane"""
    taps: tuple[tuple[tuple[int, ...], int], ...]
    rows: tuple[int, ...]


class Chunk(NamedTuple):
    """Outputs of one phase of the slow axes: their rows of sums are computed, and then written, together."""

    outer: tuple[int, ...]
    slow: int
    products: tuple[PlaneProduct, ...]


class FilteredGeometry(NamedTuple):
    """Geometry as products of planes. The outer axes are not changed; the last two are grouped if possible."""

    outer: tuple[Axis, ...]
    slow: FilteredAxis
    fast: FilteredAxis
    blocks: int
    """all combinations of shifts of the outer axes"""
    planes: int
    """of a block"""
    rows: int
    """rows of sums of a chunk: slow positions of a group x outputs of a fast position"""
    slow_phases: int
    """phases of all axes but the fastest: one chunk each"""
    product_count: int
    """of all chunks"""
    chunks: tuple[Chunk, ...]
    """in the order in which they run; products in the order in which they are added"""

    @property
    def direct_products(self) -> int:
        """Number of products of the direct sum."""
        count = 1
        for axis in (self.slow, self.fast):
            plain = (each for phase in axis.products for each in phase if not each.plane.difference)
            count *= sum(len(each.taps) * len(each.to) for each in plain)
        return count * math.prod(sum(map(len, axis.taps)) for axis in self.outer)


class FilteredLengths(NamedTuple):
    """Lengths of all axes."""

    outer: tuple[Length, ...]
    slow: FilteredLength
    fast: FilteredLength

    @property
    def lines(self) -> int:
        """Lines of positions in an image."""
        return math.prod(length.positions for length in self.outer) * self.slow.positions


def _chunks(outer_axes: tuple[Axis, ...], slow_axis: FilteredAxis, fast_axis: FilteredAxis) -> tuple[Chunk, ...]:
    planes = {both: number for number, both in enumerate(product(slow_axis.planes, fast_axis.planes))}
    blocks = {shifts: number for number, shifts in enumerate(product(*(axis.shifts for axis in outer_axes)))}
    phases = fast_axis.phases
    chunks = []
    for outer in product(*(range(axis.stride) for axis in outer_axes)):
        outer_taps = list(product(*(axis.taps[phase] for axis, phase in zip(outer_axes, outer, strict=True))))
        for phase, slow_products in enumerate(slow_axis.products):
            products = [
                PlaneProduct(
                    blocks[tuple(shift for shift, _ in shifts_and_taps)],
                    planes[slow.plane, fast.plane],
                    tuple(
                        ((*(tap for _, tap in shifts_and_taps), a, b), sign * other)
                        for (a, sign), (b, other) in product(slow.taps, fast.taps)
                    ),
                    tuple(s * phases + r + fast_axis.stride * e for s, e in product(slow.to, fast.to)),
                )
                for r, fast_products in enumerate(fast_axis.products)
                for shifts_and_taps in outer_taps
                for slow, fast in product(slow_products, fast_products)
            ]
            chunks.append(Chunk(outer, phase, tuple(products)))
    return tuple(chunks)


@lru_cache(maxsize=256)
def filtered_geometry(g: Geometry) -> FilteredGeometry:
    """Return a geometry as products of planes."""
    axes = grid(g)
    *outer, last = axes.slow
    # a signal is a picture with one row
    steps = [1, *map(group_size, g.kernel, g.stride, g.dilation)]
    outer_axes, slow, fast = tuple(outer), _filtered_axis(last, steps[-2]), _filtered_axis(axes.fast, steps[-1])
    chunks = _chunks(outer_axes, slow, fast)
    return FilteredGeometry(
        outer_axes,
        slow,
        fast,
        math.prod(len(axis.shifts) for axis in outer_axes),
        len(slow.planes) * len(fast.planes),
        slow.step * fast.phases,
        math.prod(axis.stride for axis in outer_axes) * slow.stride,
        sum(len(chunk.products) for chunk in chunks),
        chunks,
    )


@lru_cache(maxsize=64)
def filtered_lengths(p: Problem) -> FilteredLengths:
    """Return the lengths of a problem's axes in groups of positions."""
    filtered, (slow, fast) = filtered_geometry(p.geometry), lengths(p)
    return FilteredLengths(slow[:-1], _filtered_length(filtered.slow, slow[-1]), _filtered_length(filtered.fast, fast))
