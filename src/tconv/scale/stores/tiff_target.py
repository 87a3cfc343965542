"""Tiled TIFF and BigTIFF files that are written tile by tile, in any order, by several threads and processes.

Tiles are not compressed: each has its place from the beginning, and no writer waits for another. For an output that is
compressed, write Zarr.
"""

from __future__ import annotations

import copy
import errno
import math
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, FileError, ShapeError
from tconv.io.metadata import Metadata
from tconv.io.picture import Picture, Samples, damaged, describe
from tconv.io.picture_writing import samples_of
from tconv.io.tiff_directory import Tag
from tconv.io.tiff_writing import TYPES
from tconv.scale.regions import Region, Sizes, region_sizes
from tconv.scale.stores.axis_layout import AxisLayout, checked_sizes
from tconv.scale.stores.raw_file import file_errors, refusal, sync_values
from tconv.scale.stores.store import ImageSource
from tconv.scale.stores.tiff_description import PageAxes, describe_pages
from tconv.scale.stores.tiff_layout import PageKind, file_head
from tconv.scale.stores.tiff_samples import to_channels, to_pixels

_TILE = 512
_USUAL_RESOLUTION = (72.0, 72.0)
_MOST = 2**31 - 1
"""Pixels of a side that readers take."""
_DESCRIPTION = 270


