"""Film: the grids of an animation, their places, and for each frame the numbers, colours and outlines that it shows.

The views make films, and the writers of SVG, GIF and MP4 draw them. Everything is in cells; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.draw.array_grid import Place, size_of

PLAIN, CUT, ZERO, BEYOND, HOLE = range(5)
"""Kinds of cells: of an array; cut off by the crop; a zero put between inputs; a zero around them; none at all."""

BLANK, SUM = 0, -1
"""Tints of cells without a colour: as the page, and the grey of a sum. n > 0 is the colour of input element n - 1."""

_GAP = 1.5
_CAPTION = 1.0
_MARGIN = 0.5
_LINE = 0.62  # height of a line of text
_TOP = _MARGIN + _LINE + 0.2 + _CAPTION


@dataclass(frozen=True)
class Grid:
    """Cells of one array: its caption, and the kind of each cell, [*shape].

    `role` is "input", "kernel", "product" or "output": the colour of its caption and frame. `part` is the part of the
    grid that a bold frame surrounds: the output inside of the full result, or the input inside of its zeros.
    """

    role: str
    caption: str
    kinds: Array
    part: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells on each axis of the array."""
        return tuple(self.kinds.shape)


class Box(NamedTuple):
    """Outline around cells of a grid in one frame."""

    grid: str
    start: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """One moment: the numbers that stand in each grid, masked where a cell is empty, and what is emphasised.

    `numbers` and `tints` have an array [*shape] for each grid. `sentence` says what happens, in one or two lines.
    """

    numbers: Mapping[str, Any]
    tints: Mapping[str, Array]
    boxes: tuple[Box, ...]
    sentence: tuple[str, ...]
    beats: int = 1  # how long it stays, in units of an ordinary frame


@dataclass(frozen=True)
class Film:
    """Grids, the signs between them, and frames in order. `palette_shape` is that of x, whose elements have colours."""

    title: str
    grids: Mapping[str, Grid]
    signs: Sequence[str]
    frames: Sequence[Frame]
    notes: Sequence[str]
    palette_shape: tuple[int, ...]
    places: Mapping[str, Place] = field(init=False)
    sign_places: Sequence[Place] = field(init=False)
    width: float = field(init=False)
    height: float = field(init=False)

    def __post_init__(self) -> None:
        layout = _column if len(self.palette_shape) == 1 else _row
        places, signs, width, bottom = layout(self.grids)
        longest = max(len(line) for line in (self.title, *self.notes, *(s for f in self.frames for s in f.sentence)))
        set_field = object.__setattr__  # the dataclass is frozen, and these follow from the others
        set_field(self, "places", places)
        set_field(self, "sign_places", signs)
        set_field(self, "width", max(width, 2 * _MARGIN + longest * TEXT * 0.55))
        set_field(self, "height", bottom + _MARGIN + (self.sentence_lines + len(self.notes)) * _LINE + _MARGIN)

    @property
    def sentence_lines(self) -> int:
        """Lines of the longest sentence."""
        return max(len(frame.sentence) for frame in self.frames)

    @property
    def title_place(self) -> Place:
        """Place of the title, above the grids."""
        return _MARGIN, _MARGIN + 0.5 * _LINE

    def line(self, number: int) -> Place:
        """Return the place of a line of text below the grids: those of the sentence, and then the notes."""
        lines = self.sentence_lines + len(self.notes)
        return _MARGIN, self.height - _MARGIN - (lines - number - 0.5) * _LINE


TEXT = 0.4
"""Size of the lines of text, in cells."""


def _row(grids: Mapping[str, Grid]) -> tuple[dict[str, Place], list[Place], float, float]:
    """Return places on one line, centred on one height, signs between them, the width and the lower edge."""
    tallest = max(size_of(grid.shape)[0] for grid in grids.values())
    middle = _TOP + tallest / 2
    left, places, signs = _MARGIN, {}, []
    for name, grid in grids.items():
        rows, columns = size_of(grid.shape)
        width = max(columns, 0.24 * len(grid.caption))
        places[name] = (left + (width - columns) / 2, middle - rows / 2)
        left += width + _GAP
        signs.append((left - _GAP / 2, middle))
    return places, signs[:-1], left - _GAP + _MARGIN, middle + tallest / 2


def _column(grids: Mapping[str, Grid]) -> tuple[dict[str, Place], list[Place], float, float]:
    """Return places below each other, with a sign before each but the first."""
    left, top = _MARGIN + 1.0, _TOP
    places, signs, width = {}, [], 0.0
    for name, grid in grids.items():
        places[name] = (left, top)
        signs.append((_MARGIN + 0.4, top + 0.5))
        width = max(width, left + size_of(grid.shape)[1], left + 0.24 * len(grid.caption))
        top += 1 + 0.3 + _CAPTION
    return places, signs[1:], width + _MARGIN, top - 0.3 - _CAPTION


def only(values: Array, shown: Array | bool = True) -> Any:
    """Return the values where `shown` is True, masked elsewhere."""
    return np.ma.MaskedArray(values, ~np.broadcast_to(np.asarray(shown), values.shape))


def whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of all of an array."""
    return tuple(slice(0, n) for n in shape)
