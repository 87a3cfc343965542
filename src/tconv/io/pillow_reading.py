"""Reader of BMP and JPEG 2000 files through Pillow (the extra `cli`), because libvips's wheels read neither.

Only Pillow's readers for these two formats are used, and a file that breaks off is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, MissingExtraError
from tconv.io.metadata import Metadata
from tconv.io.picture import Picture, damaged, describe, plausible_resolution

FORMATS = ("BMP", "JPEG 2000")
ENDINGS = (".bmp", ".dib", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc")

_JP2, _CODESTREAM, _END = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\xff\xd9"
_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB"}
"""Modes of Pillow that are converted, and into which."""
_CHANNELS = {"L": 1, "I;16": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def reads(data: bytes) -> bool:
    """Return True for the content of a BMP or JPEG 2000 file."""
    return data.startswith((b"BM", _JP2, _CODESTREAM))


def open_picture(path: Path, data: bytes) -> Picture:
    """Return the picture in this content; its header is read, its pixels are not decoded yet.

    Depths of less than 8 bits are read as 8. JPEG 2000 of more than 8 bits is read as 16 bits if it is grey, and
    refused if it has colours. Raises FileError for such a file and for a damaged one, MissingExtraError without Pillow.
    """
    try:
        from PIL.BmpImagePlugin import BmpImageFile
        from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
    except ImportError:
        raise MissingExtraError("reading BMP and JPEG 2000", "pillow", "cli") from None
    is_bmp = data.startswith(b"BM")
    depth = _bmp_depth(data) if is_bmp else _jpeg2000_depth(path, data)
    # Image.open would try every format that Pillow knows, and refuse large pictures
    image = _attempt(path, lambda: (BmpImageFile if is_bmp else Jpeg2KImageFile)(io.BytesIO(data)))
    mode = _MODES.get(image.mode, image.mode)
    if mode not in _CHANNELS or 0 in image.size:
        raise damaged(path, f"its mode is {image.mode} and its size {image.size}")
    width, height = image.size
    channels, dtype = _CHANNELS[mode], np.dtype(np.uint16 if mode == "I;16" else np.uint8)
    if not is_bmp and depth > 8 and channels > 1:
        # Pillow 13.0.0 rounds them to 8 bits without a limit: white comes out black
        raise FileError(
            f"{path} has colours of {depth} bits, which Pillow does not read correctly from JPEG 2000. Save it as a "
            "PNG or TIFF of 16 bits"
        )
    alpha = channels in (2, 4)
    notes = [f"{depth} bit read as {8 * dtype.itemsize}"] if depth != 8 * dtype.itemsize and image.mode != "P" else []
    profile = _bmp_profile(data) if is_bmp else _jpeg2000_profile(data)
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
        profile = None  # it described the colours before

    def decode() -> Array:
        def pixels() -> Array:
            image.load()
            return np.asarray(image if image.mode == mode else image.convert(mode))

        decoded: Array = _attempt(path, pixels)
        return decoded.astype(dtype, copy=False).reshape(height, width, channels)

    kind = f"{FORMATS[not is_bmp]}, {describe(channels, dtype, alpha)}"
    shape = (channels, height, width)
    # Pillow's image has 4 bytes a pixel, and OpenJPEG's planes 4 a sample
    decoder = width * height * (4 if is_bmp else 4 + 4 * channels)
    metadata = Metadata()
    if any(data.find(kind, 0, max(0, data.find(_CODESTREAM))) > 0 for kind in (b"uuid", b"xml ")):
        metadata.lost.append("boxes of metadata")
    return Picture(
        path, shape, dtype, alpha, kind, notes, profile, _resolution(image), decoder, decode=decode, metadata=metadata
    )


def _attempt(path: Path, call: Callable[[], Any]) -> Any:
    """Return the result of a call of Pillow. Raises FileError for its many errors over damaged files."""
    try:
        return call()
    except MemoryError:
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, OverflowError, AssertionError ...
        why = " ".join(str(error).split()) or type(error).__name__
        raise damaged(path, why) from None


def _resolution(image: Any) -> tuple[float, float] | None:
    """Return the pixels per inch along width and height; None if the file does not state them."""
    return plausible_resolution(*map(float, image.info.get("dpi", (0, 0))))


def _bmp_profile(data: bytes) -> bytes | None:
    """Return the ICC profile that a BMP file of version 5 embeds, if it does."""
    if data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":  # a header of 124 bytes, PROFILE_EMBEDDED
        return None
    start, size = (int.from_bytes(data[place : place + 4], "little") for place in (126, 130))
    return _icc(data[14 + start : 14 + start + size])


def _jpeg2000_profile(data: bytes) -> bytes | None:
    """Return the ICC profile in the colour box of a JPEG 2000 file, if it has one (ISO 15444-1, I.5.3.3: method 2)."""
    place = data.find(b"colr", 0, max(0, data.find(_CODESTREAM)))
    if place < 4 or data[place + 4 : place + 5] != b"\2":
        return None
    return _icc(data[place + 7 : place - 4 + int.from_bytes(data[place - 4 : place], "big")])


def _icc(profile: bytes) -> bytes | None:
    """Return the profile if it is one: it has its size at the front, and a signature."""
    whole = len(profile) >= 128 and int.from_bytes(profile[:4], "big") == len(profile)
    return profile if whole and profile[36:40] == b"acsp" else None


def _bmp_depth(data: bytes) -> int:
    """Return the bits of a colour of a BMP file; 8 for palettes and for headers that break off."""
    place = 24 if data[14:15] == b"\x0c" else 28  # in the header of OS/2, sizes have 2 bytes instead of 4
    bits = int.from_bytes(data[place : place + 2], "little")
    return {1: 1, 16: 5}.get(bits, 8)


def _jpeg2000_depth(path: Path, data: bytes) -> int:
    """Return the bits of the first component of a JPEG 2000 file. Raises FileError if its codestream breaks off."""
    start = data.find(_CODESTREAM)
    if start < 0 or data.find(_END, start + 43) < 0:
        raise damaged(path, "its codestream breaks off")
    return int(data[start + 42] & 0x7F) + 1
