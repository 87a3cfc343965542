"""Files of numbers that `tconv draw` and `tconv explore` take: .npy, of a whole weight or of one channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import FileError, ShapeError
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
