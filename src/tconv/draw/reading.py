"""What a picture is asked to show: bare arrays of any library and the words of `tconv.definition`, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv import arrays, definition
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError
from tconv.geometry import Geometry

Array = np.ndarray[Any, Any]

_WORDS = ("stride", "padding", "output_padding", "dilation", "crop")


def bare(**given: Any) -> list[Array]:
    """The arrays of one call as NumPy, all 1-D or all 2-D, in their common dtype.

    A picture shows values, not dtypes: an integer x beside a float kernel is drawn, where the kernels refuse it.
    """
    _, (*taken, _) = arrays.take_all(**given)  # the last is for a bias
    read: list[Array] = []
    for name, array in zip(given, taken, strict=True):
        if array.dtype.kind not in "iufc" and array.dtype.name != "bfloat16":
            raise DtypeError(f"{name} has dtype {array.dtype}; numbers are needed. Write {name}.astype(int)")
        if array.ndim not in (1, 2):
            extra = ", ".join("0" for _ in range(array.ndim - 2))
            raise ShapeError(
                f"{name} has shape {array.shape}; a bare 1-D or 2-D array is needed, without batch and channels. "
                f"Write {f'{name}[{extra}], one channel of one image' if extra else f'[{name}]'}"
            )
        if read and array.ndim != read[0].ndim:
            raise ShapeError(
                f"x has shape {read[0].shape} and {name} has shape {array.shape}; both must be 1-D or both 2-D. "
                "Write np.atleast_2d(...) around the 1-D one"
            )
        read.append(array)
    if len({array.dtype for array in read}) > 1:
        # bfloat16 has no common dtype with integers; float32 holds all of its values
        read = [array.astype(np.float32) if array.dtype.name == "bfloat16" else array for array in read]
        common = np.result_type(*read)
        read = [array.astype(common) for array in read]
    return read


def geometry_of(kernel: tuple[int, ...], spec: dict[str, Any]) -> Geometry:
    """The Geometry that `spec` describes, in the words of `tconv.definition.scatter`: those in _WORDS, or geometry=."""
    unknown = [word for word in spec if word not in (*_WORDS, "geometry")]
    if unknown:
        raise ArgumentError(
            f"{unknown[0]}= was given; a picture shows one channel and takes {', '.join(_WORDS)}, or geometry. "
            "Write stride=2, padding=1, for example"
        )
    if "geometry" not in spec:
        return definition._geometry(kernel, **spec)
    g = spec["geometry"]
    if len(spec) > 1:
        other = next(word for word in spec if word != "geometry")
        raise ArgumentError(
            f"geometry= was given together with {other}=; the geometry says that already. Write geometry= alone"
        )
    if not isinstance(g, Geometry):
        raise ArgumentError(
            f"geometry is {g!r}; a tconv.Geometry is needed. Write geometry=tconv.Geometry(kernel={kernel}, stride=2)"
        )
    if g.kernel != kernel or g.groups != 1:
        raise GeometryError(
            f"geometry has kernel {g.kernel} and {g.groups} groups; w has shape {kernel}, one channel. "
            f"Write tconv.Geometry(kernel={kernel}, ...) without groups"
        )
    return g
