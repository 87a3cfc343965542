"""tconv itself: "tconv" runs the method that it chooses, "tconv:METHOD" a named one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import tconv
from tconv.bench import dtypes
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task, UnableError
from tconv.errors import TconvError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def _start(threads: int, device: str) -> None:
    if device != "cpu":
        raise UnableError("no method of tconv runs on a GPU")
    tconv.set_num_threads(threads)


def _load(task: Task) -> LoadedLayer:
    w, g = task.native_w(), task.layer.geometry
    x = dtypes.channels_first(task.native_x(), task.layout)
    method = task.name.partition(":")[2] or "auto"
    try:
        plan = tconv.plan(x, w, geometry=g, method=method)
    except TconvError as error:
        raise UnableError(str(error)) from None
    native = task.native_output()
    out = dtypes.channels_first(native, task.layout)

    def read(y: Array) -> Array:
        return task.read(dtypes.in_layout(y, task.layout))

    return LoadedLayer(
        {
            "out": lambda: tconv.conv_transpose(x, w, geometry=g, method=method, out=out),
            "dropped": lambda: tconv.conv_transpose(x, w, geometry=g, method=method),
        },
        read=read,
        poison=lambda: native.fill(np.nan),
        note=f"method {plan.method}",
    )


def _reasons_against(layer: Layer) -> list[str]:
    return []


PEER = Peer(
    "tconv, by its own choice of method or a named one",
    ("tconv",),
    _start,
    _reasons_against,
    _load,
    dtypes=dtypes.DTYPES["cpu"],
    layouts=dtypes.LAYOUTS,
)
