"""XNNPACK through LiteRT: a model of one TRANSPOSE_CONV, channels last.

A SLICE follows where the operator's padding cannot express the crop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task, UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def _start(threads: int, device: str) -> None:
    import_module("ai_edge_litert.interpreter")
    import_module("flatbuffers")  # to write the model


def _reasons_against(layer: Layer) -> list[str]:
    g = layer.geometry
    reasons = [] if g.ndim <= 2 else [f"LiteRT's TRANSPOSE_CONV has 2 axes, this layer {g.ndim}"]
    if g.groups > 1:
        reasons.append("LiteRT's TRANSPOSE_CONV has no groups")
    if max(g.dilation) > 1:
        reasons.append("LiteRT's TRANSPOSE_CONV has no dilation")
    if any(lo < 0 or hi < 0 for lo, hi in g.crop):
        reasons.append(f"the crop {g.crop} extends the output")
    return reasons


class _Model:
    """A LiteRT model under construction: tensors and operators, then bytes."""

    def __init__(self) -> None:
        self.schema: Any = import_module("ai_edge_litert.schema_py_generated")
        self.model = self.schema.ModelT()
        self.model.version, self.model.description = 3, "one layer"
        self.model.buffers, self.model.operatorCodes = [self.schema.BufferT()], []
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape: tuple[int, ...], data: Array | None = None) -> int:
        """Append a tensor, float32 or (if its data are) int32; return its number."""
        tensor = self.schema.TensorT()
        integer = data is not None and data.dtype.kind == "i"
        kind = self.schema.TensorType
        tensor.shape, tensor.type = list(shape), kind.INT32 if integer else kind.FLOAT32
        tensor.name, tensor.buffer = f"t{len(self.graph.tensors)}", 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, options: str, inputs: list[int], output: int, **values: int) -> None:
        """Append an operator; `values` are the fields of its options."""
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 4 if name == "TRANSPOSE_CONV" else 1
        self.model.operatorCodes.append(code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        operator.builtinOptions = getattr(self.schema, f"{options}T")()
        for field, value in values.items():
            setattr(operator.builtinOptions, field, value)
        self.graph.operators.append(operator)

    def to_bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the bytes of the model file."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = import_module("flatbuffers").Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _model(layer: Layer, w: Array, activation: str) -> tuple[bytes, str]:
    """Return the model, and a note if it slices. A layer of one axis has two in the model, the first of size 1."""
    g, extra = layer.geometry, [1] * (2 - layer.geometry.ndim)
    n, size = layer.batch, [*extra, *layer.output_shape[2:]]
    crop = [*((0, 0) for _ in extra), *g.crop]
    # SAME puts the smaller half of the crop first; VALID crops only at the end, by the output's size
    same = any(map(sum, crop)) and all(lo == (lo + hi) // 2 for lo, hi in crop)
    cut = not same and any(lo for lo, _ in crop)
    whole = [L + lo for L, (lo, _) in zip(size, crop, strict=True)] if cut else size
    model = _Model()
    x = model.tensor((n, *extra, *layer.input_shape, layer.in_channels))
    weight = np.moveaxis(w, 0, -1).reshape(w.shape[1], *extra, *g.kernel, w.shape[0])  # [C_out, kh, kw, C_in]
    shape = model.tensor((4,), np.array([n, *whole, layer.out_channels], np.int32))
    y = model.tensor((n, *whole, layer.out_channels))
    strides = dict(zip(("strideH", "strideW"), [*extra, *g.stride], strict=True))
    padding = model.schema.Padding.SAME if same else model.schema.Padding.VALID
    inputs = [shape, model.tensor(weight.shape, weight), x]
    fused = getattr(model.schema.ActivationFunctionType, activation.upper() or "NONE")
    options = {"padding": padding, "fusedActivationFunction": fused, **strides}
    model.operator("TRANSPOSE_CONV", "TransposeConvOptions", inputs, y, **options)
    if cut:
        sizes = np.array([n, *size, layer.out_channels], np.int32)
        begin = model.tensor((4,), np.array([0, *(lo for lo, _ in crop), 0], np.int32))
        sliced = model.tensor((n, *size, layer.out_channels))
        model.operator("SLICE", "SliceOptions", [y, begin, model.tensor((4,), sizes)], sliced)
        y = sliced
    return model.to_bytes([x], [y]), "followed by a slice" if cut else ""


def _load(task: Task) -> LoadedLayer:
    library: Any = import_module("ai_edge_litert.interpreter")
    model, note = _model(task.layer, task.w, task.activation)
    interpreter = library.Interpreter(model_content=model, num_threads=task.threads)
    interpreter.allocate_tensors()
    if all(operator["op_name"] != "DELEGATE" for operator in interpreter._get_ops_details()):
        raise UnableError("XNNPACK does not support this layer, and LiteRT would run its reference kernel")
    input, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    interpreter.set_tensor(input["index"], np.moveaxis(task.x, 1, -1).reshape(input["shape"]))

    def new_output() -> Array:
        interpreter.invoke()
        y: Array = interpreter.get_tensor(output)
        return y

    def read(y: Array | None) -> Array:
        y = interpreter.get_tensor(output) if y is None else y  # None: "out" leaves it in the interpreter
        return np.moveaxis(y.reshape(task.layer.batch, *task.layer.output_shape[2:], -1), -1, 1)

    return LoadedLayer(
        {"out": interpreter.invoke, "dropped": new_output},
        read=read,
        poison=lambda: interpreter.tensor(output)().fill(np.nan),
        note=note,
    )


PEER = Peer(
    "XNNPACK through LiteRT",
    ("ai-edge-litert", "flatbuffers"),
    _start,
    _reasons_against,
    _load,
    layouts=("last",),
    elsewhere=("last",),
)
