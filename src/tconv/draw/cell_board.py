"""Board of cells: an Axes whose unit is one cell, with numbers, captions and frames sized to the cell.

The pictures of the scatter and of the matrix are drawn on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv._arrays import Array
from tconv.draw import palette
from tconv.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = tuple[float, float]

READABLE = 5.0
"""Smallest font in points: smaller numbers are left out where a picture does not need them."""

_LARGEST_FIGURE = 16.0  # inches
_CELL = 0.36  # inches of a cell whose numbers have up to four characters
_DIGIT = 0.636  # width of a digit in matplotlib's own font, DejaVu Sans, per font size
_INTEGER_DIGITS = 6


def short(value: Any) -> str:
    """Return the text of a number: integers of up to 6 digits in full, other numbers with 3 significant digits.

    >>> short(12), short(1 / 3), short(2.0), short(-1.5e-9), short(12345678), short(1 - 2j)
    ('12', '0.333', '2', '-1.5e-9', '1.23e7', '1-2j')
    """
    if np.iscomplexobj(value):
        imaginary = short(np.imag(value))
        sign = "" if imaginary.startswith("-") else "+"
        return f"{short(np.real(value))}{sign}{imaginary}j"
    if abs(value) < 10**_INTEGER_DIGITS and value == int(value):
        return str(int(value))
    return re.sub(r"e([-+])0*", lambda sign: "e" + sign[1].strip("+"), f"{float(value):.3g}")


def axes_of(ax: Axes | None, width: float, height: float, *, fill: bool = False) -> Axes:
    """Return the given Axes, or a new one in a Figure of this size in inches, which pyplot does not manage.

    With `fill` the new Axes fills the Figure, without space for ticks and a title. Raises ArgumentError for another
    `ax`, MissingExtraError without matplotlib.
    """
    try:
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("tconv.draw", "matplotlib", "draw") from None
    if ax is None:
        figure = Figure(figsize=(width, height), layout=None if fill else "constrained")
        return figure.add_axes((0, 0, 1, 1)) if fill else figure.add_subplot()
    if not isinstance(ax, Axes) or ax.name != "rectilinear":
        raise ArgumentError(
            f"ax is {type(ax).__module__}.{type(ax).__qualname__}; a flat Axes of matplotlib is needed. "
            "Write ax=matplotlib.pyplot.figure().add_subplot(), or leave ax out"
        )
    return ax


@dataclass(frozen=True)
class Board:
    """An Axes in units of cells, rows downwards.

    `points` is the side of a cell, `longest` the number of characters of the longest number.
    """

    ax: Axes
    points: float
    longest: int

    @classmethod
    def of(cls, ax: Axes | None, width: float, height: float, longest: int) -> Board:
        """Return the board on this Axes, or on one that fills a new Figure, which pyplot does not manage.

        `width` and `height` are in cells. Numbers are sized for the current size of the Axes.
        """
        inches = min(_CELL * max(1.0, longest / 4), _LARGEST_FIGURE / max(width, height))
        ax = axes_of(ax, inches * width, inches * height, fill=True)
        ax.set_axis_off()
        ax.set_aspect("equal")
        ax.set_xlim(0, width)
        ax.set_ylim(height, 0)
        root = ax.figure.canvas.figure
        if root.get_layout_engine() is not None:
            root.draw_without_rendering()  # the layout engine moves the Axes only when it draws
        # the position before the aspect is applied: the other one belongs to an earlier picture here
        position, box = ax.get_position(original=True), ax.figure.bbox
        per_cell = min(position.width * box.width / width, position.height * box.height / height)
        return cls(ax, per_cell * 72 / ax.figure.dpi, longest)

    def font(self, unit: float = 1.0) -> float:
        """Return the font size at which every number of this board fits a cell whose side is `unit`."""
        return self.points * unit * min(0.42, 0.86 / (_DIGIT * max(1, self.longest)))

    def fill(
        self, left: float, top: float, colours: Array, unit: float = 1.0, lines: bool = True, frame: float = 0.035
    ) -> None:
        """Draw a grid of cells with its corner at (left, top), colours [rows, columns, 3], lines and a frame."""
        rows, columns = colours.shape[:2]
        self.ax.pcolormesh(
            left + unit * np.arange(columns + 1),
            top + unit * np.arange(rows + 1),
            colours,
            edgecolors=palette.LINE if lines else "none",
            linewidth=0.022 * self.points * unit if lines else 0,
            zorder=1,
        )
        self.frame(left, top, rows * unit, columns * unit, frame * unit, palette.EDGE)

    def hatch(self, left: float, top: float, rows: int, columns: int) -> None:
        """Hatch cells that the crop cuts away."""
        self._box(left, top, rows, columns, fill=False, hatch="///", edgecolor=palette.HATCH, linewidth=0, zorder=1.5)

    def frame(self, left: float, top: float, rows: float, columns: float, width: float, colour: str) -> None:
        """Draw a frame around cells, `width` in cells."""
        style = {"edgecolor": colour, "linewidth": width * self.points, "joinstyle": "miter"}
        self._box(left, top, rows, columns, fill=False, zorder=2, **style)

    def rule(self, start: Place, end: Place, width: float) -> None:
        """Draw a thin line from start to end, `width` in cells."""
        x, y = zip(start, end, strict=True)
        self.ax.plot(x, y, color=palette.EDGE, linewidth=width * self.points, solid_capstyle="butt", zorder=2)

    def number(
        self, left: float, top: float, text: str, gid: str, colour: str = palette.INK, unit: float = 1.0
    ) -> None:
        """Write a number in the cell whose corner is (left, top). Its gid names it: "output[2,2]"."""
        x, y = left + unit / 2, top + unit / 2
        self.ax.text(
            x, y, text, gid=gid, color=colour, fontsize=self.font(unit), ha="center", va="center_baseline", zorder=3
        )

    def text(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        """Write a text or an operator sign, `size` in cells."""
        style = {"ha": "center", "va": "center_baseline", "color": palette.INK, **style}
        self.ax.text(x, y, text, fontsize=size * self.points, zorder=3, **style)

    def _box(self, left: float, top: float, rows: float, columns: float, **style: Any) -> None:
        from matplotlib.patches import Rectangle

        self.ax.add_patch(Rectangle((left, top), columns, rows, **style))


# -- one axis or two: a 1-D array is drawn as one row --------------------------------------------------------------


def flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, columns) of the grid that an array of this shape is drawn as."""
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


def grid(colours: Array) -> Array:
    """Return colours [*shape, 3] as those of a grid, [rows, columns, 3]."""
    return colours.reshape(*flat(colours.shape[:-1]), 3)


def cell(place: Place, index: tuple[int, ...], unit: float = 1.0) -> Place:
    """Return the corner (left, top) of one cell of the grid whose corner is `place`."""
    row, column = (0, *index)[-2:]
    return place[0] + unit * column, place[1] + unit * row


def brackets(index: tuple[int, ...]) -> str:
    """Return an index as it is written after an array's name: "[0,1]"."""
    return f"[{','.join(str(i) for i in index)}]"
