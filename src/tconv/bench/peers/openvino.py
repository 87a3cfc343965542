"""OpenVINO: a model of one ConvolutionBackpropData, or GroupConvolutionBackpropData, its weight a constant."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv import dialect
from tconv.bench import dtypes
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, Task


def _start(threads: int, device: str) -> None:
    import_module("openvino")


def _reasons_against(layer: Layer) -> list[str]:
    return dialect("openvino").reasons_against(layer.geometry, layer.input_shape)


_TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def _load(task: Task) -> LoadedLayer:
    ov: Any = import_module("openvino")
    kind = _TYPES[task.dtype]
    element = getattr(ov.Type, kind)
    options = {
        "INFERENCE_NUM_THREADS": task.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": kind,  # the default is bfloat16 on chips that have it
    }
    request = ov.Core().compile_model(_model(task, element), "CPU", options).create_infer_request()
    out = task.native_output()
    request.set_input_tensor(_tensor(element, task.native_x()))
    preallocated = ov.Tensor(element, ov.Shape(list(out.shape)))

    def infer_into(tensor: Any) -> Any:
        request.set_output_tensor(tensor)
        request.infer()
        return tensor

    def numbers(tensor: Any) -> Any:
        return np.asarray(tensor.data).view(out.dtype)  # OpenVINO shows bfloat16 as float16

    return LoadedLayer(
        {
            "out": lambda: infer_into(preallocated),
            "dropped": lambda: infer_into(ov.Tensor(element, ov.Shape(list(out.shape)))),
        },
        read=lambda tensor: task.read(numbers(tensor)),
        poison=lambda: numbers(preallocated).fill(np.nan),
    )


def _model(task: Task, element: Any) -> Any:
    """Return the model. With channels last, a transposition before and after, which the plugin may make a layout."""
    ov: Any = import_module("openvino")
    operations: Any = import_module("openvino.opset15")
    layer, g, openvino = task.layer, task.layer.geometry, dialect("openvino")
    n, c, *sizes = task.x.shape
    parameter = operations.parameter([n, *sizes, c] if task.layout == "last" else [n, c, *sizes], element)
    weight = operations.constant(_tensor(element, openvino.to_native(task.native_w(), g.groups)))
    name = "convolution_backprop_data" if g.groups == 1 else "group_convolution_backprop_data"
    last, axes = g.ndim + 1, range(1, g.ndim + 1)
    source = parameter
    if task.layout == "last":
        source = operations.transpose(parameter, operations.constant(np.array([0, last, *axes])))
    node = getattr(operations, name)(source, weight, **openvino.arguments(g, input=layer.input_shape))
    if task.activation:
        node = operations.relu(node)
    if task.layout == "last":
        node = operations.transpose(node, operations.constant(np.array([0, *(axis + 1 for axis in axes), 1])))
    return ov.Model([node], [parameter])


def _tensor(element: Any, array: Any) -> Any:
    ov: Any = import_module("openvino")
    tensor = ov.Tensor(element, ov.Shape(list(array.shape)))
    np.asarray(tensor.data).view(array.dtype)[...] = array
    return tensor


PEER = Peer(
    "OpenVINO, CPU",
    ("openvino",),
    _start,
    _reasons_against,
    _load,
    dtypes=tuple(_TYPES),
    layouts=dtypes.LAYOUTS,
    isas=ISAS,
)
