"""Colours of the pictures, in a light and a dark theme: the explorer reads the same file, palette.json.

Source of the light colours: Paul Tol's "light" scheme (made for cells with text in them), one seventh paler, and
"bright" scheme, https://personal.sron.nl/~pault/. The dark ones have the same hues. Every cell colour has a contrast of
4.5 or more with the ink, and cells can be told apart without red, green or blue cones; tests say so.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError

CONTRAST = 4.5
"""Least contrast of a number with its cell: WCAG 2, level AA."""

_RAMP = ("#471365", "#3b528b", "#21918c", "#5ec962", "#dfe318")
"""Five colours of matplotlib's "viridis", between which the others are nearly straight lines."""

_STRONGEST, _ALONE = 0.72, 0.55  # largest share of the hue in the tints of one row, and that of a single tint
_PALEST = {"light": 0.28 / 0.72, "dark": 0.3}  # of the strongest tint, in the last of a row


@dataclass(frozen=True)
class Theme:
    """Colours of one theme as "#rrggbb".

    >>> theme_of("dark").page
    '#15181c'

    `cells` tell elements, taps and phases apart, `lines` rows of many elements and lines. `input` and `output` are the
    colours of the two words, `chosen` that of the element in question.
    """

    name: str
    page: str
    surface: str
    ink: str
    muted: str
    faint: str
    line: str
    edge: str
    hatch: str
    input: str
    output: str
    chosen: str
    cells: list[str]
    lines: list[str]

    def blank(self, shape: tuple[int, ...]) -> Array:
        """Return the colour of the page for every element: [*shape, 3]."""
        return np.broadcast_to(rgb(self.page), (*shape, 3)).copy()

    def shades(self, shape: tuple[int, ...]) -> Array:
        """Return one colour per element of an array: [*shape, 3].

        Up to 8 elements have a hue each. Of more, each row (all axes but the last) has a hue and each column a tint.
        """
        count = math.prod(shape)
        if count <= len(self.cells):
            return rgb(*self.cells[:count]).reshape(*shape, 3)
        rows, columns = (count, 1) if count in shape else (count // shape[-1], shape[-1])
        page, hues = rgb(self.page), self._hues(rows)
        strongest = self._readable_shares(hues, _STRONGEST if columns > 1 else _ALONE)
        tints = np.linspace(1, _PALEST[self.name], columns)
        tinted: Array = page + strongest[:, None, None] * tints[:, None] * (hues[:, None] - page)
        return tinted.reshape(*shape, 3)

    def greys(self, counts: Array) -> Array:
        """Return a grey per cell, stronger where more is summed: [*counts.shape, 3], the page's colour at 0."""
        middle = np.full(3, rgb(self.ink).mean())
        return self._towards(middle, 0.36, counts, int(counts.max()))

    def blues(self, counts: Array, most: int) -> Array:
        """Return a blue per cell, stronger for a larger count up to `most`: the page's colour at 0, [*shape, 3]."""
        return self._towards(rgb(self.cells[0]), 1.0, counts, most)

    def ink_on(self, colour: Array) -> str:
        """Return the text colour that can be read on this colour."""
        return _darkest_or_lightest(self.ink, self.page, tuple(map(float, colour)))

    def _towards(self, colour: Array, strongest: float, counts: Array, most: int) -> Array:
        depth = strongest * counts / max(1, most)
        page = rgb(self.page)
        mixed: Array = page + depth[..., None] * (colour - page)
        return mixed

    def _hues(self, rows: int) -> Array:
        if rows <= len(self.lines):
            return rgb(*self.lines[:rows])
        ramp = rgb(*_RAMP)  # too many hues to name: an even ramp shows their order instead
        steps, places = np.arange(len(_RAMP)), np.linspace(0, len(_RAMP) - 1, rows)
        return np.stack([np.interp(places, steps, part) for part in ramp.T], axis=-1)

    def _readable_shares(self, hues: Array, most: float) -> Array:
        """Return the largest share of each hue in a mixture with the page's colour on which the ink can be read.

        All tints of a row lie below it: one after the other, they would all become the same readable one.
        """
        page, shares = rgb(self.page), np.full(len(hues), most)
        for _ in range(150):
            faint = contrast(rgb(self.ink), page + shares[:, None] * (hues - page)) < CONTRAST
            if not faint.any():
                break
            shares = np.where(faint, 0.98 * shares, shares)
        return shares


@lru_cache(1024)  # a picture has few colours and many numbers
def _darkest_or_lightest(ink: str, page: str, colour: tuple[float, ...]) -> str:
    return max((ink, page), key=lambda text: contrast(rgb(text), np.array(colour)))


def theme_of(name: Any) -> Theme:
    """Return the theme "light" or "dark". Raises ArgumentError for another name."""
    if not isinstance(name, str) or name not in _themes():
        raise ArgumentError(f'theme is {name!r}; there are "light" and "dark". Write theme="dark"')
    return _themes()[name]


@cache
def _themes() -> dict[str, Theme]:
    stored = json.loads(files("tconv.draw").joinpath("palette.json").read_text("utf-8"))
    return {name: Theme(name=name, **colours) for name, colours in stored.items()}


def rgb(*codes: str) -> Array:
    """Return "#rrggbb" as numbers from 0 to 1: [3], or [codes, 3] of several."""
    colours: Array = np.array([[int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)] for code in codes])
    return colours[0] if len(codes) == 1 else colours


def contrast(one: Array, other: Array) -> Array:
    """Return the contrast ratio of colours [..., 3], from 1 to 21. Source: WCAG 2.2, relative luminance."""

    def luminance(colours: Array) -> Array:
        linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        weighted: Array = linear @ np.array([0.2126, 0.7152, 0.0722])
        return weighted

    a, b = luminance(one), luminance(other)
    ratio: Array = (np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05)
    return ratio
