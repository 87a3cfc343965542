"""Writer of TIFF files: any number of samples of any type, what they mean, and what lies beside the pixels.

Strips are compressed by Deflate; a file that may pass 4 GB is a BigTIFF.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np

from tconv._arrays import Array
from tconv.io import georeference
from tconv.io.metadata import Metadata
from tconv.io.picture import Samples
from tconv.io.tiff_directory import ASCII, LONG, LONG8, RATIONAL, SHORT, UNDEFINED, Tag, directory, head, needs_big

TYPES = "u1 u2 u4 u8 i1 i2 i4 i8 f2 f4 f8 c8 c16"
"""Codes of the element types that a file can have."""

_STRIP = 1 << 18
"""Bytes of a strip before compression."""
_AT_ONCE = 64
"""Strips that are compressed before they are written."""
_DIFFERENCES = 2
"""Predictor of integers of up to 32 bits; of floats and wider integers not every reader knows one."""
_QUICK, _USUAL = 3, 6
"""Levels of Deflate: of differences the quick one makes files as small in a third of the time."""
_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}
_BIG_FROM = 3 * 10**9


def write_tiff(
    file: BinaryIO,
    pixels: Array,
    samples: Samples,
    metadata: Metadata,
    profile: bytes | None,
    resolution: tuple[float, float],
) -> None:
    """Write pixels [H, W, C] into an open file. Raises OSError if the system refuses."""
    descriptor, native = file.fileno(), pixels.dtype.newbyteorder("<")
    height, width, count = pixels.shape
    big = pixels.nbytes > _BIG_FROM
    rows = max(1, _STRIP // max(1, width * count * native.itemsize))
    place, offsets, sizes = len(head(0, big)), [], []
    _write(descriptor, head(0, big))
    differences = native.kind in "ui" and native.itemsize <= 4
    for strip in _strips(pixels, rows, differences):
        _write(descriptor, strip)
        offsets.append(place)
        sizes.append(len(strip))
        place += len(strip)
    if place % 2:
        _write(descriptor, b"\0")
        place += 1
    big = big or needs_big(place)
    offset_kind = LONG8 if big else LONG
    described, behind = metadata.exif.directories(place, big)
    tags = described | common_tags((height, width), native, samples, metadata, profile, resolution)
    tags |= {
        259: Tag.of(SHORT, [8]),  # Deflate
        273: Tag.of(offset_kind, offsets),
        278: Tag.of(LONG, [min(rows, height)]),
        279: Tag.of(offset_kind, sizes),
    }
    if differences:
        tags[317] = Tag.of(SHORT, [_DIFFERENCES])
    place += len(behind)
    _write(descriptor, behind + directory(tags, place, big))
    os.lseek(descriptor, 0, os.SEEK_SET)
    _write(descriptor, head(place, big))
    os.lseek(descriptor, 0, os.SEEK_END)


def common_tags(
    sizes: tuple[int, int],
    dtype: np.dtype[Any],
    samples: Samples,
    metadata: Metadata,
    profile: bytes | None,
    resolution: tuple[float, float],
) -> dict[int, Tag]:
    """Return the tags of a page of (height, width) pixels, but for those of its EXIF, and of how its pixels lie."""
    count = samples.colours + len(samples.extra)
    tags = {
        **metadata.georeference,
        256: Tag.of(LONG, [sizes[1]]),
        257: Tag.of(LONG, [sizes[0]]),
        258: Tag.of(SHORT, [8 * dtype.itemsize] * count),
        262: Tag.of(SHORT, [samples.photometric]),
        277: Tag.of(SHORT, [count]),
        282: _fraction(resolution[0]),
        283: _fraction(resolution[1]),
        284: Tag.of(SHORT, [1]),
        296: Tag.of(SHORT, [2]),
        339: Tag.of(SHORT, [_FORMATS[dtype.kind]] * count),
    }
    if samples.extra:
        tags[338] = Tag.of(SHORT, samples.extra)
    if profile is not None:
        tags[34675] = Tag(UNDEFINED, len(profile), profile)
    if metadata.xmp is not None:
        tags[700] = Tag(1, len(metadata.xmp), metadata.xmp)
    if metadata.iptc is not None:
        tags[33723] = Tag(UNDEFINED, len(metadata.iptc), metadata.iptc)
    if metadata.gdal is not None:
        tags[georeference.GDAL_METADATA] = metadata.gdal._replace(kind=ASCII)
    if metadata.nodata is not None:
        tags[georeference.GDAL_NODATA] = Tag.text(metadata.nodata)
    return tags


def _strips(pixels: Array, rows: int, differences: bool) -> Iterator[bytes]:
    """Yield the compressed strips from the top to the bottom; `differences` between the pixels of a row."""
    native = pixels.dtype.newbyteorder("<")

    def compressed(top: int) -> bytes:
        part = np.ascontiguousarray(pixels[top : top + rows], native)
        if not differences:
            return zlib.compress(part.data, _USUAL)
        numbers = part.view(f"<u{native.itemsize}")
        steps = numbers.copy()
        steps[:, 1:] -= numbers[:, :-1]
        return zlib.compress(steps.data, _QUICK)

    tops = range(0, pixels.shape[0], rows)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # zlib lets other threads run
        for first in range(0, len(tops), _AT_ONCE):
            yield from pool.map(compressed, tops[first : first + _AT_ONCE])


def _write(descriptor: int, data: bytes) -> None:
    """Write all bytes: the system may take some of them only."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _fraction(value: float) -> Tag:
    return Tag(RATIONAL, 1, np.array([round(value * 10000), 10000], "<u4").tobytes())
