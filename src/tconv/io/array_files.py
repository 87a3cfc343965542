"""Reader and writer of feature maps in .npy and .npz files.

Headers are read before elements, pickles never, and a damaged file is refused as a whole.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.io.file_bytes import read_bytes

ENDINGS = (".npy", ".npz")


class Header(NamedTuple):
    """Shape and dtype of an array in a file, known before its elements are read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_headers(path: Path) -> dict[str, Header]:
    """Return the header of every array in the file by its key; a .npy file has the one key "".

    Raises FileError for a missing, damaged or foreign file, and for arrays of Python objects, which could run code when
    read.
    """
    headers = {}
    with _members(path) as members:
        for key, file in members:
            try:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            except Exception as error:  # a damaged header meets NumPy's parser, Python's tokenizer and zlib
                raise _damaged(path, key, error) from None
            if any(size < 0 for size in shape):
                raise _damaged(path, key, ValueError(f"its header states shape {shape}"))
            if dtype.hasobject:
                raise FileError(
                    f"{_named(path, key)} contains Python objects, which could run code when read; numbers are needed. "
                    "Write the array with a numeric dtype: np.save(name, array.astype(np.float32))"
                )
            headers[key] = Header(shape, dtype)
    if not headers:
        raise FileError(f"{path} contains no array; at least one is needed. Write np.savez(name, features=array)")
    return headers


def read_features(path: Path) -> dict[str, Array]:
    """Return every array in the file by its key. Raises FileError as `read_headers`."""
    arrays = {}
    with _members(path) as members:
        for key, file in members:
            try:
                arrays[key] = np.lib.format.read_array(file, allow_pickle=False)
            except ValueError as error:  # fewer elements than the header states
                raise _damaged(path, key, error) from None
    return arrays


def write_features(file: BinaryIO, arrays: dict[str, Array], ending: str) -> None:
    """Write the arrays into an open file, as .npy (the one with the key "") or .npz."""
    if ending == ".npy":
        np.lib.format.write_array(file, arrays[""], allow_pickle=False)
        return
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:  # np.savez takes keys for its own arguments
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def _members(path: Path) -> Iterator[Iterator[tuple[str, BinaryIO]]]:
    """Yield the key and the open stream of each array in a file."""
    read_bytes(path, 1)  # raises for a file that cannot be read at all
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield _archived(path, archive)
        else:
            with path.open("rb") as file:
                yield iter([("", cast(BinaryIO, file))])
    except (FileError, MemoryError):
        raise
    except Exception as error:  # a damaged or encrypted archive; zipfile raises a dozen kinds of errors
        raise _damaged(path, "", error) from None


def _archived(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, BinaryIO]]:
    for name in archive.namelist():
        if not name.endswith(".npy"):
            raise FileError(
                f"{path} contains {name!r}, which is not an array; .npy members are needed. "
                "Write np.savez(name, features=array)"
            )
        with archive.open(name) as member:
            yield name.removesuffix(".npy"), cast(BinaryIO, member)


def batch_shape(path: Path, key: str, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the shape as [N, C, H, W]. Raises FileError for another rank or an empty image."""
    if not 2 <= len(shape) <= 4:
        raise FileError(
            f"{_named(path, key)} has shape {shape}; [H, W], [C, H, W] or [N, C, H, W] is needed. "
            "Use an array with 2 to 4 axes"
        )
    n, c, h, w = (1,) * (4 - len(shape)) + shape
    if not h * w:
        raise FileError(
            f"{_named(path, key)} has shape {shape}; at least 1 row and 1 column are needed. Use an array "
            "that is not empty"
        )
    return n, c, h, w


def channels_last_note(key: str, shape: tuple[int, ...]) -> str | None:
    """Return a note for a shape that looks like [H, W, C], since it is read as [C, H, W]; None for others.

    >>> channels_last_note("", (480, 640, 3))
    'read as [C, H, W], 480 channels of 640 x 3; if channels are last, write np.save(name, np.moveaxis(x, -1, -3))'
    >>> channels_last_note("", (8, 8, 3))[:38]
    'read as [C, H, W], 8 channels of 8 x 3'
    >>> channels_last_note("", (64, 32, 32)) is None
    True
    """
    if len(shape) < 3:
        return None
    first, second, last = shape[-3:]
    if last > 4 or min(first, second) <= last:
        return None
    layout = "[C, H, W]" if len(shape) == 3 else "[N, C, H, W]"
    return (
        f"{f'{key!r} ' if key else ''}read as {layout}, {first} channels of {second} x {last}; if channels are last, "
        "write np.save(name, np.moveaxis(x, -1, -3))"
    )


def describe(headers: dict[str, Header]) -> str:
    """Return a description of arrays.

    >>> describe({"": Header((8, 64, 32, 32), np.dtype(np.float16))})
    '[8, 64, 32, 32] float16'
    """
    if len(headers) == 1:
        (header,) = headers.values()
        return f"{list(header.shape)} {header.dtype}"
    return f"{len(headers)} arrays, {sum(math.prod(header.shape) for header in headers.values()):,} elements"


def _named(path: Path, key: str) -> str:
    return f"{path}[{key!r}]" if key else str(path)


def _damaged(path: Path, key: str, error: Exception) -> FileError:
    why = " ".join(str(error).split()) or type(error).__name__
    return FileError(
        f"{_named(path, key)} is not a whole {path.suffix} file ({why}). Save one with np.save or np.savez"
    )
