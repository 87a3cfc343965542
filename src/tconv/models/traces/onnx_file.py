"""Reader of ONNX models: runs on ONNX Runtime, OpenVINO, ONNX's own evaluator or tconv, with all tensors as outputs.

Weights that are computed from constants are tensors of the run, too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, TconvError
from tconv.models.readers.onnx_graph import open_graph
from tconv.models.traces.trace import Input, LayerCall, Recorder, RunError, Trace, plain, reason
from tconv.operator.functional import conv_transpose

OnnxRunner = Callable[[Any, dict[str, Array]], list[Array]]
"""Function from an ONNX model and its inputs by name to its outputs."""

_NO_DATA = ("Shape", "Size", "ConstantOfShape")  # their outputs depend on sizes alone
_NO_TENSORS = ("SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SplitToSequence", "Optional")


def _onnxruntime(model: Any, feeds: dict[str, Array]) -> list[Array]:
    try:
        import onnxruntime
    except ImportError:
        raise FileError("onnxruntime is not installed. Write: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, feeds)]


def _openvino(model: Any, feeds: dict[str, Array]) -> list[Array]:
    try:
        import openvino
    except ImportError:
        raise FileError("openvino is not installed. Write: pip install openvino") from None
    core = openvino.Core()
    network = core.read_model(io.BytesIO(model.SerializeToString()))
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([feeds[each.name] for each in graph_inputs(model)])
    return [np.asarray(results[number]) for number in range(len(model.graph.output))]


def _reference(model: Any, feeds: dict[str, Array]) -> list[Array]:
    import onnx.reference

    return [np.asarray(y) for y in onnx.reference.ReferenceEvaluator(model).run(None, _typed(model, feeds))]


def _typed(model: Any, feeds: dict[str, Array]) -> dict[str, Array]:
    """Return the inputs in the types of the model: bfloat16 ones come as float32."""
    import onnx

    types = {each.name: each.type.tensor_type.elem_type for each in model.graph.input}
    half = {name for name, number in types.items() if number == onnx.TensorProto.BFLOAT16}
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    return {name: feed.astype(dtype) if name in half else feed for name, feed in feeds.items()}


def _tconv(model: Any, feeds: dict[str, Array]) -> list[Array]:
    """Run ConvTranspose by conv_transpose, which follows the specification, and all else by ONNX's own evaluator."""
    import onnx.reference
    from onnx.reference.op_run import OpRun

    class ConvTranspose(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Array, weight: Array, bias: Array | None = None, **_: Any) -> tuple[Array]:
            given = attributes(self.onnx_node)
            return (np.asarray(conv_transpose(x, weight, bias, dialect="onnx", **given)),)

    evaluator = onnx.reference.ReferenceEvaluator(model, new_ops=[ConvTranspose])
    return [np.asarray(y) for y in evaluator.run(None, _typed(model, feeds))]


