"""JAX: jax.lax.conv_general_dilated with lhs_dilation, which lax.conv_transpose calls, compiled, channels last."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task


def _start(threads: int, device: str) -> None:
    # XLA reads its number of threads from NPROC, which the worker's environment contains
    jax: Any = import_module("jax")
    jax.config.update("jax_platforms", "cpu")


def _reasons_against(layer: Layer) -> list[str]:
    return [] if layer.geometry.ndim <= 6 else [f"{layer.geometry.ndim} axes have no letters in this peer"]


def _load(task: Task) -> LoadedLayer:
    jax: Any = import_module("jax")
    g = task.layer.geometry
    axes = "DHWXYZ"[: g.ndim]
    x = jax.device_put(np.ascontiguousarray(np.moveaxis(task.x, 1, -1)))
    split = task.w.reshape(g.groups, -1, *task.w.shape[1:])  # [G, I, O, *k]; a convolution wants [*k, I, G*O], flipped
    moved = np.flip(split.transpose(*range(3, 3 + g.ndim), 1, 0, 2), tuple(range(g.ndim)))
    weight = jax.device_put(np.ascontiguousarray(moved.reshape(*g.kernel, moved.shape[g.ndim], -1)))

    def transposed(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x,
            w,
            window_strides=(1,) * g.ndim,
            padding=[(e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(g.extent, g.crop, strict=True)],
            lhs_dilation=g.stride,
            rhs_dilation=g.dilation,
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            feature_group_count=g.groups,
        )

    compiled = jax.jit(transposed).lower(x, weight).compile()
    return LoadedLayer(
        {"dropped": lambda: compiled(x, weight).block_until_ready()},
        read=lambda y: np.moveaxis(np.asarray(y), -1, 1),
    )


PEER = Peer("JAX (XLA), channels last", ("jax", "jaxlib"), _start, _reasons_against, _load)
