"""Board of cells: an Axes whose unit is one cell, with numbers, captions and frames sized to the cell.

All pictures with numbers are drawn on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv._arrays import Array
from tconv.draw.array_grid import MOST_AXES, ArrayGrid, Place, brackets, by
from tconv.draw.palette import Theme
from tconv.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    value = np.asarray(value).item()  # the smallest int64 has no absolute value in its own dtype
    if abs(value) < 10**_INTEGER_DIGITS and value == int(value):
        return str(int(value))
    return re.sub(r"e([-+])0*", lambda sign: "e" + sign[1].strip("+"), f"{float(value):.3g}")


def number_size(longest: int) -> float:
    """Return the font size, in cells, at which a number of so many characters fits its cell."""
    return min(0.42, 0.86 / (_DIGIT * max(1, longest)))


def axes_of(ax: Axes | None, width: float, height: float, theme: Theme, *, fill: bool = False) -> Axes:
    """Return the given Axes, or a new one in a Figure of this size in inches, which pyplot does not manage.

    With `fill` the new Axes fills the Figure, without space for ticks and a title. The new Figure has the theme's page
    colour, and so has a given Axes whose Figure has another. Raises ArgumentError for another `ax`, MissingExtraError
    without matplotlib.
    """
    try:
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("tconv.draw", "matplotlib", "draw") from None
    if ax is None:
        figure = Figure(figsize=(width, height), layout=None if fill else "constrained", facecolor=theme.page)
        ax = figure.add_axes((0, 0, 1, 1)) if fill else figure.add_subplot()
    if not isinstance(ax, Axes) or ax.name != "rectilinear":
        raise ArgumentError(
            f"ax is {type(ax).__module__}.{type(ax).__qualname__}; a flat Axes of matplotlib is needed. "
            "Write ax=matplotlib.pyplot.figure().add_subplot(), or leave ax out"
        )
    ax.set_facecolor(theme.page)
    return ax


def write_axes(ax: Axes, theme: Theme) -> None:
    """Give an Axes with ticks and a title the colours of the theme."""
    ax.title.set_color(theme.ink)
    ax.tick_params(colors=theme.ink)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_color(theme.ink)
    for spine in ax.spines.values():
        spine.set_edgecolor(theme.edge)


@dataclass(frozen=True)
class Board:
    """An Axes in units of cells, rows downwards.

    `points` is the side of a cell, `longest` the number of characters of the longest number.
    """

    ax: Axes
    theme: Theme
    points: float
    longest: int

    @classmethod
    def of(cls, ax: Axes | None, width: float, height: float, longest: int, theme: Theme) -> Board:
        """Return the board on this Axes, or on one that fills a new Figure, which pyplot does not manage.

        `width` and `height` are in cells. Numbers are sized for the current size of the Axes.
        """
        inches = min(_CELL * max(1.0, longest / 4), _LARGEST_FIGURE / max(width, height))
        ax = axes_of(ax, inches * width, inches * height, theme, fill=True)
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
        board = cls(ax, theme, per_cell * 72 / ax.figure.dpi, longest)
        if not _has_colour(ax.figure, theme.page):  # without its frame an Axes has no background
            board._box(0, 0, height, width, facecolor=theme.page, linewidth=0, zorder=0)
        return board

    def font(self, unit: float = 1.0) -> float:
        """Return the font size at which every number of this board fits a cell whose side is `unit`."""
        return self.points * unit * number_size(self.longest)

    def fill(
        self,
        grid: ArrayGrid,
        colours: Array,
        *,
        lines: bool = True,
        frame: float = 0.035,
        planes: Sequence[str] | None = None,
    ) -> None:
        """Draw the cells of an array in colours [*shape, 3], with lines, a frame, and labels above its planes."""
        for number, plane in grid.planes():
            rows, columns = plane.shape
            part = colours[number] if len(grid.shape) == MOST_AXES else colours
            self.ax.pcolormesh(
                plane.left + plane.unit * np.arange(columns + 1),
                plane.top + plane.unit * np.arange(rows + 1),
                part.reshape(rows, columns, 3),
                edgecolors=self.theme.line if lines else "none",
                linewidth=0.022 * self.points * plane.unit if lines else 0,
                zorder=1,
            )
            self.frame(plane, frame * plane.unit, self.theme.edge)
            if len(grid.shape) == MOST_AXES:
                label = f"plane {number}" if planes is None else planes[number]
                self.note(plane.middle, plane.top - 0.3 * plane.unit, label, 0.26 * plane.unit)

    def array(
        self, grid: ArrayGrid, name: str, array: Array, colours: Array, bold: Array | None = None, prefix: str = ""
    ) -> None:
        """Draw an array with its caption. A number's gid is the name, in small letters, `prefix` and its index.

        Numbers are quiet where `bold` is given and False.
        """
        self.fill(grid, colours)
        for index in np.ndindex(*array.shape):
            ink = self.theme.ink_on(colours[index]) if bold is None or bold[index] else self.theme.muted
            self.number(grid.cell(index), short(array[index]), f"{name.lower()}{prefix}{brackets(index)}", ink)
        self.caption(grid, name)

    def hatch(self, grid: ArrayGrid) -> None:
        """Hatch a grid of two axes that the crop cuts away."""
        rows, columns = grid.size
        self._box(
            grid.left,
            grid.top,
            rows,
            columns,
            fill=False,
            hatch="///",
            edgecolor=self.theme.hatch,
            linewidth=0,
            zorder=1.5,
        )

    def frame(self, grid: ArrayGrid, width: float, colour: str) -> None:
        """Draw a frame around a grid of two axes, `width` in cells."""
        rows, columns = grid.size
        style = {"edgecolor": colour, "linewidth": width * self.points, "joinstyle": "miter"}
        self._box(grid.left, grid.top, rows, columns, fill=False, zorder=2, **style)

    def rule(self, start: Place, end: Place, width: float) -> None:
        """Draw a thin line from start to end, `width` in cells."""
        x, y = zip(start, end, strict=True)
        self.ax.plot(x, y, color=self.theme.edge, linewidth=width * self.points, solid_capstyle="butt", zorder=2)

    def number(
        self, place: Place, text: str, gid: str, colour: str | None = None, unit: float = 1.0, weight: str = "normal"
    ) -> None:
        """Write a number in the cell whose corner is (left, top). Its gid names it: "output[2,2]"."""
        self.ax.text(
            place[0] + unit / 2,
            place[1] + unit / 2,
            text,
            gid=gid,
            color=colour or self.theme.ink,
            fontsize=self.font(unit),
            weight=weight,
            ha="center",
            va="center_baseline",
            zorder=3,
        )

    def text(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        """Write a text or an operator sign, `size` in cells."""
        style = {"ha": "center", "va": "center_baseline", "color": self.theme.ink, **style}
        self.ax.text(x, y, text, fontsize=size * self.points, zorder=3, **style)

    def note(self, x: float, y: float, text: str, size: float = 0.34, **style: Any) -> None:
        """Write a quiet text, `size` in cells."""
        self.text(x, y, text, size, **{"color": self.theme.muted, **style})

    def caption(
        self, grid: ArrayGrid, name: str, *, size: float = 0.4, unit: float = 1.0, sizes: str | None = None
    ) -> None:
        """Write the name of an array above it, and its sizes; INPUT and OUTPUT have their colours everywhere."""
        colour = {"INPUT": self.theme.input, "OUTPUT": self.theme.output}.get(name, self.theme.ink)
        self.text(grid.middle, grid.top - 0.9 * unit, name, size * unit, weight="bold", color=colour)
        self.note(grid.middle, grid.top - 0.38 * unit, by(grid.shape) if sizes is None else sizes, 0.75 * size * unit)

    def _box(self, left: float, top: float, rows: float, columns: float, **style: Any) -> None:
        from matplotlib.patches import Rectangle

        self.ax.add_patch(Rectangle((left, top), columns, rows, **style))


CAPTION = 1.3
"""Cells above an array that its caption needs."""


def width_of(text: str, size: float) -> float:
    """Return the width in cells that a text of this size needs, a little more than DejaVu Sans takes."""
    return 0.63 * size * len(text)


def _has_colour(figure: Any, colour: str) -> bool:
    from matplotlib.colors import same_color

    return bool(same_color(figure.get_facecolor(), colour))
