"""Pictures in files: their pixels as arrays [C, H, W] and back, whatever mode, bit depth and orientation they have.

The work is libvips's, through pyvips (the extra `cli`): it keeps 16 bits, expands palettes, knows CMYK. Damaged files
are refused, never read as far as they go; what a format cannot hold is converted and said, or refused before any work.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tconv.errors import FileError, MissingExtraError

Array = np.ndarray[Any, Any]

_READABLE = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WebP", "gif": "GIF", "heif": "HEIF"}
"""Loaders that are trusted with a file, by the first part of libvips's name for them."""

_COLOUR = ("b-w", "grey16", "srgb", "rgb", "rgb16", "scrgb", "multiband")  # values that are resampled as they are
_FORMATS = {"u1": "uchar", "i1": "char", "u2": "ushort", "i2": "short", "u4": "uint", "i4": "int", "f4": "float"}


def _pyvips() -> Any:
    os.environ.setdefault("VIPS_WARNING", "1")  # libvips keeps its warnings to itself: errors are raised all the same
    try:
        import pyvips
    except (ImportError, OSError):  # OSError: the package is there and its library is not
        raise MissingExtraError("reading and writing pictures", "pyvips", "cli") from None
    # pyvips would run Python in a callback for each of libvips's messages, where an interrupt is swallowed
    if silence := getattr(pyvips, "_remove_log_handler", None):
        silence()
    return pyvips


def _reason(error: Any) -> str:
    """What libvips complains of, in one line, without its own names in front."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2] if lines else "no reason given"


# -- reading -----------------------------------------------------------------------------------------------------


@dataclass
class Picture:
    """A picture file: its size and kind are known from the header; `read` decodes it.

    >>> black = np.zeros((3, 2, 4), np.uint8)                               # [C, H, W]
    >>> form, _ = format_for(Path("black.png"), black.shape, black.dtype, alpha=False)
    >>> with open("black.png", "wb") as file:
    ...     write_picture(file, form, black, alpha=False)
    >>> picture = open_picture(Path("black.png"))
    >>> picture.shape, picture.words
    ((3, 2, 4), 'PNG, RGB, 8 bit')
    >>> bool((picture.read() == black).all())
    True
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    alpha: bool
    """Whether the last channel is opacity."""
    words: str
    notes: list[str]
    """What was done on reading that the file does not say itself."""
    profile: bytes | None
    """The ICC profile of the colours, where one is embedded."""
    _image: Any = field(repr=False, default=None)

    def read(self) -> Array:
        """The pixels [C, H, W], a view of [H, W, C]. Raises FileError for a damaged file."""
        channels, height, width = self.shape
        try:
            data = self._image.write_to_memory()
        except _pyvips().Error as error:
            raise _damaged(self.path, _reason(error)) from None
        return np.moveaxis(np.frombuffer(data, self.dtype).reshape(height, width, channels), 2, 0)


