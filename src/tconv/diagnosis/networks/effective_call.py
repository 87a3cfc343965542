"""The call that a tensor behind a transposed convolution is the output of: its crop, weight and bias with all between.

An exporter writes one layer as several operations: a node that crops nothing and a Slice, a bias as an Add, a BatchNorm
folded or not. Which numbers they add up to is read off the tensors, so no operation has to be known by name.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.models.traces.trace import LayerCall
from tconv.operator.call_reading import read_call
from tconv.operator.functional import conv_transpose

_REACH = 3  # elements by which a crop is looked for beyond the sizes
_MOST_CROPS = 20_000
_CLOSE = 1e-4  # of the largest number


@dataclass(frozen=True, eq=False)
class EffectiveCall:
    """Call in canonical layouts: x [N, C_in, *n], weight [C_in, C_out/groups, *kernel], bias, geometry."""

    x: Array
    weight: Array
    bias: Array | None
    geometry: Geometry
    native: bool = True
    """True if it is the layer's own call, without any operation behind it."""

    def output_shape(self) -> tuple[int, ...]:
        """Return [N, C_out, *L]."""
        channels = self.weight.shape[1] * self.geometry.groups
        return len(self.x), channels, *self.geometry.output_shape(self.x.shape[2:])

    def output(self) -> Array:
        """Return the output by the definition, in float64."""
        bias = None if self.bias is None else self.bias.astype(np.float64)
        x, weight = self.x.astype(np.float64), self.weight.astype(np.float64)
        return np.asarray(conv_transpose(x, weight, bias, geometry=self.geometry))


def own_call(layer: LayerCall, x: Array) -> EffectiveCall | None:
    """Return the call of a layer for the tensor that flows into it; None if it cannot be read."""
    dtype = np.result_type(x.dtype, np.float32)
    bias = None if layer.bias is None else layer.bias.astype(dtype)
    try:
        call = read_call(x.astype(dtype), layer.weight.astype(dtype), bias, layer.dialect, None, layer.arguments)
    except TconvError:
        return None
    return EffectiveCall(call.x, np.array(call.weight), call.bias, call.problem.geometry)


def unit_axes(call: EffectiveCall) -> list[int]:
    """Return the spatial axes of one element, one tap and no crop: a 1-D signal in a 2-D layer has such an axis."""
    axes = zip(call.x.shape[2:], call.geometry.kernel, call.geometry.crop, strict=True)
    return [axis for axis, (size, k, crop) in enumerate(axes) if size == k == 1 and crop == (0, 0)]


def without_axes(call: EffectiveCall, axes: list[int]) -> EffectiveCall:
    """Return a call without these axes of one element."""
    g, gone = call.geometry, tuple(axis + 2 for axis in axes)
    left = [axis for axis in range(g.ndim) if axis not in axes]
    kernel, stride, dilation = ([entries[axis] for axis in left] for entries in (g.kernel, g.stride, g.dilation))
    geometry = Geometry(kernel, stride, [g.crop[axis] for axis in left], dilation, g.groups)
    return EffectiveCall(call.x.squeeze(gone), call.weight.squeeze(gone), call.bias, geometry, native=False)


def with_axes(call: EffectiveCall, axes: list[int]) -> EffectiveCall:
    """Return a call with an axis of one element at each of these places."""
    g, new = call.geometry, [axis + 2 for axis in axes]
    kernel, stride, dilation, crop = list(g.kernel), list(g.stride), list(g.dilation), list(g.crop)
    for axis in axes:
        for entries in (kernel, stride, dilation):
            entries.insert(axis, 1)
        crop.insert(axis, (0, 0))
    x, weight = np.expand_dims(call.x, new), np.expand_dims(call.weight, new)
    return EffectiveCall(x, weight, call.bias, Geometry(kernel, stride, crop, dilation, g.groups), native=False)


def canonical(tensor: Array, channels: int, ndim: int, last: bool) -> Array | None:
    """Return a tensor as [N, C, *spatial] with this many channels, at the end if both places have as many and `last`.

    None for a tensor without such an axis.
    """
    sizes = list(tensor.shape)
    while len(sizes) > ndim + 2 and 1 in sizes[1:]:
        sizes.pop(1 + sizes[1:].index(1))
    if len(sizes) == ndim + 1:
        sizes.insert(0, 1)
    if len(sizes) != ndim + 2:
        return None
    whole = tensor.reshape(sizes)
    places = (-1, 1) if last else (1, -1)
    for place in places:
        if whole.shape[place] == channels:
            return np.moveaxis(whole, place, 1)
    return None


