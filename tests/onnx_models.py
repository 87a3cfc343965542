"""ONNX models of a few nodes, built for tests, and the comparison of their layers with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tconv
from tconv.models.inventory import inventory_of
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer

TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "float64": TensorProto.DOUBLE,
}


class GraphBuilder:
    """ONNX graph that is built node by node; `x` is its input, `last` the latest output."""

    def __init__(self, shape: Iterable[Any] = (1, 4, 6, 5), seed: int = 0, opset: int = 20, dtype: str = "float32"):
        self.rng, self.nodes, self.constants, self.opset = np.random.default_rng(seed), [], [], opset
        self.shape, self.dtype, self.last = list(shape), dtype, "x"

    def constant(self, value: Any, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random(self, *shape: int, dtype: str | None = None) -> str:
        return self.constant(self.rng.normal(0, 1, shape).astype(dtype or self.dtype))

    def add(self, kind: str, *inputs: str, outputs: int = 1, **words: Any) -> str:
        names = [f"y{len(self.nodes)}"] + [f"y{len(self.nodes)}_{n}" for n in range(1, outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs) or [self.last], names, f"n{len(self.nodes)}", **words))
        self.last = names[0]
        return self.last

    def model(self, inputs: Iterable[tuple[str, str, Any]] = (), **words: Any) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        given = [value("x", TYPES[self.dtype], self.shape), *(value(n, TYPES[d], s) for n, d, s in inputs)]
        graph = helper.make_graph(self.nodes, "g", given, [], self.constants)
        graph.output.append(onnx.ValueInfoProto(name=self.last))
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, ir_version=10, opset_imports=imports, **words)

    def save(self, path: Path, **words: Any) -> Path:
        onnx.save_model(self.model(), path, **words)
        return path


def tensors(model: onnx.ModelProto, feeds: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return tensors of a model by name, as ONNX Runtime computes them without optimizations."""
    import onnxruntime

    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    own = {each.name for each in wider.graph.output} | set(feeds)
    wider.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in own)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [each.name for each in session.get_outputs()]
    return feeds | dict(zip(found, session.run(None, feeds), strict=True))


def layer_output(layer: ModelLayer, x: Any) -> Any:
    """Return the output of a layer of an inventory for x, computed by tconv."""
    assert layer.weight is not None
    weight, bias = layer.weight.read(), None if layer.bias is None else layer.bias.read()
    assert weight.shape == layer.weight.shape
    assert weight.dtype.name == layer.weight.dtype
    return np.asarray(tconv.conv_transpose(x, weight, bias, dialect=layer.dialect, **layer.arguments))


def inventory(model: onnx.ModelProto, path: Path) -> ModelInventory:
    onnx.save_model(model, path)
    return inventory_of(path)


def check_layers(
    path: Path, feeds: dict[str, Any], ends: dict[str, tuple[str, str]] | None = None, tolerance: float = 1e-5
) -> ModelInventory:
    """Assert that all layers of a file equal ONNX Runtime on the model's own tensors, and have the shapes that it has.

    `ends` are the names of x and y of layers whose node is not the layer alone.
    """
    found, model = inventory_of(path), onnx.load(path)
    nodes = {node.name or node.output[0]: node for node in model.graph.node}
    ends = {layer.name: (nodes[layer.name].input[0], nodes[layer.name].output[0]) for layer in found.layers} | (
        ends or {}
    )
    values = tensors(model, feeds, [name for pair in ends.values() for name in pair])
    symbols = {
        dim.dim_param: feeds[each.name].shape[axis]
        for each in model.graph.input
        if each.name in feeds
        for axis, dim in enumerate(each.type.tensor_type.shape.dim)
        if dim.dim_param
    }
    for layer in found.layers:
        x, y = (values[name] for name in ends[layer.name])
        actual = layer_output(layer, x)
        assert actual.shape == y.shape
        np.testing.assert_allclose(actual, y, rtol=0, atol=tolerance * max(1, np.abs(y).max()))
        check_shape(layer.input_shape, x.shape, symbols)
        check_shape(layer.output_shape, y.shape, symbols)
    return found


def check_shape(told: Any, actual: tuple[int, ...], symbols: dict[str, int]) -> None:
    """Assert that a shape with names is that of an array."""
    if told is None:
        return
    assert len(told) == len(actual)
    for size, number in zip(told, actual, strict=True):
        if isinstance(size, str):
            for name in sorted(symbols, key=len, reverse=True):
                size = size.replace(name, str(symbols[name]))
            if not set(size) <= set("0123456789+-*/() "):
                continue  # a name that the exporter invented
            size = eval(size, {"__builtins__": {}})
        assert size is None or size == number, (told, actual)