def open_picture(path: Path) -> Picture:
    """The picture in a file, its header read, its pixels not yet.

    PNG, JPEG, TIFF, WebP, GIF and HEIF; 1 to 32 bits, grey, RGB, palettes and alpha as they are; the EXIF orientation
    is applied; CMYK and Lab become sRGB; of several pages or frames the first is taken. Float samples stay float.

    Raises FileError for a file that is missing, unreadable, empty, of no known format, or damaged, and
    MissingExtraError without pyvips.
    """
    vips = _pyvips()
    data = read_bytes(path)
    try:
        # from memory: libvips would take brackets in a file name for options, and serve an older file from its cache
        image = vips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    except vips.Error as error:
        raise _refusal(path, data, _reason(error)) from None
    loader = image.get("vips-loader").partition("load")[0]
    if loader not in _READABLE:
        raise _refusal(path, data, f"its kind is {loader}")
    notes = []
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        notes.append(f"first of {pages} pages")
    turned = image.get("orientation") if image.get_typeof("orientation") else 1
    if turned != 1:
        # turning needs rows in another order than the file has them
        image = vips.Image.new_from_buffer(data, "", fail_on="error").autorot()
        notes.append(f"turned upright (EXIF orientation {turned})")
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    if image.interpretation not in _COLOUR:
        notes.append(f"{image.interpretation.upper()} converted to sRGB")
        try:
            image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
        except vips.Error as error:
            raise _damaged(path, _reason(error)) from None
        profile = None  # it described the colours before
    codes = {name: code for code, name in _FORMATS.items()}
    if image.format not in codes:
        raise FileError(
            f"{path} holds {image.format} samples; {', '.join(codes)} are read. Write it as a float32 TIFF, or as .npy"
        )
    dtype = np.dtype(codes[image.format])
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8 * dtype.itemsize
    if bits < 8 and not image.get_typeof("palette"):
        notes.append(f"{bits} bit read as 8")
    alpha = image.bands in (2, 4) and image.interpretation != "multiband"
    return Picture(
        path,
        (image.bands, image.height, image.width),
        dtype,
        alpha,
        f"{_READABLE[loader]}, {describe(image.bands, dtype, alpha)}",
        notes,
        profile,
        image,
    )


def describe(channels: int, dtype: Any, alpha: bool) -> str:
    """The kind of a picture in words.

    >>> describe(4, np.uint16, alpha=True)
    'RGB with alpha, 16 bit'
    """
    colours = channels - alpha
    kind = {1: "grey", 3: "RGB"}.get(colours, f"{colours} channels") + (" with alpha" if alpha else "")
    dtype = np.dtype(dtype)
    sort = {"f": " float", "i": " signed"}.get(dtype.kind, "")
    return f"{kind}, {8 * dtype.itemsize} bit{sort}"


def read_bytes(path: Path, most: int = -1) -> bytes:
    """The file, or its first bytes, or a FileError that says why not."""
    try:
        if path.is_dir():
            raise FileError(f"{path} is a directory; a file is needed. Write the name of one file in it")
        if path.exists() and not path.is_file():
            raise FileError(f"{path} is a device or a pipe; a file is needed. Write the name of a file")
        with path.open("rb") as file:
            data = file.read(most)
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; a file is needed. Write the name of one that does") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, and FileError
        if isinstance(error, FileError):
            raise
        why = getattr(error, "strerror", None) or error
        raise FileError(f"{path} cannot be read: {why}. Write the name of a readable file") from None
    if not data:
        raise FileError(f"{path} is empty; a file with content is needed. Write the name of another")
    return data


def _refusal(path: Path, data: bytes, why: str) -> FileError:
    starts = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"GIF8", b"RIFF")
    if data.startswith(starts):
        return FileError(
            f"{path} is damaged, or of a kind that libvips does not read ({why}); a whole picture is needed. "
            "Write the name of an intact copy, or of the same picture as PNG"
        )
    formats = ", ".join(_READABLE.values())
    return FileError(
        f"{path} is not a picture that can be read ({why}); {formats}, .npy and .npz are. Write it as PNG, for example"
    )


def _damaged(path: Path, why: str) -> FileError:
    return FileError(f"{path} is damaged ({why}); a whole file is needed. Write the name of an intact copy")


# -- writing -----------------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """What a file format can hold, and how it is written."""

    name: str
    saver: str
    dtypes: str
    """The codes of the element types it holds."""
    alpha: bool
    side: int
    """The longest side in pixels."""
    options: dict[str, Any]


# of a picture just made larger, these write 0.4 times the bytes of libvips's defaults in half the time
_PNG = Format("PNG", "pngsave_target", "u1 u2", True, 2**31 - 1, {"compression": 3, "filter": "up"})
_JPEG = Format("JPEG", "jpegsave_target", "u1", False, 65535, {"Q": 95})
_TIFF = Format("TIFF", "tiffsave_target", " ".join(_FORMATS), True, 2**31 - 1, {"compression": "deflate"})
_WEBP = Format("WebP", "webpsave_target", "u1", True, 16383, {"Q": 95})

