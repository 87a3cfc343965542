"""PyTorch's forward convolution and a pixel shuffle: the sub-pixel form (Shi et al. 2016, arXiv:1609.07009).

Phase r of every axis is a convolution with the taps t = r, r + s, r + 2s, ...; where the stride does not divide the
kernel, zero taps are appended to the kernel, which is still exact.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv import Geometry
from tconv.bench import dtypes
from tconv.bench.layers import Layer
from tconv.bench.peers import torch
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, Task

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def _reasons_against(layer: Layer) -> list[str]:
    g = layer.geometry
    reasons = [] if g.ndim <= 3 else [f"PyTorch has 1 to 3 axes, this layer {g.ndim}"]
    if max(g.dilation) > 1:
        reasons.append("a pixel shuffle has no dilation")
    sizes = zip(g.crop, layer.output_shape[2:], g.stride, layer.input_shape, g.kernel, strict=True)
    if any(lo < 0 or lo + L > s * (n - 1 - (-k // s)) for (lo, _), L, s, n, k in sizes):
        reasons.append(f"the crop {g.crop} reaches beyond the shuffled result")
    return reasons


def forward_weight(w: Array, g: Geometry) -> Array:
    """Return a weight [C_in, C_out/g, *k] as the forward convolution's, [C_out * prod(s), C_in/g, *ceil(k/s)].

    The phase is the fastest part of the first axis.
    """
    ndim, groups = g.ndim, g.groups
    counts = [-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True)]
    fill = [(0, count * s - k) for count, k, s in zip(counts, g.kernel, g.stride, strict=True)]
    filled = np.pad(w, [(0, 0), (0, 0), *fill])
    split = filled.reshape(groups, -1, w.shape[1], *(n for pair in zip(counts, g.stride, strict=True) for n in pair))
    taps, phases = [3 + 2 * a for a in range(ndim)], [4 + 2 * a for a in range(ndim)]
    # a convolution reads its taps in reverse order
    moved = np.flip(split, tuple(taps)).transpose(0, 2, *phases, 1, *taps)
    return np.ascontiguousarray(moved.reshape(-1, w.shape[0] // groups, *counts))


def _load(task: Task) -> LoadedLayer:
    library: Any = import_module("torch")
    g, ndim = task.layer.geometry, task.layer.geometry.ndim
    x, w = torch.tensors(replace(task, w=forward_weight(task.w, g)))
    padding = tuple(count - 1 for count in w.shape[2:])
    conv = getattr(library.nn.functional, f"conv{ndim}d")
    cropped = tuple(slice(lo, lo + size) for (lo, _), size in zip(g.crop, task.layer.output_shape[2:], strict=True))

    def shuffle(y: Any) -> Any:
        if ndim == 2 and g.stride[0] == g.stride[1]:
            return library.nn.functional.pixel_shuffle(y, g.stride[0])
        n, sizes = len(y), y.shape[2:]
        split = y.view(n, task.layer.out_channels, *g.stride, *sizes)
        order = [axis for a in range(ndim) for axis in (2 + ndim + a, 2 + a)]
        merged = [size * s for size, s in zip(sizes, g.stride, strict=True)]
        if task.layout == "last":
            return split.permute(0, *order, 1).reshape(n, *merged, task.layer.out_channels).movedim(-1, 1)
        return split.permute(0, 1, *order).reshape(n, task.layer.out_channels, *merged)

    followed = torch.activation(task)  # of fewer numbers and contiguous ones, before the crop

    def call() -> Any:
        return shuffle(followed(conv(x, w, padding=padding, groups=g.groups)))[..., *cropped]

    note = "" if g.kernel == tuple(k * s for k, s in zip(w.shape[2:], g.stride, strict=True)) else "zero taps added"
    return torch.loaded(task, call, note)


PEER = Peer(
    "PyTorch's forward convolution and pixel shuffle",
    ("torch",),
    torch.start,
    _reasons_against,
    _load,
    ("cpu", "cuda"),
    torch.DTYPES,
    dtypes.LAYOUTS,
    ISAS,
)
