"""Files of numbers that `tconv draw` and `tconv explore` take: .npy, of a whole weight or of one channel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import FileError, ShapeError, TconvError
from tconv.io import array_files


def read_array(path: Path) -> Any:
    """Return the array of a .npy file. Raises FileError for another file, and for one that holds no numbers."""
    if path.suffix.lower() != ".npy":
        raise FileError(f"{path} is not a .npy file. Write np.save('{path.stem}.npy', array)")
    array_files.read_headers(path)
    (array,) = array_files.read_features(path).values()
    return array


def bare_array(path: Path) -> Any:
    """Return the array of a .npy file, without the two axes in front if both have length 1: batch and channels.

    Raises what `read_array` raises, and ShapeError for an array without an element.
    """
    array = read_array(path)
    if array.ndim == 0 or array.size == 0:
        raise ShapeError(
            f"{path} has shape {array.shape}, without an element on an axis. Write np.save('{path.stem}.npy', array) "
            "with 1, 2 or 3 axes"
        )
    if array.ndim > 2 and array.shape[:2] == (1, 1):
        array = array[0, 0]
    return np.ascontiguousarray(array)


@contextmanager
def files_in_words(**paths: Path | None) -> Iterator[None]:
    """Write errors of the library about arrays of these names as those of their files: a part of one is to be saved."""
    try:
        yield
    except TconvError as error:
        message = str(error)
        for name, path in paths.items():
            if path is not None:
                message = _file_in_words(message, name, path)
        raise type(error)(message) from None


def _file_in_words(message: str, name: str, path: Path) -> str:
    """Return a message about an array as one about its file.

    >>> _file_in_words("x has shape (9, 9). Write a part of it, x[:4, :4]", "x", Path("in/x.npy"))
    "in/x.npy has shape (9, 9). Write np.save('x-part.npy', x[:4, :4])"
    """
    text = re.sub(rf"^{name} has shape", lambda _: f"{path} has shape", message)
    part = re.compile(rf"(?:a part of it, |a part of x, |the first groups, )?\b({name}\[[:\d, ]+\])")
    before, write, after = text.partition("Write ")
    return before + write + part.sub(lambda found: f"np.save('{path.stem}-part.npy', {found[1]})", after)
