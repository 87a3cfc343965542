"""Writer of picture files: arrays [C, H, W] as PNG, JPEG, TIFF or WebP.

Losses, such as those of JPEG, are stated before any work; a picture that a format cannot contain is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.io.libvips_import import SAMPLE_FORMATS, pyvips, reason
from tconv.io.metadata import Metadata, photoshop_block, png_texts, with_comments
from tconv.io.picture import GREY, GREY_INVERTED, RGB, UNASSOCIATED, Samples, describe
from tconv.io.tiff_writing import TYPES, write_tiff

_USUAL_RESOLUTION = (72.0, 72.0)
_PNG_END = 12
"""Bytes of the chunk that ends a PNG file."""


class Format(NamedTuple):
    """A file format: the pictures it can contain, and the options it is written with."""

    name: str
    saver: str
    """Function of libvips, "" for TIFF."""
    dtypes: str
    """Codes of its element types."""
    alpha: bool
    side: int
    """Longest side in pixels."""
    options: dict[str, Any]


# of a picture just made larger, these write 0.4 times the bytes of libvips's defaults in half the time
_PNG = Format("PNG", "pngsave_target", "u1 u2", True, 2**31 - 1, {"compression": 3, "filter": "up"})
_JPEG = Format("JPEG", "jpegsave_target", "u1", False, 65535, {"Q": 95})
_TIFF = Format("TIFF", "", TYPES, True, 2**31 - 1, {})
_WEBP = Format("WebP", "webpsave_target", "u1", True, 16383, {"Q": 95})

WRITABLE = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".tif": _TIFF, ".tiff": _TIFF, ".webp": _WEBP}
"""Formats by the ending of a file's name."""


def format_for(path: Path, shape: tuple[int, int, int], dtype: Any, alpha: bool) -> tuple[Format, list[str]]:
    """Return the format that a file's ending names, and what is lost of a picture [C, H, W] in it.

    >>> format_for(Path("a.jpg"), (4, 60, 80), np.uint16, True)[1]
    ['16 bit become 8', 'alpha composited over white', 'JPEG quality 95']

    Raises FileError if the ending is unknown or the format cannot contain the picture at all.
    """
    endings = ", ".join(WRITABLE)
    if (wanted := path.suffix.lower()) not in WRITABLE:
        given = f"ends in {path.suffix}" if path.suffix else "has no file ending"
        raise FileError(
            f"{path} {given}; a picture is written as {endings}. Write {path.stem or 'name'}.png, for example"
        )
    form, dtype = WRITABLE[wanted], np.dtype(dtype)
    channels, *sides = shape
    if dtype.str[1:] not in TYPES.split():
        raise FileError(
            f"the picture is {describe(channels, dtype, alpha)}, which no format here contains. "
            "Write image.astype(np.float32), and a .tif file"
        )
    accepted = (*form.dtypes.split(), "u2")  # 16 bits can always become 8
    if dtype.str[1:] not in accepted or (form is not _TIFF and channels - alpha not in (1, 3)):
        raise FileError(
            f"the picture is {describe(channels, dtype, alpha)}, which {form.name} cannot contain. "
            f"Write {path.stem}.tif"
        )
    if max(sides) > form.side:
        raise FileError(
            f"the picture would be {sides[1]} x {sides[0]}, and {form.name} allows at most {form.side} pixels a side. "
            f"Write {path.stem}.png"
        )
    lost = []
    if dtype.str[1:] not in form.dtypes:
        lost.append("16 bit become 8")
    if alpha and not form.alpha:
        lost.append("alpha composited over white")
    if "Q" in form.options:
        lost.append(f"{form.name} quality {form.options['Q']}")
    return form, lost


def write_picture(
    file: BinaryIO,
    form: Format,
    pixels: Array,
    alpha: bool,
    profile: bytes | None = None,
    resolution: tuple[float, float] | None = None,
    samples: Samples | None = None,
    metadata: Metadata | None = None,
) -> None:
    """Encode pixels [C, H, W], opacity last, into an open file, in a format of `format_for`.

    `resolution` is in pixels per inch along width and height; without it 72 is written, the value that readers assume
    for a file that states none. `samples` are those of the TIFF file that the pixels come from; another format gets
    colours that are not multiplied by opacity. Of the metadata, already those of this size, what the format has a place
    for is written. Raises FileError if the system refuses.
    """
    metadata = metadata or Metadata()
    if form is not _TIFF:
        _write_by_libvips(file, form, pixels, alpha, profile, resolution, samples, metadata)
        return
    channels = len(pixels)
    if samples is None or 1 + len(samples.extra) + (samples.photometric == RGB) * 2 != channels:
        samples = samples_of(channels, alpha)
    rows = samples.file_order(np.moveaxis(pixels, 0, 2))
    try:
        write_tiff(file, rows, samples, metadata, profile, resolution or _USUAL_RESOLUTION)
    except OSError as error:
        raise _full(form, error.strerror) from None