WRITABLE = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".tif": _TIFF, ".tiff": _TIFF, ".webp": _WEBP}
"""Formats by the ending of a file's name."""


def format_for(path: Path, shape: tuple[int, int, int], dtype: Any, alpha: bool) -> tuple[Format, list[str]]:
    """The format that a file's ending asks for, and what it will not keep of such a picture [C, H, W].

    >>> format_for(Path("a.jpg"), (4, 60, 80), np.uint16, True)[1]
    ['16 bit become 8', 'alpha composed over white', 'JPEG quality 95']

    Raises FileError where the ending is unknown or the format cannot hold the picture at all.
    """
    endings = ", ".join(WRITABLE)
    if (wanted := path.suffix.lower()) not in WRITABLE:
        raise FileError(
            f"{path} ends in {path.suffix or 'nothing'}; a picture is written as {endings}. "
            f"Write {path.stem or 'name'}.png, for example"
        )
    form, dtype = WRITABLE[wanted], np.dtype(dtype)
    channels, *sides = shape
    held = (*form.dtypes.split(), "u2")  # 16 bits can always become 8
    if dtype.str[1:] not in held or (form is not _TIFF and channels - alpha not in (1, 3)):
        raise FileError(
            f"the picture is {describe(channels, dtype, alpha)}, which {form.name} cannot hold. Write {path.stem}.tif"
        )
    if max(sides) > form.side:
        raise FileError(
            f"the picture would be {sides[1]} x {sides[0]}, and {form.name} holds at most {form.side} pixels a side. "
            f"Write {path.stem}.png"
        )
    lost = []
    if dtype.str[1:] not in form.dtypes:
        lost.append("16 bit become 8")
    if alpha and not form.alpha:
        lost.append("alpha composed over white")
    if "Q" in form.options:
        lost.append(f"{form.name} quality {form.options['Q']}")
    return form, lost


def write_picture(file: BinaryIO, form: Format, pixels: Array, alpha: bool, profile: bytes | None = None) -> None:
    """Encode pixels [C, H, W] into an open file, as `format_for` said. Raises FileError where the system refuses."""
    vips = _pyvips()
    if pixels.dtype.str[1:] not in form.dtypes:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 * 255, rounded
    channels, height, width = pixels.shape
    rows = np.ascontiguousarray(np.moveaxis(pixels, 0, 2))
    image = vips.Image.new_from_memory(rows.data, width, height, channels, _FORMATS[rows.dtype.str[1:]])
    grey, colour = ("grey16", "rgb16") if rows.dtype == np.uint16 else ("b-w", "srgb")
    image = image.copy(
        interpretation=grey if channels - alpha == 1 else colour if channels - alpha == 3 else "multiband"
    )
    if alpha and not form.alpha:
        image = image.flatten(background=[255.0] * (channels - 1))
    if profile is not None:
        image = image.copy()
        image.set_type(vips.GValue.blob_type, "icc-profile-data", profile)
    options = form.options | ({"bigtiff": True} if form is _TIFF and rows.nbytes > 3 * 10**9 else {})
    try:
        getattr(image, form.saver)(vips.Target.new_to_descriptor(file.fileno()), **options)
    except vips.Error as error:
        if why := _refusal_of(file.fileno()):
            raise FileError(f"{form.name} could not be written: {why}. Write to a disk with room") from None
        raise FileError(
            f"{form.name} could not be written: {_reason(error)}. Write another format, .tif for example"
        ) from None


def _refusal_of(descriptor: int) -> str | None:
    """Why the system takes no more bytes, where it does not: some of libvips's savers do not say."""
    block = bytes(2**20)
    try:
        while os.write(descriptor, block) < len(block):
            pass
    except OSError as error:
        return error.strerror
    return None
