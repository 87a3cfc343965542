"""Array in C order inside a file, of which regions are read and written by pread and pwrite.

A memory map would grow with all that was read of it, and a file that another program shortens would end the process
with a bus error. Here memory is bounded by the region, and a short file is an error.
"""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError

_GAP = 1 << 14
"""Bytes between two runs of elements that are read along rather than skipped: a system call takes as long."""
_BUFFER = 1 << 22
"""Bytes read at once where gaps are read along."""


class RawArray:
    """Elements of a shape and dtype at an offset of a file. It can be pickled; the file is opened at the first use."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], writable: bool) -> None:
        self.path, self.offset, self.shape, self.dtype, self.writable = path, offset, shape, dtype, writable
        self.nbytes = math.prod(shape) * dtype.itemsize
        self._steps = [math.prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape))]
        self._file: FileIO | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def descriptor(self) -> int:
        """Return the descriptor of the open file. Raises FileError if it cannot be opened or is too short."""
        with self._lock:
            if self._file is None:
                try:
                    opened = self.path.open("r+b" if self.writable else "rb", buffering=0)
                    size = os.fstat(opened.fileno()).st_size
                except OSError as error:
                    raise refusal(self.path, "opened", error) from error
                if size < self.offset + self.nbytes:
                    opened.close()
                    raise self._short(size)
                self._file = opened
            return self._file.fileno()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def read(self, selection: tuple[slice, ...]) -> Array:
        """Return the elements of a selection in the dtype of the file."""
        sizes = tuple(span.stop - span.start for span in selection)
        out = np.empty(sizes, self.dtype)
        if not out.size:
            return out
        axis = self._run_axis(selection)
        run = (selection[axis].stop - selection[axis].start) * self._steps[axis]
        with file_errors(self.path, "read"):
            if axis and sizes[axis - 1] > 1 and self._steps[axis - 1] - run <= _GAP:
                self._read_with_gaps(out, selection, axis, run)
            else:
                rows = out.reshape(-1).view(np.uint8).data
                for index, place in enumerate(self._places(selection, axis)):
                    self._fill(rows[index * run : (index + 1) * run], place)
        return out

    def write(self, selection: tuple[slice, ...], values: Array) -> None:
        """Write the elements of a selection; nothing around them is touched, so that several may write at a time."""
        values = np.ascontiguousarray(values, self.dtype)
        if not values.size:
            return
        axis = self._run_axis(selection)
        run = (selection[axis].stop - selection[axis].start) * self._steps[axis]
        rows = values.reshape(-1).view(np.uint8).data
        with file_errors(self.path, "written"):
            descriptor = self.descriptor()
            for index, place in enumerate(self._places(selection, axis)):
                row = rows[index * run : (index + 1) * run]
                while row:
                    written = os.pwrite(descriptor, row, place)
                    row, place = row[written:], place + written

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        with file_errors(self.path, "written"):
            sync_values(self.descriptor())

    def _run_axis(self, selection: tuple[slice, ...]) -> int:
        """Return the first axis from which on the selection is one run of bytes."""
        axis = len(self.shape) - 1
        while axis and selection[axis] == slice(0, self.shape[axis]):
            axis -= 1
        return axis

    def _places(self, selection: tuple[slice, ...], axis: int) -> Iterator[int]:
        """Yield where each run begins in the file, in the order of the elements."""
        start = self.offset + selection[axis].start * self._steps[axis]
        outer = np.array([start])
        for span, step in zip(selection[: max(axis - 1, 0)], self._steps, strict=False):
            outer = (outer[:, None] + np.arange(span.start, span.stop) * step).ravel()
        for place in outer.tolist():
            if axis:
                span, step = selection[axis - 1], self._steps[axis - 1]
                yield from range(place + span.start * step, place + span.stop * step, step)
            else:
                yield place

    def _read_with_gaps(self, out: Array, selection: tuple[slice, ...], axis: int, run: int) -> None:
        step, count = self._steps[axis - 1], out.shape[axis - 1]
        rows = out.reshape(-1, count, run // self.dtype.itemsize).view(np.uint8)
        at_once = max(_BUFFER // step, 1)
        buffer = np.empty((min(at_once, count), step), np.uint8)
        flat = buffer.reshape(-1).data
        top = slice(selection[axis - 1].start, selection[axis - 1].start + 1)
        for index, place in enumerate(self._places((*selection[: axis - 1], top, *selection[axis:]), axis)):
            for start in range(0, count, at_once):
                stop = min(start + at_once, count)
                self._fill(flat[: (stop - start - 1) * step + run], place + start * step)
                rows[index, start:stop] = buffer[: stop - start, :run]

    def _fill(self, buffer: memoryview, place: int) -> None:
        descriptor = self.descriptor()
        while buffer:
            got = os.preadv(descriptor, [buffer], place)
            if not got:
                raise self._short(os.fstat(descriptor).st_size)
            buffer, place = buffer[got:], place + got

    def _short(self, size: int) -> FileError:
        return FileError(
            f"{self.path} has {size} bytes; its array {self.shape} of {self.dtype} needs {self.offset + self.nbytes}. "
            "Use a file that was written to its end"
        )


@contextmanager
def file_errors(path: Path, done: str) -> Iterator[None]:
    """Turn errors of the system into a FileError that names a path; `done` is "read" or "written"."""
    try:
        yield
    except OSError as error:
        raise refusal(path, done, error) from error


def refusal(path: Path, done: str, error: BaseException) -> FileError:
    """Return the error for a path that cannot be opened, read or written, with the reason and advice."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "Free some space, or write to another disk"
    elif number == errno.ENOENT:
        advice = "Use the path of a file that is there"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Use a place that you may read and write"
    else:
        advice = "Use another disk or file, or repair this one"
    return FileError(f"{path} cannot be {done}: {why}. {advice}")


def sync_values(descriptor: int) -> None:
    """Wait until the bytes of a file, and its size, are on the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has the second alone


def sync_directory(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    with suppress(OSError):  # file systems that know no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
