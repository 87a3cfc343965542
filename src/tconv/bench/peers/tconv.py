"""tconv itself: "tconv" runs the method that it chooses, "tconv:METHOD" a named one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import tconv
from tconv import Geometry
from tconv.bench import dtypes
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, Task, UnableError
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
        run = _prepared(task, w, method) if task.activation else _operator(w, g, method)
    except TconvError as error:
        raise UnableError(str(error)) from None
    native = task.native_output()
    out = dtypes.channels_first(native, task.layout)

    def fresh() -> Any:
        if task.layout == "first":
            return run(x)
        # a new output of a call in PyTorch's words would have channels first, whatever x has
        return run(x, out=dtypes.channels_first(task.native_output(), task.layout))

    return LoadedLayer(
        {"out": lambda: run(x, out=out), "dropped": fresh},
        read=lambda y: task.read(dtypes.in_layout(y, task.layout)),
        poison=lambda: native.fill(np.nan),
        note=f"method {plan.method}",
    )


def _operator(w: Array, g: Geometry, method: str) -> Callable[..., Any]:
    return lambda x, **out: tconv.conv_transpose(x, w, geometry=g, method=method, **out)


def _prepared(task: Task, w: Array, method: str) -> Callable[..., Any]:
    """Return a prepared layer, which applies the activation as it writes. Raises UnableError for an old tconv."""
    try:
        layer: Callable[..., Any] = tconv.prepare(w, geometry=task.layer.geometry, method=method, activation="relu")
    except (AttributeError, TypeError):
        raise UnableError("this tconv has no activations in prepared layers") from None
    return layer


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
    isas=ISAS,
)
