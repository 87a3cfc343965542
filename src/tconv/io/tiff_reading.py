"""Reader of TIFF files whose samples are numbers: any count of bands, in any type and layout, grey, RGB or neither.

Only a sample that ExtraSamples calls alpha is opacity; all others are bands. Palettes, CMYK, JPEG inside TIFF and
samples of less than 8 bits are left to libvips; of those files, too, the tags are read here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.io import georeference
from tconv.io.exif import DESCRIPTIVE, ORIENTATION, STORAGE, Exif, resolution_of
from tconv.io.metadata import Metadata
from tconv.io.picture import (
    ASSOCIATED,
    GREY,
    GREY_INVERTED,
    RGB,
    UNASSOCIATED,
    Picture,
    Samples,
    damaged,
    describe,
    plausible_resolution,
)
from tconv.io.tiff_directory import DirectoryError, Tag, read_chain, read_directory, read_header
from tconv.io.tiff_segments import BYTE_CODECS, PREDICTORS, Layout, decode

_KINDS = {1: "u", 2: "i", 3: "f", 4: "u", 6: "c"}
"""NumPy's kinds of numbers by SampleFormat."""
_TYPES = frozenset(["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"])

_XMP, _IPTC, _PHOTOSHOP, _PROFILE = 700, 33723, 34377, 34675
_COLOURS = frozenset([RGB, 3, 5, 6, 8, 9, 10, 32845])
"""Values of PhotometricInterpretation that become RGB: palettes, CMYK, YCbCr, three kinds of Lab, and LogLuv, too."""
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""


