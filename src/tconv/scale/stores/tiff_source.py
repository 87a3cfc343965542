"""TIFF and BigTIFF files as images [N, C, *sizes]: a region decodes only the tiles and strips that it touches.

Pages along which a file counts are images, channels (axis C) or, for operators with three spatial axes, depth.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.io.picture import GREY, Picture, Samples, damaged, describe
from tconv.io.tiff_reading import upright
from tconv.scale.regions import Region, Sizes, elements, region_sizes
from tconv.scale.stores.axis_layout import Axes, AxisLayout, named_axes
from tconv.scale.stores.raw_file import file_errors
from tconv.scale.stores.tiff_bytes import FileBytes
from tconv.scale.stores.tiff_cache import SegmentCache
from tconv.scale.stores.tiff_meaning import Meaning, meaning_of
from tconv.scale.stores.tiff_pages import JPEGS, Page, Pages, read_pages
from tconv.scale.stores.tiff_samples import to_channels
from tconv.scale.stores.tiff_sizes import check_stated

_LEAST_KEPT, _MOST_KEPT = 8 << 20, 32 << 20
"""Bytes of decoded tiles that are kept: as many as the largest window has, within these, and one tile at least."""
_BLOCK = 4 << 20
"""Bytes of whole rows that are read at once of tiles that are not compressed."""
_SCATTERED = 1 << 16
"""Bytes of rows from which the columns of a region are read alone."""


class TiffSource:
    """Pages of a TIFF file, read region by region. It can be pickled: other processes open the file anew.

    >>> import tifffile
    >>> tifffile.imwrite("stack.tif", np.arange(2 * 32 * 48, dtype=np.uint16).reshape(2, 32, 48), tile=(16, 16))
    >>> source = TiffSource(Path("stack.tif"))
    >>> source.shape, source.block
    ((2, 1, 32, 48), (16, 16))
    >>> source.read(1, (slice(3, 4), slice(40, 44)))                        # [C, 1, 4]
    array([[[1720, 1721, 1722, 1723]]], dtype=uint16)

    series and level choose one of several pictures, and of the levels of a pyramid; page is one page of the series.
    axes names what the pages and the page's axes are, where the file does not say it: "ZYX" for a stack in depth.
    Raises FileError, ArgumentError, TooLargeError and MissingExtraError as `read_pages` does, and ShapeError for axes
    that the pages do not have.
    """

    def __init__(
        self,
        path: Path,
        *,
        ndim: int = 2,
        series: int = 0,
        level: int = 0,
        page: int | None = None,
        axes: Axes | None = None,
    ) -> None:
        self._arguments = Path(os.path.abspath(path)), ndim, series, level, page, axes
        self.name = str(path)
        self._path = path
        self._data = FileBytes(path)
        try:
            self.pages: Pages = read_pages(path, series, level, page)
            self.meaning: Meaning = meaning_of(path, self._data, self.pages)
            self._place_axes(ndim, axes)
        except BaseException:
            self._data.close()
            raise
        pages, meaning = self.pages, self.meaning
        self.dtype = meaning.dtype
        self.shape = self.layout.image_shape
        self.notes = list(meaning.notes)
        tile = tuple(min(pair) for pair in zip(pages.tile, (pages.height, pages.width), strict=True))
        if pages.plain and not pages.tiled:
            tile = (1, 1)  # any part of any row can be read
        self.block: Sizes = (1,) * (ndim - 2) + (tile[::-1] if meaning.metadata.orientation >= 5 else tile)
        self.cache = SegmentCache(_LEAST_KEPT)
        self._largest = max((int(each.sizes.max(initial=0)) for each in pages.pages if each is not None), default=0)
        kept = f"{'tiles' if pages.tiled else 'strips'} of {pages.tile[1]} x {pages.tile[0]}"
        packed = "" if pages.plain else ", compressed" if pages.compression != 1 else ", packed"
        self.description = f"{self.picture.description}, {self._sizes()}, {kept}{packed}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, self._arguments

    def _sizes(self) -> str:
        images = f"{self.shape[0]} images of " if self.shape[0] > 1 else ""
        return images + " x ".join(map(str, self.shape[:1:-1]))

    def _place_axes(self, ndim: int, axes: Axes | None) -> None:
        """Find the layout of images, and the table of pages [N, C or 1, depth or 1] that they are made of."""
        pages, meaning = self.pages, self.meaning
        sizes = (pages.width, pages.height) if meaning.metadata.orientation >= 5 else (pages.height, pages.width)
        names, counts = list(pages.names), pages.counts
        if ndim < 2:
            raise ShapeError(
                f"{self._path} has rows and columns, and the operator {ndim} spatial axis; 2 or 3 are needed. "
                "Use a 2-D layer, with a kernel of 1 along the rows"
            )
        if axes is not None:
            # one name for each axis of pages, and those of a page, in any order of theirs
            given = [str(name) for name in axes]
            if len(given) < 2 or len(names) != len(given) - 2 - (meaning.channels > 1):
                raise ArgumentError(
                    f"axes is {axes!r}; {self._path} has pages along {names or 'no axis'}, and each is "
                    f"{'YXC' if meaning.channels > 1 else 'YX'}. Write axes={''.join(names) + 'YX'!r}, for example"
                )
            names = given[: len(names)]
        elif ndim > 2 and pages.flat:
            names, counts = [*names, "Z"], (*counts, 1)
        elif ndim > 2 and "Z" not in names and names:
            names[max((at for at, name in enumerate(names) if name != "C"), default=0)] = "Z"
        if meaning.channels > 1:
            names = ["N" if name == "C" else name for name in names]  # its channels are those of a page
            own: tuple[tuple[str, int], ...] = (("C", meaning.channels),)
        else:
            own = ()
        full = [*names, *(name for name, _ in own), "Y", "X"]
        shape = (*counts, *(size for _, size in own), *sizes)
        self.layout: AxisLayout = named_axes(full, shape, ndim)
        numbers = np.arange(len(pages.pages)).reshape(counts)
        channel = [axis for axis in (self.layout.channel,) if axis is not None and axis < len(names)]
        depth = [axis for axis in self.layout.spatial if axis < len(names)]
        ordered = numbers.transpose(*(axis for axis in self.layout.batch), *channel, *depth)
        channels = tuple(counts[axis] for axis in channel) or (1,)
        self._table = ordered.reshape(-1, *channels, *(counts[axis] for axis in depth))

    @property
    def picture(self) -> Picture:
        """The first image as `tconv.io` describes pictures: what its samples mean, and what lies beside them."""
        meaning = self.meaning
        channels, sizes = self.shape[1], self.shape[-2:]
        samples = meaning.samples
        if channels != meaning.channels:  # those of pages
            samples = Samples(GREY, (0,) * (channels - 1))
        alpha = samples.alpha_at is not None
        kind = describe(channels, self.dtype, alpha, samples.are_bands)
        if samples.associated:
            kind += ", colours multiplied by alpha"
        return Picture(
            self._path,
            (channels, sizes[0], sizes[1]),
            self.dtype,
            alpha,
            f"TIFF, {kind}",
            self.notes,
            meaning.profile,
            meaning.resolution,
            samples=samples,
            metadata=meaning.metadata,
            masks_nodata=meaning.masks_nodata,
            decode=lambda: np.moveaxis(self.read(0, tuple(slice(0, size) for size in sizes)), 0, 2),
        )

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, image: int, region: Region) -> Array:
        """Return values [C, *region]. Threads may call it at a time. Raises FileError, naming the page and the tile."""
        out = np.empty((self.shape[1], *region_sizes(region)), self.dtype)
        self.cache.limit = max(self.cache.limit, self._kept(region))
        numbers = self._table[image][(slice(None), *region[:-2])]
        turned = self.meaning.metadata.orientation
        within_page = _stored_region(region[-2:], self.shape[-2:], turned)
        for at in np.ndindex(numbers.shape):
            target = out[(slice(None) if numbers.shape[0] == 1 else slice(at[0], at[0] + 1), *at[1:])]
            stored = target
            if turned > 1:
                stored = np.empty((len(target), *region_sizes(within_page)), self.dtype)
            page = self.pages.pages[numbers[at]]
            if page is None:
                stored[...] = self._blank[:, None, None]
            else:
                self._fill(page, within_page, stored)
            if turned > 1:
                target[...] = np.moveaxis(upright(np.moveaxis(stored, 0, 2), turned), 2, 0)
        return out

    @property
    def _blank(self) -> Array:
        """Pixel [C] of tiles without data."""
        blank = np.full((1, 1, self.pages.samples), self.meaning.fill, self.pages.stored.newbyteorder("="))
        pixel: Array = self.meaning.converted(blank)[0, 0]
        return pixel

    def _fill(self, page: Page, region: Region, out: Array) -> None:
        """Fill out [C, *region] from the tiles of a page, in the order that the file stores it."""
        pages, (rows, columns) = self.pages, region
        height, width = pages.tile
        place_of = {sample: at for at, sample in enumerate(self.meaning.order)}
        for plane in range(pages.samples if pages.planar else 1):
            channels = [place_of[plane]] if pages.planar else None
            for down in range(rows.start // height, -(-rows.stop // height)):
                for across in range(columns.start // width, -(-columns.stop // width)):
                    number = (plane * pages.grid[0] + down) * pages.grid[1] + across
                    top, left = down * height, across * width
                    part = (
                        slice(max(rows.start, top) - top, min(rows.stop, top + height) - top),
                        slice(max(columns.start, left) - left, min(columns.stop, left + width) - left),
                    )
                    target = out[
                        :,
                        part[0].start + top - rows.start : part[0].stop + top - rows.start,
                        part[1].start + left - columns.start : part[1].stop + left - columns.start,
                    ]
                    if channels is not None:
                        target = target[channels[0] : channels[0] + 1]
                    self._copy(page, number, part, target)

    def _copy(self, page: Page, number: int, part: Region, target: Array) -> None:
        """Copy a part of a tile into target [C, h, w]."""
        order = self.meaning.order if not self.pages.planar else (0,)
        if not page.sizes[number] or not page.offsets[number]:
            blank = self._blank
            for at, sample in enumerate(order):
                target[at] = blank[sample if not self.pages.planar else 0]
        elif self.pages.plain and not self.meaning.converts:
            self._copy_plain(page, number, part, target, order)
        else:
            tile = self.cache.get((page.number, number, int(page.offsets[number])), lambda: self._decoded(page, number))
            pixels = tile[part]
            if pixels.shape[:2] != target.shape[1:]:
                raise self._damaged(page, number, f"it has {tile.shape[1]} x {tile.shape[0]} pixels")
            to_channels(pixels, order, target)

    def _copy_plain(self, page: Page, number: int, part: Region, target: Array, order: tuple[int, ...]) -> None:
        """Copy a part of a tile whose bytes are its numbers: the rows, or of wide ones the columns alone."""
        pages, (rows, columns) = self.pages, part
        pixel = pages.tile_samples * pages.stored.itemsize
        row = pages.tile[1] * pixel
        if page.sizes[number] < row * rows.stop:
            raise self._damaged(page, number, f"it has {page.sizes[number]} bytes")
        start = int(page.offsets[number])
        narrow = row > _SCATTERED and 2 * (columns.stop - columns.start) < pages.tile[1]
        first, last = (columns.start, columns.stop) if narrow else (0, pages.tile[1])
        step = 1 if narrow else max(1, _BLOCK // row)
        buffer = bytearray(step * (last - first) * pixel)
        for top in range(rows.start, rows.stop, step):
            count = min(step, rows.stop - top)
            view = memoryview(buffer)[: count * (last - first) * pixel]
            if self._data.read_into(view, start + top * row + first * pixel) < len(view):
                raise self._damaged(page, number, "the file ends in it")
            pixels = np.frombuffer(view, pages.stored).reshape(count, last - first, -1)
            pixels = pixels[:, columns.start - first : columns.stop - first]
            to_channels(pixels, order, target[:, top - rows.start : top - rows.start + count])

    def _decoded(self, page: Page, number: int) -> Array:
        """Return the pixels [h, w, C] of a tile, in the order of the file."""
        pages, size = self.pages, int(page.sizes[number])
        place = int(page.offsets[number])
        if size < 0 or place < 0 or place + size > len(self._data):
            raise self._damaged(page, number, "the file ends in it")
        data = self._data[place : place + size]
        if len(data) < size:
            raise self._damaged(page, number, "the file ends in it")
        options = {}
        if pages.compression in JPEGS:
            options = {"jpegtables": page.tables, "jpegheader": pages.header}
        try:
            if pages.header is None:
                check_stated(data, pages.compression, (pages.rows(number), pages.tile[1]))
            decoded, _, _ = pages.decode(data, number, **options)
        except MemoryError:
            raise
        except Exception as error:  # of many kinds, one for each codec
            raise self._damaged(page, number, " ".join(str(error).split()) or type(error).__name__) from None
        native = pages.stored.newbyteorder("=")
        if native.kind == "b" and decoded.dtype == np.uint8:  # the codecs of fax have bytes for bits
            decoded = decoded != 0
        if decoded.ndim != 4 or decoded.shape[3] != pages.tile_samples or decoded.dtype != native:
            raise self._damaged(page, number, f"it has numbers {decoded.dtype} of shape {decoded.shape}")
        pixels = self.meaning.converted(decoded[0])
        return pixels if pixels.flags.owndata else pixels.copy()  # a view would keep more than it shows

    def _damaged(self, page: Page, number: int, why: str) -> FileError:
        kind = "tile" if self.pages.tiled else "strip"
        return damaged(self._path, f"page {page.number}, {kind} {number}: {why}")

    # -- figures ---------------------------------------------------------------------------------------------------

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that reading a region allocates: the result, a tile as it is decoded, and the cache."""
        pages = self.pages
        pixel = self.shape[1] * self.dtype.itemsize
        result = elements(region) * pixel
        turned = math.prod(region_sizes(region[-2:])) * pixel if self.meaning.metadata.orientation > 1 else 0
        if pages.plain and not self.meaning.converts:
            row = pages.tile[1] * pages.tile_samples * pages.stored.itemsize
            return result + turned + min(max(_BLOCK, row), pages.tile_bytes)
        tile = max(pages.tile_bytes, self._tile_bytes)
        return result + turned + self._largest + 3 * tile + max(self._kept(region), self._tile_bytes)

    @property
    def _tile_bytes(self) -> int:
        """Bytes of a tile when its numbers are those of the pixels."""
        channels = 1 if self.pages.planar else self.meaning.channels
        return int(math.prod(self.pages.tile) * channels * self.dtype.itemsize)

    def _kept(self, region: Region) -> int:
        """Return the bytes of decoded tiles to keep: those that a window of the sizes of a region may touch."""
        tiles = [(size + tile - 2) // tile + 1 for size, tile in zip(region_sizes(region), self.block, strict=True)]
        return max(_LEAST_KEPT, min(math.prod(tiles) * self._channel_tiles * self._tile_bytes, _MOST_KEPT))

    @property
    def _channel_tiles(self) -> int:
        """Tiles that lie at a place: of all planes of a page, or of the pages that are channels."""
        return int(self._table.shape[1]) * (self.pages.samples if self.pages.planar else 1)

    def identity(self) -> dict[str, Any]:
        """Return sizes, type, the chosen pages, and path, size and time of the file as it is now. Raises FileError."""
        path, _, series, level, page, _ = self._arguments
        chosen = {"series": series, "level": level, "page": page}
        with file_errors(path, "read"):
            status = path.stat()
        changed = [str(path), status.st_size, status.st_mtime_ns]
        return {
            "shape": list(self.shape),
            "dtype": str(self.dtype),
            **chosen,
            "modified": changed,
        }

    def close(self) -> None:
        """Close the file, and forget decoded tiles."""
        self.cache.clear()
        self._data.close()


def _opened(path: Path, ndim: int, series: int, level: int, page: int | None, axes: Axes | None) -> TiffSource:
    return TiffSource(path, ndim=ndim, series=series, level=level, page=page, axes=axes)


def _stored_region(region: Region, sizes: Sizes, orientation: int) -> Region:
    """Return the region of the stored page that becomes a region of the upright one, as `upright` turns it."""
    rows, columns = region
    down, across = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    if down < 0:
        rows = slice(sizes[0] - rows.stop, sizes[0] - rows.start)
    if across < 0:
        columns = slice(sizes[1] - columns.stop, sizes[1] - columns.start)
    return (columns, rows) if orientation >= 5 else (rows, columns)
