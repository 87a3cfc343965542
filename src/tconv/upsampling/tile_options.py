"""Options of a call that works tile by tile, and their text on the command line."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tconv.errors import ArgumentError
from tconv.upsampling.option_names import COMMAND


class TileOptions(NamedTuple):
    """Options of a call that works tile by tile; those that are None are chosen."""

    max_memory: int | str | None = None
    """most resident memory of the process: bytes, "1GB"; None for the default"""
    resume: bool = True
    tile: int | tuple[int, int] | None = None
    """rows and columns of a tile of the result"""
    chunks: int | tuple[int, int] | None = None
    shards: int | tuple[int, int] | None = None
    level: int | None = None
    page: int | None = None
    axes: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    repair: bool = False

    @property
    def given(self) -> list[str]:
        """Names of the options that were given."""
        usual = TileOptions()
        return [name for name in self._fields if getattr(self, name) != getattr(usual, name)]


def read_tile_options(
    max_memory: str | None,
    resume: bool,
    sizes: dict[str, str | None],
    numbers: dict[str, str | None],
    axes: str | None,
    scheduler: str | None,
) -> TileOptions:
    """Return the options of tiles. Raises ArgumentError for text that is no number, and for sizes that are none."""
    read: dict[str, Any] = {name: _sizes(name, text) for name, text in sizes.items()}
    read |= {name: _number(name, text) for name, text in numbers.items()}
    return TileOptions(max_memory, resume, axes=axes, scheduler=scheduler, **read)


def _sizes(name: str, text: str | None) -> int | tuple[int, int] | None:
    """Return a size along both axes, or rows and columns."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,9})(?:[x,]([1-9][0-9]{0,9}))?", text.strip())
    if found is None:
        raise ArgumentError(
            f"{COMMAND.name(name)} is {text or 'empty'}; a number of pixels, or rows and columns, is needed. Write "
            f"{COMMAND.name(name)} 1024, or {COMMAND.name(name)} 512x1024"
        )
    return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or (name == "workers" and int(text) < 1):
        least = 1 if name == "workers" else 0
        raise ArgumentError(
            f"{COMMAND.name(name)} is {text or 'empty'}; a whole number from {least} is needed. Write "
            f"{COMMAND.name(name)} {least + 1}"
        )
    return int(text)
