"""Place of an array on a board: a row of cells in 1-D, a grid in 2-D, a row of planes in 3-D.

One rule for all pictures, so that none of them has a copy per number of axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Place = tuple[float, float]

_GAP = 0.5  # cells between two planes
_HEAD = 0.6  # cells above planes for their labels
MOST_AXES = 3
TIMES = "\u00d7"


@dataclass(frozen=True)
class ArrayGrid:
    """Array of this shape with its upper left corner at (left, top); a cell has the side `unit`.

    >>> ArrayGrid(0, 0, (4, 5)).cell((1, 2))
    (2.0, 1.0)
    >>> ArrayGrid(0, 0, (2, 3, 4)).size
    (3.6, 8.5)
    """

    left: float
    top: float
    shape: tuple[int, ...]
    unit: float = 1.0

    @property
    def size(self) -> Place:
        """Height and width, the labels of planes included."""
        return size_of(self.shape, self.unit)

    @property
    def middle(self) -> float:
        """Horizontal middle."""
        return self.left + self.size[1] / 2

    def cell(self, index: tuple[int, ...]) -> Place:
        """Return the corner (left, top) of one cell."""
        plane, row, column = (0, 0, *index)[-3:]
        head = _HEAD if len(self.shape) == MOST_AXES else 0.0
        return (
            self.left + self.unit * (plane * (self.shape[-1] + _GAP) + column),
            self.top + self.unit * (head + row),
        )

    def planes(self) -> Iterator[tuple[int, ArrayGrid]]:
        """Yield each plane's number and its own grid of two axes; an array of one or two axes is one plane."""
        flat = (1, *self.shape)[-2:]
        for number in range(self.shape[0] if len(self.shape) == MOST_AXES else 1):
            yield number, ArrayGrid(*self.cell((number, 0, 0)), flat, self.unit)

    def part(self, slices: tuple[slice, ...]) -> Iterator[ArrayGrid]:
        """Yield the grids of two axes that show a part of the array, one a plane."""
        plane, rows, columns = (slice(0, 1), slice(0, 1), *slices)[-3:]
        for number in range(plane.start, plane.stop):
            corner = self.cell((number, rows.start, columns.start))
            yield ArrayGrid(*corner, (rows.stop - rows.start, columns.stop - columns.start), self.unit)


def size_of(shape: tuple[int, ...], unit: float = 1.0) -> Place:
    """Return the height and width at which an array of this shape is drawn."""
    planes, rows, columns = (1, 1, *shape)[-3:]
    head = _HEAD if len(shape) == MOST_AXES else 0.0
    return unit * (head + rows), unit * (planes * columns + _GAP * (planes - 1))


def brackets(index: tuple[int, ...]) -> str:
    """Return an index as it is written after an array's name: "[0,1]"."""
    return f"[{','.join(map(str, index))}]"


def before_letter(factor: int) -> str:
    """Return a factor as it is written before a letter: nothing for 1, as in "i + 2t"."""
    return "" if factor == 1 else str(factor)


def by(shape: tuple[int, ...]) -> str:
    """Return sizes as they are written under a caption, with the sign of multiplication."""
    return f" {TIMES} ".join(map(str, shape))
