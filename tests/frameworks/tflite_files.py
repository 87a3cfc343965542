"""TensorFlow Lite files that are written operator by operator, and run on LiteRT."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

TYPES = {
    "float32": 0,
    "float16": 1,
    "int32": 2,
    "uint8": 3,
    "int64": 4,
    "int16": 7,
    "int8": 9,
    "int4": 17,
    "bfloat16": 18,
}
_OPTIONS = {
    "TRANSPOSE_CONV": "TransposeConv",
    "CONV_3D_TRANSPOSE": "Conv3D",
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "DEPTH_TO_SPACE": "DepthToSpace",
    "STRIDED_SLICE": "StridedSlice",
    "PACK": "Pack",
    "ADD": "Add",
    "MUL": "Mul",
    "PAD": "Pad",
    "SHAPE": "Shape",
    "RELU": None,
    "DEQUANTIZE": "Dequantize",
    "TRANSPOSE": "Transpose",
}
VALID, SAME = 1, 0


class File:
    """A file with one subgraph; methods return the numbers of tensors."""

    def __init__(self, *more: File):
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "written by a test"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.codes = [], {}
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs, self.graph.name = [], [], "main"
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, dtype="float32", name="", data=None, scale=None, zero=0, axis=0, signature=None):
        made = schema.TensorT()
        made.shape, made.type, made.name = list(shape), TYPES[dtype], name or f"t{len(self.graph.tensors)}"
        if signature is not None:
            made.shapeSignature = list(signature)
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            zeros = np.broadcast_to(np.asarray(zero, np.int64), made.quantization.scale.shape)
            made.quantization.zeroPoint, made.quantization.quantizedDimension = zeros.copy(), axis
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, array, name="", dtype=None, shape=None, **words):
        array = np.asarray(array)
        return self.tensor(shape or array.shape, dtype or array.dtype.name, name, array, **words)

    def input(self, *args, **words):
        self.graph.inputs.append(self.tensor(*args, **words))
        return self.graph.inputs[-1]

    def add(self, op, inputs, output, custom=None, options2=None, **options):
        made = schema.OperatorT()
        if op not in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, op, schema.BuiltinOperator.CUSTOM)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = 4 if op == "TRANSPOSE_CONV" else 3 if op in ("DEPTHWISE_CONV_2D", "CONV_2D") else 1
            if code.builtinCode == schema.BuiltinOperator.CUSTOM:
                code.customCode, code.version = op, 1
            self.codes[op] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = self.codes[op], list(inputs), [output]
        if kind := _OPTIONS.get(op):
            made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
            made.builtinOptions = getattr(schema, f"{kind}OptionsT")()
            for name, value in options.items():
                assert hasattr(made.builtinOptions, name), name
                setattr(made.builtinOptions, name, value)
        if custom is not None:
            made.customOptions = np.frombuffer(custom, np.uint8)
        self.graph.operators.append(made)
        return output

    def content(self, *outputs):
        if outputs:
            self.graph.outputs = list(outputs)
        return packed(self.model)


def packed(model):
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, *feeds, delegates=True):
    """Return the outputs of LiteRT."""
    words = {}
    if not delegates:
        from ai_edge_litert.interpreter import OpResolverType

        words["experimental_op_resolver_type"] = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ready = Interpreter(model_content=content, num_threads=1, **words)
    for each, feed in zip(ready.get_input_details(), feeds, strict=True):
        if tuple(each["shape"]) != feed.shape:
            ready.resize_tensor_input(each["index"], feed.shape)
    ready.allocate_tensors()
    for each, feed in zip(ready.get_input_details(), feeds, strict=True):
        ready.set_tensor(each["index"], feed)
    ready.invoke()
    return [ready.get_tensor(each["index"]) for each in ready.get_output_details()]
