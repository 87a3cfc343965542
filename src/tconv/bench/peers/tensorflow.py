"""TensorFlow: tf.nn.convNd_transpose in a tf.function, channels last, its weight a constant."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv import dialect
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task


def _start(threads: int, device: str) -> None:
    tf: Any = import_module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _reasons_against(layer: Layer) -> list[str]:
    if layer.geometry.groups > 1:
        return ["TensorFlow's transposed convolutions have no groups on the CPU"]
    return dialect("tensorflow").reasons_against(layer.geometry, layer.input_shape)


def _load(task: Task) -> LoadedLayer:
    tf: Any = import_module("tensorflow")
    layer, g = task.layer, task.layer.geometry
    arguments = dialect("tensorflow").arguments(g, input=layer.input_shape)
    arguments["output_shape"] = [layer.batch, *layer.output_shape[2:], layer.out_channels]
    x = tf.constant(np.ascontiguousarray(np.moveaxis(task.x, 1, -1)))
    w = tf.constant(np.ascontiguousarray(dialect("tensorflow").to_native(task.w)))
    operator = getattr(tf.nn, f"conv{g.ndim}d_transpose")
    call = tf.function(lambda x: operator(x, w, **arguments)).get_concrete_function(x)
    return LoadedLayer({"dropped": lambda: call(x)}, read=lambda y: np.moveaxis(y.numpy(), -1, 1))


PEER = Peer("TensorFlow, channels last", ("tensorflow-cpu", "tensorflow"), _start, _reasons_against, _load)
