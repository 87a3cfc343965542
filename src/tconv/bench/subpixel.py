"""The plain rewrite of a transposed convolution: a forward convolution, then depth to space (arXiv:1609.07009).

Phase r of every axis is a convolution with the taps t = r, r + s, r + 2s, ...; where the stride does not divide the
kernel, zero taps are appended to the kernel, which is still exact. The convolution has stride 1, and is padded with
ceil(k/s) - 1 zeros on both sides of every axis; depth to space writes the phases side by side; a slice is the crop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import Geometry
from tconv.bench.layers import Layer

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def reasons_against(layer: Layer) -> list[str]:
    """Return every reason why a layer has no such form: a dilation, or a crop beyond the result."""
    g = layer.geometry
    reasons = ["depth to space has no dilation"] if max(g.dilation) > 1 else []
    sizes = zip(g.crop, layer.output_shape[2:], g.stride, layer.input_shape, g.kernel, strict=True)
    if any(lo < 0 or lo + L > s * (n - 1 - (-k // s)) for (lo, _), L, s, n, k in sizes):
        reasons.append(f"the crop {g.crop} reaches beyond the result of depth to space")
    return reasons


def tap_counts(g: Geometry) -> tuple[int, ...]:
    """Return the taps of the forward convolution, ceil(k/s) per axis."""
    return tuple(-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True))


def forward_weight(w: Array, g: Geometry, layout: str = "first") -> Array:
    """Return a weight [C_in, C_out/g, *k] as the forward convolution's, [C_out * prod(s), C_in/g, *ceil(k/s)].

    The phase is the fastest part of the first axis with channels first, and the slowest within a group with channels
    last.
    """
    counts = tap_counts(g)
    fill = [(0, count * s - k) for count, k, s in zip(counts, g.kernel, g.stride, strict=True)]
    filled = np.pad(w, [(0, 0), (0, 0), *fill])
    pairs = (n for pair in zip(counts, g.stride, strict=True) for n in pair)
    split = filled.reshape(g.groups, -1, w.shape[1], *pairs)
    # a convolution reads its taps in reverse order
    flipped = np.flip(split, _tap_axes(g.ndim))
    moved = flipped.transpose(_order(g.ndim, layout))
    return np.ascontiguousarray(moved.reshape(-1, w.shape[0] // g.groups, *counts))


def original_weight(forward: Array, g: Geometry, layout: str = "first") -> Array:
    """Return the forward convolution's weight as [C_in, C_out/g, *k]: the inverse of `forward_weight`."""
    counts, order = tap_counts(g), _order(g.ndim, layout)
    channels = forward.shape[0] // (g.groups * math.prod(g.stride))
    sizes = (g.groups, forward.shape[1], channels, *(n for pair in zip(counts, g.stride, strict=True) for n in pair))
    split = forward.reshape([sizes[axis] for axis in order]).transpose(np.argsort(order))
    flipped = np.flip(split, _tap_axes(g.ndim))
    filled = flipped.reshape(g.groups * sizes[1], channels, *map(math.prod, zip(counts, g.stride, strict=True)))
    kept: Any = (..., *map(slice, g.kernel))
    original: Array = filled[kept]
    return original


def _tap_axes(ndim: int) -> tuple[int, ...]:
    return tuple(3 + 2 * axis for axis in range(ndim))


def _order(ndim: int, layout: str) -> list[int]:
    """Return the order of the axes [group, C_in, C_out, tap, phase, tap, phase, ...] in a forward weight."""
    taps, phases = _tap_axes(ndim), [4 + 2 * axis for axis in range(ndim)]
    return [0, *phases, 2, 1, *taps] if layout == "last" else [0, 2, *phases, 1, *taps]


class DepthToSpace(NamedTuple):
    """Depth to space and the crop as a reshape, a transposition, a reshape and a slice."""

    split: tuple[int, ...]
    order: tuple[int, ...]
    merged: tuple[int, ...]
    crop: tuple[slice, ...]


def depth_to_space(layer: Layer, layout: str) -> DepthToSpace:
    """Return the steps from the forward convolution's output in a layout to the layer's."""
    g, ndim, n, c = layer.geometry, layer.geometry.ndim, layer.batch, layer.out_channels
    sizes = [m + count - 1 for m, count in zip(layer.input_shape, tap_counts(g), strict=True)]
    merged = [m * s for m, s in zip(sizes, g.stride, strict=True)]
    inner = tuple(slice(lo, lo + size) for (lo, _), size in zip(g.crop, layer.output_shape[2:], strict=True))
    whole = slice(None)
    if layout == "last":  # [N, *sizes, G, *s, C_out/g]
        split = (n, *sizes, g.groups, *g.stride, c // g.groups)
        spatial = [axis for a in range(ndim) for axis in (1 + a, 2 + ndim + a)]
        order = (0, *spatial, 1 + ndim, 2 + 2 * ndim)
        return DepthToSpace(split, order, (n, *merged, c), (whole, *inner, whole))
    spatial = [axis for a in range(ndim) for axis in (2 + ndim + a, 2 + a)]
    return DepthToSpace((n, c, *g.stride, *sizes), (0, 1, *spatial), (n, c, *merged), (whole, whole, *inner))
