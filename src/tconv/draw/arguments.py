"""Reading of a picture's arguments: bare arrays of any library, and the geometry arguments of `tconv.definition`.

The pictures of the scatter and of the matrix read their arguments with it.
"""

from __future__ import annotations

from typing import Any

from tconv import _textbook_arguments
from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.geometry import Geometry


def flat_arrays(**given: Any) -> list[Array]:
    """Return the arrays of one call as NumPy, all 1-D or all 2-D, in their common dtype. Raises ShapeError."""
    _, (*read, _) = _textbook_arguments.take(**given)  # the last is the bias, which pictures do not have
    for name, array in zip(given, read, strict=True):
        if array.ndim not in (1, 2):
            extra = ", ".join("0" for _ in range(array.ndim - 2))
            raise ShapeError(
                f"{name} has shape {array.shape}; a bare 1-D or 2-D array is needed, without batch and channels. "
                f"Write {f'{name}[{extra}], one channel of one image' if extra else f'[{name}]'}"
            )
        if array.ndim != read[0].ndim:
            raise ShapeError(
                f"x has shape {read[0].shape} and {name} has shape {array.shape}; both must be 1-D or both 2-D. "
                "Write np.atleast_2d(...) around the 1-D one"
            )
    return read


def geometry_of(kernel: tuple[int, ...], spec: dict[str, Any]) -> Geometry:
    """Return the Geometry that `spec` describes; a picture shows one channel, so groups is no argument."""
    return _textbook_arguments.geometry_of(
        kernel, spec, [name for name in _textbook_arguments.ARGUMENTS if name != "groups"]
    )
