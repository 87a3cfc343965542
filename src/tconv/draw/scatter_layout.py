"""Layout of the scatter picture: the places of its grids and signs, in cells from the upper left corner.

The scatter picture is drawn at these places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from tconv.draw.array_grid import MOST_AXES, TIMES, Place, size_of
from tconv.draw.cell_board import CAPTION
from tconv.draw.picture_limits import LARGEST

Size = tuple[float, float]
"""Height and width of a grid."""

_WIDE = 40  # most cells across of a picture on one line
_SIGN = 1.3
_MARGIN = 0.5


class Arrangement(NamedTuple):
    """The size of a picture and the upper left corners (left, top) of its grids; signs are (centre, text)."""

    width: float
    height: float
    input: Place
    kernel: Place
    painted: tuple[Place, ...]
    output: Place
    signs: tuple[tuple[Place, str], ...]

    @property
    def readable(self) -> bool:
        """True if the numbers in the cells are large enough to read."""
        return max(self.width, self.height) <= LARGEST


def arrange(x_shape: tuple[int, ...], kernel: tuple[int, ...], canvas: tuple[int, ...]) -> Arrangement:
    """Return the arrangement of arrays of these shapes, with one painted canvas for each element of x.

    In 1-D they are below each other, as in a column addition; otherwise on one line, or, if that is too wide, in the
    order of the elements of x. Volumes that are too wide for a line are below each other, too.
    """
    count = math.prod(x_shape)
    sizes = size_of(x_shape), size_of(kernel), size_of(canvas)
    if len(x_shape) == 1:
        return _column(count, *sizes)
    line, as_x, single = (_band(count, *sizes, per_line) for per_line in (count, x_shape[-1], 1))
    if line.width <= _WIDE and line.readable:
        return line
    column = _column(count, *sizes)
    choices = (as_x, line, single, column) if len(x_shape) < MOST_AXES else (column, as_x, line, single)
    return next((choice for choice in choices if choice.readable), as_x)


def _band(count: int, x: Size, kernel: Size, canvas: Size, per_line: int) -> Arrangement:
    """Return: input, kernel = painted grids, `per_line` on a line = output; all centred on one height."""
    lines = math.ceil(count / per_line)
    block = lines * canvas[0] + (lines - 1) * _SIGN
    middle = _MARGIN + CAPTION + max(x[0], kernel[0], block) / 2
    left_of_kernel = _MARGIN + x[1] + _SIGN
    first = left_of_kernel + kernel[1] + _SIGN
    step = canvas[1] + _SIGN
    last = first + per_line * step
    signs = [((left_of_kernel - _SIGN / 2, middle), TIMES)]
    signs += [((edge - _SIGN / 2, middle), "=") for edge in (first, last)]
    painted = []
    for line, start in enumerate(range(0, count, per_line)):
        top = middle - block / 2 + line * (canvas[0] + _SIGN)
        if line:
            signs.append((((first + last - _SIGN) / 2, top - _SIGN / 2), "+"))
        for column in range(min(per_line, count - start)):
            painted.append((first + column * step, top))
            if column:
                signs.append(((first + column * step - _SIGN / 2, top + canvas[0] / 2), "+"))
    return Arrangement(
        width=last + canvas[1] + _MARGIN,
        height=2 * middle - CAPTION,
        input=(_MARGIN, middle - x[0] / 2),
        kernel=(left_of_kernel, middle - kernel[0] / 2),
        painted=tuple(painted),
        output=(last, middle - canvas[0] / 2),
        signs=tuple(signs),
    )


def _column(count: int, x: Size, kernel: Size, canvas: Size) -> Arrangement:
    """Return: input and kernel on the first line, one painted grid on each line below, their sum on the last."""
    left = _MARGIN + _SIGN
    tops = _tops(count, x, kernel, canvas)
    head = next(tops)
    painted = [(left, next(tops)) for _ in range(count)]
    last = next(tops)
    signs = [((left + x[1] + _SIGN / 2, head + max(x[0], kernel[0]) / 2), TIMES)]
    signs += [((left - _SIGN / 2, top + canvas[0] / 2), "+" if at else "=") for at, (_, top) in enumerate(painted)]
    return Arrangement(
        width=left + max(canvas[1], x[1] + _SIGN + kernel[1]) + _MARGIN,
        height=last + canvas[0] + _MARGIN,
        input=(left, head),
        kernel=(left + x[1] + _SIGN, head),
        painted=tuple(painted),
        output=(left, last),
        signs=(*signs, ((left - _SIGN / 2, last + canvas[0] / 2), "=")),
    )


def _tops(count: int, x: Size, kernel: Size, canvas: Size) -> Iterator[float]:
    """Yield the upper edges of the lines of `_column`."""
    top = _MARGIN + CAPTION
    yield top
    top += max(x[0], kernel[0]) + _MARGIN + 0.9
    for _ in range(count):
        yield top
        top += canvas[0] + 0.3
    yield top + CAPTION
