"""Constants of TensorFlow Lite's graphs, also those that operators compute from others: DEQUANTIZE, TRANSPOSE, CAST."""

from __future__ import annotations

import math

from tconv.models.inventory.computed_arrays import cast, reshaped, transposed
from tconv.models.inventory.model_layer import Quantization, StoredArray
from tconv.models.inventory.size_arithmetic import Terms
from tconv.models.readers.tflite import Subgraph, TfliteModel, TfliteOperator

_DEEPEST = 8
_FEW = 64
_NUMBERS = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64")


class TfliteConstants:
    """Constants of one subgraph by the numbers of their tensors."""

    def __init__(self, model: TfliteModel, graph: Subgraph, sources: dict[int, TfliteOperator]) -> None:
        self._model, self._graph, self._sources = model, graph, sources
        self._known: dict[int, StoredArray | None] = {}

    def find(self, number: int, depth: int = 0) -> StoredArray | None:
        """Return a constant; None for a tensor that depends on the inputs, or in a way that is not evaluated."""
        if number < 0 or depth > _DEEPEST:
            return None
        if number not in self._known:
            self._known[number] = None  # for circles
            self._known[number] = self._stored(number) or self._computed(number, depth)
        return self._known[number]

    def _stored(self, number: int) -> StoredArray | None:
        model, tensor = self._model, self._graph.tensors[number]
        if not model.is_constant(tensor):
            return None
        scales = tensor.quantization
        quantization = None
        if scales is not None:
            axis = scales.axis if len(scales.scales) > 1 else None
            quantization = Quantization(tensor.dtype, axis, scales.scales, scales.zero_points)
        size = len(model.buffers[tensor.buffer])
        return StoredArray(
            tensor.shape,
            tensor.dtype,
            lambda: model.values(tensor),
            nbytes=size,
            quantization=quantization,
            stored_dtype=tensor.dtype,
        )

    def _computed(self, number: int, depth: int) -> StoredArray | None:
        operator = self._sources.get(number)
        if operator is None or not operator.inputs or len(operator.outputs) != 1:
            return None
        source = self.find(operator.inputs[0], depth + 1)
        if source is None:
            return None
        tensor, op = self._graph.tensors[number], operator.op
        if op in ("DEQUANTIZE", "CAST") and tensor.dtype in _NUMBERS:
            return cast(source, tensor.dtype, op)
        if op == "TRANSPOSE":
            order = self.integers(operator.inputs[1]) if len(operator.inputs) > 1 else None
            return None if order is None else transposed(source, order, op)
        return reshaped(source, tensor.shape, op) if op == "RESHAPE" else None

    def integers(self, number: int) -> list[int] | None:
        """Return the entries of a short constant of integers; None for anything else."""
        found = self.find(number)
        if found is None or math.prod(found.shape) > _FEW or not found.dtype.startswith(("int", "uint")):
            return None
        return [int(each) for each in found.read().reshape(-1)]

    def terms(self, number: int) -> Terms:
        """Return a constant as terms of sizes: a scalar, or the entries of a vector."""
        entries = self.integers(number)
        return entries[0] if entries and not self._graph.tensors[number].shape else entries  # type: ignore[return-value]
