"""One ConvTranspose as a model of its own, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import MissingExtraError
from tconv.kernels.num_threads import get_num_threads
from tconv.models.inventory.model_layer import ModelLayer


def single_node_runner(layer: ModelLayer, x: Array) -> tuple[Callable[[], Any], str]:
    """Return a function that runs a float32 copy of the layer on this x, and the name of its runtime.

    Raises MissingExtraError without onnx, ImportError without onnxruntime; ONNX Runtime's own errors for a layer that
    it refuses.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("the time of a layer alone", "onnx", "onnx") from None
    import onnxruntime

    assert layer.weight is not None
    constants = [np.asarray(layer.weight.read(), np.float32)]
    if layer.bias is not None:
        constants.append(np.asarray(layer.bias.read(), np.float32))
    names = ["weight", "bias"][: len(constants)]
    node = onnx.helper.make_node("ConvTranspose", ["x", *names], ["y"], **dict(layer.arguments))
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for array, name in zip(constants, names, strict=True)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x}), f"onnxruntime {onnxruntime.__version__}"
