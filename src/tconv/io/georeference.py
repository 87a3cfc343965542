"""Georeference of a TIFF file, and its change when the raster gets more pixels for the same ground.

Tags of GeoTIFF 1.1 (OGC 19-008r4) and of GDAL. All raster coordinates follow from one rule: the corners of the raster
stay where they are on the ground.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tconv.io.tiff_directory import DOUBLE, Tag

PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, KEYS = 33550, 33922, 34264, 34735
RATIONAL_POLYNOMIALS, GDAL_METADATA, GDAL_NODATA = 50844, 42112, 42113

TAGS = frozenset({PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, KEYS, 34736, 34737, RATIONAL_POLYNOMIALS})
"""Tags that place a raster on the ground."""

_RASTER_TYPE, _IS_POINT = 1025, 2


def is_point(tags: Mapping[int, Tag]) -> bool:
    """Return True if a raster coordinate of whole numbers means the centre of a pixel, not its corner."""
    keys = tags[KEYS].integers() if KEYS in tags else ()
    entries = zip(keys[4::4], keys[5::4], keys[7::4], strict=False)
    return any((key, place, value) == (_RASTER_TYPE, 0, _IS_POINT) for key, place, value in entries)


def enlarged(tags: Mapping[int, Tag], old: tuple[int, int], new: tuple[int, int]) -> dict[int, Tag]:
    """Return the tags for a raster of `new` pixels (width, height) on the ground of `old` ones.

    >>> small = {PIXEL_SCALE: Tag.of(DOUBLE, [10, 10, 0]), TIE_POINTS: Tag.of(DOUBLE, [0, 0, 0, 500, 900, 0])}
    >>> large = enlarged(small, (40, 30), (80, 60))
    >>> large[PIXEL_SCALE].numbers(), large[TIE_POINTS].numbers()
    ((5.0, 5.0, 0.0), (0.0, 0.0, 0.0, 500.0, 900.0, 0.0))

    From a corner, a raster coordinate p becomes s*p. From the centre of the first pixel it becomes s*p + (s - 1)/2, as
    that centre is half a pixel from the corner: s*(p + 1/2) - 1/2. A single tie point with a pixel scale moves on the
    ground instead, because readers expect it at raster coordinate 0. Rational polynomials count from centres
    (STDI-0002). Damaged tags stay as they are.
    """
    factors = [after / before for after, before in zip(new, old, strict=True)]
    shifts = [(factor - 1) / 2 if is_point(tags) else 0.0 for factor in factors]
    result = dict(tags)
    scale = _numbers(tags, PIXEL_SCALE, 3)
    if scale:
        sizes = [size / factor for size, factor in zip(scale, factors, strict=False)]
        result[PIXEL_SCALE] = Tag.of(DOUBLE, [*sizes, *scale[2:]])
    points = _numbers(tags, TIE_POINTS, 6)
    if scale and len(points) == 6:
        i, j, k, x, y, z = points
        x, y = x - shifts[0] * sizes[0], y + shifts[1] * sizes[1]
        result[TIE_POINTS] = Tag.of(DOUBLE, [i * factors[0], j * factors[1], k, x, y, z])
    elif points:
        moved = list(points)
        for at in range(0, len(points) - 5, 6):
            for axis in (0, 1):
                moved[at + axis] = points[at + axis] * factors[axis] + shifts[axis]
        result[TIE_POINTS] = Tag.of(DOUBLE, moved)
    matrix = _numbers(tags, TRANSFORMATION, 16)
    if matrix:
        rows = []
        for a, b, c, d in (matrix[at : at + 4] for at in range(0, 16, 4)):
            a, b = a / factors[0], b / factors[1]
            rows += [a, b, c, d - shifts[0] * a - shifts[1] * b]
        rows[12:] = matrix[12:16]
        result[TRANSFORMATION] = Tag.of(DOUBLE, rows)
    polynomials = list(_numbers(tags, RATIONAL_POLYNOMIALS, 92))
    if polynomials:
        for offset, extent, factor in ((2, 7, factors[1]), (3, 8, factors[0])):  # lines, then samples
            polynomials[offset] = polynomials[offset] * factor + (factor - 1) / 2
            polynomials[extent] *= factor
        result[RATIONAL_POLYNOMIALS] = Tag.of(DOUBLE, polynomials)
    return result


def _numbers(tags: Mapping[int, Tag], code: int, least: int) -> tuple[float, ...]:
    numbers = tags[code].numbers() if code in tags else ()
    return numbers if len(numbers) >= least and tags[code].kind == DOUBLE else ()


def side_files(path: Path) -> list[str]:
    """Return the names of files beside a picture that place or mask it: world files, GDAL's, rational polynomials."""
    ending = path.suffix[1:]
    worlds = {f"{ending}w", f"{ending[:1]}{ending[-1:]}w", "wld", "RPB"} if ending else set()
    names = [f"{path.stem}.{world}" for world in sorted(worlds)] + [
        f"{path.name}.aux.xml",
        f"{path.name}.msk",
        f"{path.stem}_RPC.TXT",
    ]
    found: dict[tuple[int, int], str] = {}
    for name in (case for each in names for case in (each, path.stem + each[len(path.stem) :].lower())):
        with suppress(OSError, ValueError):
            status = os.stat(path.with_name(name))
            found.setdefault((status.st_dev, status.st_ino), name)  # a disk may not know capitals
    return list(found.values())


def without_statistics(metadata: Tag) -> Tag | None:
    """Return GDAL's metadata without the statistics of the old pixels; None if nothing else is in them."""
    text = metadata.raw.rstrip(b"\0")
    text = re.sub(rb"[ \t]*<Item\b[^>]*\bname=\"STATISTICS_[^>]*>[^<]*</Item>\s*", b"", text)
    return Tag.text(text) if b"<Item" in text else None


def nodata_number(tag: Tag) -> str | None:
    """Return the value that stands for missing data, as text; None for something that is no number."""
    text = tag.string().strip()
    try:
        float(text)
    except ValueError:
        return None
    return text
