"""Changes of folders that last: outputs that move to their final name, and folders that are synced.

Nothing is replaced unasked, and a power cut leaves either the state before a change or that after it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from tconv._memory import si
from tconv.errors import FileError, TooLargeError
from tconv.scale.stores.raw_file import refusal, sync_directory

_AT_FDCWD, _NOREPLACE, _EXCHANGE = -100, 1, 2


def publish(working: Path, final: Path, overwrite: bool) -> None:
    """Move a finished output to its final name. Raises FileError if that exists, without `overwrite`."""
    try:
        if not overwrite:
            _move(working, final)
        elif os.path.lexists(final):
            _replace(working, final)
        else:
            _move(working, final)
    except FileExistsError:
        raise exists(final) from None
    except OSError as error:
        raise refusal(final, "written", error) from error
    sync_directory(final.parent)


def _move(working: Path, final: Path) -> None:
    """Rename, without replacing."""
    if not _rename_linux(working, final, _NOREPLACE):
        if os.path.lexists(final):  # a moment is left in which another program may make it
            raise FileExistsError(final)
        os.rename(working, final)


def _replace(working: Path, final: Path) -> None:
    """Put an output in the place of another one, which is removed then."""
    if _rename_linux(working, final, _EXCHANGE):
        remove(working)
        return
    old = final.with_name(f"{final.name}.{os.getpid()}.old")
    os.rename(final, old)
    os.rename(working, final)
    remove(old)


def _rename_linux(source: Path, target: Path, flags: int) -> bool:
    """Rename by renameat2; False where the system or the file system has it not."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise refusal(path, "removed", error) from error


def exists(path: Path) -> FileError:
    """Return the error for an output that exists."""
    return FileError(f"{path} exists, and nothing is overwritten. Choose another name, or write overwrite=True")


def check_free_space(folder: Path, needed: int, name: str) -> None:
    """Raise TooLargeError if a folder's disk has fewer free bytes than an output needs."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise refusal(folder, "written", error) from error
    if needed > free:
        raise TooLargeError(
            f"{name} needs up to {si(needed, 'B')} of disk; {si(free, 'B')} are free in {folder}. Free some space, or "
            "write to another disk"
        )
