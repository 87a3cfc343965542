"""Arrays of numbers as pictures inside an HTML page: PNG in a data URI, and lines in SVG; no package is needed."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Literal

import numpy as np

from tconv._arrays import Array

Colours = Literal["signed", "grey"]

_NEGATIVE, _ZERO, _POSITIVE = (np.array(rgb, float) for rgb in ((0x33, 0x66, 0xAA), (0xF7,) * 3, (0xD9, 0x62, 0x2B)))


def png(pixels: Array) -> bytes:
    """Return uint8 pixels, [H, W, 3] or [H, W] for greys, as a PNG file.

    >>> png(np.zeros((2, 2), np.uint8))[1:4]
    b'PNG'
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()  # filter 0 in front of each row
    kind = 2 if pixels.ndim == 3 else 0
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def picture(values: Array, colours: Colours, alt: str) -> str:
    """Return numbers as an HTML picture, a pixel each: [H, W], finite.

    "signed" shows 0 as white, negative numbers blue and positive ones orange; "grey" shows the mean in the middle, and
    an array of equal numbers as one grey. `alt` is HTML.
    """
    if colours == "signed":
        reach = float(np.abs(values).max()) or 1.0
        share = np.abs(values / reach)[..., None]
        pixels = _ZERO + share * (np.where(values[..., None] < 0, _NEGATIVE, _POSITIVE) - _ZERO)
    else:
        middle = float(values.mean())
        # differences below a thousandth of the numbers are rounding, not a pattern
        reach = max(float(np.abs(values - middle).max()), 1e-3 * float(np.abs(values).max())) or 1.0
        pixels = 136 + 112 * (values - middle) / reach
    data = base64.b64encode(png(np.rint(pixels).astype(np.uint8))).decode("ascii")
    height, width = values.shape
    return f'<img class="pixels" src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{alt}">'


def line(values: Array, alt: str) -> str:
    """Return numbers as an HTML picture of one line with a step per number: [L], finite. `alt` is HTML."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = (high - low) or 1.0
    heights = 92 - 84 * (values - low) / span
    step = 300 / len(values)
    points = " ".join(
        f"{place:.4g},{height:.4g}"
        for number, height in enumerate(heights)
        for place in (step * number, step * (number + 1))
    )
    zero = 92 - 84 * (0 - low) / span
    return (
        f'<svg class="line" viewBox="0 0 300 100" role="img" aria-label="{alt}" preserveAspectRatio="none">'
        f'<path class="axis" d="M0 {zero:.4g}H300"/><polyline points="{points}"/></svg>'
    )
