"""Meaning of a TIFF page's numbers: grey, colours, bands, opacity, and what becomes of bits and palettes on reading.

The words are those of `tconv.io.picture`, and the numbers those that `tconv.io.picture_reading` gives of the same file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.io.georeference import side_files
from tconv.io.metadata import Metadata
from tconv.io.picture import GREY, GREY_INVERTED, RGB, Samples, damaged
from tconv.io.tiff_reading import TiffFile, nodata_value
from tconv.scale.stores.tiff_bytes import FileBytes
from tconv.scale.stores.tiff_pages import JPEGS, Pages

_PALETTE, _YCBCR = 3, 6
_SCALED_BITS = (1, 2, 4)
_KINDS = {4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab (ICC)", 10: "Lab (ITU)", 32803: "a colour filter array"}
_KINDS |= {32844: "LogL", 32845: "LogLuv", 34892: "raw of a camera"}


@dataclass(frozen=True)
class Meaning:
    """Facts that turn decoded samples [h, w, S] into pixels [h, w, C]."""

    samples: Samples
    channels: int
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    """stored samples in the order of the channels: opacity last"""
    scale: int
    """factor of packed bits: 255 for a bilevel page"""
    inverted: bool
    """True if 0 is white, and becomes the largest number"""
    palette: Array | None
    """[entries, 1 or 3] of 8 bits"""
    fill: float | int
    """number of tiles without data"""
    metadata: Metadata
    profile: bytes | None
    resolution: tuple[float, float] | None
    masks_nodata: bool
    notes: tuple[str, ...]

    @property
    def converts(self) -> bool:
        """True if decoded numbers are not the pixels' numbers yet."""
        return self.scale > 1 or self.inverted or self.palette is not None

    def converted(self, decoded: Array) -> Array:
        """Return pixels [h, w, C] of decoded samples [h, w, S], in the order of the file."""
        if self.palette is not None:
            return self.palette[decoded[..., 0]]
        if self.scale > 1:
            decoded = decoded.astype(np.uint8) * np.uint8(self.scale)
        return np.iinfo(self.dtype).max - decoded if self.inverted else decoded


def meaning_of(path: Path, data: FileBytes, pages: Pages) -> Meaning:
    """Return the meaning of pages. Raises FileError for colours that are not read by tiles, and damaged directories."""
    tiff = TiffFile(path, data, pages.place)  # type: ignore[arg-type]
    metadata, notes, photometric = tiff.metadata, list(pages.notes), pages.photometric
    count, palette, scale = pages.samples, None, 1
    if photometric == _PALETTE and pages.colormap is not None and count == 1 and pages.stored.kind == "u":
        palette = _palette(path, pages)
        photometric, count = (GREY, 1) if palette.shape[1] == 1 else (RGB, 3)
        notes.append("palette applied")
    elif photometric == _YCBCR and pages.compression in JPEGS and count == 3:
        photometric = RGB
    elif photometric not in (GREY_INVERTED, GREY, RGB):
        kind = _KINDS.get(photometric, f"photometric interpretation {photometric}")
        raise FileError(
            f"{path} is not read by tiles: its colours are {kind}; grey, RGB, bands and palettes are. "
            "Convert it first: vips colourspace in.tif out.tif srgb"
        )
    colours = 3 if photometric == RGB else 1
    if count < colours:
        raise damaged(path, f"it is RGB with {count} samples")
    dtype = pages.stored.newbyteorder("=")
    if palette is not None:
        dtype = palette.dtype
    elif pages.bits in _SCALED_BITS:
        scale, dtype = 255 // (2**pages.bits - 1), np.dtype(np.uint8)
        notes.append(f"{pages.bits} bit read as 8")
    elif pages.bits != 8 * dtype.itemsize:
        raise FileError(
            f"{path} is not read by tiles: its samples are of {pages.bits} bits; 1, 2, 4, 8, 16, 32 and 64 are. "
            "Save it with 16 bits"
        )
    if palette is not None or scale > 1:
        for field, name in (("nodata", "no-data value"), ("gdal", "GDAL metadata")):
            if getattr(metadata, field) is not None:
                setattr(metadata, field, None)
                metadata.lost.append(name)
    nodata = metadata.nodata
    inverted = photometric == GREY_INVERTED and count == 1 and nodata is None and dtype.str[1:] in ("u1", "u2")
    if photometric == GREY_INVERTED:
        notes.append("0 was white, and is black now" if inverted else "its numbers are kept, of which 0 is white")
    if inverted:
        photometric = GREY
    stated = tiff.samples.extra[-(count - colours) :] if count > colours else ()
    samples = Samples(photometric, (*stated, *(0,) * (count - colours))[: count - colours])
    if dtype.kind in "iu" and dtype.itemsize == 8:
        notes.append("64-bit integers are computed in float64, exact to 2^53")
    if nodata is not None:
        notes.append(f"pixels of the no-data value {nodata} stay so")
    if metadata.orientation > 1:
        notes.append(f"turned upright (EXIF orientation {metadata.orientation})")
    metadata.lost += side_files(path)
    at = samples.alpha_at
    order = tuple(n for n in range(count) if n != at) + (() if at is None else (at,))
    fill = None if nodata is None else nodata_value(nodata, dtype)
    return Meaning(
        samples,
        count,
        dtype,
        order,
        scale,
        inverted,
        palette,
        0 if fill is None else fill,
        metadata,
        tiff.profile(),
        tiff.resolution(metadata.orientation >= 5),
        nodata is not None or dtype.kind in "fc",
        tuple(notes),
    )


def _palette(path: Path, pages: Pages) -> Array:
    """Return the colours [entries, 1 or 3] of a palette, with 8 bits as libvips has them."""
    assert pages.colormap is not None
    colours = np.asarray(pages.colormap, np.uint16).T
    if colours.shape != (2**pages.bits, 3):
        raise damaged(path, f"its palette has {len(colours)} entries for {pages.bits} bits")
    # some writers list 8 bits where 16 are meant
    table = (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)
    grey = (table[:, :1] == table).all()
    return np.ascontiguousarray(table[:, :1] if grey else table)