def call_of(tensor: Array, call: EffectiveCall, full: Array) -> EffectiveCall | None:
    """Return the call whose output this tensor [N, C_out, *L] is; None if it is none, or one number everywhere.

    `full` is the output of the call with a crop of 0 and without bias.
    """
    if tensor.shape[:2] != full.shape[:2] or not np.isfinite(tensor).all() or np.ptp(tensor) == 0:
        return None
    totals = [F - L for F, L in zip(full.shape[2:], tensor.shape[2:], strict=True)]
    fronts = []
    for (lo, _), total in zip(call.geometry.crop, totals, strict=True):
        reach = range(min(lo, total, 0) - _REACH, max(lo, total, 0) + _REACH + 1)
        fronts.append(sorted(reach, key=lambda at, lo=lo: abs(at - lo)))  # type: ignore[misc]
    for front in itertools.islice(itertools.product(*fronts), _MOST_CROPS):
        crop = tuple((lo, total - lo) for lo, total in zip(front, totals, strict=True))
        if (fitted := _fitted(tensor, full, crop)) is not None:
            found = _with(call, crop, *fitted, tensor)
            near = np.abs(found.output() - tensor).max() <= _CLOSE * np.abs(tensor).max()
            return found if near else None  # a Pad behind the bias, for example
    return None


def _fitted(tensor: Array, full: Array, crop: Any) -> tuple[Array, Array] | None:
    """Return the scale and offset per channel that turn the cropped full output into the tensor."""
    inner = tuple(slice(max(-lo, 0), size - max(-hi, 0)) for size, (lo, hi) in zip(tensor.shape[2:], crop, strict=True))
    outer = tuple(slice(max(lo, 0), size - max(hi, 0)) for size, (lo, hi) in zip(full.shape[2:], crop, strict=True))
    a, b = full[(slice(None), slice(None), *outer)], tensor[(slice(None), slice(None), *inner)]
    if a.shape != b.shape or not a.size:
        return None
    quick = np.linspace(0, a[0, 0].size - 1, min(64, a[0, 0].size)).astype(int)
    if not _affine(*(each[:, :4].reshape(*each[:, :4].shape[:2], -1)[..., quick] for each in (a, b))):
        return None
    flat = [np.moveaxis(each, 1, 0).reshape(each.shape[1], -1) for each in (a, b)]
    means = [each.mean(1, keepdims=True) for each in flat]
    one, two = flat[0] - means[0], flat[1] - means[1]
    power = (one**2).sum(1)
    if (power == 0).any():
        return None
    scale = (one * two).sum(1) / power
    offset = means[1][:, 0] - scale * means[0][:, 0]
    residual = np.abs(flat[1] - scale[:, None] * flat[0] - offset[:, None]).max()
    if residual > _CLOSE * np.abs(flat[1]).max():
        return None
    return scale, offset


def _affine(a: Array, b: Array) -> bool:
    """Return True if b is nearly a scale and an offset of a in each channel."""
    one, two = a - a.mean((0, 2), keepdims=True), b - b.mean((0, 2), keepdims=True)
    power = (one**2).sum((0, 2))
    scale = (one * two).sum((0, 2)) / np.where(power > 0, power, 1)
    gap = np.abs(two - scale[:, None] * one).max()
    return bool(gap <= 1e-3 * max(np.abs(two).max(), 1e-30) or np.abs(two).max() == 0)


def _with(call: EffectiveCall, crop: Any, scale: Array, offset: Array, tensor: Array) -> EffectiveCall:
    geometry = replace(call.geometry, crop=crop)
    extends = any(min(pair) < 0 for pair in crop)
    bias = np.zeros(len(scale)) if call.bias is None else call.bias.astype(np.float64)
    plain = np.abs(scale - 1).max() < _CLOSE
    same_bias = np.abs(offset - bias).max() <= _CLOSE * max(np.abs(tensor).max(), 1e-30)
    if plain and same_bias:
        return replace(call, geometry=geometry, native=call.native and crop == call.geometry.crop)
    if extends and not plain:
        return replace(call, geometry=geometry, native=False)
    groups = call.geometry.groups
    by_group = call.weight.reshape(groups, -1, *call.weight.shape[1:])
    factors = scale.reshape(groups, 1, -1, *[1] * (call.weight.ndim - 2))
    weight = call.weight if plain else (by_group * factors).reshape(call.weight.shape).astype(call.weight.dtype)
    return EffectiveCall(call.x, weight, offset.astype(call.weight.dtype), geometry, native=False)


def full_output(call: EffectiveCall) -> Array:
    """Return the output of a call without its crop and bias, in float64."""
    return replace(
        call, bias=None, geometry=replace(call.geometry, crop=tuple((0, 0) for _ in call.geometry.crop))
    ).output()
