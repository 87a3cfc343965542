"""Minimal filtering by pairs: two outputs of a phase that has two taps, from three products instead of four.

    y0 = x[c-1]*b + x[c]*a                     m = x[c]*(a + b)
    y1 = x[c]*b + x[c+1]*a                     y0 = m + (x[c-1] - x[c])*b,  y1 = m - (x[c] - x[c+1])*a

(Winograd, Arithmetic complexity of computations, 1980: F(2, 2).) The factors are 0, 1 and -1: on integers it is exact.
On an axis with s < k <= 2s every phase has one tap or two. Positions are then taken in pairs, i = 2j and 2j + 1, and a
layer becomes one of stride 2s over positions j: phase r of the pair's first output is r, that of its second r + s. What
is multiplied are planes: x[2j + place], or x[2j + place] - x[2j + place + 1], for all j. On two axes a plane is one of
both, and the products are 9 for 16; an axis with one tap stays as it is.

A pair begins at an even output position of its phase, wherever tiles begin, so that the numbers depend on no tiling.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd import phase_axes as grids

MOST_STRIDE = 16
"""Of an axis whose positions are taken in pairs; larger ones would need too many sums at a time."""

MOST_PLACES = 32
"""Taps of an output on one of the last two axes: each is a few lines of machine code."""


class Plane(NamedTuple):
    """x[first + step*j + place] for all positions j of an axis, or its difference to the next element of x."""

    place: int
    difference: bool


class Product(NamedTuple):
    """A plane times a sum of taps, each with a sign; it is added to one position of a pair, or to both."""

    plane: Plane
    taps: tuple[tuple[int, int], ...]
    to: tuple[int, ...]


class Axis(NamedTuple):
    """One axis, whatever its length: phases of outputs, and how their outputs are made from planes."""

    stride: int
    step: int
    """positions that are taken together: 2, or 1 where the sum stays as it is"""
    first: int
    """element of x from which places are counted at position 0: not 0 where a crop moves the output far"""
    products: tuple[tuple[Product, ...], ...]
    """of each phase"""
    planes: tuple[Plane, ...]
    """all of them, in ascending order"""
    places: tuple[int, ...]
    """the elements of x, counted from x[first + step*j], that planes are made of"""
    reach: tuple[int, int]
    """from which j to which other j elements are taken, at least 0 on both sides"""

    @property
    def phases(self) -> int:
        """Outputs of a position."""
        return self.stride * self.step


class Length(NamedTuple):
    """The length of an axis."""

    inputs: int
    outputs: int
    made: int
    """positions j that have an output"""
    positions: int
    """positions j, with those behind the last output whose x is read"""


def _phase(taps: list[tuple[int, int]], step: int) -> tuple[Product, ...]:
    """The products of a phase with these (place, tap)."""
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


def step(kernel: int, stride: int, dilation: int) -> int:
    """How many positions of an axis are taken together: 2 where each phase has one tap or two that are neighbours."""
    return 2 if dilation == 1 and stride < kernel <= 2 * stride and stride <= MOST_STRIDE else 1


def axis(a: grids.Axis, step: int) -> Axis:
    """An axis with so many positions together."""
    first = -a.shifts[-1] // step * step
    if -MOST_PLACES < first < 0:
        first = 0  # x is zeros before it, and a base there would cost every row a position more
    products = tuple(_phase([(-shift - first, tap) for shift, tap in phase], step) for phase in a.taps)
    planes = sorted({each.plane for phase in products for each in phase})
    places = sorted({plane.place + more for plane in planes for more in range(1 + plane.difference)})
    ahead = [place // step for place in places]
    reach = min(0, *ahead), max(0, *ahead)
    return Axis(a.stride, step, first, products, tuple(planes), tuple(places), reach)


def length(axis: Axis, of: grids.Length) -> Length:
    """The length of an axis whose outputs have this one."""
    made = -(-of.positions // axis.step)
    there = -((axis.first - of.inputs) // axis.step)
    return Length(of.inputs, of.outputs, made, max(made, min(made + axis.reach[1], there)))


class Piece(NamedTuple):
    """A product of all axes: which plane it takes, which taps, and to which sums it is added."""

    block: int
    """number of the shifts of the outer axes"""
    plane: int
    """slow plane * fast planes + fast plane"""
    taps: tuple[tuple[tuple[int, ...], int], ...]
    rows: tuple[int, ...]


class Chunk(NamedTuple):
    """The outputs of one phase of the slow axes: their rows of sums are made, and written, together."""

    outer: tuple[int, ...]
    slow: int
    pieces: tuple[Piece, ...]


class Pairs(NamedTuple):
    """A geometry as products of planes: the outer axes as they are, the last two in pairs where they can be."""

    outer: tuple[grids.Axis, ...]
    slow: Axis
    fast: Axis
    blocks: int
    """all combinations of shifts of the outer axes"""
    planes: int
    """of a block"""
    rows: int
    """rows of sums of a chunk: positions of a slow pair x outputs of a fast one"""
    slow_phases: int
    """phases of all axes but the fastest: a chunk each"""
    products: int
    """of all chunks"""
    chunks: tuple[Chunk, ...]
    """in the order of work; products in the order in which they are added"""

    @property
    def direct(self) -> int:
        """How many products there would be without pairs."""
        pairs = 1
        for one in (self.slow, self.fast):
            whole = (each for phase in one.products for each in phase if not each.plane.difference)
            pairs *= sum(len(each.taps) * len(each.to) for each in whole)
        return pairs * math.prod(sum(map(len, one.taps)) for one in self.outer)


class Lengths(NamedTuple):
    """The lengths of all axes."""

    outer: tuple[grids.Length, ...]
    slow: Length
    fast: Length

    @property
    def lines(self) -> int:
        """Lines of positions in an image."""
        return math.prod(one.positions for one in self.outer) * self.slow.positions


def _chunks(outers: tuple[grids.Axis, ...], slow_axis: Axis, fast_axis: Axis) -> tuple[Chunk, ...]:
    planes = {both: number for number, both in enumerate(product(slow_axis.planes, fast_axis.planes))}
    blocks = {shifts: number for number, shifts in enumerate(product(*(one.shifts for one in outers)))}
    phases = fast_axis.phases
    found = []
    for outer in product(*(range(one.stride) for one in outers)):
        choices = list(product(*(one.taps[phase] for one, phase in zip(outers, outer, strict=True))))
        for phase, slows in enumerate(slow_axis.products):
            pieces = [
                Piece(
                    blocks[tuple(shift for shift, _ in choice)],
                    planes[slow.plane, fast.plane],
                    tuple(
                        ((*(tap for _, tap in choice), a, b), sign * other)
                        for (a, sign), (b, other) in product(slow.taps, fast.taps)
                    ),
                    tuple(s * phases + r + fast_axis.stride * e for s, e in product(slow.to, fast.to)),
                )
                for r, fasts in enumerate(fast_axis.products)
                for choice in choices
                for slow, fast in product(slows, fasts)
            ]
            found.append(Chunk(outer, phase, tuple(pieces)))
    return tuple(found)


@lru_cache(maxsize=64)
def pairs(g: Geometry) -> Pairs:
    """A geometry in pairs."""
    axes = grids.grid(g)
    *outer, last = axes.slow
    # a signal is a picture with one row
    steps = [1, *map(step, g.kernel, g.stride, g.dilation)]
    outers, slow, fast = tuple(outer), axis(last, steps[-2]), axis(axes.fast, steps[-1])
    chunks = _chunks(outers, slow, fast)
    return Pairs(
        outers,
        slow,
        fast,
        math.prod(len(one.shifts) for one in outers),
        len(slow.planes) * len(fast.planes),
        slow.step * fast.phases,
        math.prod(one.stride for one in outers) * slow.stride,
        sum(len(chunk.pieces) for chunk in chunks),
        chunks,
    )


@lru_cache(maxsize=64)
def lengths(p: Problem) -> Lengths:
    """The lengths of a problem's axes, in pairs."""
    done, (slow, fast) = pairs(p.geometry), grids.lengths(p)
    return Lengths(slow[:-1], length(done.slow, slow[-1]), length(done.fast, fast))
