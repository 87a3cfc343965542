"""TensorFlow: tf.nn.convNd_transpose in a tf.function, its weight a constant. On a CPU it has channels last only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv import dialect
from tconv.bench import dtypes
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
    x = tf.constant(task.native_x())
    w = tf.constant(np.ascontiguousarray(dialect("tensorflow").to_native(task.native_w())))
    operator = getattr(tf.nn, f"conv{g.ndim}d_transpose")

    def transposed(x: Any) -> Any:
        y = operator(x, w, **arguments)
        return tf.nn.relu(y) if task.activation else y

    call = tf.function(transposed).get_concrete_function(x)
    return LoadedLayer({"dropped": lambda: call(x)}, read=lambda y: task.read(y.numpy()))


PEER = Peer(
    "TensorFlow",
    ("tensorflow-cpu", "tensorflow"),
    _start,
    _reasons_against,
    _load,
    dtypes=dtypes.DTYPES["cpu"],
    layouts=("last",),
    isas=("avx2",),  # its wheel needs AVX
    elsewhere=("last",),
)