def samples_of(channels: int, alpha: bool) -> Samples:
    """Return the meaning of these channels in a TIFF file: grey or RGB if they are so many, else bands."""
    photometric = RGB if channels - alpha == 3 else GREY
    bands = channels - alpha - (3 if photometric == RGB else 1)
    return Samples(photometric, (0,) * bands + (UNASSOCIATED,) * alpha)


def _write_by_libvips(
    file: BinaryIO,
    form: Format,
    pixels: Array,
    alpha: bool,
    profile: bytes | None,
    resolution: tuple[float, float] | None,
    samples: Samples | None,
    metadata: Metadata,
) -> None:
    vips = pyvips()
    if alpha and samples is not None and samples.associated:
        pixels = _unassociated(pixels)
    if samples is not None and samples.photometric == GREY_INVERTED:
        colours = len(pixels) - alpha
        pixels = np.concatenate([np.iinfo(pixels.dtype).max - pixels[:colours], pixels[colours:]])
    if pixels.dtype.str[1:] not in form.dtypes:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 * 255, rounded
    channels, height, width = pixels.shape
    # libvips takes the bytes as they are: in this machine's order
    rows = np.ascontiguousarray(np.moveaxis(pixels, 0, 2), pixels.dtype.newbyteorder("="))
    image = vips.Image.new_from_memory(rows.data, width, height, channels, SAMPLE_FORMATS[rows.dtype.str[1:]])
    grey, colour = ("grey16", "rgb16") if rows.dtype == np.uint16 else ("b-w", "srgb")
    x, y = resolution or _USUAL_RESOLUTION
    image = image.copy(interpretation=grey if channels - alpha == 1 else colour, xres=x / 25.4, yres=y / 25.4)
    if alpha and not form.alpha:
        image = image.flatten(background=[255.0] * (channels - 1))
    image = image.copy()
    lost = metadata.not_kept(form.name)
    blobs = {
        "icc-profile-data": profile,
        "exif-data": metadata.exif.block() if metadata.exif and "EXIF" not in lost else None,
        "xmp-data": None if "XMP" in lost else metadata.xmp,
        "iptc-data": photoshop_block(metadata.iptc) if metadata.iptc and "IPTC" not in lost else None,
    }
    for name, blob in blobs.items():
        if blob is not None:
            image.set_type(vips.GValue.blob_type, name, blob)
    try:
        if form is _JPEG and metadata.comments and "comments" not in lost:
            _put(file, form, with_comments(image.jpegsave_buffer(**form.options), metadata.comments))
            return
        getattr(image, form.saver)(vips.Target.new_to_descriptor(file.fileno()), **form.options)
    except vips.Error as error:
        if why := _refusal_of(file.fileno()):
            raise _full(form, why) from None
        raise FileError(
            f"{form.name} could not be written: {reason(error)}. Use another format, .tif for example"
        ) from None
    if form is _PNG and (texts := png_texts(metadata)):
        end = os.lseek(file.fileno(), -_PNG_END, os.SEEK_END)
        last = os.read(file.fileno(), _PNG_END)
        os.lseek(file.fileno(), end, os.SEEK_SET)
        _put(file, form, texts + last)


def _unassociated(pixels: Array) -> Array:
    """Return pixels [C, H, W] whose colours were multiplied by opacity as they were before; 0 where it is 0."""
    opacity = pixels[-1:].astype(np.float64)
    white = float(np.iinfo(pixels.dtype).max)
    colours = np.divide(pixels[:-1] * white, opacity, out=np.zeros(pixels[:-1].shape), where=opacity > 0)
    return np.concatenate([np.rint(np.minimum(colours, white)).astype(pixels.dtype), pixels[-1:]])


def _put(file: BinaryIO, form: Format, data: bytes) -> None:
    """Write bytes at the place of the file. Raises FileError if the system refuses."""
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(file.fileno(), left) :]
    except OSError as error:
        raise _full(form, error.strerror) from None


def _full(form: Format, why: str | None) -> FileError:
    return FileError(f"{form.name} could not be written: {why}. Free some space, or write to another disk")


def _refusal_of(descriptor: int) -> str | None:
    """Return the reason if the system takes no more bytes, which some of libvips's savers do not report."""
    block = bytes(2**20)
    try:
        while os.write(descriptor, block) < len(block):
            pass
    except OSError as error:
        return error.strerror
    return None
