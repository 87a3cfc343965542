"""ONNX Runtime: a model of one ConvTranspose node, its weight a constant."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv import dialect
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task


def _start(threads: int, device: str) -> None:
    import_module("onnxruntime")
    import_module("onnx")  # to write the model


def _reasons_against(layer: Layer) -> list[str]:
    return dialect("onnxruntime").reasons_against(layer.geometry, layer.input_shape)


def _model(task: Task) -> bytes:
    onnx: Any = import_module("onnx")
    helper, layer = onnx.helper, task.layer
    arguments = dialect("onnxruntime").arguments(layer.geometry, input=layer.input_shape)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["z" if task.activation else "y"], **arguments)]
    if task.activation:
        nodes.append(helper.make_node("Relu", ["z"], ["y"]))
    kind = helper.np_dtype_to_tensor_dtype(task.numpy_dtype)
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", kind, task.x.shape)],
        [helper.make_tensor_value_info("y", kind, layer.output_shape)],
        [onnx.numpy_helper.from_array(task.native_w(), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def _load(task: Task) -> LoadedLayer:
    library: Any = import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    session = library.InferenceSession(_model(task), options, providers=["CPUExecutionProvider"])
    x, out = task.native_x(), task.native_output()
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", library.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y", "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)

    def write() -> Any:
        session.run_with_iobinding(binding)
        return out

    return LoadedLayer(
        {"out": write, "dropped": lambda: session.run(["y"], {"x": x})[0]},
        read=task.read,
        poison=lambda: out.fill(np.nan),
    )


PEER = Peer(
    "ONNX Runtime, CPU provider",
    ("onnxruntime", "onnx"),
    _start,
    _reasons_against,
    _load,
    dtypes=("float32", "float16"),
)
