"""Layout of the gather picture: one band per output element, with its grids, the lines of its sum, and signs.

The gather picture is drawn at these places.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tconv.draw.array_grid import Place, size_of
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

    Everything is beside each other, or, if that is wide, the output below the rest. The text above the lines needs
    `words` cells.
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
    tallest = max(x[0], w[0]) if split else max(x[0], w[0], y[0])
    per_column = max(_LEAST_LINES, math.floor(tallest / _STEP), math.ceil(max(products) ** 0.5) + 1)
    columns = math.ceil((max(products) + 1) / per_column)
    per_column = math.ceil((max(products) + 1) / columns)
    bands, top, width = [], _MARGIN, 0.0
    for _ in products:
        band, height, width = _band(x, w, y, top, Lines(0, 0, per_column, columns, words), split)
        bands.append(band)
        top += height + _MARGIN
    return Arrangement(width, top, tuple(bands))


def _band(x: Place, w: Place, y: Place, top: float, lines: Lines, split: bool) -> tuple[Band, float, float]:
    """Return a band, its height, and the width of the picture; with `split` the output is below the rest."""
    heights = [x[0], w[0], lines.per_column * _STEP, 0.0 if split else y[0]]
    body = max(heights)
    middle = top + CAPTION + body / 2
    kernel = _MARGIN + x[1] + _GAP
    lines = lines._replace(left=kernel + w[1] + _GAP, top=middle - heights[2] / 2)
    right = lines.left + lines.width
    signs: list[tuple[Place, str]] = [((kernel - _GAP / 2, middle), "*")]
    if split:
        output = _MARGIN, top + CAPTION + body + _MARGIN + CAPTION
        height, width = output[1] + y[0] - top, max(right, output[0] + y[1]) + _MARGIN
    else:
        output = right + 1.5 * _GAP, middle - y[0] / 2
        height, width = CAPTION + body, output[0] + y[1] + _MARGIN
        signs.append(((right + 0.75 * _GAP, middle), "\u2192"))
    corners = (_MARGIN, middle - x[0] / 2), (kernel, middle - w[0] / 2)
    return Band(*corners, lines, output, tuple(signs)), height, width
