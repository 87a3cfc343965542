"""Numbers that an ONNX file stores, in itself or in files beside it, read when they are asked for.

Files are mapped into memory, so that no more than the numbers that are used is loaded.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
_NAMES = {"FLOAT": "float32", "DOUBLE": "float64", "FLOAT8E4M3FN": "float8_e4m3fn", "FLOAT8E5M2": "float8_e5m2"}


def dtype_name(kind: Any) -> str:
    """Return the name of a type of onnx_ir as NumPy has it; "" for none."""
    if kind is None or kind.name == "UNDEFINED":
        return ""
    return _NAMES.get(kind.name, str(kind.name).lower())


def stored_bytes(tensor: Any) -> int:
    """Return the bytes of a tensor's numbers in the file, by its type and shape."""
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


def checked_tensors(path: Path, model: Any) -> None:
    """Check that all data in other files is in the model's folder, and complete. Raises FileError."""
    import onnx_ir

    for tensor in _tensors(model):
        shape_of(tensor)
        if isinstance(tensor, onnx_ir.ExternalTensor):
            file, start, size = _span(path, tensor)
            present = file.stat().st_size
            if start + size > present:
                raise FileError(
                    f"the tensor {tensor.name!r} has its numbers in {file.name}, bytes {start} to {start + size}, but "
                    f"that file has {present}. Copy the whole file"
                )


def _tensors(model: Any) -> Iterator[Any]:
    from onnx_ir.traversal import RecursiveGraphIterator

    seen = {model.graph}
    for graph in [model.graph]:
        yield from (each.const_value for each in graph.initializers.values() if each.const_value is not None)
    for node in RecursiveGraphIterator(model.graph):
        if node.graph not in seen:
            seen.add(node.graph)
            yield from (each.const_value for each in node.graph.initializers.values() if each.const_value is not None)
        for attribute in node.attributes.values():
            if not attribute.is_ref() and attribute.type.name == "TENSOR":
                yield attribute.value


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return the shape of a tensor of onnx_ir. Raises FileError for a negative size."""
    shape = tuple(int(size) for size in tensor.shape)
    if any(size < 0 for size in shape):
        raise FileError(f"the tensor {tensor.name!r} has the shape {shape}; sizes are at least 0")
    return shape


def _span(path: Path, tensor: Any) -> tuple[Path, int, int]:
    """Return the file of a tensor's numbers, where they begin, and their bytes."""
    file = external_file(path, str(tensor.location), str(tensor.name))
    start, size = tensor.offset or 0, stored_bytes(tensor)
    if start < 0 or (tensor.length is not None and tensor.length != size):
        raise FileError(
            f"the tensor {tensor.name!r} has offset {start} and length {tensor.length} in {file.name}; its shape "
            f"{shape_of(tensor)} of {dtype_name(tensor.dtype)} needs {size} bytes"
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
