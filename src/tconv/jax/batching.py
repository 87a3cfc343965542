"""`jax.vmap` of the primitives: a batch of calls becomes one call, by folding the batch into an axis of the arrays.

One rule for the three sides x, weight and y of the trilinear form, of which one is the result. Where the weight is the
same for all calls, the batch goes into N. Where x or y is the same and there are no groups, it goes into the channels
of the other two. Otherwise the calls become groups side by side.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tconv.jax.call_layouts import Layouts
from tconv.jax.jax_names import primitive_batchers
from tconv.jax.primitives import CONV, TRANSPOSED, TRANSPOSED_BIAS, WEIGHT_GRADIENT, along_channels, bind

_SIDES = {TRANSPOSED: tuple("xwy"), CONV: tuple("ywx"), WEIGHT_GRADIENT: tuple("xyw")}
"""Sides of the operands of a primitive, and of its result."""


def _fold(array: Any, batch_axis: int, axis: int) -> Any:
    """Move the batch axis before an axis, and make one axis of both."""
    moved = jnp.moveaxis(array, batch_axis, axis)
    shape = moved.shape
    return moved.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _unfold(array: Any, count: int, axis: int) -> Any:
    shape = array.shape
    return array.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])


def _axes(layouts: Layouts, batched: dict[str, bool], groups: int) -> tuple[dict[str, str], bool]:
    """Return the axis of each side that the batch is folded into, and True if it multiplies the groups."""
    if not batched.get("w", True):
        return {"x": "N", "y": "N"}, False
    if not batched.get("x", True) and groups == 1:
        return {"w": "O", "y": "C"}, False
    if not batched.get("y", True) and groups == 1:
        return {"w": "I", "x": "C"}, False
    return {"x": "C", "w": layouts.weight.grouped, "y": "C"}, True


def _no_calls(primitive: Any, operands: Any, axes: Any, parameters: dict[str, Any]) -> Any:
    """Return the result of a batch without calls."""
    shapes = [
        each.shape if axis is None else (*each.shape[:axis], *each.shape[axis + 1 :])
        for each, axis in zip(operands, axes, strict=True)
    ]
    one = jax.eval_shape(
        partial(bind, primitive, **parameters),
        *(jax.ShapeDtypeStruct(shape, each.dtype) for shape, each in zip(shapes, operands, strict=True)),
    )
    return jnp.zeros((0, *one.shape), one.dtype)


def _batched(primitive: Any, operands: Any, axes: Any, **parameters: Any) -> tuple[Any, int]:
    layouts, geometry = parameters["layouts"], parameters["geometry"]
    *sides, result = _SIDES[primitive]
    of_side = {"x": layouts.x.axes, "w": layouts.weight.axes, "y": layouts.y.axes}
    count = next(each.shape[axis] for each, axis in zip(operands, axes, strict=True) if axis is not None)
    if isinstance(count, int) and not count:  # a size folded with 0 could not be told from the result
        return _no_calls(primitive, operands, axes, parameters), 0
    batched = {side: axis is not None for side, axis in zip(sides, axes, strict=True)}
    letters, grouped = _axes(layouts, batched, geometry.groups)
    folded = []
    for side, each, axis in zip(sides, operands, axes, strict=True):
        if side in letters:
            each = jnp.broadcast_to(each, (count, *each.shape)) if axis is None else each
            each = _fold(each, axis or 0, of_side[side].index(letters[side]))
        folded.append(each)
    if grouped:
        parameters["geometry"] = replace(geometry, groups=geometry.groups * count)
    at = of_side[result].index(letters[result])
    return _unfold(bind(primitive, *folded, **parameters), count, at), at


def _batched_with_bias(operands: Any, axes: Any, **parameters: Any) -> tuple[Any, int]:
    x, w, bias = operands
    layout = parameters["layouts"].y
    if axes[0] is None and axes[1] is None:
        y, at = bind(TRANSPOSED, x, w, **parameters)[None], 0
    else:
        y, at = _batched(TRANSPOSED, (x, w), axes[:2], **parameters)
    y = jnp.moveaxis(y, at, 0)
    if axes[2] is None:
        return y + along_channels(bias.astype(y.dtype), layout), 0
    each = jnp.moveaxis(bias, axes[2], 0).astype(y.dtype)
    count, channels = each.shape
    return y + each.reshape(count, *(channels if axis == "C" else 1 for axis in layout.axes)), 0


for _primitive in _SIDES:
    primitive_batchers[_primitive] = partial(_batched, _primitive)
primitive_batchers[TRANSPOSED_BIAS] = _batched_with_bias
