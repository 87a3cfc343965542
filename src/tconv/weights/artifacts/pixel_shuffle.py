"""Convolution followed by a pixel shuffle (depth to space), as the transposed convolution that it is.

A convolution with k taps whose output channels are shuffled into blocks of r elements is the transposed convolution
with stride r and r*k taps: its tap r*(k - 1 - t) + p is tap t of phase p (Shi et al. 2016, arXiv:1609.07009). Its
borders differ by whole blocks alone, so the padding has no part in a pattern of phases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import int_of, ints_of, shown
from tconv._arrays import Array
from tconv.dialects import Dialect
from tconv.dialects.layouts import axes_of
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry

ORDERS = ("CRD", "DCR")
_STRIDES = ("stride", "strides")
_DILATIONS = ("dilation", "dilations", "dilation_rate", "kernel_dilation", "rhs_dilation")
_GROUPS = ("groups", "group")
_WITHOUT_EFFECT = ("padding", "pads", "data_format", "padding_mode")


class ShuffledWeight(NamedTuple):
    """A canonical weight and its geometry, for a convolution whose dilation is left out, and the conversion back."""

    weight: Array
    geometry: Geometry
    to_native: Callable[[Array], Array]
    dilation: tuple[int, ...]
    note: str
    """Description for a report; "" for a convolution alone."""


def as_transposed(
    weight: Array, factor: Any, order: str | None, speaker: Dialect, native: dict[str, Any]
) -> ShuffledWeight:
    """Return the transposed convolution that a convolution and a pixel shuffle are.

    `weight` is that of an ordinary convolution in the dialect's layout, `factor` the block size per axis; 1 is a
    convolution alone. `order` is "CRD", in which the channels of one block are neighbours (PyTorch), or "DCR", in which
    those of one place in the block are (TensorFlow, ONNX's default). Raises ShapeError, GeometryError, ArgumentError.
    """
    axes = axes_of(speaker.conv_weight_pattern, weight.ndim - 2)
    ndim = weight.ndim - 2
    if ndim < 1:
        raise ShapeError(
            f"weight has shape {weight.shape}; an ordinary convolution's weight has at least one spatial axis. Write "
            "the whole weight of one layer"
        )
    order = speaker.shuffle_order if order is None else order
    if not isinstance(order, str) or order not in ORDERS:
        raise ArgumentError(
            f"channel_order is {shown(order)}; there are CRD and DCR. Write "
            f'channel_order="CRD" for PyTorch\'s PixelShuffle, or "DCR" for TensorFlow\'s depth_to_space'
        )
    blocks = ints_of(factor, "pixel_shuffle", ndim, least=1)
    dilation, groups = _arguments(native, ndim)
    places: list[Any] = ["O", "I", *range(ndim)]
    w = weight.transpose([axes.index(place) for place in places])
    phases = math.prod(blocks)
    if w.shape[0] % phases or w.shape[0] % groups:
        raise ShapeError(
            f"weight {weight.shape} has {w.shape[0]} output channels, which pixel_shuffle={blocks} and {groups} groups "
            f"do not divide. Write a weight with a multiple of {phases} output channels"
        )
    dense = _without_groups(w, groups)
    c_out, c_in, kernel = w.shape[0] // phases, dense.shape[1], w.shape[2:]
    # [C_out, phases, C_in, *k] to [C_in, C_out, *(k, block)], the taps reversed
    split = dense.reshape(*((c_out, *blocks) if order == "CRD" else (*blocks, c_out)), c_in, *kernel)
    out = 0 if order == "CRD" else ndim
    first = 1 if order == "CRD" else 0
    interleaved = [part for axis in range(ndim) for part in (ndim + 2 + axis, first + axis)]
    taps = np.flip(split, tuple(range(ndim + 2, 2 * ndim + 2))).transpose([ndim + 1, out, *interleaved])
    canonical = taps.reshape(c_in, c_out, *(k * r for k, r in zip(kernel, blocks, strict=True)))
    g = Geometry(canonical.shape[2:], blocks)

    def back(changed: Array) -> Array:
        if groups > 1:
            raise GeometryError(
                f"the convolution has {groups} groups; new weights are computed for one. Use each group's weight alone"
            )
        pairs = [size for k, r in zip(kernel, blocks, strict=True) for size in (k, r)]
        inverse = np.argsort([ndim + 1, out, *interleaved])
        apart = changed.reshape(c_in, c_out, *pairs).transpose(inverse)
        ordinary = np.flip(apart, tuple(range(ndim + 2, 2 * ndim + 2))).reshape(w.shape)
        native_order = [places.index(axis) for axis in axes]
        return np.array(ordinary.transpose(native_order), dtype=weight.dtype, order="C")

    note = f"a convolution and a pixel shuffle by {blocks}, channels in the order {order}" if phases > 1 else ""
    return ShuffledWeight(canonical, g, back, dilation, note)


def with_dilation(shuffled: ShuffledWeight) -> tuple[Array, Geometry]:
    """Return weight and geometry with the zeros of the dilation between the blocks of taps."""
    canonical, blocks = shuffled.weight, shuffled.geometry.stride
    for axis, (r, d) in enumerate(zip(blocks, shuffled.dilation, strict=True), 2):
        k = canonical.shape[axis] // r
        positions = np.concatenate([np.arange(r) + r * d * t for t in range(k)])
        shape = [*canonical.shape]
        shape[axis] = r * (d * (k - 1) + 1)
        wide = np.zeros(shape, canonical.dtype)
        np.moveaxis(wide, axis, 0)[positions] = np.moveaxis(canonical, axis, 0)
        canonical = wide
    return canonical, Geometry(canonical.shape[2:], blocks)


def _without_groups(w: Array, groups: int) -> Array:
    """Return an ordinary weight [C_out, C_in/groups, *k] as [C_out, C_in, *k], with zeros between groups."""
    if groups == 1:
        return w
    outer, inner = w.shape[0] // groups, w.shape[1]
    dense = np.zeros((w.shape[0], inner * groups, *w.shape[2:]), w.dtype)
    for group in range(groups):
        rows = slice(group * outer, (group + 1) * outer)
        dense[rows, group * inner : (group + 1) * inner] = w[rows]
    return dense


def _arguments(native: dict[str, Any], ndim: int) -> tuple[tuple[int, ...], int]:
    """Return dilation and groups of the convolution. Raises ArgumentError for a stride above 1 and unknown names."""
    dilation, groups = (1,) * ndim, 1
    for name, value in native.items():
        if name in _STRIDES:
            if max(strides := ints_of(value, name, ndim, least=1)) > 1:
                raise GeometryError(
                    f"{name} is {strides}; a convolution before a pixel shuffle has a stride of 1. Write {name}=1, or "
                    "leave out pixel_shuffle= for a transposed convolution"
                )
        elif name in _DILATIONS:
            dilation = ints_of(value, name, ndim, least=1)
        elif name in _GROUPS:
            groups = int_of(value, name, least=1, example=f"{name}=1")
        elif name not in _WITHOUT_EFFECT:
            raise ArgumentError(
                f"{name}= was given together with pixel_shuffle=; the convolution has stride, padding, dilation and "
                f"groups. Write the call without {name}="
            )
    return dilation, groups
