"""EXIF data of a picture, freed of what is no longer so once the picture is upright and larger.

Orientation, thumbnail and storage are left out, sizes in pixels are those of the new picture. Everything else stays as
it is, byte for byte: camera, exposure, GPS, copyright, maker notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tconv.io.tiff_directory import (
    DOUBLE,
    LONG,
    RATIONAL,
    DirectoryError,
    Tag,
    directory,
    head,
    read_directory,
    read_header,
)

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 274, 34665, 34853, 40965

DESCRIPTIVE = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)})
"""Tags of a TIFF file's own directory that describe a picture as EXIF does: author, camera, date, copyright ..."""

STORAGE = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, ORIENTATION, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289}
    | {290, 291, 292, 293, 296, 297, 301, 317, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347}
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 559, EXIF, GPS, 59932}
)
"""Tags about how a file stores a picture, which are written anew, and pointers to other directories."""

_WIDTH, _HEIGHT = 40962, 40963
_PER_SENSOR = {41486: 0, 41487: 1}
"""Pixels per unit of the sensor, and their axis: 0 along the width."""
_PLACES = {37396: (0, 1, 0, 1), 41492: (0, 1)}
"""Places in pixels, and the axis of each number. A circle's diameter goes along the width."""


@dataclass
class Exif:
    """Tags of the main directory, and of those for the camera, the place and the interoperability of a picture."""

    main: dict[int, Tag] = field(default_factory=dict)
    camera: dict[int, Tag] = field(default_factory=dict)
    place: dict[int, Tag] = field(default_factory=dict)
    interoperability: dict[int, Tag] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.main or self.camera or self.place)

    @classmethod
    def of(cls, data: bytes, main: Mapping[int, Tag]) -> Exif:
        """Return the tags that a file's or block's main directory leads to. Raises DirectoryError."""
        header = read_header(data)

        def below(tags: Mapping[int, Tag], code: int) -> dict[int, Tag]:
            place = tags[code].integers() if code in tags else ()
            return read_directory(data, header, place[0])[0] if place else {}

        camera = below(main, EXIF)
        interoperability = below(camera, INTEROPERABILITY)
        camera.pop(INTEROPERABILITY, None)
        return cls(dict(main), camera, below(main, GPS), interoperability)

    @classmethod
    def of_block(cls, block: bytes) -> Exif:
        """Return the tags of an EXIF block, as JPEG, PNG and WebP contain one. Raises DirectoryError."""
        block = block.removeprefix(b"Exif\0\0")
        header = read_header(block)
        main, _ = read_directory(block, header, header.first)  # the next directory is the thumbnail's
        exif = cls.of(block, main)
        exif.main = {code: tag for code, tag in exif.main.items() if code not in STORAGE}
        return exif

    def enlarged(self, old: tuple[int, int], new: tuple[int, int], orientation: int) -> Exif:
        """Return the tags for an upright picture of another size (width, height), which had this orientation."""
        camera = dict(self.camera)
        if _WIDTH in camera or _HEIGHT in camera:
            camera[_WIDTH], camera[_HEIGHT] = (Tag.of(LONG, [size]) for size in new)
        factors = [after / before for after, before in zip(new, old, strict=True)]
        if orientation >= 5:  # rows and columns have changed places
            first, second = (camera.pop(code, None) for code in _PER_SENSOR)
            camera |= {code: tag for code, tag in zip(_PER_SENSOR, (second, first), strict=True) if tag is not None}
        for code, axis in _PER_SENSOR.items():
            if code in camera:
                camera[code] = _scaled(camera[code], new[axis], old[axis])
        for code, axes in _PLACES.items():
            if code in camera:
                tag = camera.pop(code)
                numbers = [round(value * factors[axis]) for value, axis in zip(tag.numbers(), axes, strict=False)]
                if orientation == 1 and tag.kind == 3 and numbers and max(numbers) < 65536:
                    camera[code] = Tag.of(3, numbers)
        return Exif(self.main, camera, self.place, self.interoperability)

    def directories(self, place: int, big: bool = False) -> tuple[dict[int, Tag], bytes]:
        """Return the tags of the main directory, and the bytes at a place in the file that they point to."""
        main, behind = dict(self.main), b""
        camera = dict(self.camera)

        def put(tags: Mapping[int, Tag]) -> Tag:
            nonlocal behind
            at = place + len(behind)
            behind += directory(tags, at, big)
            return Tag.of(LONG if not big else 18, [at])

        if self.interoperability:
            camera[INTEROPERABILITY] = put(self.interoperability)
        if camera:
            main[EXIF] = put(camera)
        if self.place:
            main[GPS] = put(self.place)
        return main, behind

    def block(self) -> bytes:
        """Return the tags as an EXIF block."""
        main, behind = self.directories(8)
        return b"Exif\0\0" + head(8 + len(behind), False) + behind + directory(main, 8 + len(behind))


def resolution_of(tags: Mapping[int, Tag]) -> list[float]:
    """Return the pixels per inch along width and height that a directory states; nothing if it does not."""
    unit = tags[296].integers() if 296 in tags else (2,)
    values = [number for code in (282, 283) if code in tags for number in tags[code].numbers()[:1]]
    factor = {2: 1.0, 3: 2.54}.get(next(iter(unit), 2))
    return [value * factor for value in values] if factor is not None and len(values) == 2 else []


def resolution(block: bytes) -> list[float]:
    """Return the same of an EXIF block; nothing if it is damaged."""
    block = block.removeprefix(b"Exif\0\0")
    try:
        header = read_header(block)
        return resolution_of(read_directory(block, header, header.first)[0])
    except DirectoryError:
        return []


def _scaled(tag: Tag, over: int, under: int) -> Tag:
    """Return a number times a fraction, in the type of its tag; a fraction is of two numbers of 32 bits."""
    if tag.kind != RATIONAL or tag.size != 1:
        return Tag.of(tag.kind, [value * over / under for value in tag.numbers()]) if tag.kind == DOUBLE else tag
    top, bottom = (
        number * factor for number, factor in zip(np.frombuffer(tag.raw, "<u4").tolist(), (over, under), strict=True)
    )
    divisor = int(np.gcd(top, bottom)) or 1
    top, bottom = top // divisor, bottom // divisor
    while max(top, bottom) >= 2**32:
        top, bottom = top // 2, bottom // 2
    return Tag(RATIONAL, 1, np.array([top, bottom], "<u4").tobytes())
