"""Refusals of images in memory: other objects than arrays, and arrays of a wrong shape or dtype.

`tconv.upsample` calls these before any work. The proposed code uses the names of the array's own library.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Set, ValuesView
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, ShapeError

_MODULES = {"numpy": "np", "torch": "torch", "tensorflow": "tf", "jax": "jnp"}
"""Usual import name of each library."""


def refuse_other_kinds(image: Any) -> None:
    """Raise ArgumentError for objects that are neither an array nor a path, and for an empty list."""
    needed = "an array [H, W] or [H, W, C], a path, or a list of these is needed"
    if isinstance(image, (Iterator, Set, KeysView, ValuesView)):
        raise ArgumentError(f"image is a {type(image).__name__}; {needed}. Write list(image)")
    if isinstance(image, (list, tuple)) and not image:
        raise ArgumentError('the list is empty; at least one picture is needed. Write ["photo.jpg"], for example')
    if image is None or isinstance(image, (bytes, int, float, complex, dict)):
        raise ArgumentError(f'image is {shown(image)}; {needed}. Write image="photo.jpg", for example')


def check_array(array: Array, name: str, alpha: bool | None, library: str = "numpy") -> None:
    """Raise ShapeError or DtypeError for an array that is not a picture with channels last."""
    if array.dtype.kind in "SU":
        text = name if array.dtype.kind == "U" else f"{name}.astype(str)"
        raise DtypeError(
            f"{name} is an array of text; an array of numbers, or a list of paths, is needed. Write "
            + (f"list({text})" if array.ndim == 1 else f"list({text}.flat)")
        )
    if array.ndim == 4:
        _refuse_batch(array, name, library)
    if array.ndim not in (2, 3) or 0 in array.shape:
        example = "torch.zeros((20, 30, 3), dtype=torch.uint8)" if library == "torch" else None
        raise ShapeError(
            f"{name} has shape {array.shape}; [H, W] or [H, W, C] is needed, with at least 1 row, column and channel. "
            f"Write an array such as {example or 'np.zeros((20, 30, 3), np.uint8)'}"
        )
    if array.dtype.kind not in "biuf":
        parts = f"[{name}.real, {name}.imag], two images"
        raise DtypeError(
            f"{name} has dtype {array.dtype}; integers, floats or booleans are needed. Write "
            + (parts if array.dtype.kind == "c" else _cast(library, name, "float32"))
        )
    if alpha is not False and array.ndim == 3 and array.shape[0] <= 4 < array.shape[2]:
        raise ShapeError(
            f"{name} has shape {array.shape}, which looks like [C, H, W]; channels last are needed, [H, W, C]. Write "
            + (f"np.moveaxis({name}, 0, -1)" if library == "numpy" else _arrays.permuted(library, name, (1, 2, 0)))
            + ", or alpha=False if the channels are last"
        )
    if alpha and (array.ndim == 2 or array.shape[2] == 1):
        raise ShapeError(
            f"{name} has shape {array.shape} and alpha=True; opacity needs a channel besides the colours. Write "
            "alpha=None"
        )


def _refuse_batch(array: Array, name: str, library: str) -> None:
    """Raise ShapeError for several images in one array, [N, H, W, C] or [N, C, H, W]."""
    if array.shape[1] in (1, 3, 4) and array.shape[3] > 4:
        last = f"np.moveaxis({name}, 1, -1)"
        images = last if library == "numpy" else _arrays.permuted(library, name, (0, 2, 3, 1))
        layout = "[N, C, H, W]"
    else:
        images, layout = name, "[N, H, W, C]"
    raise ShapeError(
        f"{name} has shape {array.shape}; [H, W] or [H, W, C] is needed. Write tconv.upsample(list({images})) for "
        f"several images {layout}"
    )


def has_wide_integers(dtype: np.dtype[Any]) -> bool:
    """Return True for integers of more than 16 bits: their largest number is hardly ever white."""
    return dtype.kind in "iu" and dtype.itemsize > 2


def refuse_wide_integers(dtype: np.dtype[Any], name: str, library: str) -> None:
    """Raise DtypeError for an array whose white a network does not know."""
    if has_wide_integers(dtype):
        raise DtypeError(
            f"{name} has dtype {dtype}, whose white is unknown to a network; 8 and 16 bits, and floats from 0 to 1, "
            f"are usual. Write {_cast(library, name, 'uint8')} for values from 0 to 255"
        )


def _cast(library: str, name: str, dtype: str) -> str:
    """Return the expression that converts the array to a dtype."""
    return _arrays.cast(library, name, f"{_MODULES[library]}.{dtype}")
