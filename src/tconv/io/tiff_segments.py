"""Decoder of the strips and tiles of a TIFF file into samples [H, W, C], whatever their number, layout and type.

libtiff, through libvips or Pillow, undoes the compression of bytes; NumPy undoes the predictor and puts the pieces
together. So types that libvips has no name for (float64, 64-bit integers, complex numbers), planes, and any number of
samples are read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import MissingExtraError
from tconv.io.libvips_import import pyvips, reason
from tconv.io.picture import damaged
from tconv.io.tiff_directory import LONG, LONG8, SHORT, Tag, directory, head, needs_big

BYTE_CODECS = {
    1: "none",
    5: "LZW",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
"""Compressions of plain bytes, by their numbers in TIFF; others, such as JPEG, know what a picture is."""

_PILLOWS = (34925, 50000)
"""Compressions that the libtiff in libvips's wheels lacks, and the one in Pillow's has."""

_LONGEST = 10**8
"""Bytes of a row, and rows, from which libvips reads none."""

_NO_PREDICTOR, _DIFFERENCES, _FLOAT_BYTES = PREDICTORS = (1, 2, 3)


@dataclass(frozen=True)
class Layout:
    """Facts of one TIFF directory that place every sample: sizes, type, and the strips or tiles in the file."""

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    """Type in the byte order of the file."""
    planar: bool
    """True if every sample has a plane of its own."""
    tile: tuple[int, int]
    """Rows and columns of a tile; a strip is a tile as wide as the picture."""
    tiled: bool
    compression: int
    predictor: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    """Offsets and sizes in bytes of the tiles, row by row, plane by plane; size 0 for one that has no data."""

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across."""
        return -(-self.height // self.tile[0]), -(-self.width // self.tile[1])

    @property
    def planes(self) -> int:
        """Planes that are stored one after another."""
        return self.samples if self.planar else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a tile."""
        return self.tile[1] * (self.samples // self.planes) * self.dtype.itemsize

    def fault(self, length: int) -> str | None:
        """Return what is wrong with the numbers of a file of this length; None for a file that is whole."""
        wanted = self.planes * self.grid[0] * self.grid[1]
        if self.compression != 1 and max(self.row_bytes, self.grid[0] * self.grid[1] * self.tile[0]) >= _LONGEST:
            return f"its rows of {self.row_bytes} bytes, or so many of them, are more than libvips reads"
        if min(len(self.offsets), len(self.sizes)) < wanted:
            return f"it lists {min(len(self.offsets), len(self.sizes))} of {wanted} strips or tiles"
        for number, (offset, size) in enumerate(zip(self.offsets[:wanted], self.sizes[:wanted], strict=True)):
            least = self.row_bytes * self._rows(number % (wanted // self.planes)) if self.compression == 1 else 0
            if size and (offset < 8 or offset + size > length or size < least):
                return f"strip or tile {number} is not whole"
        return None

    def _rows(self, number: int) -> int:
        """Return the rows of a tile of a plane; the last strip has only those of the picture."""
        top = number // self.grid[1] * self.tile[0]
        return self.tile[0] if self.tiled else min(self.tile[0], self.height - top)

    def present(self, plane: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield number, offset, size and rows of every tile of a plane that has data."""
        each = self.grid[0] * self.grid[1]
        for number in range(each):
            offset, size = self.offsets[plane * each + number], self.sizes[plane * each + number]
            if size:
                yield number, offset, size, self._rows(number)


def decode(path: Path, data: bytes, layout: Layout, fill: float | int | None) -> Array:
    """Return the samples [H, W, C] in this machine's byte order; tiles without data are `fill`, or 0.

    Raises FileError for a file that is not whole.
    """
    if fault := layout.fault(len(data)):
        raise damaged(path, fault)
    native = layout.dtype.newbyteorder("=")
    out = np.empty((layout.height, layout.width, layout.samples), native)
    planes = _Decompressed(path, data, layout) if layout.compression != 1 else None
    for plane in range(layout.planes):
        target = out[:, :, plane : plane + 1] if layout.planar else out
        if sum(1 for _ in layout.present(plane)) < layout.grid[0] * layout.grid[1]:
            target[...] = 0 if fill is None else fill
        done = 0
        rows = planes.rows(plane) if planes is not None else None
        for number, offset, _, height in layout.present(plane):
            if rows is None:
                raw = np.frombuffer(data, np.uint8, height * layout.row_bytes, offset).reshape(height, -1)
            else:
                raw = rows[done : done + height]
            done += height
            tile = _numbers(raw, layout).reshape(height, layout.tile[1], -1)
            top, left = (at * size for at, size in zip(divmod(number, layout.grid[1]), layout.tile, strict=True))
            place = target[top : top + height, left : left + layout.tile[1]]
            place[...] = tile[: place.shape[0], : place.shape[1]]
    return out


def _numbers(raw: Array, layout: Layout) -> Array:
    """Return the samples of rows of bytes [H, B], after the predictor is undone."""
    step = layout.samples // layout.planes
    if layout.predictor == _FLOAT_BYTES:
        # Adobe's TIFF technical note 3: the bytes of a row sorted by weight, the heaviest first, then differences
        size = layout.dtype.itemsize
        sums = np.cumsum(raw.reshape(len(raw), -1, step), 1, dtype=np.uint8).reshape(len(raw), size, -1)
        return np.ascontiguousarray(sums.swapaxes(1, 2)).view(layout.dtype.newbyteorder(">"))[..., 0]
    numbers: Array = np.ascontiguousarray(raw).view(layout.dtype)
    if layout.predictor == _DIFFERENCES:
        whole = np.dtype(f"u{layout.dtype.itemsize}")
        bits = numbers.astype(layout.dtype.newbyteorder("=")).view(whole).reshape(len(raw), -1, step)
        numbers = np.cumsum(bits, 1, dtype=whole).view(layout.dtype.newbyteorder("="))
    return numbers


class _Decompressed:
    """Bytes of the tiles of a compressed file, a plane at a time.

    Each plane becomes a directory of its own, behind the file, that calls its tiles strips of grey pixels of 8 bits. It
    is read by libtiff, which takes no more bytes of a strip than that directory allows.
    """

    def __init__(self, path: Path, data: bytes, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._heights = [sum(rows for *_, rows in layout.present(plane)) for plane in range(layout.planes)]
        self._written = [plane for plane, height in enumerate(self._heights) if height]
        big = needs_big(len(data))
        first = place = len(data) + len(data) % 2
        directories = []
        for plane in self._written:
            directories.append(directory(self._tags(plane, big), place, big, plane == self._written[-1]))
            place += len(directories[-1])
        start = head(first, big)
        self._file = b"".join([start, data[len(start) :], b"\0" * (len(data) % 2), *directories])

    def rows(self, plane: int) -> Array:
        """Return the rows of bytes [sum of the tiles' rows, B] of a plane."""
        if not self._heights[plane]:
            return np.empty((0, self._layout.row_bytes), np.uint8)
        page, size = self._written.index(plane), (self._layout.row_bytes, self._heights[plane])
        read = self._through_pillow if self._layout.compression in _PILLOWS else self._through_libvips
        pixels, found = read(page)
        if found != size:
            raise damaged(self._path, "its strips or tiles do not fit its sizes")
        return np.frombuffer(pixels, np.uint8).reshape(-1, self._layout.row_bytes)

    def _through_libvips(self, page: int) -> tuple[bytes, tuple[int, int]]:
        vips = pyvips()
        options = {"unlimited": True} if vips.at_least_libvips(8, 17) else {}  # the run was planned: memory suffices
        try:
            image = vips.Image.tiffload_buffer(self._file, page=page, fail_on="error", **options)
            return image.write_to_memory(), (image.width, image.height * image.bands)
        except vips.Error as error:
            raise damaged(self._path, reason(error)) from None

    def _through_pillow(self, page: int) -> tuple[bytes, tuple[int, int]]:
        try:
            from PIL.TiffImagePlugin import TiffImageFile
        except ImportError:
            name = BYTE_CODECS[self._layout.compression]
            raise MissingExtraError(f"reading TIFF compressed by {name}", "pillow", "cli") from None
        try:
            image = TiffImageFile(io.BytesIO(self._file))
            image.seek(page)
            image.load()
            return image.tobytes(), image.size
        except MemoryError:
            raise
        except Exception as error:  # as over BMP, of many kinds
            raise damaged(self._path, " ".join(str(error).split()) or type(error).__name__) from None

    def _tags(self, plane: int, big: bool) -> dict[int, Tag]:
        tiles = list(self._layout.present(plane))
        height, kind = self._heights[plane], LONG8 if big else LONG
        return {
            256: Tag.of(LONG, [self._layout.row_bytes]),
            257: Tag.of(LONG, [height]),
            258: Tag.of(SHORT, [8]),
            259: Tag.of(SHORT, [self._layout.compression]),
            262: Tag.of(SHORT, [1]),
            273: Tag.of(kind, [offset for _, offset, *_ in tiles]),
            277: Tag.of(SHORT, [1]),
            278: Tag.of(LONG, [min(self._layout.tile[0], height)]),
            279: Tag.of(kind, [size for _, _, size, _ in tiles]),
        }
