"""Arrays of Zarr: opened, made, and the files that hold their chunks."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_intdigest

from tconv.errors import DtypeError, FileError, MissingExtraError
from tconv.scale.stores.memory_array import check_numbers
from tconv.scale.stores.raw_file import file_errors, refusal, sync_directory

METADATA = ("zarr.json", ".zarray", ".zgroup")
"""Names of the documents that make a folder a node of Zarr, versions 3 and 2."""
_FEW_FILES = 32
"""Files up to which each is synced by itself; more are by one call for the whole file system."""


def zarr() -> Any:
    """Return the package zarr. Raises MissingExtraError without it."""
    try:
        import zarr
    except ImportError:
        raise MissingExtraError("Zarr", "zarr", "scale") from None
    return zarr


def is_node(folder: Path) -> bool:
    """Return whether a folder is an array or a group of Zarr."""
    return any((folder / name).exists() for name in METADATA)


def open_node(folder: Path, mode: str) -> Any:
    """Return the array or group in a folder. Raises FileError if there is none, or a damaged one.

    Its chunks are written even if they equal the fill value: a chunk that is not there is one that was not written.
    """
    package = zarr()
    if not is_node(folder):
        why = "has no zarr.json, .zarray or .zgroup in it" if folder.is_dir() else "does not exist"
        raise FileError(f"{folder} {why}; an array of Zarr is needed. {_near(folder)}")
    try:
        node = package.open(str(folder), mode=mode)
        if isinstance(node, package.Array):
            check_numbers(node.dtype, folder)
            node = node.with_config({"write_empty_chunks": True})
        return node
    except DtypeError:
        raise
    except OSError as error:
        raise refusal(folder, "opened", error) from error
    except Exception as error:  # JSON, unknown codecs, dtypes: whatever stands in the document
        raise FileError(
            f"{folder} cannot be opened by zarr {package.__version__}: {type(error).__name__}: {error}. "
            "Repair its metadata, or install the codec that it names"
        ) from error


def _near(folder: Path) -> str:
    """Return advice that names the arrays of the group in which a name was not found."""
    parent = folder.parent
    names = []
    if parent.is_dir() and is_node(parent):
        names = sorted(each.name for each in parent.iterdir() if each.is_dir() and is_node(each))
    return f"Use one of {', '.join(names[:8])}" if names else "Use the path of an array, such as file.zarr/group/array"


def chunk_identity(folder: Path) -> list[Any]:
    """Return the metadata's hash, and number, bytes and sum of the files of an array: one walk, no reading.

    The sum is that of hashes of each file's name, bytes and time: chunks that change places, or an old one that comes
    back, are noticed, unless they have as many bytes and were written in the same tick of the file system's clock.
    """
    digest = hashlib.sha256()
    count = total = files = 0
    with file_errors(folder, "read"):
        for name in (*METADATA, ".zattrs"):
            document = folder / name
            if document.exists():
                digest.update(document.read_bytes())
        pending = [os.fspath(folder)]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=True):
                        pending.append(entry.path)
                    elif entry.name not in METADATA and not entry.name.endswith(".partial"):
                        status = entry.stat()
                        text = f"{entry.path[len(str(folder)) :]} {status.st_size} {status.st_mtime_ns}"
                        count, total = count + 1, total + status.st_size
                        files += xxh3_64_intdigest(text.encode(errors="surrogateescape"))
    return [str(folder), digest.hexdigest()[:32], count, total, files % 2**64]


def has_chunks(folder: Path) -> bool:
    """Return whether an array has a chunk on the disk."""
    for _, _, files in os.walk(folder):
        if any(name not in METADATA and name != ".zattrs" and not name.endswith(".partial") for name in files):
            return True
    return False


def unit_files(folder: Path, array: Any, selection: tuple[slice, ...]) -> Iterator[Path]:
    """Yield the files that hold a selection of whole units: shards, or chunks where there are none."""
    steps = array.shards or array.chunks
    ranges = [range(span.start // step, -(-span.stop // step)) for span, step in zip(selection, steps, strict=True)]
    for coordinates in itertools.product(*ranges):
        yield folder / array.metadata.encode_chunk_key(coordinates)


def sync_files(root: Path, files: Iterable[Path]) -> None:
    """Wait until files below a root, and the names of them and their folders, are on the disk.

    Many files are synced by one call for their file system, which takes less than a call for each.
    """
    files = list(files)
    if len(files) > _FEW_FILES and _sync_file_system(root):
        return
    folders = set()
    for file in files:
        with file_errors(file, "written"):
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        folder = file.parent
        while folder not in folders:
            folders.add(folder)
            if folder == root:
                break
            folder = folder.parent
    for folder in folders:
        sync_directory(folder)


def _sync_file_system(folder: Path) -> bool:
    """Write back the file system of a folder; return False where the system has no such call."""
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError, TypeError):
        return False
    with file_errors(folder, "written"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if call(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(descriptor)
    return True


def remove_partial_files(folder: Path) -> None:
    """Remove what zarr leaves of a chunk that was being written when its process ended."""
    for parent, _, files in os.walk(folder):
        for name in files:
            if name.endswith(".partial"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(parent, name))


def make_groups(root: Path, folder: Path) -> None:
    """Make the groups from a store's root to a folder, where they are not there. Raises FileError for other nodes."""
    package = zarr()
    for group in [*reversed([each for each in folder.parents if each.is_relative_to(root)]), folder]:
        if (group / ".zgroup").exists() or (group / ".zarray").exists():
            raise FileError(
                f"{group} is a store of Zarr's version 2; version 3 is written, which it cannot contain. "
                "Choose a store of its own"
            )
        if not (group / "zarr.json").exists():
            if group == root and group.exists() and any(group.iterdir()):
                raise FileError(f"{group} exists and is no group of Zarr. Choose another name")
            with file_errors(group, "written"):
                package.create_group(str(group))
            sync_files(group.parent, [group / "zarr.json"])
        elif not isinstance(open_node(group, "r"), package.Group):
            raise FileError(f"{group} is an array; a group of Zarr is needed there. Choose another name")
