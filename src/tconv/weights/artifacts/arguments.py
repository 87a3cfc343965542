"""Reading of weights and native arguments, of one layer or a stack, into canonical weights and geometries.

The functions of this package read their arguments with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._arrays import Array, is_finite
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry

LayerWeight = tuple[Array, Geometry]
"""A canonical weight [C_in, C_out/groups, *kernel] in float64 or complex128, and its geometry."""


class ReadWeight(NamedTuple):
    """A weight that was given: its library, its canonical form, its geometry, and the conversion back to its layout."""

    library: Any
    weight: Array
    geometry: Geometry
    to_native: Callable[[Array], Array]


def wide(w: Array) -> Array:
    """Return the numbers in float64, or in complex128 if they are complex."""
    return w.astype(np.complex128 if w.dtype.kind == "c" else np.float64, copy=False)


def read_weight(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], read: Any = _arrays.take
) -> ReadWeight:
    """Return one weight and its geometry, read from the layer's arguments. Raises ArgumentError, ShapeError."""
    library, array = read(weight, "weight")
    reader = find_dialect(dialect)
    if geometry is not None:
        if native or dialect != "torch":
            raise ArgumentError(
                "geometry= was given together with other arguments, which it replaces. Write geometry= alone"
            )
        if not isinstance(geometry, Geometry):
            raise ArgumentError(
                f"geometry is {shown(geometry)}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=3)"
            )
        g, groups, layout = geometry, geometry.groups, {}
    else:
        call = reader.read_without_x(array.shape, native)
        if call is None:
            raise ArgumentError(
                f"these arguments of the {dialect} dialect need the input's size. Write "
                f"geometry=tconv.dialect({dialect!r})."
                "geometry(kernel=, input=, ...), and the weight in PyTorch's layout"
            )
        g, groups = call.geometry, call.geometry.groups
        layout = {name: value for name, value in native.items() if name in reader.layout_arguments}
    canonical = reader.to_canonical(array, groups, **layout)
    if canonical.shape[2:] != g.kernel:
        raise ShapeError(
            f"weight has shape {array.shape}; geometry.kernel is {g.kernel}. Write a Geometry with this weight's kernel"
        )
    if array.size == 0 or not is_finite(array):
        problem = "no element" if array.size == 0 else "NaN or inf"
        raise ShapeError(f"weight has shape {array.shape} and {problem}. Write a weight of finite numbers")

    def to_native(canonical: Array) -> Array:
        return np.array(reader.to_native(canonical, groups, **layout), dtype=array.dtype, order="C")

    return ReadWeight(library, canonical, g, to_native)


def read_stack(weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any]) -> tuple[LayerWeight, ...]:
    """Return the layers of a stack, first layer first; one layer alone as a stack. Raises ArgumentError, ShapeError."""
    if not isinstance(weight, (list, tuple)):
        one = read_weight(weight, dialect, geometry, native, _arrays.look)
        return ((wide(one.weight), one.geometry),)
    if native or geometry is not None:
        raise ArgumentError(
            "the list of a stack has each layer's arguments in it. Write [(weight, {'stride': 2}), ...] alone"
        )
    stack: list[LayerWeight] = []
    for entry in weight:
        if not (isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], dict)):
            raise ArgumentError(
                f"the stack contains {shown(entry)}; each entry must be a weight and its arguments. "
                "Write [(w1, {'stride': 2}), (w2, {'stride': 2})]"
            )
        arguments = dict(entry[1])
        _, w, g, _ = read_weight(
            entry[0], arguments.pop("dialect", dialect), arguments.pop("geometry", None), arguments, _arrays.look
        )
        if stack and (w.shape[0] != stack[-1][0].shape[1] * stack[-1][1].groups or w.ndim != stack[-1][0].ndim):
            before = stack[-1][0].shape[1] * stack[-1][1].groups
            raise ShapeError(
                f"layer {len(stack) + 1} takes {w.shape[0]} channels, and the layer before it gives {before}. "
                "Write the weights of consecutive layers"
            )
        stack.append((wide(w), g))
    if not stack:
        raise ArgumentError("the stack is empty; at least one layer is needed. Write [(weight, {'stride': 2})]")
    return tuple(stack)
