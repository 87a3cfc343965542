"""Native arrays to channels last and back, by a framework's own operations."""

from __future__ import annotations

from typing import Any

from tconv.dialects import DataLayout, WeightLayout
from tconv.operator.standard.operations import Operations


def _channels_last(layout: DataLayout) -> list[Any]:
    spatial = sorted(axis for axis in layout.axes if isinstance(axis, int))
    return ["N", *spatial, "C"] if "N" in layout.axes else [*spatial, "C"]


def data_in(ops: Operations, x: Any, layout: DataLayout) -> Any:
    """Return a native array as [N, *spatial, C]."""
    x = _ordered(ops, x, layout.axes, _channels_last(layout))
    return x if "N" in layout.axes else ops.reshape(x, (1, *ops.sizes(x)))


def data_out(ops: Operations, y: Any, layout: DataLayout) -> Any:
    """Return an array [N, *spatial, C] in a native layout."""
    if "N" not in layout.axes:
        y = ops.reshape(y, ops.sizes(y)[1:])
    return _ordered(ops, y, _channels_last(layout), layout.axes)


def weight_in(ops: Operations, weight: Any, layout: WeightLayout, groups: int) -> Any:
    """Return a native weight as [groups, *kernel, C_in/groups, C_out/groups], with its taps in order."""
    sizes: list[Any] = []
    axes: list[Any] = []
    for axis, size in zip(layout.axes, ops.sizes(weight), strict=True):
        if axis == layout.grouped != "G":
            sizes.append(groups)
            axes.append("G")
            size //= groups
        sizes.append(size)
        axes.append(axis)
    w = _ordered(ops, ops.reshape(weight, sizes), axes, _grouped(layout))
    return ops.flip(w, _taps(layout)) if layout.flip else w


def weight_out(ops: Operations, w: Any, layout: WeightLayout) -> Any:
    """Return a weight [groups, *kernel, C_in/groups, C_out/groups] in a native layout."""
    if layout.flip:
        w = ops.flip(w, _taps(layout))
    axes: list[Any] = []
    for axis in layout.axes:
        axes += ["G", axis] if axis == layout.grouped != "G" else [axis]
    sizes = dict(zip(_grouped(layout), ops.sizes(w), strict=True))
    if layout.grouped == "G":
        return _ordered(ops, w, _grouped(layout), axes)
    joined = [sizes["G"] * sizes[axis] if axis == layout.grouped else sizes[axis] for axis in layout.axes]
    return ops.reshape(_ordered(ops, w, _grouped(layout), axes), joined)


def _grouped(layout: WeightLayout) -> list[Any]:
    return ["G", *sorted(axis for axis in layout.axes if isinstance(axis, int)), "I", "O"]


def _taps(layout: WeightLayout) -> range:
    return range(1, 1 + sum(isinstance(axis, int) for axis in layout.axes))


def _ordered(ops: Operations, x: Any, axes: Any, wanted: Any) -> Any:
    order = [list(axes).index(axis) for axis in wanted]
    return x if order == sorted(order) else ops.transpose(x, order)
