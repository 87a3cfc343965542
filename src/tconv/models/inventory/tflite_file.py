"""Inventory of a TensorFlow Lite file (.tflite).

Transposed convolutions are TRANSPOSE_CONV, CONV_3D_TRANSPOSE, MediaPipe's custom operator Convolution2DTransposeBias,
CONV_2D before DEPTH_TO_SPACE, and a convolution behind DILATE.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from tconv._arguments import sizes_text
from tconv.models.inventory.model_layer import ModelInput, ModelInventory, ModelLayer, Size, StoredArray
from tconv.models.inventory.operation_graph import Operation, OperationGraph
from tconv.models.inventory.other_forms import (
    OrdinaryConvolution,
    Transposed,
    of_depth_to_space,
    of_zero_insertion,
    same_pads,
)
from tconv.models.inventory.size_arithmetic import Formula, SizeArithmetic
from tconv.models.inventory.size_names import SizeNames, without_names
from tconv.models.inventory.tflite_constants import TfliteConstants
from tconv.models.readers import tflite
from tconv.models.readers.tflite import Subgraph, TfliteModel, TfliteOperator

_TRANSPOSED = {"TRANSPOSE_CONV": "HW", "CONV_3D_TRANSPOSE": "DHW"}
_WITH_BIAS = "Convolution2DTransposeBias"
_PADDING = {1: "SAME", 2: "VALID"}  # TfLitePadding in MediaPipe's options
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def read(path: Path) -> ModelInventory:
    """Return the inventory of a .tflite file. Nothing is run. Raises FileError."""
    model = tflite.read(path)
    graphs = [_Graph(model, graph, number) for number, graph in enumerate(model.subgraphs)]
    main = graphs[0]
    names = [each.key for each in model.signatures if each.key]
    return ModelInventory(
        source=path.name,
        format="TensorFlow Lite",
        layers=tuple(layer for graph in graphs for layer in graph.layers()),
        producer=_producer(model),
        version=f"schema {model.version}" + (f", signatures {', '.join(names[:8])}" if names else ""),
        inputs=main.inputs,
        outputs=main.outputs,
        operations=sum((graph.operations.counts for graph in graphs), Counter()),
    )


def _producer(model: TfliteModel) -> str:
    runtime = model.metadata.get("min_runtime_version", b"").rstrip(b"\0").decode("utf-8", "replace")
    return model.description + (f" (needs TensorFlow Lite {runtime})" if runtime else "")


class _Graph:
    """One subgraph."""

    def __init__(self, model: TfliteModel, subgraph: Subgraph, number: int) -> None:
        self._model, self.subgraph, self._number = model, subgraph, number
        self._names = SizeNames()
        self._sources = {value: each for each in subgraph.operators for value in each.outputs}
        self._constants = TfliteConstants(model, subgraph, self._sources)
        self.inputs = self._ends(subgraph.inputs, named=True)
        self.outputs = self._ends(subgraph.outputs, named=False)
        self._of = {id(each): self._operation(each) for each in subgraph.operators}
        self._operators = {id(self._of[id(each)]): each for each in subgraph.operators}
        self.operations = OperationGraph(self._of.values(), map(str, subgraph.outputs))

    def _ends(self, numbers: tuple[int, ...], named: bool) -> tuple[ModelInput, ...]:
        found = []
        for number in (number for number in numbers if number >= 0):
            tensor, shape = self.subgraph.tensors[number], self._sizes(number)
            found.append(ModelInput(tensor.name, shape if named else without_names(shape), tensor.dtype))
        return tuple(found)

    def _operation(self, operator: TfliteOperator) -> Operation:
        inputs: list[str] = []
        attributes = dict(operator.options)
        constants: dict[str, StoredArray] = {}
        for at, number in enumerate(operator.inputs):
            if number < 0:
                continue
            found = self._constants.find(number)
            if found is None:
                inputs.append(str(number))
                continue
            role = operator.role(at) or "other"
            role = role if role not in constants else f"input {at}"
            constants[role] = found
            few = self._constants.integers(number)
            if few is not None and found.quantization is None:
                attributes[role] = few
        outputs = tuple(map(str, operator.outputs))
        return Operation(operator.op, self._name(operator), tuple(inputs), outputs, attributes, constants)

    def _name(self, operator: TfliteOperator) -> str:
        first = next((number for number in operator.outputs if number >= 0), None)
        return "" if first is None else self.subgraph.tensors[first].name.split(";")[0]

    def layers(self) -> list[ModelLayer]:
        """Return the transposed convolutions in the order of their operators."""
        found = []
        for place, operator in enumerate(self.subgraph.operators):
            made = None
            if operator.op in _TRANSPOSED and _has_tensors(operator, 3):
                made = self._native(operator)
            elif operator.op == _WITH_BIAS and _has_tensors(operator, 2):
                made = self._with_bias(operator)
            elif operator.op in _CONVOLUTIONS and _has_tensors(operator, 2):
                made = self._other_form(operator)
            if made is not None:
                found.append(self._layer(place, operator, **made))
        return found

    def _layer(
        self, place: int, operator: TfliteOperator, x: int, y: int, before: int | None = None, **made: Any
    ) -> ModelLayer:
        count = len(self.subgraph.operators)
        where = f"operator {place} of {count}"
        if len(self._model.subgraphs) > 1:
            where += f", in the subgraph {self.subgraph.name or self._number!r}"
        made.setdefault("activation", operator.options.get("fusedActivationFunction", ""))
        made.setdefault("input_shape", self._sizes(x))
        made.setdefault("output_shape", without_names(self._sizes(y)))
        return ModelLayer(
            name=self._name(operator),
            place=where,
            op=made.pop("op", operator.op),
            dtype=self.subgraph.tensors[x].dtype,
            before=self.operations.before(str(x if before is None else before)),
            after=self.operations.after(str(y)),
            location={"operator": place, "subgraph": self._number},
            **made,
        )

    def _sizes(self, number: int) -> tuple[Size, ...] | None:
        """Return the shape of a tensor, with names for the sizes that vary."""
        return self._names.named(number, self.subgraph.tensors[number].signature)

    # -- the operators ------------------------------------------------------------------------------------------

    def _native(self, operator: TfliteOperator) -> dict[str, Any]:
        axes = _TRANSPOSED[operator.op]
        sizes, weight, x = operator.inputs[:3]
        arguments: dict[str, Any] = {
            "strides": [operator.options.get(f"stride{axis}", 0) for axis in axes],
            "padding": operator.options.get("padding", "SAME"),
        }
        if len(axes) == 3:
            arguments["dilations"] = [operator.options.get(f"dilation{axis}Factor", 1) for axis in axes]
        large, origin, y = self._output_sizes(sizes, x), "output_shape", operator.outputs[0]
        shape, limitations = without_names(self._sizes(y)), []
        if large is not None:
            shape = tuple(large)
        if self._constants.integers(sizes) is None:
            known = "" if large is None else f" {sizes_text(shape or ())}"
            origin += f"{known}, computed in the graph"
        if shape is not None and all(isinstance(size, int) for size in shape[1:-1]):
            arguments["output_shape"] = [size if isinstance(size, int) else -1 for size in shape]
        elif large is None:
            limitations.append(
                "Its output_shape is computed in the graph, in a way that is not followed; the usual size is assumed"
            )
        bias = operator.inputs[3] if len(operator.inputs) > 3 else -1
        return {
            "dialect": "tflite",
            "arguments": arguments,
            "x": x,
            "y": y,
            "crop_origin": f"padding {arguments['padding']} and {origin}",
            "output_shape": shape,
            **self._weights(weight, bias, limitations),
        }

    def _output_sizes(self, number: int, x: int) -> list[Size] | None:
        """Return the sizes in output_shape, as far as they follow from constants and from the sizes of x."""

        def formula(value: Any) -> Formula | None:
            operator = self._sources.get(value)
            return None if operator is None else Formula(operator.op, operator.inputs, operator.options)

        def shape(value: Any) -> list[Size] | None:
            sizes = self._sizes(value)
            if value != x and any(not isinstance(size, int) for size in sizes or ()):
                return None  # sizes of another tensor, whose names say nothing about x
            return None if sizes is None else list(sizes)

        found = SizeArithmetic(formula, self._constants.terms, shape)(number)
        rank = len(self.subgraph.tensors[x].shape)
        return found if found is not None and len(found) == rank else None

    def _with_bias(self, operator: TfliteOperator) -> dict[str, Any]:
        """Return MediaPipe's operator, whose options are the C struct {padding, stride_width, stride_height, ...}.

        SAME leaves out max(0, k - 1 - (n - 1) mod s) elements, half of them in front: TensorFlow Lite's rule for an
        output of s*(n - 1) + 1 + (n - 1) mod s elements, or all of them if they are fewer. Source:
        mediapipe/util/tflite/operations/transpose_conv_bias.cc
        """
        x, weight = operator.inputs[:2]
        y = operator.outputs[0]
        padding, width, height = struct.unpack_from("<3i", operator.custom_options.ljust(12, b"\0"))
        arguments: dict[str, Any] = {"strides": [height, width], "padding": _PADDING.get(padding, "VALID")}
        limitations = []
        if len(operator.custom_options) < 12:
            limitations.append(f"Its options have {len(operator.custom_options)} bytes; 12 are needed")
        sizes, kernel = self._sizes(x) or (), self.subgraph.tensors[weight].shape
        if len(sizes) == len(kernel) == 4 and min(height, width) > 0:
            large = [
                _mediapipe_size(n, k, s, arguments["padding"])
                for n, k, s in zip(sizes[1:3], kernel[1:3], (height, width), strict=True)
            ]
            stated = list(self.subgraph.tensors[y].signature[1:3])
            if None not in large:
                arguments["output_shape"] = large
            if None not in large and large != stated and len(stated) == 2 and min(stated) > 0:
                arguments["output_shape"] = stated  # what XNNPACK computes, the only code for it in LiteRT
                limitations.append(
                    f"The file states an output of {stated[0]}x{stated[1]}, which LiteRT computes; MediaPipe's own "
                    f"code gives {large[0]}x{large[1]}"
                )
            elif None in large:
                limitations.append(
                    "The sizes of its input vary, and its output has s*(n - 1) + k - max(0, k - 1 - (n - 1) mod s) "
                    "elements, which is not a multiple of them"
                )
        bias = operator.inputs[2] if len(operator.inputs) > 2 else -1
        return {
            "dialect": "tflite",
            "arguments": arguments,
            "x": x,
            "y": y,
            "crop_origin": f"padding {arguments['padding']} in MediaPipe's options",
            **self._weights(weight, bias, limitations),
        }

    def _weights(self, weight: int, bias: int, limitations: list[str]) -> dict[str, Any]:
        found = self._constants.find(weight)
        tensor = self.subgraph.tensors[weight]
        if found is None:
            limitations = [*limitations, f"Its weight {tensor.name!r} is computed when the model runs"]
        elif tensor.trouble:
            limitations = [*limitations, f"Its weight cannot be read: {tensor.trouble}"]
            found = None
        added = self._constants.find(bias)
        if added is None and bias >= 0:
            limitations = [*limitations, f"Its bias {self.subgraph.tensors[bias].name!r} is computed when it runs"]
        return {"weight": found, "bias": added, "limitations": tuple(limitations)}

    # -- other forms --------------------------------------------------------------------------------------------

    def _other_form(self, operator: TfliteOperator) -> dict[str, Any] | None:
        options = operator.options
        strides = [options.get(f"stride{axis}", 1) for axis in "HW"]
        dilation = tuple(options.get(f"dilation{axis}Factor", 1) for axis in "HW")
        weight = self._constants.find(operator.inputs[1])
        if strides != [1, 1] or weight is None or len(weight.shape) != 4 or min(dilation) < 1 or not all(weight.shape):
            return None
        depthwise = operator.op.startswith("DEPTHWISE")
        x, y = operator.inputs[0], operator.outputs[0]
        channels = self.subgraph.tensors[x].shape[-1:] or (0,)
        if depthwise:
            weight = _as_ordinary(weight)
        groups = channels[0] // weight.shape[-1] if channels[0] % weight.shape[-1] == 0 else 0
        if groups < 1 or weight.shape[0] % groups:
            return None
        bias = self._constants.find(operator.inputs[2]) if len(operator.inputs) > 2 else None
        pads = same_pads(weight.shape[1:3], dilation) if options.get("padding") == "SAME" else [(0, 0)] * 2
        given = OrdinaryConvolution("tflite", weight, bias, pads, dilation, groups)
        return self._shuffled(operator, given, x, y) or self._zeros_between(operator, given, x, y)

    def _shuffled(self, operator: TfliteOperator, given: OrdinaryConvolution, x: int, y: int) -> dict[str, Any] | None:
        reader = self.operations.only_reader(str(y))
        if reader is None or reader.op != "DEPTH_TO_SPACE" or not reader.outputs:
            return None
        block = int(reader.attributes.get("blockSize", 0))
        made = of_depth_to_space(given, (block, block), "DCR") if block > 1 else None
        if made is None:
            return None
        end = int(reader.outputs[0])
        form = "convolution and depth to space"
        return self._described(operator, made, form, f"{operator.op} + DEPTH_TO_SPACE", x, end)

    def _zeros_between(
        self, operator: TfliteOperator, given: OrdinaryConvolution, x: int, y: int
    ) -> dict[str, Any] | None:
        pads = list(given.pads)
        made = self.operations.source(str(x))
        if made is not None and made.op in ("PAD", "PADV2") and operator.options.get("padding") == "VALID":
            padding = made.attributes.get("paddings", [])
            value = made.constants.get("constant_values")
            if len(padding) != 8 or any(padding[:2] + padding[6:]) or (value is not None and value.read().any()):
                return None
            pads = [(padding[2], padding[3]), (padding[4], padding[5])]
            made = self.operations.source(made.inputs[0]) if len(made.inputs) == 1 else None
        if made is None or made.op != "DILATE" or len(made.inputs) != 1:
            return None
        stride = made.attributes.get("dilations", [])
        value = made.constants.get("padding_value")
        if len(stride) != 4 or (stride[0], stride[3]) != (1, 1) or min(stride) < 1 or max(stride) == 1:
            return None
        if value is None or value.read().any():
            return None
        transposed = of_zero_insertion(given._replace(pads=pads), stride[1:3])
        form = "zero insertion and convolution"
        return self._described(operator, transposed, form, f"DILATE + {operator.op}", int(made.inputs[0]), y)

    def _described(
        self, operator: TfliteOperator, made: Transposed, form: str, op: str, x: int, y: int
    ) -> dict[str, Any]:
        return {
            "dialect": "torch",
            "arguments": made.arguments,
            "weight": made.weight,
            "bias": made.bias,
            "limitations": made.limitations,
            "form": form,
            "op": op,
            "x": x,
            "y": y,
            "input_shape": _channels_first(self._sizes(x)),
            "output_shape": _channels_first(without_names(self._sizes(y))),
            "crop_origin": f"padding {operator.options.get('padding', '')} of the convolution",
        }


def _has_tensors(operator: TfliteOperator, inputs: int) -> bool:
    """Return True if an operator has these inputs and an output."""
    given = (*operator.inputs[:inputs], *operator.outputs[:1])
    return len(given) == inputs + 1 and min(given) >= 0


def _mediapipe_size(n: Size, k: int, s: int, padding: str) -> int | None:
    if not isinstance(n, int) or n < 1:
        return None
    return s * (n - 1) + k - (max(0, k - (n - 1) % s - 1) if padding == "SAME" else 0)


def _channels_first(shape: tuple[Size, ...] | None) -> tuple[Size, ...] | None:
    return None if shape is None else (shape[0], shape[-1], *shape[1:-1])


def _as_ordinary(weight: StoredArray) -> StoredArray:
    """Return a depthwise weight [1, kh, kw, C] as [C, kh, kw, 1]."""
    quantization = weight.quantization
    moved = None if quantization is None or quantization.axis else quantization
    shape = (weight.shape[3], *weight.shape[1:3], weight.shape[0])
    return replace(weight, shape=shape, read=lambda: weight.read().transpose(3, 1, 2, 0), quantization=moved)
