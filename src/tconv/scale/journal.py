"""Journal of a job: a file beside its output, to which a line is added when tiles are on the disk.

    {"journal": 1, "tconv": "0.1.0", "stages": [{"tile": [1024, 1024], "tiles": 70, ...}], ...} 1f0c5b7a
    start 0 12 5be3a1c9
    done 0 12 9c1b5a0e4d2f7788 03b1f4a6c5d2e7f9 77a0c3d1

The first line is the fingerprint: all that the output depends on. `done STAGE NUMBER VALUES INPUTS` names a tile that
is on the disk, with the xxh3-64 of its values and of the inputs that it reads; `start` one whose work began, so that
work done twice can be counted; `lost` one that is to be made anew. `seen STAGE` says that the input was found
unchanged: the next session reads the inputs of tiles again that are done behind the last such line. Other lines are
JSON. Each line ends in its own checksum, which depends on the first line, too. Lines that a crash left unfinished at
the end are dropped, and those in pages that a power cut left empty; a line that was altered before valid ones is
refused.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from array import array
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.scale.stores.raw_file import refusal, sync_directory

VERSION = 1


class Done(NamedTuple):
    """Number of a tile within its stage, with the checksums of its values and of its inputs."""

    number: int
    values: int
    window: int


class StageState:
    """Tiles of one stage that are done, by number, with their checksums."""

    def __init__(self, tiles: int) -> None:
        self.done: Array = np.zeros(tiles, bool)
        self.values: Array = np.zeros(tiles, np.uint64)
        self.windows: Array = np.zeros(tiles, np.uint64)
        self.started: Array = np.zeros(tiles, np.uint16)
        """how often the work on a tile began"""
        self.unseen: set[int] = set()
        """tiles that were done since the input was last found unchanged"""
        self._read = array("Q"), array("Q"), array("Q")  # of 'done' lines that are not in the arrays yet
        self._starts = array("Q")

    def note(self, number: int, values: int, window: int) -> None:
        """Remember a tile that is done. Raises ValueError for a number that the stage has not."""
        if not 0 <= number < len(self.done):
            raise ValueError(f"tile {number}")
        numbers, all_values, windows = self._read
        numbers.append(number)
        all_values.append(values)
        windows.append(window)
        self.unseen.add(number)

    def note_start(self, number: int) -> None:
        """Remember a tile whose work began. Raises ValueError for a number that the stage has not."""
        if not 0 <= number < len(self.done):
            raise ValueError(f"tile {number}")
        self._starts.append(number)

    def settle(self) -> None:
        """Move what was noted into the arrays: of a tile that was noted twice, the later."""
        numbers, values, windows = (np.array(column, np.uint64) for column in self._read)
        self.done[numbers.astype(np.intp)] = True
        self.values[numbers.astype(np.intp)] = values
        self.windows[numbers.astype(np.intp)] = windows
        np.add.at(self.started, np.array(self._starts, np.intp), 1)
        self._read, self._starts = (array("Q"), array("Q"), array("Q")), array("Q")

    @property
    def count(self) -> int:
        """Number of tiles that are done."""
        return int(np.count_nonzero(self.done))

    @property
    def done_twice(self) -> int:
        """Number of tiles whose work began again, because it was not noted as done when the job ended."""
        return int(np.maximum(self.started.astype(np.int64) - 1, 0).sum())


class JournalState:
    """Content of a journal: `header` is None for an empty one."""

    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.stages: list[StageState] = []
        self.contexts: dict[tuple[int, int], Any] = {}
        self.notes: dict[str, Any] = {}
        """last value of each other JSON line: "created", "finished", "input" """
        self.sessions = 0
        self.seed = 0
        self.end = 0
        """bytes of the valid lines"""

    @property
    def is_complete(self) -> bool:
        """True if all tiles of all stages are done."""
        return self.header is not None and all(stage.done.all() for stage in self.stages)


def journal_path(output: Path) -> Path:
    """Return the place of the journal of an output."""
    return output.with_name(f"{output.name}.journal")


def working_path(output: Path) -> Path:
    """Return the name that an output has until it is finished."""
    return output.with_name(f"{output.name}.part")


def read_journal(path: Path) -> JournalState:
    """Return the content of a journal. Raises FileError if it cannot be read, is none, or was altered."""
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise refusal(path, "read", error) from error


def _read(file: Any, path: Path) -> JournalState:
    state, position, torn = JournalState(), 0, 0
    for row, line in enumerate(file, 1):
        position += len(line)
        text, _, check = line[line.rfind(b"\0") + 1 :].rpartition(b" ")  # a power cut may leave zeros before it
        if check != b"%08x\n" % (xxh3_64_intdigest(text, state.seed) & 0xFFFFFFFF):
            if b"\0" not in line:  # a page that a power cut left empty is no alteration: lines around it are valid
                torn = torn or row
            continue
        if torn:
            raise FileError(
                f"{path} was altered: line {torn} is damaged, and valid lines follow. Give the file back as it was, or "
                "start anew with resume=False"
            )
        try:
            _take(state, text)
        except (ValueError, LookupError, TypeError, OverflowError, MemoryError, RecursionError) as error:
            raise FileError(
                f"{path} has a line {row} that this version of tconv does not know ({error}). Go on with the version "
                "that began the job, or start anew with resume=False"
            ) from None
        state.end = position
    for stage in state.stages:
        stage.settle()
    return state


def _take(state: JournalState, text: bytes) -> None:
    """Add a line to the state."""
    kind = text[:5]
    if kind == b"done ":
        _, stage, number, values, window = text.split()
        state.stages[int(stage)].note(int(number), int(values, 16), int(window, 16))
    elif kind == b"start":
        _, stage, number = text.split()
        state.stages[int(stage)].note_start(int(number))
    elif kind == b"seen ":
        state.stages[int(text.split()[1])].unseen.clear()
    elif kind == b"lost ":
        _, stage, number = text.split()
        state.stages[int(stage)].settle()
        state.stages[int(stage)].done[int(number)] = False
        state.stages[int(stage)].unseen.discard(int(number))
    elif state.header is None:
        header = json.loads(text)
        if header["journal"] != VERSION:
            raise ValueError(f"journal {header['journal']}")
        state.stages = [StageState(int(stage["tiles"])) for stage in header["stages"]]
        state.header, state.seed = header, xxh3_64_intdigest(text)
    else:
        _take_note(state, json.loads(text))


def _take_note(state: JournalState, note: dict[str, Any]) -> None:
    if "context" in note:
        stage, image, arrays = note["context"]
        state.contexts[stage, image] = {name: _array_of(*each) for name, each in arrays.items()}
    elif "session" in note:
        state.sessions += 1
    else:
        state.notes.update(note)


class Journal:
    """Journal that this process alone may write: locked until `close`, or the end of the process.

    `state` is what it had when it was opened; with `discard`, one that was altered is empty, with `is_damaged` set.
    Raises FileError if another process has it, and if it cannot be read.
    """

    def __init__(self, path: Path, discard: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._is_new = not path.exists()
        self.is_damaged = False
        self._file = _locked(path)
        try:
            with open(os.dup(self._file), "rb") as file:
                file.seek(0)
                self.state = _read(file, path)
        except FileError:
            if not discard:
                os.close(self._file)
                raise
            self.state, self.is_damaged = JournalState(), True
        except OSError as error:
            os.close(self._file)
            raise refusal(path, "read", error) from error
        except BaseException:
            os.close(self._file)
            raise

    def begin(self, header: dict[str, Any]) -> None:
        """Empty the journal and write its first line, and wait until it is on the disk."""
        text = json.dumps(header).encode()
        try:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            self.state = JournalState()
            self._append([text])
            os.fsync(self._file)
        except OSError as error:
            raise refusal(self.path, "written", error) from error
        sync_directory(self.path.parent)
        self.state.header, self.state.seed = json.loads(text), xxh3_64_intdigest(text)
        self.state.stages = [StageState(stage["tiles"]) for stage in header["stages"]]

    def go_on(self) -> None:
        """Drop what follows the last valid line, before others are written behind it."""
        try:
            os.ftruncate(self._file, self.state.end)
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise refusal(self.path, "written", error) from error

    def start(self, stage: int, number: int) -> None:
        """Note that the work on a tile begins. It is not waited for."""
        self.write([f"start {stage} {number}"], sync=False)

    def done(self, stage: int, tiles: Iterable[Done], seen: bool = False) -> None:
        """Note tiles that are on the disk, and wait until the notes are; `seen` says that the input is unchanged."""
        lines = [f"done {stage} {each.number} {each.values:016x} {each.window:016x}" for each in tiles]
        self.write([*lines, f"seen {stage}"] if seen else lines)

    def lost(self, stage: int, numbers: Iterable[int]) -> None:
        """Note tiles that are to be made anew."""
        self.write([f"lost {stage} {number}" for number in numbers])

    def note(self, **values: Any) -> None:
        """Add JSON, and wait until it is on the disk."""
        self.write([json.dumps(values)])

    def context(self, stage: int, image: int, arrays: dict[str, Any]) -> None:
        """Add what an operator prepared of a whole image."""
        self.note(context=[stage, image, {name: _text_of(np.asarray(each)) for name, each in arrays.items()}])

    def write(self, lines: list[str], sync: bool = True) -> None:
        """Add lines. Raises FileError, for a full disk for example."""
        try:
            self._append([line.encode() for line in lines])
            if sync:
                os.fsync(self._file)
        except OSError as error:
            raise refusal(self.path, "written", error) from error

    def _append(self, lines: list[bytes]) -> None:
        seed = self.state.seed
        data = b"".join(b"%b %08x\n" % (line, xxh3_64_intdigest(line, seed) & 0xFFFFFFFF) for line in lines)
        with self._lock:
            while data:  # a full disk may take a part of it; the next session drops that
                data = data[os.write(self._file, data) :]

    def remove(self) -> None:
        """Remove the file, as there is nothing that it speaks of."""
        with suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Unlock and close it; a file that was not there before and has no line is removed."""
        with suppress(OSError):
            if self._is_new and os.fstat(self._file).st_size == 0:
                self.remove()
            os.close(self._file)


def _locked(path: Path) -> int:
    """Open a journal and lock it. Raises FileError."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise refusal(path, "written", error) from error
        try:
            lock_file(file, path)
            if os.path.exists(path) and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except OSError:
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # another process removed it before it was locked


def lock_file(file: int, path: Path) -> None:
    """Lock an open file, until it is closed or the process ends. Raises FileError if another has it."""
    try:
        import fcntl
    except ImportError:  # a system without it: two jobs on one output are the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError(
            f"{path} is in use: another process works at this output. Wait until it ends, or write to another name"
        ) from None
    except OSError:  # a file system without locks
        return


def _text_of(values: Array) -> list[Any]:
    return [values.dtype.str, list(values.shape), base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()]


def _array_of(dtype: str, shape: list[int], data: str) -> Array:
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
