"""Weights and words of one layer or a stack, brought into canonical terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._arrays import is_finite
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry

Array = np.ndarray[Any, Any]
Layer = tuple[Array, Geometry]
"""A canonical weight [C_in, C_out/groups, *kernel] in float64 or complex128, and its geometry."""


class Taken(NamedTuple):
    """A weight that was given: its library, its canonical form and geometry, and the way back to the native array."""

    library: Any
    weight: Array
    geometry: Geometry
    back: Callable[[Array], Array]


def wide(w: Array) -> Array:
    """The numbers in float64, complex ones in complex128."""
    return w.astype(np.complex128 if w.dtype.kind == "c" else np.float64, copy=False)


def read_weight(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], read: Any = _arrays.take
) -> Taken:
    """One weight and the words of its layer."""
    library, taken = read(weight, "weight")
    speaker = find_dialect(dialect)
    if geometry is not None:
        if native or dialect != "torch":
            raise ArgumentError(
                "geometry= was given together with other words; it says all of that. Write geometry= alone"
            )
        if not isinstance(geometry, Geometry):
            raise ArgumentError(
                f"geometry is {shown(geometry)}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=3)"
            )
        g, groups, layout = geometry, geometry.groups, {}
    else:
        call = speaker.read_without_x(taken.shape, native)
        if call is None:
            raise ArgumentError(
                f"these words of the {dialect} dialect need the input's size. Write "
                f"geometry=tconv.dialect({dialect!r})."
                "geometry(kernel=, input=, ...), and the weight in PyTorch's layout"
            )
        g, groups = call.geometry, call.geometry.groups
        layout = {name: value for name, value in native.items() if name in speaker.layout_arguments}
    canonical = speaker.to_canonical(taken, groups, **layout)
    if canonical.shape[2:] != g.kernel:
        raise ShapeError(
            f"weight has shape {taken.shape}; geometry.kernel is {g.kernel}. Write a Geometry with this weight's kernel"
        )
    if taken.size == 0 or not is_finite(taken):
        what = "no element" if taken.size == 0 else "NaN or inf"
        raise ShapeError(f"weight has shape {taken.shape} and {what}. Write a weight of finite numbers")

    def back(made: Array) -> Array:
        return np.array(speaker.to_native(made, groups, **layout), dtype=taken.dtype, order="C")

    return Taken(library, canonical, g, back)


def read_stack(weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any]) -> tuple[Layer, ...]:
    """The layers, first layer first."""
    if not isinstance(weight, (list, tuple)):
        one = read_weight(weight, dialect, geometry, native, _arrays.look)
        return ((wide(one.weight), one.geometry),)
    if native or geometry is not None:
        raise ArgumentError(
            "a stack says each layer's arguments in its list. Write [(weight, {'stride': 2}), ...] alone"
        )
    found: list[Layer] = []
    for entry in weight:
        if not (isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], dict)):
            raise ArgumentError(
                f"the stack holds {shown(entry)}; pairs of a weight and its arguments are needed. "
                "Write [(w1, {'stride': 2}), (w2, {'stride': 2})]"
            )
        words = dict(entry[1])
        _, w, g, _ = read_weight(
            entry[0], words.pop("dialect", dialect), words.pop("geometry", None), words, _arrays.look
        )
        if found and (w.shape[0] != found[-1][0].shape[1] * found[-1][1].groups or w.ndim != found[-1][0].ndim):
            before = found[-1][0].shape[1] * found[-1][1].groups
            raise ShapeError(
                f"layer {len(found) + 1} takes {w.shape[0]} channels, and the layer before it gives {before}. "
                "Write the weights of consecutive layers"
            )
        found.append((wide(w), g))
    if not found:
        raise ArgumentError("the stack is empty; at least one layer is needed. Write [(weight, {'stride': 2})]")
    return tuple(found)
