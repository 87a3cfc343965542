"""Reader of TensorFlow Lite's files: operators with their options, and tensors whose numbers stay in the file.

Numbers of quantized tensors are (stored - zero point) * scale, with one scale per entry of an axis, or one for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.flatbuffer import Memory, Table, mapped
from tconv.models.readers.number_types import dequantized, from_bfloat16
from tconv.models.readers.tflite_schema import ACTIVATIONS, INPUTS, OPERATORS, OPTIONS, PADDING, TYPES

_PACKED = {"int4": 4, "int2": 2, "uint4": 4}  # bits of types that share bytes
_BYTES_OF = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
_MOST_AXES = 8


class Scales(NamedTuple):
    """Quantization of a tensor."""

    scales: Array
    zero_points: Array
    axis: int


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """Description of a tensor."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """Sizes, -1 for those that vary."""
    dtype: str
    buffer: int
    quantization: Scales | None = None
    trouble: str = ""
    """Reason for which its numbers cannot be read."""


@dataclass(frozen=True, eq=False)
class TfliteOperator:
    """One operator; the numbers of its tensors are valid, and -1 stands for an input that is left out."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    custom: bool = False
    custom_options: bytes = b""

    def role(self, at: int) -> str:
        """Return the role of an input, "" for data."""
        names = INPUTS.get(self.op, ())
        return names[at] if at < len(names) else ""


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Tensors and operators of one function."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Signature:
    """Names for the inputs and outputs of a subgraph."""

    key: str
    subgraph: int


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """A file, whose buffers are views of a map of memory."""

    version: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...] = ()
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    buffers: tuple[memoryview, ...] = ()

    def is_constant(self, tensor: TfliteTensor) -> bool:
        """Return True for a tensor whose numbers are in the file."""
        return 0 < tensor.buffer < len(self.buffers) and len(self.buffers[tensor.buffer]) > 0

    def stored(self, tensor: TfliteTensor) -> Array:
        """Return the numbers of a constant as they are stored, those of 4 bits as int8. Raises FileError."""
        if tensor.trouble:
            raise FileError(f"the tensor {tensor.name!r} cannot be read: {tensor.trouble}")
        data, count = self.buffers[tensor.buffer], math.prod(tensor.shape)
        if bits := _PACKED.get(tensor.dtype):
            return _unpacked(_sized(data, "uint8", -(-count * bits // 8), tensor), bits, count, tensor)
        kind = _BYTES_OF.get(tensor.dtype, tensor.dtype)
        if kind in ("string", "resource", "variant"):
            raise FileError(f"the tensor {tensor.name!r} has the type {kind}; numbers are needed")
        return _sized(data, kind, count, tensor).reshape(tensor.shape)

    def values(self, tensor: TfliteTensor) -> Array:
        """Return the numbers that a constant stands for. Raises FileError."""
        stored = self.stored(tensor)
        if tensor.dtype == "bfloat16":
            return from_bfloat16(stored)
        if tensor.dtype.startswith("float8"):
            raise FileError(f"the tensor {tensor.name!r} has the type {tensor.dtype}, which is not read")
        if tensor.quantization is None or stored.dtype.kind not in "iu":
            return stored
        scales, zeros, axis = tensor.quantization
        return dequantized(stored, scales, zeros, axis if len(scales) > 1 else None)


def _sized(data: memoryview, dtype: str, count: int, tensor: TfliteTensor) -> Array:
    needed = np.dtype(dtype).itemsize * count
    if len(data) < needed:
        raise FileError(f"the tensor {tensor.name!r} needs {needed} bytes and has {len(data)}; the file is damaged")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), count)


def _unpacked(packed: Array, bits: int, count: int, tensor: TfliteTensor) -> Array:
    """Return integers of a few bits, the lowest first in each byte, as int8."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    small = ((packed[:, None] >> places) & ((1 << bits) - 1)).reshape(-1)[:count]
    if not tensor.dtype.startswith("u"):
        small = (small ^ (1 << (bits - 1))).astype(np.int8) - np.int8(1 << (bits - 1))
    return small.astype(np.int8).reshape(tensor.shape)


def read(path: Path) -> TfliteModel:
    """Return the model in a .tflite file. Raises FileError."""
    data = mapped(path)
    if data[4:8] != b"TFL3":
        raise FileError(f"{path} is damaged or not a TensorFlow Lite model. Write the converter's bytes to a file")
    try:
        return _model(Memory(data))
    except FileError as error:
        raise FileError(f"{path} is damaged or not a TensorFlow Lite model: {error}. Write a model again") from None


def _model(memory: Memory) -> TfliteModel:
    root = memory.root()
    codes = [_code(table) for table in root.tables(1)]
    buffers = tuple(_buffer(memory, table) for table in root.tables(4))
    subgraphs = tuple(_subgraph(table, codes) for table in root.tables(2))
    if not subgraphs:
        raise FileError("it has no subgraph")
    metadata = {}
    for table in root.tables(6):
        number = table.number(1, "I")
        if number < len(buffers) and len(buffers[number]) <= 1 << 16:
            memory.spend(len(buffers[number]))
            metadata[table.text(0)] = bytes(buffers[number])
    signatures = tuple(Signature(table.text(2), int(table.number(4, "I"))) for table in root.tables(7))
    return TfliteModel(int(root.number(0, "I")), root.text(3), subgraphs, signatures, metadata, buffers)


def _code(table: Table) -> tuple[str, bool]:
    """Return the name of an operator, and True for a custom one."""
    number = max(int(table.number(3, "i")), int(table.number(0, "b")))
    name = OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator {number}"
    return (table.text(1) or name, True) if name == "CUSTOM" else (name, False)


def _buffer(memory: Memory, table: Table) -> memoryview:
    """Return the bytes of a buffer, which a file above 2 GB has behind the FlatBuffer."""
    place, size = int(table.number(1, "Q")), int(table.number(2, "Q"))
    return memory.view(place, size) if place > 1 else table.bytes(0)


def _subgraph(table: Table, codes: list[tuple[str, bool]]) -> Subgraph:
    tensors = tuple(_tensor(each) for each in table.tables(0))
    operators = tuple(_operator(each, codes, len(tensors)) for each in table.tables(3))
    ends = [_checked(table.integers(number), len(tensors)) for number in (1, 2)]
    return Subgraph(table.text(4), tensors, operators, ends[0], ends[1])


def _checked(numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    if bad := [number for number in numbers if not -1 <= number < count]:
        raise FileError(f"it names the tensor {bad[0]}, and there are {count}")
    return numbers


def _tensor(table: Table) -> TfliteTensor:
    shape = table.integers(0)
    signature = table.integers(7)
    kind = int(table.number(1, "b"))
    dtype = TYPES[kind] if 0 <= kind < len(TYPES) else f"type {kind}"
    trouble = "" if 0 <= kind < len(TYPES) else f"its type {kind} is not known"
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        trouble = f"its shape is {shape[:9]}"
    if table.table(6) is not None:
        trouble = "it is sparse"
    if table.number(10, "I"):
        trouble = "its numbers are in another file"
    quantization, reason = _quantization(table.table(4), shape)
    return TfliteTensor(
        table.text(3),
        shape,
        signature if len(signature) == len(shape) else shape,
        dtype,
        int(table.number(2, "I")),
        quantization,
        trouble or reason,
    )


def _quantization(table: Table | None, shape: tuple[int, ...]) -> tuple[Scales | None, str]:
    """Return scales, and a reason for which they cannot be applied."""
    if table is None:
        return None, ""
    scales, axis = table.numbers(2, "<f4"), int(table.number(6, "i"))
    if table.number(4, "B") > 1:
        return None, "it is quantized in blocks, which are not read"
    if not len(scales):
        return None, ""
    zeros = table.numbers(3, "<i8")
    zeros = zeros if len(zeros) else np.zeros(1, np.int64)
    if len(zeros) == 1:
        zeros = np.repeat(zeros, len(scales))
    if len(zeros) != len(scales):
        return None, f"it has {len(scales)} scales and {len(zeros)} zero points"
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        return None, f"it has {len(scales)} scales for axis {axis} of the shape {shape}"
    return Scales(scales, zeros, axis), ""


def _operator(table: Table, codes: list[tuple[str, bool]], tensors: int) -> TfliteOperator:
    number = int(table.number(0, "I"))
    if number >= len(codes):
        raise FileError(f"an operator has the code {number}, and there are {len(codes)}")
    op, custom = codes[number]
    inputs, outputs = (_checked(table.integers(field), tensors) for field in (1, 2))
    options = table.table(4) if op in OPTIONS and not custom else None
    return TfliteOperator(
        op,
        inputs,
        outputs,
        {} if options is None else _options(options, op),
        custom,
        bytes(table.bytes(5)[:4096]) if custom else b"",
    )


def _options(table: Table, op: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, (name, kind, usual) in enumerate(OPTIONS[op]):
        if name == "-":
            continue
        if kind == "v":
            found[name] = list(table.integers(number))
        elif kind in "pa":
            given, names = int(table.number(number, "b")), PADDING if kind == "p" else ACTIVATIONS
            found[name] = names[given] if 0 <= given < len(names) else f"number {given}"
        else:
            value = table.number(number, {"i": "i", "f": "f", "b": "?"}[kind], usual)
            found[name] = bool(value) if kind == "b" else value
    return found