RUNTIMES: dict[str, OnnxRunner] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "reference": _reference,
    "tconv": _tconv,
}
"""Runners of an ONNX model by name; "reference" is ONNX's own evaluator, "tconv" is conv_transpose."""


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes as native arguments."""
    import onnx

    values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def graph_inputs(model: Any) -> list[Any]:
    """Return the inputs of a model that are no initializers."""
    stored = {each.name for each in model.graph.initializer}
    return [each for each in model.graph.input if each.name not in stored]


def open_network(path: Path, runtime: str) -> OnnxFile:
    """Return the network in a .onnx file. Raises FileError, MissingExtraError."""
    return OnnxFile(open_graph(path).proto(), runtime)


class OnnxFile:
    """An ONNX model and the name of its runtime."""

    def __init__(self, model: Any, runtime: str) -> None:
        self._model, self._runtime = model, runtime
        self._names: dict[int, str] = {}
        self.inputs = [_input(model, each) for each in graph_inputs(model)]

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs of the graph."""
        return [array for array in map(plain, self._run(self._model, feeds)) if array is not None]

    def _run(self, model: Any, feeds: list[Array]) -> list[Array]:
        named = {each.name: feed for each, feed in zip(self.inputs, feeds, strict=True)}
        try:
            return RUNTIMES[self._runtime](model, named)
        except FileError:
            raise
        except Exception as error:  # each runtime has its own types
            text = reason(error, 2000 if isinstance(error, TconvError) else 400)
            raise RunError(f"{self._runtime} fails: {text}") from None

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors: all outputs of nodes become outputs of the graph."""
        import onnx

        values = self._values(feeds, list(dict.fromkeys(self._wanted())))
        stored = {each.name: onnx.numpy_helper.to_array(each) for each in self._model.graph.initializer}
        return self._recorded(feeds, stored | values)

    def probe(self, feeds: list[Array], numbers: list[int]) -> Trace:
        """Return the outputs and these tensors of the last trace, with no other tensor as an output."""
        names = {number: self._names[number] for number in numbers if number in self._names}
        values = self._values(feeds, list(names.values()))
        ends = [plain(values[each.name]) for each in self._model.graph.output]
        found = {number: plain(values[name]) for number, name in names.items()}
        return Trace(
            [array for array in ends if array is not None],
            tensors={number: array for number, array in found.items() if array is not None},
        )

    def _values(self, feeds: list[Array], wanted: list[str]) -> dict[str, Array]:
        """Return the outputs of the graph and these tensors by name."""
        import onnx

        wider = onnx.ModelProto()
        wider.CopyFrom(self._model)
        own = {each.name for each in self._model.graph.output}
        wider.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in own)
        named = [each.name for each in wider.graph.output]
        return dict(zip(named, self._run(wider, feeds), strict=True))

    def _dynamic(self) -> set[str]:
        """Return the names of tensors that depend on the numbers of the inputs."""
        known = {each.name for each in self.inputs}
        for node in self._model.graph.node:
            if node.op_type not in _NO_DATA and known.intersection(node.input):
                known.update(filter(None, node.output))
        return known

    def _wanted(self) -> Iterator[str]:
        known = self._dynamic()
        stored = {each.name for each in self._model.graph.initializer} | {each.name for each in self.inputs}
        for node in self._model.graph.node:
            if node.op_type in _NO_TENSORS:
                continue
            yield from (name for name in node.output if name in known)
            if node.op_type == "ConvTranspose":
                yield from (name for name in node.input[1:] if name and name not in stored)

    def _recorded(self, feeds: list[Array], values: dict[str, Array]) -> Trace:
        recorder, known = Recorder(), self._dynamic()
        numbers = {each.name: recorder.tensor(feed) for each, feed in zip(self.inputs, feeds, strict=True)}
        for node in self._model.graph.node:
            given = [numbers[name] for name in node.input if name in numbers]
            outputs = [name for name in node.output if name in known and name not in numbers]
            if not given or not outputs:
                continue
            layer = None
            if node.op_type == "ConvTranspose":
                bias = values[node.input[2]] if len(node.input) > 2 and node.input[2] else None
                layer = LayerCall("onnx", attributes(node), values[node.input[1]], bias)
            for name in outputs:
                numbers[name] = recorder.tensor(values.get(name), layer is not None)
            recorder.step(node.name or node.output[0], node.op_type, given, [numbers[name] for name in outputs], layer)
        self._names = {number: name for name, number in numbers.items()}
        ends = [plain(values[each.name]) for each in self._model.graph.output]
        return recorder.finish([array for array in ends if array is not None])


def _input(model: Any, value: Any) -> Input:
    import onnx

    kind = value.type.tensor_type
    known = kind.HasField("shape")
    shape = tuple(
        each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in kind.shape.dim
    )
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type or 1)).name
    return Input(value.name, shape if known else None, dtype, _layout(model, value.name, len(shape)))


def _layout(model: Any, name: str, ndim: int) -> str:
    """Return "last" if the input's channels are moved to the front first, else "first"."""
    names = {name}
    for node in model.graph.node:
        if not names.intersection(node.input):
            continue
        if node.op_type == "Transpose":
            order = attributes(node).get("perm", [])
            return "last" if ndim > 2 and list(order) == [0, ndim - 1, *range(1, ndim - 1)] else "first"
        if node.op_type in ("Cast", "Identity", "Sub", "Mul", "Div", "Add", "Pad"):
            names.update(node.output)
    return "first"
