"""PyTorch's forward convolution and a pixel shuffle: the plain rewrite of `tconv.bench.subpixel`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from tconv.bench import dtypes, subpixel
from tconv.bench.layers import Layer
from tconv.bench.peers import torch
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, Task


def _reasons_against(layer: Layer) -> list[str]:
    ndim = layer.geometry.ndim
    return ([] if ndim <= 3 else [f"PyTorch has 1 to 3 axes, this layer {ndim}"]) + subpixel.reasons_against(layer)


def _load(task: Task) -> LoadedLayer:
    library: Any = import_module("torch")
    g, ndim = task.layer.geometry, task.layer.geometry.ndim
    x, w = torch.tensors(replace(task, w=subpixel.forward_weight(task.w, g)))
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
