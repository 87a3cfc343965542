"""Verification of an output: every tile is read again, and compared with the checksum in its journal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tconv._arrays import Array
from tconv._memory import si
from tconv.errors import FileError
from tconv.scale.journal import JournalState, StageState, journal_path, read_journal
from tconv.scale.regions import Region, grid
from tconv.scale.tile_run import checksum_of

Stored = Callable[[int, int, Region], Array]
"""Function of a stage, an image and a region, which returns the stored values [C', *region]."""


class Damage(NamedTuple):
    """Tile whose values are not those that were written."""

    stage: int
    image: int
    outputs: Region
    number: int
    """among the tiles of its stage"""
    reason: str

    def __str__(self) -> str:
        region = ", ".join(f"{span.start}:{span.stop}" for span in self.outputs)
        level = f"stage {self.stage}, " if self.stage else ""
        return f"{level}image {self.image} at [{region}]: {self.reason}"


@dataclass(frozen=True)
class VerifyReport:
    """Result of a verification; `print(report)` shows it."""

    path: Path
    tiles: int
    """tiles that were read again"""
    missing: int
    """tiles that the journal does not have: the job has not ended"""
    damaged: tuple[Damage, ...]
    bytes_read: int
    seconds: float

    @property
    def is_whole(self) -> bool:
        """True if the output is finished, and every tile has the values that were written."""
        return not self.damaged and not self.missing

    def __str__(self) -> str:
        state = "are as they were written" if not self.damaged else f"were read; {len(self.damaged)} are damaged"
        lines = [f"{self.path}: {self.tiles} tiles {state} ({si(self.bytes_read, 'B')} in {self.seconds:.3g} s)"]
        if self.missing:
            lines.append(f"  {self.missing} tiles are not done yet")
        lines += [f"  {each}" for each in self.damaged[:20]]
        if len(self.damaged) > 20:
            lines.append(f"  and {len(self.damaged) - 20} more")
        return "\n".join(lines)


def verify_tiles(path: Path, state: JournalState, stored: Stored) -> VerifyReport:
    """Read all tiles that a journal has, and compare them with its checksums."""
    start, damaged, tiles, missing, size = time.monotonic(), [], 0, 0, 0
    assert state.header is not None
    for stage, (entries, done) in enumerate(zip(state.header["stages"], state.stages, strict=True)):
        shape, tile = entries["output"]["shape"], entries["tile"]
        place = 0
        for image in range(shape[0]):
            for region in grid(tuple(shape[2:]), tuple(tile)):
                if done.done[place]:
                    reason, read = _fault(done, place, lambda: stored(stage, image, region))  # noqa: B023
                    size += read
                    tiles += 1
                    if reason:
                        damaged.append(Damage(stage, image, region, place, reason))
                else:
                    missing += 1
                place += 1
    return VerifyReport(path, tiles, missing, tuple(damaged), size, time.monotonic() - start)


def _fault(state: StageState, place: int, read: Callable[[], Array]) -> tuple[str, int]:
    """Return the reason for which a stored tile is damaged, "" for one that is not, and the bytes that were read."""
    try:
        values = read()
    except FileError as error:
        return str(error), 0
    right = checksum_of(values) == int(state.values[place])
    return "" if right else "other values than those that were written", values.nbytes


def output_state(output: Path) -> tuple[Path, JournalState]:
    """Return the path at which an output lies, the working one if it is not finished, and its journal's content.

    Raises FileError if there is no output, or no journal.
    """
    journal = journal_path(output)
    if not journal.is_file():
        raise FileError(
            f"{journal} does not exist: only outputs of tconv.scale have a journal, and it stays beside them. Give the "
            "path of such an output"
        )
    state = read_journal(journal)
    working = output.with_name(f"{output.name}.part")
    place = output if os.path.lexists(output) and not os.path.lexists(working) else working
    if state.header is None or not os.path.lexists(place):
        raise FileError(f"{output} does not exist, or its journal is empty. Give the path of an output")
    return place, state


def source_reader(sources: list[Any]) -> Stored:
    """Return a function that reads stored tiles from opened sources, one for each stage."""
    return lambda stage, image, region: sources[stage].read(image, region)
