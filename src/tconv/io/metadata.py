"""Data of a picture file beside its pixels: EXIF, XMP, IPTC, texts and georeference; kept, or named as lost.

Readers collect it, writers keep what their format has a place for, and reports name the rest.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tconv.io import georeference
from tconv.io.exif import Exif
from tconv.io.tiff_directory import DirectoryError, Tag

KEEPS = {
    "TIFF": ("EXIF", "XMP", "IPTC", "georeference", "GDAL metadata", "no-data value"),
    "PNG": ("EXIF", "XMP", "comments", "texts"),
    "JPEG": ("EXIF", "XMP", "IPTC", "comments"),
    "WebP": ("EXIF", "XMP"),
}
"""Kinds of data that each format has a place for."""

_JPEG_SEGMENT = 65533
"""Most bytes of one segment of a JPEG file."""
_EXIF_GROWTH = 256
"""Bytes that libvips may add to an EXIF block: the resolution, the version, the sizes."""
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"

_PHOTOSHOP, _IPTC_RESOURCE = b"Photoshop 3.0\0", 0x0404


@dataclass
class Metadata:
    """Data beside the pixels, and the names of data that no writer here keeps."""

    exif: Exif = field(default_factory=Exif)
    xmp: bytes | None = None
    iptc: bytes | None = None
    """Records of IPTC's Information Interchange Model."""
    comments: list[bytes] = field(default_factory=list)
    texts: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Chunks of text of a PNG file: type and content."""
    georeference: dict[int, Tag] = field(default_factory=dict)
    gdal: Tag | None = None
    nodata: str | None = None
    """GDAL's value for missing data, as the file has it."""
    orientation: int = 1
    """EXIF orientation that the picture had before it was turned upright on reading."""
    lost: list[str] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """Return the names of the kinds of data that are here."""
        present = {
            "EXIF": self.exif,
            "XMP": self.xmp,
            "IPTC": self.iptc,
            "comments": self.comments,
            "texts": self.texts,
            "georeference": self.georeference,
            "GDAL metadata": self.gdal,
            "no-data value": self.nodata,
        }
        return [kind for kind, value in present.items() if value]

    def not_kept(self, format_name: str) -> list[str]:
        """Return the names of the data that a file of this format does not keep.

        >>> Metadata(iptc=b"...", lost=["gamma"]).not_kept("PNG")
        ['IPTC', 'gamma']
        """
        lost = [kind for kind in self.kinds() if kind not in KEEPS[format_name]]
        if format_name == "JPEG":
            blocks = {
                "EXIF": self.exif.block() if self.exif else b"",
                "XMP": _XMP_IN_JPEG + (self.xmp or b""),
                "IPTC": photoshop_block(self.iptc or b""),
                "comments": max(self.comments, key=len, default=b""),
            }
            lost += [kind for kind, block in blocks.items() if len(block) > _JPEG_SEGMENT - _EXIF_GROWTH]
        return lost + self.lost

    def enlarged(self, old: tuple[int, int], new: tuple[int, int]) -> Metadata:
        """Return the data for a picture of another size (width, height), upright."""
        place = georeference.enlarged(self.georeference, old, new)
        return Metadata(
            self.exif.enlarged(old, new, self.orientation),
            None if self.xmp is None else _enlarged_xmp(self.xmp, old, new),
            self.iptc,
            self.comments,
            self.texts,
            place,
            None if self.gdal is None else georeference.without_statistics(self.gdal),
            self.nodata,
            self.orientation,
            self.lost,
        )


def _enlarged_xmp(xmp: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """Return XMP whose sizes in pixels are those of the new picture, which is upright."""

    def replaced(names: bytes, value: int | None, factor: float = 1.0) -> None:
        nonlocal xmp

        def change(match: re.Match[bytes]) -> bytes:
            number = round(int(match[2]) * factor) if value is None else value
            return match[1] + str(number).encode()

        # an attribute, name="1", or an element, <name>1</name>
        xmp = re.sub(rb"(\b(?:" + names + rb")(?:\s*=\s*[\"']|>)\s*)(\d{1,9})", change, xmp)

    replaced(b"tiff:Orientation", 1)
    replaced(b"exif:PixelXDimension|tiff:ImageWidth", new[0])
    replaced(b"exif:PixelYDimension|tiff:ImageLength", new[1])
    replaced(rb"GPano:\w*(?:Width|Left)Pixels", None, new[0] / old[0])
    replaced(rb"GPano:\w*(?:Height|Top)Pixels", None, new[1] / old[1])
    return xmp


def add_exif_block(metadata: Metadata, block: bytes | None) -> None:
    """Read an EXIF block into the data, or name it as lost if it is damaged."""
    if not block:
        return
    try:
        metadata.exif = Exif.of_block(block)
    except DirectoryError:
        metadata.lost.append("damaged EXIF")


# -- JPEG --------------------------------------------------------------------------------------------------------


def read_jpeg(data: bytes, metadata: Metadata) -> None:
    """Collect comments and IPTC from a JPEG file, and name what else is lost of it."""
    for marker, content in _jpeg_segments(data):
        if marker == 0xFE:
            metadata.comments.append(content)
        elif marker == 0xED and content.startswith(_PHOTOSHOP):
            metadata.iptc = metadata.iptc or _iptc_of(content[len(_PHOTOSHOP) :])
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            _add(metadata.lost, "further pictures (MPF)")
        elif marker == 0xEB and content.startswith(b"JP"):
            _add(metadata.lost, "content credentials (JUMBF)")
        elif marker == 0xE1 and content.startswith(b"http://ns.adobe.com/xmp/extension/"):
            _add(metadata.lost, "extended XMP")


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of the segments before the pixels."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a byte to fill
            place += 1
            continue
        if marker in (0xD9, 0xDA):
            return
        size = int.from_bytes(data[place + 2 : place + 4], "big")
        yield marker, data[place + 4 : place + 2 + size]
        place += 2 + max(size, 2)


def _iptc_of(resources: bytes) -> bytes | None:
    """Return the IPTC records among Photoshop's image resources."""
    place = 0
    while resources[place : place + 4] == b"8BIM" and place + 12 <= len(resources):
        kind = int.from_bytes(resources[place + 4 : place + 6], "big")
        place += 6 + (resources[place + 6] + 2) // 2 * 2  # a name, padded to whole pairs with its length
        size = int.from_bytes(resources[place : place + 4], "big")
        if kind == _IPTC_RESOURCE:
            return resources[place + 4 : place + 4 + size]
        place += 4 + (size + 1) // 2 * 2
    return None


def photoshop_block(iptc: bytes) -> bytes:
    """Return IPTC records as JPEG files contain them."""
    head = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc))
    return _PHOTOSHOP + head + iptc + b"\0" * (len(iptc) % 2)


