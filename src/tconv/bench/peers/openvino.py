"""OpenVINO: a model of one ConvolutionBackpropData, or GroupConvolutionBackpropData, its weight a constant."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tconv import dialect
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task


def _start(threads: int, device: str) -> None:
    import_module("openvino")


def _reasons_against(layer: Layer) -> list[str]:
    return dialect("openvino").reasons_against(layer.geometry, layer.input_shape)


def _load(task: Task) -> LoadedLayer:
    ov: Any = import_module("openvino")
    operations: Any = import_module("openvino.opset15")
    layer, g = task.layer, task.layer.geometry
    openvino = dialect("openvino")
    parameter = operations.parameter(list(task.x.shape), np.float32)
    weight = operations.constant(np.ascontiguousarray(openvino.to_native(task.w, g.groups)))
    name = "convolution_backprop_data" if g.groups == 1 else "group_convolution_backprop_data"
    node = getattr(operations, name)(parameter, weight, **openvino.arguments(g, input=layer.input_shape))
    options = {
        "INFERENCE_NUM_THREADS": task.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 on chips that have it
    }
    request = ov.Core().compile_model(ov.Model([node], [parameter]), "CPU", options).create_infer_request()
    request.set_input_tensor(ov.Tensor(task.x, shared_memory=True))
    out = np.empty(layer.output_shape, np.float32)
    preallocated = ov.Tensor(out, shared_memory=True)

    def infer_into(tensor: Any) -> Any:
        request.set_output_tensor(tensor)
        request.infer()
        return tensor

    return LoadedLayer(
        {
            "out": lambda: infer_into(preallocated),
            "dropped": lambda: infer_into(ov.Tensor(ov.Type.f32, ov.Shape(list(layer.output_shape)))),
        },
        read=lambda tensor: np.asarray(tensor.data),
        poison=lambda: out.fill(np.nan),
    )


PEER = Peer("OpenVINO, CPU, float32", ("openvino",), _start, _reasons_against, _load)
