"""tconv itself: "tconv" runs the method that it chooses, "tconv:METHOD" a named one."""

from __future__ import annotations

import numpy as np

import tconv
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task, UnableError
from tconv.errors import TconvError


def _start(threads: int, device: str) -> None:
    if device != "cpu":
        raise UnableError("no method of tconv runs on a GPU")
    tconv.set_num_threads(threads)


def _load(task: Task) -> LoadedLayer:
    x, w, g = task.x, task.w, task.layer.geometry
    method = task.name.partition(":")[2] or "auto"
    try:
        plan = tconv.plan(x, w, geometry=g, method=method)
    except TconvError as error:
        raise UnableError(str(error)) from None
    out = np.empty(task.layer.output_shape, np.float32)
    return LoadedLayer(
        {
            "out": lambda: tconv.conv_transpose(x, w, geometry=g, method=method, out=out),
            "dropped": lambda: tconv.conv_transpose(x, w, geometry=g, method=method),
        },
        read=np.asarray,
        poison=lambda: out.fill(np.nan),
        note=f"method {plan.method}",
    )


def _reasons_against(layer: Layer) -> list[str]:
    return []


PEER = Peer("tconv, by its own choice of method or a named one", ("tconv",), _start, _reasons_against, _load)