def with_comments(jpeg: bytes, comments: list[bytes]) -> bytes:
    """Return a JPEG file with comments behind its start."""
    segments = [b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text for text in comments]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


# -- GIF ---------------------------------------------------------------------------------------------------------


def read_gif(data: bytes, metadata: Metadata) -> None:
    """Collect the comments of a GIF file."""
    place = 13 + _gif_palette(data[10:11])
    while data[place : place + 1] in (b"!", b","):
        comment = data[place : place + 2] == b"!\xfe"
        # an extension has a label; a frame has sizes, maybe colours, and the first width of its codes
        place += 2 if data[place : place + 1] == b"!" else 11 + _gif_palette(data[place + 9 : place + 10])
        parts = []
        while size := int.from_bytes(data[place : place + 1], "big"):
            parts.append(data[place + 1 : place + 1 + size])
            place += 1 + size
        place += 1
        if comment:
            metadata.comments.append(b"".join(parts))


def _gif_palette(flags: bytes) -> int:
    """Return the bytes of the palette that these flags announce."""
    packed = int.from_bytes(flags, "big")
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0


# -- PNG ---------------------------------------------------------------------------------------------------------

_XMP_IN_PNG = b"XML:com.adobe.xmp\0"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_EXPLAINED: tuple[bytes, ...] = (
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"pHYs",
    b"iCCP",
    b"eXIf",
    b"sRGB",
    b"bKGD",
    b"hIST",
    b"tIME",
)
_EXPLAINED += (b"sBIT", b"sPLT", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"cHRM", *_TEXTS)
"""Chunks that are kept, are written anew, or matter to no result."""


def read_png(data: bytes, metadata: Metadata) -> int:
    """Collect the texts of a PNG file, and name what else is lost of it; return the number of its frames."""
    frames, before, animated = 1, True, False
    seen: set[bytes] = set()
    for kind, content in _png_chunks(data):
        seen.add(kind)
        if kind in _TEXTS and not content.startswith(_XMP_IN_PNG):
            metadata.texts.append((kind, content))
        elif kind == b"acTL" and len(content) >= 4 and before:
            frames, animated = int.from_bytes(content[:4], "big"), True
        elif kind == b"IDAT" and before:
            before = False
            frames += animated and b"fcTL" not in seen  # the still picture is none of the frames
        elif kind == b"gAMA" and content != (45455).to_bytes(4, "big"):
            metadata.lost.append(f"gamma {int.from_bytes(content[:4], 'big') / 1e5:.5g}")
        elif kind == b"cHRM":
            metadata.lost.append("chromaticities")
        elif kind not in _EXPLAINED and kind.isalpha():
            _add(metadata.lost, f"{kind.decode('latin-1')} chunk")
    if seen & {b"sRGB", b"iCCP"}:  # they say the same, and come first
        metadata.lost[:] = [name for name in metadata.lost if not name.startswith(("gamma", "chromaticities"))]
    return frames


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        place += 12 + size


def png_texts(metadata: Metadata) -> bytes:
    """Return chunks of text for a PNG file: its own, and the comments of other formats."""
    chunks = list(metadata.texts)
    for comment in metadata.comments:
        try:
            comment.decode("utf-8")
        except UnicodeDecodeError:
            chunks.append((b"tEXt", b"Comment\0" + comment.replace(b"\0", b"")))
        else:
            chunks.append((b"iTXt", b"Comment\0\0\0\0\0" + comment))
    crc = ((kind, content, zlib.crc32(kind + content)) for kind, content in chunks)
    return b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_) for kind, content, sum_ in crc
    )
