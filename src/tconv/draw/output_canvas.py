"""Output of a transposed convolution as pictures show it: the full result, hatched where the crop cuts it away.

A negative crop adds rows beyond the full result, which contain zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np

from tconv import definition
from tconv._arrays import Array
from tconv.draw.array_grid import ArrayGrid, brackets, by
from tconv.draw.cell_board import Board, short
from tconv.geometry import Geometry

Index = tuple[int, ...]


def scattered(x: Array, w: Array, geometry: Geometry) -> Array:
    """Return the transposed convolution of bare arrays by the definition, which takes three axes for a batch."""
    y: Array = definition.scatter(x[None, None], w[None, None], geometry=geometry)[0, 0]
    return y


class Product(NamedTuple):
    """Input element and the tap that carries it to an output element."""

    input: Index
    tap: Index


@dataclass(frozen=True)
class Canvas:
    """Cells of the full result, of a negative crop's rows, and the part of them that is the output.

    >>> canvas = Canvas(Geometry(kernel=(2,), stride=2, crop=((1, -1),)), (3,))
    >>> canvas.shape, canvas.output, canvas.name((0,)), canvas.name((1,))
    ((7,), (slice(1, 7, None),), 'full[0]', 'output[0]')
    """

    geometry: Geometry
    input_shape: tuple[int, ...]

    @cached_property
    def uncropped(self) -> Geometry:
        """Geometry whose output is this canvas: only the negative sides of the crop."""
        g = self.geometry
        return Geometry(g.kernel, g.stride, [(min(lo, 0), min(hi, 0)) for lo, hi in g.crop], g.dilation)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return self.uncropped.output_shape(self.input_shape)

    @cached_property
    def output(self) -> tuple[slice, ...]:
        """Part of the canvas that the crop leaves."""
        sides = zip(self.shape, self.geometry.crop, strict=True)
        return tuple(slice(max(lo, 0), n - max(hi, 0)) for n, (lo, hi) in sides)

    @property
    def cut(self) -> list[tuple[slice, ...]]:
        """Boxes that cover what the crop cuts away, each cell once."""
        boxes: list[tuple[slice, ...]] = []
        whole = tuple(slice(0, n) for n in self.shape)
        for axis, (side, n) in enumerate(zip(self.output, self.shape, strict=True)):
            ends = slice(0, side.start), slice(side.stop, n)
            boxes += [(*self.output[:axis], end, *whole[axis + 1 :]) for end in ends if end.start < end.stop]
        return boxes

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(side.stop - side.start for side in self.output)

    @property
    def cropped(self) -> bool:
        """True if the output is not the full result."""
        return any(lo or hi for lo, hi in self.geometry.crop)

    @cached_property
    def counts(self) -> Array:
        """Number of taps that meet in each cell."""
        return scattered(np.ones(self.input_shape, int), np.ones(self.geometry.kernel, int), self.uncropped)

    def sums(self, x: Array, w: Array) -> Array:
        """Return the number of each cell, by the definition."""
        return scattered(x, w, self.uncropped)

    def remains(self, index: Index) -> bool:
        """Return True for a cell of the output."""
        return all(side.start <= i < side.stop for i, side in zip(index, self.output, strict=True))

    def full_index(self, index: Index) -> Index:
        """Return a cell's index in the full result; it is negative or too large for rows beyond it."""
        return tuple(i + min(lo, 0) for i, (lo, _) in zip(index, self.geometry.crop, strict=True))

    def output_index(self, index: Index) -> Index:
        """Return a cell's index in the output."""
        return tuple(i - side.start for i, side in zip(index, self.output, strict=True))

    def cell_of(self, output: Index) -> Index:
        """Return the cell of an element of the output."""
        return tuple(i + side.start for i, side in zip(output, self.output, strict=True))

    def products(self, output: Index) -> list[Product]:
        """Return the products that an element of the output sums, in C order of the inputs.

        >>> Canvas(Geometry(kernel=(3,), stride=2), (4,)).products((2,))
        [Product(input=(0,), tap=(2,)), Product(input=(1,), tap=(0,))]

        They are all pairs with stride*input + dilation*tap at the output's place in the full result, on every axis.
        """
        g, axes = self.geometry, []
        for o, n, k, s, d, (lo, _) in zip(
            output, self.input_shape, g.kernel, g.stride, g.dilation, g.crop, strict=True
        ):
            steps = ((i, o + lo - s * i) for i in range(n))
            axes.append([(i, step // d) for i, step in steps if step in range(0, d * k, d)])
        return [Product(*map(tuple, zip(*pairs, strict=True))) for pairs in product(*axes)]

    def name(self, index: Index) -> str:
        """Return the gid of a cell: "output[0,1]", or "full[2,0]" where it is cut away."""
        if self.remains(index):
            return f"output{brackets(self.output_index(index))}"
        return f"full{brackets(self.full_index(index))}"


def draw_output(
    board: Board,
    grid: ArrayGrid,
    canvas: Canvas,
    numbers: Array,
    colours: Array,
    *,
    bold: Array | None = None,
    prefix: str = "",
    caption: bool = True,
) -> None:
    """Draw a canvas: its numbers, hatched cells that the crop cuts away, a frame around the output, its caption.

    `bold` marks the cells whose numbers are written in ink, by default those that a tap reaches; the others and the cut
    ones are quiet. `prefix` is an index before that of every gid, for several outputs in one picture.
    """
    theme = board.theme
    remains = np.zeros(canvas.shape, bool)
    remains[canvas.output] = True
    colours = np.where(remains[..., None], colours, theme.blank(canvas.shape))
    bold = canvas.counts > 0 if bold is None else bold
    board.fill(grid, colours)
    for index in np.ndindex(*canvas.shape):
        ink = theme.ink_on(colours[index]) if remains[index] and bold[index] else theme.muted
        name, bracket, rest = canvas.name(index).partition("[")
        board.number(grid.cell(index), short(numbers[index]), f"{name}{prefix}{bracket}{rest}", ink)
    for region in canvas.cut:
        for part in grid.part(region):
            board.hatch(part)
    if canvas.cropped:
        for part in grid.part(canvas.output):
            board.frame(part, 0.11, theme.ink)
    if caption:
        board.caption(grid, "OUTPUT", sizes=_sizes(canvas))


def _sizes(canvas: Canvas) -> str:
    """Return the size of the output, and of the full result that the crop leaves it of."""
    full = canvas.geometry.full_shape(canvas.input_shape)
    extended = min(min(pair) for pair in canvas.geometry.crop) < 0
    return by(canvas.output_shape) + (f" of {by(full)}" if canvas.cropped and not extended else "")
