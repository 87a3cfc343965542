"""Readers of picture files: pixels as arrays [C, H, W], whatever mode, bit depth and orientation a file has.

libvips decodes most formats, Pillow the two that it lacks. Damaged files are refused, never decoded as far as they go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.io import pillow_reading
from tconv.io.exif import resolution as exif_resolution
from tconv.io.file_bytes import read_bytes
from tconv.io.georeference import side_files
from tconv.io.libvips_import import SAMPLE_FORMATS, pyvips, reason
from tconv.io.metadata import Metadata, add_exif_block, read_gif, read_jpeg, read_png
from tconv.io.picture import Picture, damaged, describe, plausible_resolution
from tconv.io.tiff_reading import TiffFile

_READABLE = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WebP", "gif": "GIF", "heif": "HEIF"}
"""Loaders that may open a file, by the first part of libvips's name for them."""

ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".gif", ".heic", ".heif", ".avif"),
    *pillow_reading.ENDINGS,
)
"""Endings of the files that a folder is searched for. A file that is named is read whatever its ending."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_COLOUR = ("b-w", "grey16", "srgb", "rgb", "rgb16", "scrgb", "multiband")
"""Interpretations whose values are resampled as they are."""


def open_picture(path: Path) -> Picture:
    """Return the picture in a file; its header is read, its pixels are not decoded yet.

    >>> from tconv.io.picture_writing import format_for, write_picture
    >>> black = np.zeros((3, 2, 4), np.uint8)                               # [C, H, W]
    >>> form, _ = format_for(Path("black.png"), black.shape, black.dtype, alpha=False)
    >>> with open("black.png", "wb") as file:
    ...     write_picture(file, form, black, alpha=False)
    >>> picture = open_picture(Path("black.png"))
    >>> picture.shape, picture.description
    ((3, 2, 4), 'PNG, RGB, 8 bit')
    >>> bool((picture.read() == black).all())
    True

    PNG, JPEG, TIFF, WebP, GIF, HEIF, BMP and JPEG 2000; grey, RGB, palettes and alpha as they are, in TIFF any number
    of bands of any type; the EXIF orientation is applied; CMYK and Lab become sRGB; of several pages or frames the
    first is taken. Float samples stay float.

    Raises FileError for a file that is missing, unreadable, empty, of no known format, or damaged, and
    MissingExtraError without pyvips, or without Pillow for BMP and JPEG 2000.
    """
    picture = _opened(path)
    picture.metadata.lost += side_files(path)
    return picture


def _opened(path: Path) -> Picture:
    vips = pyvips()
    data = read_bytes(path)
    if pillow_reading.reads(data):
        return pillow_reading.open_picture(path, data)
    tiff = TiffFile(path, data) if data.startswith(_TIFF_STARTS) else None
    if tiff is not None and (picture := tiff.picture()) is not None:
        return picture
    if tiff is not None:
        tiff.refuse_codec(jpeg2000=bool(vips.type_find("VipsOperation", "jp2kload")))
    try:
        # from memory: libvips would take brackets in a file name for options, and serve an older file from its cache
        image = vips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    except vips.Error as error:
        raise _refusal(path, data, reason(error)) from None
    loader = image.get("vips-loader").partition("load")[0]
    if loader not in _READABLE:
        raise _refusal(path, data, f"its kind is {loader}")
    if tiff is not None:
        tiff.refuse_planes()
        tiff.forget_nodata()
    metadata, notes = (tiff.metadata, tiff.notes) if tiff is not None else _metadata(image, loader, data)
    resolution = _resolution(image, loader, data)
    turned = image.get("orientation") if image.get_typeof("orientation") else 1
    if turned != 1:
        # turning needs rows in another order than the file has them
        image = vips.Image.new_from_buffer(data, "", fail_on="error").autorot()
        if tiff is None:
            notes.append(f"turned upright (EXIF orientation {turned})")
        metadata.orientation = turned
        if turned >= 5 and resolution is not None:  # rows and columns change places
            resolution = resolution[1], resolution[0]
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    if image.interpretation not in _COLOUR:
        notes.append(f"{image.interpretation.upper()} converted to sRGB")
        try:
            image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
        except vips.Error as error:
            raise damaged(path, reason(error)) from None
        profile = None  # it described the colours before
    codes = {name: code for code, name in SAMPLE_FORMATS.items()}
    if image.format not in codes:
        raise FileError(
            f"{path} has {image.format} samples; {', '.join(codes)} are read. Save it as a float32 TIFF, or as .npy"
        )
    dtype = np.dtype(codes[image.format])
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8 * dtype.itemsize
    if bits < 8 and not image.get_typeof("palette"):
        notes.append(f"{bits} bit read as 8")
    if tiff is None:
        alpha = image.bands in (2, 4) and image.interpretation != "multiband"
        samples = None
    else:  # libvips takes any fourth sample for alpha
        alpha = tiff.ends_in_alpha(image.bands)
        samples = tiff.bands(image.bands, alpha)
    height, width, channels = image.height, image.width, image.bands

    def decode() -> Array:
        try:
            pixels = image.write_to_memory()
        except vips.Error as error:
            raise damaged(path, reason(error)) from None
        return np.frombuffer(pixels, dtype).reshape(height, width, channels)

    return Picture(
        path,
        (channels, height, width),
        dtype,
        alpha,
        f"{_READABLE[loader]}, {describe(channels, dtype, alpha, samples is not None)}",
        notes,
        profile,
        resolution,
        decode=decode,
        samples=samples,
        metadata=metadata,
    )


def _metadata(image: Any, loader: str, data: bytes) -> tuple[Metadata, list[str]]:
    """Return what lies beside the pixels, and notes on further pages or frames."""
    found = Metadata()
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if loader == "png":
        pages = read_png(data, found)
    elif loader == "jpeg":
        read_jpeg(data, found)
    elif loader == "gif":
        read_gif(data, found)
    add_exif_block(found, image.get("exif-data") if image.get_typeof("exif-data") else None)
    found.xmp = image.get("xmp-data") if image.get_typeof("xmp-data") else None
    return found, [f"first of {pages} pages"] if pages > 1 else []


def _resolution(image: Any, loader: str, data: bytes) -> tuple[float, float] | None:
    """Return the pixels per inch along width and height; None if the file does not state them."""
    if loader in ("webp", "heif"):  # there only the EXIF block states it
        values, per_inch = exif_resolution(image.get("exif-data") if image.get_typeof("exif-data") else b""), 1.0
    elif _has_phys(data) if loader == "png" else image.get_typeof("resolution-unit"):
        values, per_inch = [image.xres, image.yres], 25.4  # libvips counts by the millimetre
    else:
        return None
    return plausible_resolution(*(value * per_inch for value in values)) if values else None


def _has_phys(data: bytes) -> bool:
    """Return True if a PNG file states pixels per metre; a pHYs chunk of unit 0 has only their ratio."""
    chunk = data.find(b"pHYs", 0, max(0, data.find(b"IDAT")))
    return chunk > 0 and data[chunk + 12 : chunk + 13] == b"\1"


def _refusal(path: Path, data: bytes, why: str) -> FileError:
    """Return the error for a file that libvips does not open: damaged, or no picture."""
    if data.startswith(_TIFF_STARTS):
        return FileError(
            f"{path} is damaged, or of a kind that libvips does not read ({why}); a whole picture is needed. "
            "Choose an intact copy, or save it in grey, RGB or bands as a TIFF with Deflate or LZW compression"
        )
    if data.startswith((b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF")):
        return FileError(
            f"{path} is damaged, or of a kind that libvips does not read ({why}); a whole picture is needed. "
            "Choose an intact copy, or save the picture as PNG"
        )
    formats = ", ".join([*_READABLE.values(), *pillow_reading.FORMATS])
    return FileError(
        f"{path} is not a picture that can be read ({why}); {formats}, .npy and .npz are. Save it as PNG, for example"
    )