class TiffTarget:
    """Images [N, C, *sizes] in one file, a page for each image, or for each depth of one. It can be pickled.

    >>> target = TiffTarget(Path("large.tif"), (1, 3, 40, 100), np.uint8, tile=(16, 32))
    >>> target.create(Path("large.tif.part"))
    >>> target.write(0, (slice(16, 40), slice(0, 100)), np.full((3, 24, 100), 7, np.uint8))
    >>> int(target.stored(0, (slice(15, 17), slice(0, 1)))[0, 1, 0])
    7
    >>> target.close()

    tile: rows and columns of a tile, multiples of 16. samples: meaning of the channels; without it one is grey, three
    are RGB, others bands. metadata, profile (ICC) and resolution (pixels per inch) go into the file as they are. axes:
    names and sizes of the axes along which pages are counted, (("N", N), ("Z", depth)) if it is None. Raises
    ShapeError, DtypeError and ArgumentError for what a TIFF file cannot contain.
    """

    in_place = in_memory = False

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: Any,
        *,
        tile: tuple[int, ...] | None = None,
        samples: Samples | None = None,
        metadata: Metadata | None = None,
        profile: bytes | None = None,
        resolution: tuple[float, float] | None = None,
        axes: PageAxes | None = None,
    ) -> None:
        self.name, self.shape, self.dtype = str(path), tuple(shape), np.dtype(dtype).newbyteorder("=")
        images, channels, *sizes = self.shape
        _check(path, self.shape, self.dtype)
        samples = samples or samples_of(channels, alpha=False)
        if samples.colours + len(samples.extra) != channels:
            raise ShapeError(
                f"samples are {samples}, of {samples.colours + len(samples.extra)} channels, and the output has "
                f"{channels}; as many are needed. Write samples=None"
            )
        deep = tuple(("Z", size) for size in sizes[:-2])
        text = describe_pages(path, axes or (("N", images), *deep), (sizes[-2], sizes[-1]), channels, self.dtype)
        if text is not None:
            metadata = copy.deepcopy(metadata) or Metadata()
            metadata.exif.main[_DESCRIPTION] = Tag.text(text)
        self._kind = PageKind(
            sizes[-2],
            sizes[-1],
            self.dtype.newbyteorder("<"),
            _tile(tile, sizes[-2:]),
            samples,
            metadata or Metadata(),
            profile,
            resolution or _USUAL_RESOLUTION,
        )
        self._deep = math.prod(sizes[:-2])
        self._pages = images * self._deep
        first, self._start = file_head(self._kind, self._pages)
        self._check = xxhash.xxh3_64_hexdigest(first)
        self._size = self._start + self._pages * math.prod(self._kind.grid) * self._kind.tile_bytes
        self._big = first[2:4] == b"+\0"
        self.unit: Sizes = (1,) * (len(sizes) - 2) + self._kind.tile
        # an opacity that lies between bands is the last channel here
        self._order = tuple(samples.file_order(np.arange(channels)).tolist())
        self._sample_of = tuple(np.argsort(self._order).tolist())
        kind = describe(channels, self.dtype, samples.alpha_at is not None, samples.are_bands)
        pages = f", {self._pages} pages" if self._pages > 1 else ""
        self.description = (
            f"{'Big' if self._big else ''}TIFF, {kind}, {sizes[-1]} x {sizes[-2]}{pages}, "
            f"tiles of {self._kind.tile[1]} x {self._kind.tile[0]}, not compressed"
        )
        self._path = path
        """where the file is now"""
        self._file = -1
        self._is_open = False
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": -1, "_lock": None}  # if it is open, another process opens it at the first use

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __del__(self) -> None:
        self.close()

    # -- the file --------------------------------------------------------------------------------------------------

    def create(self, place: Path) -> None:
        """Make the file with its directories, and without data; it takes no room on the disk yet. Raises FileError."""
        self.close()
        try:
            self._file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            self._path, self._is_open = Path(os.path.abspath(place)), True
            _put(self._file, memoryview(file_head(self._kind, self._pages)[0]), 0)
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)  # a power cut must not leave tiles without the directories before them
        except FileExistsError:
            raise FileError(f"{place} exists, and nothing is overwritten. Choose another name, or remove it") from None
        except OSError as error:
            raise refusal(place, "written", error) from error

    def open(self, place: Path) -> None:
        """Open a file that was created with the same settings. Raises FileError for another one."""
        self.close()
        self._path = Path(os.path.abspath(place))
        self._file, self._is_open = self._checked(self._path), True

    def _checked(self, place: Path) -> int:
        """Return the descriptor of a file that is the one of these settings."""
        with ExitStack() as failing:
            try:
                try:
                    file = os.open(place, os.O_RDWR)
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                        raise
                    file = os.open(place, os.O_RDONLY)  # to be read
                failing.callback(os.close, file)
                size = os.fstat(file).st_size
                begin = bytearray(min(self._start, size))
                _get(file, memoryview(begin), 0)
            except FileNotFoundError:
                raise FileError(f"{place} does not exist; the file of the job is needed. Start the job anew") from None
            except OSError as error:
                raise refusal(place, "opened", error) from error
            if xxhash.xxh3_64_hexdigest(begin) != self._check:
                raise FileError(
                    f"{place} is another TIFF file than {self.description}; the one of this job is needed. "
                    "Choose another name for the output, or remove the file"
                )
            if size < self._size:
                raise damaged(place, f"it has {size} of {self._size} bytes")
            failing.pop_all()
        return file

    def sync(self, image: int, region: Region) -> None:
        """Wait until all that was written is on the disk. Raises FileError."""
        with file_errors(self._path, "written"):
            sync_values(self._opened())

    def sync_many(self, regions: Sequence[tuple[int, Region]]) -> None:
        """Wait until all that was written is on the disk, for many regions at once. Raises FileError."""
        self.sync(*regions[0])

    def finish(self) -> None:
        """Wait until all is on the disk: the directories are there from the beginning. Raises FileError."""
        with file_errors(self._path, "written"):
            os.fsync(self._opened())

    def close(self) -> None:
        """Close the file."""
        file, self._file, self._is_open = getattr(self, "_file", -1), -1, False
        if file >= 0:
            os.close(file)

    def _opened(self) -> int:
        if self._file < 0 and self._is_open:  # in another process
            with self._lock:
                if self._file < 0:
                    self._file = self._checked(self._path)
        if self._file < 0:
            raise FileError(f"{self.name} is closed; an open file is needed. Call create(place) or open(place) first")
        return self._file

    # -- values ----------------------------------------------------------------------------------------------------

    def write(self, image: int, region: Region, values: Array) -> None:
        """Write values [C, *region]; a region is of whole tiles, but at the ends. Raises FileError and ShapeError."""
        checked_sizes(values, self.shape[1], region, self.name)
        if values.dtype != self.dtype:
            raise DtypeError(
                f"values are {values.dtype}, and {self.name} has {self.dtype}; that dtype is needed. Write "
                f"values.astype({self.dtype.name!r})"
            )
        self._check_region(image, region)
        file, kind = self._opened(), self._kind
        rows, columns = region[-2:]
        height, width = kind.tile
        across = -(-columns.stop // width) - columns.start // width
        buffer = np.zeros((across, height, width, kind.channels), kind.dtype)
        whole = (columns.stop - columns.start) // width
        for depth in np.ndindex(values.shape[1:-2]):
            page = values[(slice(None), *depth)]
            for top in range(rows.start, rows.stop, height):
                part = page[:, top - rows.start : min(top + height, rows.stop) - rows.start]
                count = part.shape[1]
                if count < height:
                    buffer[:, count:] = 0
                full = part[..., : whole * width].reshape(len(part), count, whole, width).swapaxes(1, 2)
                to_pixels(full, self._order, buffer[:whole, :count])
                if whole < across:
                    rest = part[..., whole * width :]
                    to_pixels(rest, self._order, buffer[whole, :count, : rest.shape[2]])
                place = self._place_of(image, region, depth, top // height, columns.start // width)
                with file_errors(self._path, "written"):
                    _put(file, _bytes(buffer), place)

    def stored(self, image: int, region: Region) -> Array:
        """Return values [C, *region] as they are in the file. Raises FileError where it ends too early."""
        file, kind = self._opened(), self._kind
        self._check_image(image)
        rows, columns = region[-2:]
        height, width = kind.tile
        out = np.empty((self.shape[1], *region_sizes(region)), self.dtype)
        first, last = columns.start // width, -(-columns.stop // width)
        buffer = np.empty((last - first, height, width, kind.channels), kind.dtype)
        for depth in np.ndindex(out.shape[1:-2]):
            for down in range(rows.start // height, -(-rows.stop // height)):
                place = self._place_of(image, region, depth, down, first)
                with file_errors(self._path, "read"):
                    got = _get(file, _bytes(buffer), place)
                if got < buffer.nbytes:
                    raise damaged(self._path, f"it ends in the tiles of rows {down * height} on")
                low, high = max(rows.start, down * height), min(rows.stop, (down + 1) * height)
                for at in range(last - first):
                    left = (first + at) * width
                    begin, end = max(columns.start, left), min(columns.stop, left + width)
                    pixels = buffer[at, low - down * height : high - down * height, begin - left : end - left]
                    down_there = slice(low - rows.start, high - rows.start)
                    across_there = slice(begin - columns.start, end - columns.start)
                    to_channels(pixels, self._sample_of, out[(slice(None), *depth)][:, down_there, across_there])
        return out

    def has(self, image: int, region: Region) -> bool:
        """Return False if the file ends before a region does."""
        file, kind = self._opened(), self._kind
        deep = tuple(span.stop - span.start - 1 for span in region[:-2])
        down, across = ((span.stop - 1) // size for span, size in zip(region[-2:], kind.tile, strict=True))
        end = self._place_of(image, region, deep, down, across) + kind.tile_bytes
        return os.fstat(file).st_size >= end

    def _place_of(self, image: int, region: Region, depth: tuple[int, ...], down: int, across: int) -> int:
        """Return the place of a tile in the file."""
        page = image
        for span, at, size in zip(region[:-2], depth, self.shape[2:-2], strict=True):
            page = page * size + span.start + at
        number = (page * self._kind.grid[0] + down) * self._kind.grid[1] + across
        return self._start + number * self._kind.tile_bytes

    def _check_region(self, image: int, region: Region) -> None:
        self._check_image(image)
        for span, unit, size in zip(region, self.unit, self.shape[2:], strict=True):
            if span.start % unit or (span.stop % unit and span.stop != size) or not 0 <= span.start < span.stop <= size:
                raise ShapeError(
                    f"{self.name} is written in tiles of {self.unit}, and the region is "
                    f"{[(each.start, each.stop) for each in region]} of {list(self.shape[2:])}; whole tiles are "
                    "needed. Use target.unit for the sizes of tiles"
                )

    def _check_image(self, image: int) -> None:
        if not 0 <= image < self.shape[0]:
            raise ShapeError(
                f"image is {image}, and {self.name} has {self.shape[0]}; a smaller number is needed. Write 0"
            )

    # -- figures ---------------------------------------------------------------------------------------------------

    def write_bytes(self, region: Region) -> int:
        """Return the bytes of one row of tiles."""
        return int(-(-(region[-1].stop - region[-1].start) // self._kind.tile[1]) + 1) * self._kind.tile_bytes

    def disk_bytes(self) -> int:
        """Return the size of the file when it is full."""
        return self._size

    def settings(self) -> dict[str, Any]:
        """Return format, shape, dtype, tile, and a checksum of the directories with all metadata."""
        return {
            "format": "tiff",
            "shape": list(self.shape),
            "dtype": str(self.dtype),
            "tile": list(self._kind.tile),
            "directories": self._check,
        }


def target_like(
    path: Path, layout: AxisLayout, dtype: Any, tile: tuple[int, ...] | None = None, like: ImageSource | None = None
) -> TiffTarget:
    """Return an output that keeps what a TIFF input says beside its pixels: profile, georeference, opacity, EXIF."""
    shape = layout.image_shape
    among = (*layout.batch, *layout.spatial[:-2])
    axes = tuple((layout.names[at], layout.shape[at]) for at in among) or None
    picture: Picture | None = getattr(like, "picture", None)
    if picture is None:
        return TiffTarget(path, shape, dtype, tile=tile, axes=axes)
    same = picture.shape[0] == shape[1]
    old, new = picture.shape[:0:-1], shape[:-3:-1]
    metadata = picture.metadata.enlarged((old[0], old[1]), (new[0], new[1]))
    if not same:
        metadata.gdal = None  # it counts the bands
    return TiffTarget(
        path,
        shape,
        dtype,
        tile=tile,
        samples=picture.samples if same else None,
        metadata=metadata,
        profile=picture.profile if same else None,
        resolution=picture.resolution,
        axes=axes,
    )


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) < 4:
        raise ShapeError(
            f"the output is {list(shape)}, of {len(shape) - 2} spatial axis; a TIFF file has rows and columns. "
            f"Write {path.stem}.npy or {path.stem}.zarr"
        )
    if dtype.str[1:] not in TYPES.split():
        raise DtypeError(f"the output is {dtype}, which TIFF cannot contain; {TYPES} are. Write {path.stem}.zarr")
    if min(shape) < 1 or max(shape[-2:]) > _MOST or shape[1] > 65535:
        raise ShapeError(
            f"the output is {list(shape)}; a TIFF file has 1 to {_MOST} pixels a side and at most 65535 channels. "
            f"Write {path.stem}.zarr"
        )


def _tile(tile: tuple[int, ...] | None, sizes: list[int]) -> tuple[int, int]:
    """Return rows and columns of a tile: those given, or 512, or less for a small picture."""
    if tile is None:
        rows, columns = (min(_TILE, -(-size // 16) * 16) for size in sizes)
        return rows, columns
    rows, columns = tile[-2:]
    if rows % 16 or columns % 16 or min(rows, columns) < 16 or any(size != 1 for size in tile[:-2]):
        fitting = (1,) * (len(tile) - 2) + (max(16, -(-rows // 16) * 16), max(16, -(-columns // 16) * 16))
        raise ArgumentError(
            f"the tiles of a TIFF file are to be {tile}; multiples of 16 along rows and columns are needed, and 1 "
            f"along others. Write chunks={fitting}"
        )
    return rows, columns


def _bytes(array: Array) -> memoryview[Any]:
    view: memoryview[Any] = array.reshape(-1).view(np.uint8).data
    return view


def _put(file: int, data: memoryview[Any], place: int) -> None:
    """Write all bytes: the system may take some of them only."""
    while data:
        done = os.pwrite(file, data, place)
        data, place = data[done:], place + done


def _get(file: int, data: memoryview[Any], place: int) -> int:
    """Fill a buffer from a place; return the number of bytes that were there."""
    done = 0
    while done < len(data) and (got := os.preadv(file, [data[done:]], place + done)):
        done += got
    return done
