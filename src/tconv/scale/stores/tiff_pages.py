"""Pages of a TIFF file that are read as images: which ones, and where each of their tiles and strips lies.

tifffile reads the directories, knows the series and pyramids of many programs (OME, ImageJ, SVS, NDPI, ...), and gives
the decoder of a tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import physical_memory
from tconv.errors import ArgumentError, FileError, MissingExtraError, TooLargeError
from tconv.io.picture import damaged

JPEGS = (7, 33007, 34892)
"""Compressions that are JPEG, whose YCbCr becomes RGB."""
_REFUSED = {6: "old-style JPEG", 48124: "Jetraw", 65000: "EER", 65001: "EER", 65002: "EER"}
_SPACE = "YXS"


class Page(NamedTuple):
    """One page: its number, and the places and sizes in bytes of its tiles; size 0 for one without data."""

    number: int
    offsets: Array
    sizes: Array
    tables: Any
    """JPEG's tables, which all tiles share"""


@dataclass(frozen=True)
class Pages:
    """Pages of one size and kind, and what is the same of all."""

    kind: str
    """program or convention: "ome", "svs", "generic" ..."""
    names: tuple[str, ...]
    """names of the axes along which pages are counted"""
    counts: tuple[int, ...]
    flat: bool
    """True if the file states a depth of one page"""
    pages: list[Page | None]
    """None for a page that is missing"""
    place: int
    """place of the first page's directory in the file"""
    height: int
    width: int
    samples: int
    stored: np.dtype[Any]
    """dtype in the byte order of the file; of packed bits, that of the decoded numbers"""
    bits: int
    planar: bool
    tile: tuple[int, int]
    """rows and columns of a tile, or of a strip, which is as wide as the page"""
    tiled: bool
    compression: int
    photometric: int
    colormap: Array | None
    plain: bool
    """True if the bytes of a tile are its numbers, without compression or predictor"""
    decode: Callable[..., Any]
    header: Any
    """JPEG's header of Hamamatsu's files"""
    notes: tuple[str, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across."""
        return -(-self.height // self.tile[0]), -(-self.width // self.tile[1])

    @property
    def tile_samples(self) -> int:
        """Samples of a pixel that lie together in a tile."""
        return 1 if self.planar else self.samples

    @property
    def tile_bytes(self) -> int:
        """Bytes of a decoded tile."""
        return math.prod(self.tile) * self.tile_samples * self.stored.itemsize

    def rows(self, number: int) -> int:
        """Return the rows of a tile; the last strip has only those of the page."""
        top = number // self.grid[1] % self.grid[0] * self.tile[0]
        return self.tile[0] if self.tiled else min(self.tile[0], self.height - top)


def read_pages(path: Path, series: int = 0, level: int = 0, page: int | None = None) -> Pages:
    """Return the pages of a file: of a series, at a level of its pyramid; `page` is one of them, None for all.

    Raises FileError for files that are damaged or of a kind that is not read, ArgumentError for a series, level or
    page that the file does not have, TooLargeError for tiles that are larger than this machine's memory, and
    MissingExtraError without tifffile or imagecodecs.
    """
    for name in ("tifffile", "imagecodecs"):
        try:
            __import__(name)
        except ImportError:
            raise MissingExtraError("reading TIFF by tiles", name, "scale") from None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            found = _chosen(path, file, series, level, page)
    except (ArgumentError, FileError, TooLargeError):
        raise
    except MemoryError:
        raise damaged(path, "its directories state more than memory has room for") from None
    except Exception as error:  # tifffile's, struct's and NumPy's, of many kinds
        why = " ".join(str(error).split()) if isinstance(error, ValueError) else "its directories are not whole"
        raise damaged(path, why[:200] or type(error).__name__) from None
    return found


def _chosen(path: Path, file: Any, series: int, level: int, page: int | None) -> Pages:
    if not file.series:
        raise damaged(path, "it has no page with pixels")
    every = file.series
    levels = _entry(path, every, series, "series").levels
    chosen = _entry(path, levels, level, "level")
    notes = []
    if len(every) > 1:
        notes.append(f"series {series} of {len(every)}")
    if len(levels) > 1:
        notes.append(f"level {level} of {len(levels)}")
    key = chosen.keyframe
    _refuse(path, file, chosen, key)
    pages = list(chosen)
    names, counts = _page_axes(chosen)
    total, shift = math.prod(counts), 0
    if len(pages) == 1 < total and _follow(chosen, key, total, file.filehandle.size):
        pages, shift = pages * total, int(key.nbytes)
    elif len(pages) != total:
        names, counts = ("N",), (len(pages),)
    listed = [None if each is None else _places(path, key, each, shift * at) for at, each in enumerate(pages)]
    if page is not None:
        listed = [_entry(path, listed, page, "page")]
        notes += [f"page {page} of {len(pages)}"] if len(pages) > 1 else []
        names, counts = (), ()
    first = next((each for each in pages if each is not None), key)
    samples = key.samplesperpixel
    tile = (key.tilelength, key.tilewidth) if key.is_tiled else (min(key.rowsperstrip, key.imagelength), key.imagewidth)
    packed = key.bitspersample not in (8, 16, 32, 64, 128)
    plain = key.compression == 1 and key.predictor == 1 and not packed and key.fillorder == 1 and key.sampleformat != 5
    found = Pages(
        chosen.kind or "generic",
        names,
        counts,
        ("Z", 1) in _axes(chosen) and set(names) <= {"T", "C"},  # pages that have no name may be the depth
        listed,
        first.offset,
        key.imagelength,
        key.imagewidth,
        samples,
        np.dtype(key.dtype).newbyteorder(file.byteorder),
        key.bitspersample,
        key.planarconfig == 2 and samples > 1,
        tile,
        key.is_tiled,
        int(key.compression),
        int(key.photometric),
        None if key.colormap is None else np.array(key.colormap),
        plain,
        key.decode,
        key.jpegheader,
        tuple(notes),
    )
    key.decode(None, 0)  # raises for what tifffile does not decode
    if min(*found.tile, found.height, found.width, samples) < 1:
        raise damaged(path, f"its size is {found.width} x {found.height}, its tiles {tile[1]} x {tile[0]}")
    if not plain and 2 * found.tile_bytes > (physical_memory() or 1 << 62):
        raise TooLargeError(
            f"{path} is compressed in {'tiles' if found.tiled else 'strips'} of {tile[1]} x {tile[0]}, each "
            f"{found.tile_bytes / 1e9:.1f} GB when decoded, and can only be decoded as a whole; tiles that fit into "
            "memory are needed. Save it with tiles: vips tiffsave in.tif out.tif --tile --bigtiff"
        )
    return found


def _entry(path: Path, entries: Any, number: int, name: str) -> Any:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number < len(entries):
        raise ArgumentError(
            f"{name} is {number!r}, and {path} has {len(entries)} of them; a number from 0 to {len(entries) - 1} is "
            f"needed. Write {name}=0, for example"
        )
    return entries[number]


def _refuse(path: Path, file: Any, series: Any, key: Any) -> None:
    """Raise FileError for pages that are known, and not read."""
    why = None
    if series.is_multifile:
        why = "its pages lie in several files"
    elif series.transform is not None:
        why = f"its numbers are converted as {series.kind} does"
    elif key.imagedepth > 1 or key.tiledepth > 1:
        why = "a page is a volume"
    elif key.compression in _REFUSED:
        why = f"its compression is {_REFUSED[key.compression]}"
    elif isinstance(key.bitspersample, tuple):
        why = f"its samples have different numbers of bits, {key.bitspersample}"
    elif key.dtype is None:
        why = f"its samples are of {key.bitspersample} bits in format {key.sampleformat}"
    if why is not None:
        raise FileError(
            f"{path} is not read by tiles: {why}; pages of plain numbers in one file are needed. Save it as a tiled "
            "TIFF with Deflate or LZW compression"
        )


def _page_axes(series: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names and sizes of the axes along which pages are counted, without those of size 1."""
    axes = [(name, size) for name, size in _axes(series) if name not in _SPACE and size > 1]
    if len({name for name, _ in axes}) < len(axes):
        return ("N",), (math.prod(size for _, size in axes),)
    return tuple(name for name, _ in axes), tuple(size for _, size in axes)


def _axes(series: Any) -> list[tuple[str, int]]:
    return list(zip(series.get_axes(False), series.get_shape(False), strict=True))


def _follow(series: Any, key: Any, total: int, length: int) -> bool:
    """Return True for a file with one directory for all pages, which lie behind each other."""
    return key.is_final and series.dataoffset is not None and series.dataoffset + total * key.nbytes <= length


def _places(path: Path, key: Any, page: Any, shift: int) -> Page:
    offsets, sizes = (np.array(each, np.int64) for each in (page.dataoffsets, page.databytecounts))
    tiles = math.prod(key.chunked)
    if min(len(offsets), len(sizes)) < tiles:
        raise damaged(path, f"page {page.index} lists {min(len(offsets), len(sizes))} of {tiles} tiles or strips")
    return Page(page.index, offsets[:tiles] + shift, sizes[:tiles], page.jpegtables)
