"""Layout of the gather picture: one band per output element, with its grids, the lines of its sum, and signs.

The gather picture is drawn at these places.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tconv.draw.array_grid import TIMES, Place, size_of
from tconv.draw.cell_board import CAPTION
from tconv.draw.picture_limits import LARGEST

_GAP = 1.3  # cells between grids, where a sign stands
_MARGIN = 0.5
_LINE = 6.8  # width of one product: names, input, tap and product
_STEP = 1.2  # height of one product
_LEAST_LINES = 6  # in a column, before there is a second one


class Lines(NamedTuple):
    """Lines of a sum, in columns of `per_column`, with their upper left corner at (left, top)."""

    left: float
    top: float
    per_column: int
    columns: int
    words: float  # width of the text above them

    @property
    def width(self) -> float:
        return max(self.words, self.columns * (_LINE + _GAP) - _GAP)

    @property
    def middle(self) -> float:
        """Horizontal middle of all columns."""
        return self.left + self.width / 2

    def corner(self, line: int) -> Place:
        """Return the upper left corner of one line; the one after the last product is the sum's."""
        column, row = divmod(line, self.per_column)
        return self.left + column * (_LINE + _GAP), self.top + row * _STEP


class Band(NamedTuple):
    """Places of one output element: corners of its grids, its lines, and signs (centre, text)."""

    input: Place
    kernel: Place
    lines: Lines
    output: Place
    signs: tuple[tuple[Place, str], ...]


class Arrangement(NamedTuple):
    """Size of the picture in cells, and its bands from top to bottom."""

    width: float
    height: float
    bands: tuple[Band, ...]

    @property
    def readable(self) -> bool:
        """True if the numbers in the cells are large enough to read."""
        return max(self.width, self.height) <= LARGEST


def arrange(
    x_shape: tuple[int, ...], kernel: tuple[int, ...], canvas: tuple[int, ...], products: list[int], words: float = 0
) -> Arrangement:
    """Return the arrangement of arrays of these shapes, with one band for each number of products.

    Everything is beside each other, or, if that is wide, the output below input and kernel. The text above the lines
    needs `words` cells.
    """
    beside, below = (_arrange(x_shape, kernel, canvas, products, words, split) for split in (False, True))
    return beside if beside.width <= LARGEST / 2 or (beside.readable and not below.readable) else below


def _arrange(
    x_shape: tuple[int, ...],
    kernel: tuple[int, ...],
    canvas: tuple[int, ...],
    products: list[int],
    words: float,
    split: bool,
) -> Arrangement:
    x, w, y = size_of(x_shape), size_of(kernel), size_of(canvas)
    above = max(x[0], w[0])
    left = above + _MARGIN + CAPTION + y[0] if split else max(above, y[0])  # height of the arrays
    per_column = max(_LEAST_LINES, math.floor(left / _STEP), math.ceil(max(products) ** 0.5) + 1)
    columns = math.ceil((max(products) + 1) / per_column)
    lines = Lines(0, 0, math.ceil((max(products) + 1) / columns), columns, words)
    bands, top, width = [], _MARGIN, 0.0
    for _ in products:
        band, height, width = (_below if split else _beside)(x, w, y, top, lines)
        bands.append(band)
        top += height + _MARGIN
    return Arrangement(width, top, tuple(bands))


def _beside(x: Place, w: Place, y: Place, top: float, lines: Lines) -> tuple[Band, float, float]:
    """Return a band with input, kernel, lines and output from left to right, its height, and the picture's width."""
    tall = lines.per_column * _STEP
    body = max(x[0], w[0], y[0], tall)
    middle = top + CAPTION + body / 2
    kernel = _MARGIN + x[1] + _GAP
    lines = lines._replace(left=kernel + w[1] + _GAP, top=middle - tall / 2)
    right = lines.left + lines.width
    output = right + 1.5 * _GAP
    signs = ((kernel - _GAP / 2, middle), TIMES), ((right + 0.75 * _GAP, middle), "\u2192")
    corners = (_MARGIN, middle - x[0] / 2), (kernel, middle - w[0] / 2)
    band = Band(*corners, lines, (output, middle - y[0] / 2), signs)
    return band, CAPTION + body, output + y[1] + _MARGIN


def _below(x: Place, w: Place, y: Place, top: float, lines: Lines) -> tuple[Band, float, float]:
    """Return a band with the output below input and kernel, the lines on their right, its height, and the width."""
    tall = lines.per_column * _STEP
    above = max(x[0], w[0])
    arrays = above + _MARGIN + CAPTION + y[0]
    body = max(arrays, tall)
    first = top + CAPTION + (body - arrays) / 2
    kernel = _MARGIN + x[1] + _GAP
    left = max(kernel + w[1], _MARGIN + y[1]) + 1.5 * _GAP
    lines = lines._replace(left=left, top=top + CAPTION + (body - tall) / 2)
    middle = first + above / 2
    corners = (_MARGIN, middle - x[0] / 2), (kernel, middle - w[0] / 2)
    output = _MARGIN, first + above + _MARGIN + CAPTION
    band = Band(*corners, lines, output, (((kernel - _GAP / 2, middle), TIMES),))
    return band, CAPTION + body, left + lines.width + _MARGIN
