"""Film on a matplotlib Figure: everything is drawn once, and a frame changes only its texts, colours and outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.draw.animation.appearance import caption_colour, colours_of, font_of, texts_of
from tconv.draw.animation.film import BEYOND, CUT, HOLE, PLAIN, TEXT, Film, Frame, Grid
from tconv.draw.array_grid import ArrayGrid, brackets
from tconv.draw.cell_board import axes_of
from tconv.draw.palette import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 0.4  # of a cell
_LARGEST = 12.0  # inches across
DPI = 100


class FigureFilm:
    """A Figure of the size of the film; `show` draws a frame on it. Raises MissingExtraError without matplotlib.

    `dpi` are the pixels of an inch at which it is as wide as asked for, or those of a screen.
    """

    def __init__(self, film: Film, theme: Theme, width: int | None = None) -> None:
        self._film, self._theme = film, theme
        inches = min(_INCHES, _LARGEST / max(film.width, film.height))
        self.ax = axes_of(None, inches * film.width, inches * film.height, theme, fill=True)
        self.dpi = DPI if width is None else (width + 0.01) / self.figure.get_figwidth()  # rounding never loses one
        self._points = 72 * inches
        self.ax.set_axis_off()
        self.ax.set_xlim(0, film.width)
        self.ax.set_ylim(film.height, 0)
        self._font = font_of(film) * self._points
        self._meshes: dict[str, Any] = {}
        self._numbers: dict[str, Any] = {}
        for name, grid in film.grids.items():
            self._grid(name, grid)
        for (x, y), sign in zip(film.sign_places, film.signs, strict=True):
            self._text(x, y, sign, 0.7, color=theme.muted, ha="center")
        self._text(*film.title_place, film.title, TEXT, weight="bold")
        self._lines = [
            self._text(*film.line(at), "", TEXT, color=theme.muted if at else theme.ink)
            for at in range(film.sentence_lines)
        ]
        for at, note in enumerate(film.notes):
            self._text(*film.line(film.sentence_lines + at), note, TEXT, color=theme.muted)
        self._outlines: list[Any] = []

    @property
    def figure(self) -> Figure:
        """The Figure, which pyplot does not manage."""
        figure: Any = self.ax.figure
        return figure  # type: ignore[no-any-return]

    def show(self, frame: Frame) -> None:
        """Draw a frame in the place of the last one."""
        for name in self._film.grids:
            colours = colours_of(self._film, frame, name, self._theme)
            self._meshes[name].set_array(colours.reshape(*self._meshes[name].get_array().shape))
            texts = texts_of(frame, name)
            for index, number in self._numbers[name].items():
                number.set_text(texts[index] or "")
        for line, text in zip(self._lines, (*frame.sentence, "", ""), strict=False):
            line.set_text(text)
        for outline in self._outlines:
            outline.remove()
        self._outlines = []
        for box in frame.boxes:
            grid = ArrayGrid(*self._film.places[box.grid], self._film.grids[box.grid].shape)
            part = next(grid.part(tuple(slice(a, a + n) for a, n in zip(box.start, box.shape, strict=True))))
            self._outlines.append(self._box(part, edgecolor=self._theme.chosen, linewidth=0.1, zorder=4))

    def _grid(self, name: str, grid: Grid) -> None:
        theme, place = self._theme, ArrayGrid(*self._film.places[name], grid.shape)
        rows, columns = place.size
        across, down = (start + np.arange(n + 1) for start, n in ((place.left, int(columns)), (place.top, int(rows))))
        blank = theme.blank((int(rows), int(columns)))
        # the page's colour as a face of a hole, and no line around it, leave it empty
        edges = [theme.page if kind == HOLE else theme.line for kind in grid.kinds.flat]
        self._meshes[name] = self.ax.pcolormesh(
            across, down, blank, edgecolors=edges, linewidth=0.025 * self._points, zorder=1
        )
        self._numbers[name] = {}
        has_holes = bool((grid.kinds == HOLE).any())
        for index in np.ndindex(*grid.shape):
            kind = int(grid.kinds[index])
            cell = next(place.part(tuple(slice(i, i + 1) for i in index)))
            if kind == CUT:
                self._box(cell, hatch="////", edgecolor=theme.faint, linewidth=0, zorder=1.5)
            if kind == BEYOND:
                self._box(cell, edgecolor=theme.edge, linewidth=0.03, linestyle="--", zorder=1.5)
            if kind != HOLE:
                if has_holes:  # a hole is drawn over half of its neighbours' lines
                    self._box(cell, edgecolor=theme.line, linewidth=0.025, zorder=1.2)
                colour = theme.ink if kind == PLAIN else theme.muted
                number = self.ax.text(
                    cell.left + 0.5, cell.top + 0.5, "", color=colour, fontsize=self._font, ha="center",
                    va="center_baseline", gid=f"{name}{brackets(index)}", zorder=3,
                )  # fmt: skip
                self._numbers[name][index] = number
        colour = caption_colour(grid.role, theme)
        width = 0.075 if grid.role in ("input", "output") else 0.04
        self._box(next(place.part(grid.part)), edgecolor=colour, linewidth=width, zorder=2)
        self._text(place.middle, place.top - 0.42, grid.caption, 0.4, color=colour, weight="bold", ha="center")

    def _box(self, grid: ArrayGrid, **style: Any) -> Any:
        from matplotlib.patches import Rectangle

        rows, columns = grid.size
        style["linewidth"] *= self._points
        return self.ax.add_patch(
            Rectangle((grid.left, grid.top), columns, rows, fill=False, joinstyle="miter", **style)
        )

    def _text(self, x: float, y: float, text: str, size: float, **style: Any) -> Any:
        style = {"color": self._theme.ink, "va": "center_baseline", "ha": "left", **style}
        return self.ax.text(x, y, text, fontsize=size * self._points, zorder=3, **style)
