"""Verification of an output: every tile is read again, and compared with the checksum in its journal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tconv._arrays import Array
from tconv._memory import si
from tconv.errors import FileError
from tconv.scale.journal import JournalState, StageState, journal_path, read_journal, working_path
from tconv.scale.regions import Region, grid, tile_count
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
    """Result of a verification; `print(report)` shows it.

    >>> import tempfile
    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> x, y = np.ones((3, 100, 150), np.float32), np.empty((8, 200, 300), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = tconv.scale.run(layer, x, f"{folder}/y.npy")
    ...     found = tconv.scale.verify(f"{folder}/y.npy")
    >>> found.tiles, found.is_whole, found.damaged
    (1, True, ())
    """

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
        count, damaged = self.tiles, len(self.damaged)
        state = f"{'is as it was' if count == 1 else 'are as they were'} written"
        if damaged:
            state = f"{'was' if count == 1 else 'were'} read; {damaged} {'is' if damaged == 1 else 'are'} damaged"
        read = f"({si(self.bytes_read, 'B')} in {self.seconds:.3g} s)"
        lines = [f"{self.path}: {count} tile{'s' * (count != 1)} {state} {read}"]
        if self.missing:
            lines.append(f"  {self.missing} {'tile is' if self.missing == 1 else 'tiles are'} not done yet")
        lines += [f"  {each}" for each in self.damaged[:20]]
        if len(self.damaged) > 20:
            lines.append(f"  and {len(self.damaged) - 20} more")
        return "\n".join(lines)


def verify_tiles(
    path: Path, state: JournalState, stored: Stored, progress: Callable[[int, int], None] | None = None
) -> VerifyReport:
    """Read all tiles that a journal has, and compare them with its checksums.

    `progress` is called with the tiles that were looked at, and the number of all.
    """
    total = sum(len(stage.done) for stage in state.stages)
    start, damaged, tiles, missing, size = time.monotonic(), [], 0, 0, 0
    assert state.header is not None
    for stage, (entries, done) in enumerate(zip(state.header["stages"], state.stages, strict=True)):
        shape, tile = entries["output"]["images"], entries["tile"]
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
                if progress is not None:
                    progress(tiles + missing, total)
    return VerifyReport(path, tiles, missing, tuple(damaged), size, time.monotonic() - start)


def _fault(state: StageState, place: int, read: Callable[[], Array]) -> tuple[str, int]:
    """Return the reason for which a stored tile is damaged, "" for one that is not, and the bytes that were read."""
    try:
        values = read()
    except FileError as error:
        return str(error), 0
    right = checksum_of(values) == int(state.values[place])
    return "" if right else "other values than those that were written", values.nbytes


def finished_state(output: Path) -> JournalState:
    """Return the content of the journal of a finished output. Raises FileError without one."""
    journal = journal_path(output)
    if not journal.is_file():
        raise FileError(
            f"{journal} does not exist: only outputs of tconv.scale have a journal, and it stays beside them. Give the "
            "path of such an output"
        )
    state = read_journal(journal)
    if state.header is None or not os.path.lexists(output) or os.path.lexists(working_path(output)):
        raise FileError(f"{output} is not finished. Make the call again that began it; it goes on where it stopped")
    _check_header(state, journal)
    return state


def _check_header(state: JournalState, journal: Path) -> None:
    """Raise FileError for a first line that states no tiles, or another number of them."""
    assert state.header is not None
    try:
        counts = [
            entries["output"]["images"][0] * tile_count(entries["output"]["images"][2:], entries["tile"])
            for entries in state.header["stages"]
        ]
    except (ValueError, LookupError, TypeError, ArithmeticError):
        counts = []
    if counts != [len(stage.done) for stage in state.stages]:
        raise FileError(f"{journal} does not state the tiles of its output. Make the output anew by overwrite=True")
