"""Numbers that an ONNX file stores, in itself or in files beside it, read when they are asked for.

Files are mapped into memory, so that no more than the numbers that are used is loaded.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import si
from tconv.errors import FileError
from tconv.models.readers.onnx_graph.nodes import first_output, inner_graphs
from tconv.models.readers.onnx_graph.wire_format import OWN_FILE

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
_NAMES = {"FLOAT": "float32", "DOUBLE": "float64", "FLOAT8E4M3FN": "float8_e4m3fn", "FLOAT8E5M2": "float8_e5m2"}


def dtype_name(kind: Any) -> str:
    """Return the name of a type of onnx_ir as NumPy has it; "" for none."""
    if kind is None or kind.name == "UNDEFINED":
        return ""
    return _NAMES.get(kind.name, str(kind.name).lower())


def stored_bytes(tensor: Any) -> int:
    """Return the bytes of a tensor's numbers in the file, by its type and shape."""
    if tensor.dtype.name in ("STRING", "UNDEFINED"):
        return 0
    bits = _BITS.get(tensor.dtype.name) or tensor.dtype.bitwidth
    return -(-math.prod(shape_of(tensor)) * bits // 8)


def numbers(path: Path, tensor: Any) -> Array:
    """Return the numbers of a tensor of onnx_ir. Raises FileError."""
    import onnx_ir

    try:
        if isinstance(tensor, onnx_ir.ExternalTensor):
            return _external(path, tensor)
        array: Array = np.asarray(tensor.numpy())
        return array
    except FileError:
        raise
    except Exception as error:  # its data does not fit its type and shape
        raise FileError(
            f"{path}: the tensor {tensor.name!r} is damaged: {' '.join(str(error).split())[:200]}"
        ) from None


class OwnFile(str):
    """Path of the model's own file, as the location of a tensor's numbers that stay in it."""


def set_places(path: Path, model: Any) -> None:
    """Give every tensor with its numbers in a file the place of that file.

    Raises FileError for files that lie outside of the model's folder, are missing, or too short.
    """
    import onnx_ir

    folder = str(path.parent.resolve())
    for tensor, name, replace in list(_tensors(model)):
        _check(tensor, name)
        if not isinstance(tensor, onnx_ir.ExternalTensor):
            continue
        own = tensor.location == OWN_FILE
        if own:
            place: Any = OwnFile(path.resolve())
            base = ""  # onnx_ir refuses a file with two names in a folder; this one was named by the user
            tensor = onnx_ir.ExternalTensor(
                place, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape, name=tensor.name, base_dir=base
            )
            replace(tensor)
        else:
            tensor.base_dir = folder
        file, start, size = _span(path, tensor, name)
        present = file.stat().st_size
        if start + size > present:
            raise FileError(
                f"the tensor {name!r} has its numbers in {file.name}, bytes {start} to {start + size}, but that "
                f"file has {present}. Copy the whole file"
            )


def load_numbers(path: Path, model: Any) -> None:
    """Load all numbers of a model that lie in files into memory. Raises FileError for more than protobuf can have."""
    import onnx_ir

    tensors = [each for each in _tensors(model) if isinstance(each[0], onnx_ir.ExternalTensor)]
    needed = sum(stored_bytes(tensor) for tensor, *_ in tensors)
    if needed >= 1 << 31:
        raise FileError(f"{path} has {si(needed, 'B')} of weights; less than 2 GB run in memory. Write a part of it")
    for tensor, _, replace in tensors:
        array = numbers(path, tensor)
        replace(onnx_ir.Tensor(array, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name))


def _tensors(model: Any) -> Iterator[tuple[Any, str, Callable[[Any], None]]]:
    """Yield all tensors of a model, each with a name for messages and a function that puts another one in its place."""
    waiting, seen = [model.graph], set()
    while waiting:
        graph = waiting.pop()
        if graph in seen:
            continue
        seen.add(graph)
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value, str(value.name), partial(setattr, value, "const_value")
        for node in graph:
            waiting.extend(inner for _, inner in inner_graphs(node))
            for name, attribute in node.attributes.items():
                if not attribute.is_ref() and attribute.type.name == "TENSOR":
                    label = attribute.value.name or first_output(node)
                    yield attribute.value, label, partial(_set_attribute, node, name)
                elif not attribute.is_ref() and attribute.type.name == "TENSORS":
                    yield from ((each, first_output(node), _nothing) for each in attribute.value)


def _set_attribute(node: Any, name: str, tensor: Any) -> None:
    import onnx_ir

    node.attributes[name] = onnx_ir.AttrTensor(name, tensor)


def _nothing(tensor: Any) -> None:
    """Leave the tensors of a list as they are: no operator of ONNX has one."""


def shape_of(tensor: Any, name: str = "") -> tuple[int, ...]:
    """Return the shape of a tensor of onnx_ir. Raises FileError for a negative size."""
    shape = tuple(int(size) for size in tensor.shape)
    if any(size < 0 for size in shape):
        raise FileError(f"the tensor {(name or tensor.name)!r} has the shape {shape}; sizes are at least 0")
    return shape


def _check(tensor: Any, name: str) -> None:
    """Raise FileError for a tensor of no known type, and for one whose numbers do not fit its shape."""
    import onnx_ir

    shape = shape_of(tensor, name)
    try:
        known = tensor.dtype.name != "UNDEFINED"
    except ValueError:
        known = False
    if not known:
        raise FileError(f"the tensor {name!r} has a type that ONNX does not have")
    if not isinstance(tensor, onnx_ir.serde.TensorProtoTensor):
        return
    proto, needed = tensor.raw, math.prod(shape)
    if proto.HasField("raw_data"):
        present, needed, unit = len(proto.raw_data), stored_bytes(tensor), "bytes"
    else:
        fields = proto.float_data, proto.int32_data, proto.int64_data, proto.double_data, proto.uint64_data
        present, unit = sum(map(len, fields)), "numbers"
        if tensor.dtype.name in _BITS:
            needed = stored_bytes(tensor)
        elif tensor.dtype.name.startswith("COMPLEX"):
            needed *= 2
    if present != needed:
        raise FileError(
            f"the tensor {name!r} of shape {shape} and type {dtype_name(tensor.dtype)} has {present} {unit}; "
            f"{needed} are needed"
        )


def _span(path: Path, tensor: Any, name: str = "") -> tuple[Path, int, int]:
    """Return the file of a tensor's numbers, where they begin, and their bytes."""
    own = isinstance(tensor.location, OwnFile)
    file = path if own else external_file(path, str(tensor.location), name or str(tensor.name))
    start, size = tensor.offset or 0, stored_bytes(tensor)
    if start < 0 or (tensor.length is not None and tensor.length != size):
        raise FileError(
            f"the tensor {(name or tensor.name)!r} has offset {start} and length {tensor.length} in {file.name}; its "
            f"shape {shape_of(tensor)} of {dtype_name(tensor.dtype)} needs {size} bytes"
        )
    return file, start, size


def external_file(path: Path, location: str, name: str) -> Path:
    """Return the file of external data; it must lie in the model's folder. Raises FileError."""
    folder = path.parent.resolve()
    windows = PureWindowsPath(location)
    outside = windows.drive or windows.root or PurePosixPath(location).is_absolute() or ".." in windows.parts
    file = folder / location.replace("\0", "")
    if outside or "\0" in location or not location or not file.resolve().is_relative_to(folder):
        raise FileError(
            f"the tensor {name!r} has its numbers in {location!r}, outside of the model's folder. Such files are not "
            "read. Copy it beside the model"
        )
    if not file.is_file():
        raise FileError(
            f"the tensor {name!r} has its numbers in {location!r}, which is not in the model's folder. Copy that file "
            "beside the model"
        )
    return file


def _external(path: Path, tensor: Any) -> Array:
    file, start, size = _span(path, tensor)
    shape = shape_of(tensor)
    if size == 0:
        return np.zeros(shape, np.dtype(tensor.dtype.numpy()))
    with file.open("rb") as opened:
        block = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    if start + size > len(block):
        raise FileError(f"{file} has {len(block)} bytes; the tensor {tensor.name!r} needs {start + size}")
    if tensor.dtype.name in _BITS:
        return _unpacked(tensor, block[start : start + size])
    dtype = np.dtype(tensor.dtype.numpy()).newbyteorder("<")
    array: Array = np.frombuffer(block, dtype, math.prod(shape), start).reshape(shape)
    return array


def _unpacked(tensor: Any, data: bytes) -> Array:
    """Return numbers of less than a byte."""
    import onnx

    stored = onnx.TensorProto(data_type=int(tensor.dtype), dims=shape_of(tensor), raw_data=data)
    array: Array = onnx.numpy_helper.to_array(stored)
    return array
