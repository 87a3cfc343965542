"""XNNPACK through LiteRT: a model of one TRANSPOSE_CONV, channels last, and a SLICE where its padding cannot say it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.bench.layers import Layer
from tconv.bench.peers.interface import Peer, Ready, Task, UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def _start(threads: int, device: str) -> None:
    import_module("ai_edge_litert.interpreter")
    import_module("flatbuffers")  # it writes the model


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
        """The number of a new tensor: float32, or int32 if its data are."""
        made = self.schema.TensorT()
        whole = data is not None and data.dtype.kind == "i"
        made.shape, made.type = list(shape), self.schema.TensorType.INT32 if whole else self.schema.TensorType.FLOAT32
        made.name, made.buffer = f"t{len(self.graph.tensors)}", 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, options: str, inputs: list[int], output: int, **values: int) -> None:
        """Append an operator; `values` are the fields of its options."""
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
        self.model.operatorCodes.append(code)
        made = self.schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        made.builtinOptions = getattr(self.schema, f"{options}T")()
        for field, value in values.items():
            setattr(made.builtinOptions, field, value)
        self.graph.operators.append(made)

    def serialised(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = import_module("flatbuffers").Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _model(layer: Layer, w: Array) -> tuple[bytes, str]:
    """The model, and a note if it slices. One axis is two, the first of size 1."""
    g, extra = layer.geometry, [1] * (2 - layer.geometry.ndim)
    n, size = layer.batch, [*extra, *layer.output_shape[2:]]
    crop = [*((0, 0) for _ in extra), *g.crop]
    # SAME puts the smaller half of the crop in front; VALID crops only behind, by the output's size
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
    model.operator("TRANSPOSE_CONV", "TransposeConvOptions", inputs, y, padding=padding, **strides)
    if cut:
        sizes = np.array([n, *size, layer.out_channels], np.int32)
        begin = model.tensor((4,), np.array([0, *(lo for lo, _ in crop), 0], np.int32))
        kept = model.tensor((n, *size, layer.out_channels))
        model.operator("SLICE", "SliceOptions", [y, begin, model.tensor((4,), sizes)], kept)
        y = kept
    return model.serialised([x], [y]), "a slice behind it" if cut else ""


def _load(task: Task) -> Ready:
    library: Any = import_module("ai_edge_litert.interpreter")
    model, note = _model(task.layer, task.w)
    interpreter = library.Interpreter(model_content=model, num_threads=task.threads)
    interpreter.allocate_tensors()
    if all(operator["op_name"] != "DELEGATE" for operator in interpreter._get_ops_details()):
        raise UnableError("XNNPACK does not take this layer; LiteRT would run its reference kernel")
    given, place = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    interpreter.set_tensor(given["index"], np.moveaxis(task.x, 1, -1).reshape(given["shape"]))

    def fresh() -> Array:
        interpreter.invoke()
        made: Array = interpreter.get_tensor(place)
        return made

    def read(y: Array | None) -> Array:
        y = interpreter.get_tensor(place) if y is None else y  # "out" leaves it in the interpreter's own memory
        return np.moveaxis(y.reshape(task.layer.batch, *task.layer.output_shape[2:], -1), -1, 1)

    return Ready(
        {"out": interpreter.invoke, "dropped": fresh},
        read=read,
        poison=lambda: interpreter.tensor(place)().fill(np.nan),
        note=note,
    )


PEER = Peer("XNNPACK through LiteRT, channels last", ("ai-edge-litert", "flatbuffers"), _start, _reasons_against, _load)
