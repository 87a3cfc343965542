"""The colours of the pictures: safe for colour-blind readers, light enough for dark numbers.

Source of the colours: Paul Tol's "light" scheme (made for cells with text in them) and "bright" scheme,
https://personal.sron.nl/~pault/.
"""

from __future__ import annotations

import math

import numpy as np

from tconv._arrays import Array

INK = "#1f2328"
MUTED = "#6f7680"
FAINT = "#c3c7cd"
LINE = "#ccd1d8"
EDGE = "#8f96a1"
HATCH = "#e1e4e9"


def _rgb(*hexes: str) -> Array:
    return np.array([[int(code[j : j + 2], 16) / 255 for j in (0, 2, 4)] for code in hexes])


# one seventh paler than published, so that the numbers stand out from the colours
_LIGHT = 1 - 6 / 7 * (1 - _rgb("77AADD", "EEDD88", "44BB99", "EE8866", "99DDFF", "FFAABB", "BBCC33", "AAAA00"))
_BRIGHT = _rgb("4477AA", "EE6677", "228833", "CCBB44", "66CCEE", "AA3377")


def shades(shape: tuple[int, ...]) -> Array:
    """Return one colour per element of a 1-D or 2-D grid: [*shape, 3].

    Up to 8 elements have a hue each. Of more, each row has a hue and each column a tint.
    """
    count = math.prod(shape)
    if count <= len(_LIGHT):
        return _LIGHT[:count].reshape(*shape, 3)
    rows, columns = (count, 1) if min(shape) == 1 or len(shape) == 1 else shape
    tints = np.linspace(0.72, 0.28, columns) if columns > 1 else np.array([0.55])
    tinted: Array = 1 - tints[:, None] * (1 - _hues(rows)[:, None])
    return tinted.reshape(*shape, 3)


def _hues(rows: int) -> Array:
    if rows <= len(_BRIGHT):
        return _BRIGHT[:rows]
    from matplotlib import colormaps  # too many hues to name: an even ramp shows their order instead

    return np.asarray(colormaps["viridis"](np.linspace(0.05, 0.95, rows)))[:, :3]


def greys(counts: Array) -> Array:
    """Return a grey per cell, darker where more products are summed: [*counts.shape, 3], white at 0."""
    depth = 0.32 * counts / max(1, counts.max())
    return np.broadcast_to((1 - depth)[..., None], (*counts.shape, 3)).copy()


def ink(colour: Array) -> str:
    """Return the text colour that can be read on this colour."""
    luminance = float(colour @ [0.2126, 0.7152, 0.0722])
    return INK if luminance > 0.42 else "#ffffff"
