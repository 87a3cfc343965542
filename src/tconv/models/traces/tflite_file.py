"""Reader of TensorFlow Lite models, on LiteRT's or TensorFlow's interpreter.

Numbers of quantized tensors are given as what they stand for: (stored - zero point) * scale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, TconvError
from tconv.models.readers import tflite
from tconv.models.readers.tflite import Subgraph, TfliteOperator
from tconv.models.traces.trace import Input, LayerCall, Recorder, RunError, Trace, reason
from tconv.operator.functional import conv_transpose

_NO_DATA = ("SHAPE", "RANK", "FILL")
_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "RELU": lambda y: np.maximum(y, 0),
    "RELU_N1_TO_1": lambda y: np.clip(y, -1, 1),
    "RELU6": lambda y: np.clip(y, 0, 6),
    "TANH": np.tanh,
}


def open_network(path: Path, runtime: str) -> TfliteFile:
    """Return the network in a .tflite file. Raises FileError."""
    model = tflite.read(path)
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        try:
            from tensorflow.lite.python import interpreter
        except ImportError:
            raise FileError(
                f"{path.name} needs LiteRT, which is not installed. Write: pip install ai-edge-litert"
            ) from None
    try:
        return TfliteFile(interpreter, path.read_bytes(), model.subgraphs[0])
    except Exception as error:
        raise FileError(
            f"{path} is damaged or not a TensorFlow Lite model: {reason(error, 200)}. Write a model again"
        ) from None


class TfliteFile:
    """A model and its interpreter."""

    def __init__(self, interpreter: Any, content: bytes, graph: Subgraph) -> None:
        self._library, self._content, self._graph = interpreter, content, graph
        probe = interpreter.Interpreter(model_content=content)
        self._details = probe.get_input_details()
        self.inputs = [
            Input(
                each["name"],
                tuple(int(size) if size > 0 else None for size in each["shape_signature"]),
                np.dtype(each["dtype"]).name if each["quantization"][0] == 0 else "float32",
                "last",
            )
            for each in self._details
        ]

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs, computed as the interpreter does by default."""
        ready = self._invoked(feeds)
        return [_values(ready, each["index"]) for each in ready.get_output_details()]

    def _invoked(self, feeds: list[Array], **options: Any) -> Any:
        try:
            ready = self._library.Interpreter(model_content=self._content, **options)
            for each, feed in zip(self._details, feeds, strict=True):
                if tuple(each["shape"]) != feed.shape:
                    ready.resize_tensor_input(each["index"], feed.shape)
            ready.allocate_tensors()
            for each, feed in zip(self._details, feeds, strict=True):
                ready.set_tensor(each["index"], _stored(each, feed))
            ready.invoke()
        except Exception as error:
            raise RunError(f"TensorFlow Lite fails: {reason(error)}") from None
        return ready

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors; delegates are off, because they hide tensors."""
        resolver = self._library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ready = self._invoked(feeds, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True)
        recorder = Recorder()
        numbers = {each["index"]: recorder.tensor(_values(ready, each["index"])) for each in self._details}
        for operator in self._graph.operators:
            op, sources, outputs = operator.op, operator.inputs, operator.outputs
            given = [numbers[number] for number in sources if number in numbers]
            if op in _NO_DATA or not given:
                continue
            layer, activation = None, ""
            if op in ("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"):
                layer, activation = self._layer(ready, operator, sources)
                given = [numbers[sources[2]]]
            for number in outputs:
                numbers[number] = recorder.tensor(_values(ready, number), layer is not None)
            name = self._graph.tensors[outputs[0]].name.split(";")[0]
            if layer is not None and activation:
                x, y = (_values(ready, number) for number in (sources[2], outputs[0]))
                if (raw := _before(activation, layer, x, y)) is not None:
                    first = recorder.tensor(raw, True)
                    recorder.step(name, op, given, [first], layer)
                    op, given, layer, activation = activation, [first], None, ""
            title = f"{op} with {activation}" if activation else op
            recorder.step(name, title, given, [numbers[number] for number in outputs], layer)
        return recorder.finish([_values(ready, each["index"]) for each in ready.get_output_details()])

    @staticmethod
    def _layer(ready: Any, operator: TfliteOperator, sources: tuple[int, ...]) -> tuple[LayerCall, str]:
        options = operator.options
        axes = "DHW" if operator.op.startswith("CONV_3D") else "HW"
        arguments: dict[str, Any] = {"strides": [options[f"stride{axis}"] for axis in axes]}
        arguments["padding"] = options["padding"]
        if len(axes) == 3:
            arguments["dilations"] = [options[f"dilation{axis}Factor"] for axis in axes]
        arguments["output_shape"] = [int(size) for size in ready.get_tensor(sources[0])]
        bias = _values(ready, sources[3]) if len(sources) > 3 and sources[3] >= 0 else None
        return LayerCall("tflite", arguments, _values(ready, sources[1]), bias), options["fusedActivationFunction"]


def _before(activation: str, layer: LayerCall, x: Array, y: Array) -> Array | None:
    """Return a layer's output before its activation, by the definition; None if that does not lead to its output y."""
    try:
        raw = np.asarray(conv_transpose(x, layer.weight, layer.bias, dialect="tflite", **layer.arguments))
    except TconvError:
        return None
    after = _FUNCTIONS[activation](raw) if activation in _FUNCTIONS else None
    agrees = after is not None and after.shape == y.shape and np.abs(after - y).max() <= 1e-4 * np.abs(raw).max()
    return raw if agrees else None


def _values(ready: Any, index: int) -> Array:
    """Return the numbers that a tensor stands for."""
    (details,) = [each for each in ready.get_tensor_details() if each["index"] == index]
    stored = np.asarray(ready.get_tensor(index))
    given = details["quantization_parameters"]
    scales, zeros = np.asarray(given["scales"]), np.asarray(given["zero_points"])
    if not len(scales) or stored.dtype.kind not in "iu":
        return np.array(stored)
    column = [1] * stored.ndim
    if len(scales) > 1:
        column[given["quantized_dimension"]] = -1
    values: Array = (stored.astype(np.float32) - zeros.reshape(column)) * scales.reshape(column)
    return values.astype(np.float32)


def _stored(details: dict[str, Any], feed: Array) -> Array:
    """Return numbers as an input tensor stores them."""
    scale, zero = details["quantization"]
    if scale == 0:
        return feed.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    stored: Array = np.clip(np.rint(feed / scale) + zero, limits.min, limits.max).astype(details["dtype"])
    return stored
