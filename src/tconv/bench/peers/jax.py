"""JAX: jax.lax.conv_general_dilated with lhs_dilation, which lax.conv_transpose calls, compiled."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv.bench import dtypes
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task


def _start(threads: int, device: str) -> None:
    # XLA reads its number of threads from NPROC, which the worker's environment contains
    jax: Any = import_module("jax")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)  # for float64; the other dtypes stay as they are


def _reasons_against(layer: Layer) -> list[str]:
    return [] if layer.geometry.ndim <= 6 else [f"{layer.geometry.ndim} axes have no letters in this peer"]


def _load(task: Task) -> LoadedLayer:
    jax: Any = import_module("jax")
    g = task.layer.geometry
    axes = "DHWXYZ"[: g.ndim]
    x, w = jax.device_put(task.native_x()), task.native_w()
    data = f"N{axes}C" if task.layout == "last" else f"NC{axes}"
    split = w.reshape(g.groups, -1, *w.shape[1:])  # [G, I, O, *k]; a convolution wants [*k, I, G*O], flipped
    moved = np.flip(split.transpose(*range(3, 3 + g.ndim), 1, 0, 2), tuple(range(g.ndim)))
    weight = jax.device_put(np.ascontiguousarray(moved.reshape(*g.kernel, moved.shape[g.ndim], -1)))

    def transposed(x: Any, w: Any) -> Any:
        y = jax.lax.conv_general_dilated(
            x,
            w,
            window_strides=(1,) * g.ndim,
            padding=[(e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(g.extent, g.crop, strict=True)],
            lhs_dilation=g.stride,
            rhs_dilation=g.dilation,
            dimension_numbers=(data, f"{axes}IO", data),
            feature_group_count=g.groups,
        )
        return jax.nn.relu(y) if task.activation else y

    compiled = jax.jit(transposed).lower(x, weight).compile()
    return LoadedLayer(
        {"dropped": lambda: compiled(x, weight).block_until_ready()},
        read=task.read,
    )


PEER = Peer(
    "JAX (XLA)",
    ("jax", "jaxlib"),
    _start,
    _reasons_against,
    _load,
    dtypes=dtypes.DTYPES["cpu"],
    layouts=dtypes.LAYOUTS,
    isas=("avx2",),  # its wheel needs AVX
    elsewhere=("last",),
)