_LIBVIPS_CODECS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32766, 32771, 32773, 32809, 32946, 34676, 34677, 50001})
"""Compressions that libvips decodes. It makes tiles of others black, without an error."""
_JPEG2000 = frozenset({33003, 33005, 34712})
_OTHER_CODECS = {33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC"}
_OTHER_CODECS |= {34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50002: "JPEG XL"}


class TiffFile:
    """The first directory of a TIFF file, read, or the one at a `place`. Raises FileError for a file without one.

    `data` are the bytes of the file, or what has their slices and their length.
    """

    def __init__(self, path: Path, data: bytes, place: int | None = None) -> None:
        self._path, self._data = path, data
        self._broken: list[int] = []
        try:
            if place is None:
                self._chain = read_chain(data, self._broken)
            else:
                self._chain = [read_directory(data, read_header(data), place, self._broken)[0]]
        except DirectoryError as error:
            raise damaged(path, str(error)) from None
        self._tags = self._chain[0]
        self._count = self._number(277, 1)
        extra = self._numbers(338)
        photometric = self._number(262, GREY)
        colours = 3 if photometric == RGB else 1
        wanted = max(0, self._count - colours)
        self.samples = Samples(photometric, (*extra, *(0,) * wanted)[:wanted])
        """Meaning of the samples, if they are grey, RGB, or neither."""
        self.metadata = self._metadata()
        self.notes = self._notes()

    def _numbers(self, code: int) -> tuple[int, ...]:
        return self._tags[code].integers() if code in self._tags else ()

    def _number(self, code: int, default: int) -> int:
        return next(iter(self._numbers(code)), default)

    def picture(self) -> Picture | None:
        """Return the picture; None if its samples are not plain numbers, or its compression is one of pictures."""
        photometric = self.samples.photometric
        layout = self._layout()
        if layout is None or photometric not in (GREY_INVERTED, GREY, RGB) or self._count < self.samples.colours:
            return None
        nodata = self.metadata.nodata
        inverts = layout.dtype.str[1:] in ("u1", "u2") and nodata is None and self._count == 1
        if photometric == GREY_INVERTED and inverts:
            return None  # libvips does
        notes = list(self.notes)
        if photometric == GREY_INVERTED:
            notes.append("its numbers are kept, of which 0 is white")
        if layout.dtype.kind in "iu" and layout.dtype.itemsize == 8:
            notes.append("64-bit integers are computed in float64, exact to 2^53")
        if nodata is not None:
            notes.append(f"pixels of the no-data value {nodata} stay so")
        turned = self.metadata.orientation
        samples, path, data, native = self.samples, self._path, self._data, layout.dtype.newbyteorder("=")
        fill = None if nodata is None else nodata_value(nodata, native)
        alpha = samples.alpha_at is not None
        size = (layout.width, layout.height) if turned >= 5 else (layout.height, layout.width)

        def pixels() -> Array:
            return samples.opacity_last(upright(decode(path, data, layout, fill), turned))

        raw = layout.height * layout.width * layout.samples * native.itemsize
        kind = describe(layout.samples, native, alpha, samples.are_bands)
        if self.samples.associated:
            kind += ", colours multiplied by alpha"
        return Picture(
            path,
            (layout.samples, *size),
            native,
            alpha,
            f"TIFF, {kind}",
            notes,
            self.profile(),
            self.resolution(turned >= 5),
            decoder_bytes=(2 if layout.compression != 1 else 1) * (raw + len(data)),
            decode=pixels,
            samples=self.samples,
            metadata=self.metadata,
            masks_nodata=nodata is not None or native.kind in "fc",
        )

    def _layout(self) -> Layout | None:
        """Return the places of the samples; None for what another reader has to read."""
        bits, formats = self._numbers(258) or (1,), self._numbers(339) or (1,)
        compression, predictor = self._number(259, 1), self._number(317, 1)
        if len(set(bits)) > 1 or len(set(formats)) > 1 or bits[0] % 8 or self._number(266, 1) != 1:
            return None
        code = f"{_KINDS.get(formats[0], '?')}{bits[0] // 8}"
        if code not in _TYPES or compression not in BYTE_CODECS or predictor not in PREDICTORS:
            return None
        if (predictor == 3 and code[0] != "f") or (predictor == 2 and code[0] == "c"):
            return None
        height, width, count = self._number(257, 0), self._number(256, 0), self._count
        if min(height, width, count) < 1:
            raise damaged(self._path, f"its size is {width} x {height}, with {count} samples")
        tiled = 322 in self._tags or 324 in self._tags
        tile = (
            (self._number(323, 0), self._number(322, 0)) if tiled else (min(self._number(278, height), height), width)
        )
        if min(tile) < 1:
            raise damaged(self._path, f"its tiles are of {tile[1]} x {tile[0]}")
        order = "<" if self._data[:2] == b"II" else ">"
        offsets, sizes = (self._numbers(324), self._numbers(325)) if tiled else (self._numbers(273), self._numbers(279))
        if tiled and not offsets:  # some writers list tiles as strips
            offsets, sizes = self._numbers(273), self._numbers(279)
        planar = self._number(284, 1) == 2 and count > 1
        layout = Layout(
            height, width, count, np.dtype(order + code), planar, tile, tiled, compression, predictor, offsets, sizes
        )
        # of an old file without sizes, an uncompressed strip reaches as far as its rows do
        if not sizes and len(offsets) == 1 and compression == 1:
            layout = replace(layout, sizes=(layout.row_bytes * height,))
        return layout

    def refuse_planes(self) -> None:
        """Raise FileError for planes of bands in a compression of pictures, which libvips 8.18 mixes up."""
        if self._number(284, 1) == 2 and self._count > 1 and self.samples.photometric in (GREY_INVERTED, GREY):
            raise FileError(
                f"{self._path} has planes of bands compressed by a codec of pictures, which are not read. Save it with "
                "Deflate or LZW compression"
            )

    def refuse_codec(self, jpeg2000: bool) -> None:
        """Raise FileError for a compression that libvips does not decode, or decodes only if built with `jpeg2000`."""
        code = self._number(259, 1)
        if code not in _LIBVIPS_CODECS and not (jpeg2000 and code in _JPEG2000):
            name = _OTHER_CODECS.get(code, f"codec {code}")
            raise FileError(
                f"{self._path} is compressed by {name}, which is not read for such samples. Save it with Deflate or "
                "LZW compression"
            )

    def forget_nodata(self) -> None:
        """Name what GDAL says about the numbers as lost: libvips makes other numbers of them."""
        for kind, name in (("nodata", "no-data value"), ("gdal", "GDAL metadata")):
            if getattr(self.metadata, kind) is not None:
                setattr(self.metadata, kind, None)
                self.metadata.lost.append(name)

    def ends_in_alpha(self, bands: int) -> bool:
        """Return True if the last of the samples that libvips gives is opacity, with colours not multiplied by it.

        libvips undoes the multiplication of associated alpha, and its own last sample is the file's.
        """
        opaque = [kind in (ASSOCIATED, UNASSOCIATED) for kind in self._numbers(338)]
        return bands > 1 and bool(opaque) and opaque[-1]

    def bands(self, channels: int, alpha: bool) -> Samples | None:
        """Return the meaning of the channels that libvips gives, if they are bands; None for grey and colours."""
        if channels - alpha == (3 if self.samples.photometric in _COLOURS else 1):
            return None
        return Samples(GREY, (0,) * (channels - 1 - alpha) + (UNASSOCIATED,) * alpha)

    def profile(self) -> bytes | None:
        """Return the ICC profile."""
        return self._tags[_PROFILE].raw if _PROFILE in self._tags else None

    def resolution(self, swapped: bool) -> tuple[float, float] | None:
        """Return the pixels per inch along width and height; None if the file does not state them."""
        values = resolution_of(self._tags)
        return plausible_resolution(*(values[::-1] if swapped else values)) if values else None

    def _metadata(self) -> Metadata:
        """Return what lies beside the pixels."""
        tags = self._tags
        turned = self._number(ORIENTATION, 1)
        found = Metadata(orientation=turned if turned in range(1, 9) else 1)
        described = {code: tag for code, tag in tags.items() if code in DESCRIPTIVE and not _is_of_program(code, tag)}
        try:
            found.exif = Exif.of(self._data, tags)
        except DirectoryError:
            found.lost.append("damaged EXIF")
        found.exif.main = described
        found.xmp = tags[_XMP].raw if _XMP in tags else None
        found.iptc = tags[_IPTC].raw if _IPTC in tags else None
        found.georeference = {code: tag for code, tag in tags.items() if code in georeference.TAGS}
        if found.orientation > 1 and found.georeference:
            found.georeference = {}
            found.lost.append("georeference of a turned picture")
        found.gdal = tags.get(georeference.GDAL_METADATA)
        if georeference.GDAL_NODATA in tags:
            found.nodata = georeference.nodata_number(tags[georeference.GDAL_NODATA])
        others = sorted(
            set(tags)
            - STORAGE
            - DESCRIPTIVE
            - georeference.TAGS
            - {_XMP, _IPTC, _PHOTOSHOP, _PROFILE, georeference.GDAL_METADATA, georeference.GDAL_NODATA}
        )
        if _PHOTOSHOP in tags:
            found.lost.append("Photoshop's resources")
        if self._broken:
            found.lost.append(f"damaged tag{'s' * (len(self._broken) > 1)} {', '.join(map(str, self._broken[:8]))}")
        if others:
            found.lost.append(
                f"tag{'s' * (len(others) > 1)} {', '.join(map(str, others[:8]))}{' ...' * (len(others) > 8)}"
            )
        return found

    def _notes(self) -> list[str]:
        """Return notes on further directories, and on the orientation."""
        notes = []
        kinds = [next(iter(tags[254].integers()), 0) if 254 in tags else 0 for tags in self._chain[1:]]
        masks = sum(bool(kind & _MASK) for kind in kinds)
        reduced = sum(bool(kind & _REDUCED) and not kind & _MASK for kind in kinds)
        if self._number(254, 0) & _REDUCED:
            notes.append("a smaller copy of a picture that the file has elsewhere")
        if pages := len(kinds) - masks - reduced:
            notes.append(f"first of {pages + 1} pages")
        if reduced:
            notes.append(f"without its {reduced} smaller cop{'ies' if reduced > 1 else 'y'} (overviews)")
        if masks:
            notes.append("without its mask")
        if self.metadata.orientation > 1:
            notes.append(f"turned upright (EXIF orientation {self.metadata.orientation})")
        return notes


def _is_of_program(code: int, tag: Tag) -> bool:
    """Return True for a description that a program wrote for itself: the old sizes, as JSON, XML or ImageJ's lines."""
    text = tag.raw.lstrip()
    return code == 270 and (
        text.startswith((b'{"shape"', b"ImageJ=", b"SCANIMAGE", b"shape=")) or b"<OME" in text[:2000]
    )


def nodata_value(text: str, dtype: np.dtype[Any]) -> float | int | None:
    """Return the value for missing data as a number of this type; None if the type does not have it.

    >>> nodata_value("-9999", np.dtype(np.int16)), nodata_value("-9999", np.dtype(np.uint8))
    (-9999, None)
    >>> nodata_value("nan", np.dtype(np.float32))
    nan
    """
    if dtype.kind in "fc":
        with np.errstate(over="ignore"):
            return float(np.dtype(f"f{dtype.itemsize // (2 if dtype.kind == 'c' else 1)}").type(float(text)))
    number = float(text)
    if not number.is_integer():
        return None
    whole = int(text) if text.lstrip("+-").isdigit() else int(number)
    info = np.iinfo(dtype)
    return whole if info.min <= whole <= info.max else None


def upright(pixels: Array, orientation: int) -> Array:
    """Return pixels [H, W, ...] turned as EXIF's orientation says: 1 as they are, 3 upside down, 6 and 8 on a side."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down, across = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return pixels[::down, ::across]
