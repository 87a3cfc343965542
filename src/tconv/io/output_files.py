"""Output files that appear whole or not at all, and never replace another file unasked.

Commands write through these, so that an interrupt or a full disk leaves nothing half-written.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from tconv.errors import FileError


class NewFile:
    """A file to be written: `file` is open beside its final place, under a hidden name, and moves there at the end.

    >>> with NewFile([Path("/tmp/tconv-doctest.txt")], overwrite=True) as new:
    ...     _ = new.file.write(b"whole")
    >>> new.path.read_bytes()
    b'whole'
    >>> new.path.unlink()

    The first free one of `names` is taken, and again at the end, as another program may have taken it meanwhile. Any
    exception, an interrupt included, removes the hidden file. On entering, raises FileError for a place that cannot be
    written and, without `overwrite`, if all names are taken; `advice` ends that message: ", or --overwrite".
    """

    path: Path
    file: BinaryIO

    def __init__(self, names: Iterable[Path], overwrite: bool = False, advice: str = "") -> None:
        self._names, self._overwrite, self._advice = iter(names), overwrite, advice
        self.path = next(self._names)

    def __enter__(self) -> NewFile:
        while os.path.lexists(self.path) and not self._overwrite:
            self._next()
        if os.path.isdir(self.path):
            raise FileError(f"{self.path} is a directory; a file is needed. Choose a name in it")
        # no other thread or program has this name, and its length does not depend on that of the path
        self._hidden = self.path.with_name(f".{os.getpid()}-{os.urandom(8).hex()}.part")
        # an interrupt may come at any statement, of this method and of __exit__, too: then the object's end removes it
        self._remove = weakref.finalize(self, _unlink, self._hidden)
        try:
            self.file = self._hidden.open("x+b")
        except (OSError, ValueError) as error:
            self._remove.detach()  # there is nothing to remove, and no folder to look for it
            if isinstance(error, FileNotFoundError) and not self.path.parent.exists():
                raise FileError(
                    f"{self.path} lies in {self.path.parent}, which does not exist. Choose a name in a directory that "
                    "does"
                ) from None
            raise _refused(self.path, error) from None
        return self

    @property
    def size(self) -> int:
        """Number of bytes written so far."""
        self.file.flush()
        return os.fstat(self.file.fileno()).st_size

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.file.close()
            if kind is None:
                self._publish()
        except OSError as refusal:
            raise _refused(self.path, refusal) from None
        finally:
            self._remove()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # a full disk, not a closed stdout
            raise _refused(self.path, error) from None

    def _publish(self) -> None:
        if self._overwrite:
            self._hidden.replace(self.path)
            return
        while True:
            try:
                os.link(self._hidden, self.path)  # fails where a name is taken, as a rename would not
                return
            except FileExistsError:
                self._next()
            except OSError:  # a file system without links
                try:
                    self.path.touch(exist_ok=False)
                except FileExistsError:
                    self._next()
                else:
                    self._hidden.replace(self.path)
                    return

    def _next(self) -> None:
        taken = self.path
        try:
            self.path = next(self._names)
        except StopIteration:
            raise FileError(f"{taken} exists, and nothing is overwritten. Choose another name{self._advice}") from None


def _unlink(path: Path) -> None:
    with suppress(OSError):  # it may not exist
        path.unlink()


def numbered(stem: str, ending: str) -> Iterator[Path]:
    """Return STEM.png, STEM-2.png, STEM-3.png ... in the current directory."""
    return (Path(f"{stem}{'' if n == 1 else f'-{n}'}{ending}") for n in count(1))


def _refused(path: Path, error: OSError | ValueError) -> FileError:
    why = getattr(error, "strerror", None) or error
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "Free some space, or write to another disk" if full else "Choose a name where you may write"
    return FileError(f"{path} cannot be written: {why}. {advice}")
