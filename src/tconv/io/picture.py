"""A picture that is known from its header, and the description of a picture's kind.

Readers return it; its pixels are decoded later, after a run was planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError


@dataclass
class Picture:
    """A picture file: its size and kind are known from the header; `read` decodes it."""

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    alpha: bool
    """True if the last channel is opacity."""
    description: str
    notes: list[str]
    """Conversions on reading."""
    profile: bytes | None = None
    """ICC profile of the colours, if one is embedded."""
    resolution: tuple[float, float] | None = None
    """Pixels per inch along the width and the height, if the file states them."""
    decoder_bytes: int = 0
    """Memory that the decoder takes beside the pixels."""
    decode: Callable[[], Array] | None = field(repr=False, default=None)
    """Function that returns the pixels [H, W, C]. Raises FileError for a damaged file."""

    def read(self) -> Array:
        """Return the pixels [C, H, W], a view of [H, W, C]. Raises FileError for a damaged file."""
        assert self.decode is not None
        return np.moveaxis(self.decode(), 2, 0)


def describe(channels: int, dtype: Any, alpha: bool) -> str:
    """Return the kind of a picture as text.

    >>> describe(4, np.uint16, alpha=True)
    'RGB with alpha, 16 bit'
    """
    colours = channels - alpha
    kind = {1: "grey", 3: "RGB"}.get(colours, f"{colours} channels") + (" with alpha" if alpha else "")
    dtype = np.dtype(dtype)
    sort = {"f": " float", "i": " signed"}.get(dtype.kind, "")
    return f"{kind}, {8 * dtype.itemsize} bit{sort}"


def plausible_resolution(x: float, y: float) -> tuple[float, float] | None:
    """Return pixels per inch, rounded; None for values that a picture cannot have, and that JPEG cannot store."""
    if not (min(x, y) >= 0.1 and max(x, y) <= 65535):
        return None
    return round(x, 2), round(y, 2)  # PNG counts by the metre: 300 dpi is 299.9994 there


def damaged(path: Path, why: str) -> FileError:
    """Return the error for a file that breaks off, or whose content is wrong."""
    return FileError(f"{path} is damaged ({why}); a whole file is needed. Choose an intact copy")
