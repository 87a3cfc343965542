"""Colours and texts of a film's frames in a theme: all writers draw the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.draw.animation.film import CUT, SUM, Film, Frame
from tconv.draw.cell_board import number_size, short
from tconv.draw.palette import Theme, rgb


def colours_of(film: Film, frame: Frame, name: str, theme: Theme) -> Array:
    """Return the colour of each cell of a grid in one frame, [*shape, 3]."""
    tints = frame.tints[name]
    shades = theme.shades(film.palette_shape).reshape(-1, 3)
    colours = theme.blank(tints.shape)
    colours[tints > 0] = shades[tints[tints > 0] - 1]
    colours[tints == SUM] = theme.greys(np.array([1, 2]))[0]
    colours[film.grids[name].kinds == CUT] = rgb(theme.page)
    return colours


def texts_of(frame: Frame, name: str) -> Any:
    """Return the text of each cell of a grid in one frame, [*shape]; None where it is empty."""
    numbers = frame.numbers[name]
    texts = np.full(numbers.shape, None, object)
    for index in zip(*np.nonzero(~np.ma.getmaskarray(numbers)), strict=True):
        texts[index] = short(numbers.data[index])
    return texts


def hex_of(colour: Array) -> str:
    """Return a colour as "#rrggbb"."""
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)


def font_of(film: Film) -> float:
    """Return the size of the numbers in cells, at which the longest of them fits its cell."""
    longest = max(
        len(text)
        for frame in film.frames
        for name in film.grids
        for text in texts_of(frame, name).flat
        if text is not None
    )
    return number_size(longest)


def caption_colour(role: str, theme: Theme) -> str:
    """Return the colour of a grid's caption: INPUT and OUTPUT have theirs in every picture."""
    return {"input": theme.input, "output": theme.output}.get(role, theme.ink)
