"""Tensors of PyTorch's files: ranges of stored bytes with a type, sizes, strides and an offset."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.inventory.computed_arrays import cast_values
from tconv.models.inventory.model_layer import Quantization, StoredArray
from tconv.models.inventory.pytorch.zip_archive import Archive
from tconv.models.readers.number_types import dequantized, from_bfloat16

_MOST_AXES = 32
_MOST_BYTES = 64 << 30

NUMBERS: dict[str, str] = {
    "uint8": "u1",
    "int8": "i1",
    "int16": "i2",
    "int32": "i4",
    "int64": "i8",
    "float16": "f2",
    "float32": "f4",
    "float64": "f8",
    "complex64": "c8",
    "complex128": "c16",
    "bool": "?",
    "bfloat16": "u2",
    "uint16": "u2",
    "uint32": "u4",
    "uint64": "u8",
    "qint8": "i1",
    "quint8": "u1",
    "qint32": "i4",
}
"""Types of tensors by PyTorch's names, and NumPy's codes of what is stored."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor in a file; nothing of it is read yet."""

    dtype: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Callable[[int, int], bytes] = field(repr=False)
    """Function that returns bytes `start` to `start + count` of the storage. Raises FileError."""
    stored_bytes: int = 0
    """Bytes that the storage has."""
    quantization: Quantization | None = None

    def read(self) -> Array:
        """Return the numbers; bfloat16 becomes float32, quantized ones what they stand for. Raises FileError."""
        code = NUMBERS.get(self.dtype)
        if code is None:
            raise FileError(f"a tensor has the type {self.dtype}, which is not read. Write it as float32")
        first, count = self._range()
        unit = np.dtype(code).itemsize
        stored = np.frombuffer(self.storage(first * unit, count * unit), np.dtype(code).newbyteorder("<"))
        if not count:
            stored = np.zeros(1, code)
        native = stored.astype(np.dtype(code))
        if self.dtype == "bfloat16":
            native = from_bfloat16(native)
        view = np.lib.stride_tricks.as_strided(
            native, self.sizes, [stride * native.itemsize for stride in self.strides], writeable=False
        )
        values: Array = np.array(view)
        if self.quantization is None:
            return values
        return dequantized(values, self.quantization.scales, self.quantization.zero_points, self.quantization.axis)

    def _range(self) -> tuple[int, int]:
        """Return the first element of the storage that the tensor has, and the number up to its last. FileError."""
        if len(self.sizes) != len(self.strides) or len(self.sizes) > _MOST_AXES:
            raise FileError(f"a tensor has sizes {self.sizes[:8]} and strides {self.strides[:8]}. Write the file again")
        if min((*self.sizes, *self.strides, self.offset), default=0) < 0:
            raise FileError(f"a tensor has a negative size, stride or offset: {self.sizes[:8]}. Write the file again")
        unit = np.dtype(NUMBERS.get(self.dtype, "u1")).itemsize
        if math.prod(self.sizes) * unit > _MOST_BYTES:
            raise FileError(f"a tensor has sizes {self.sizes[:8]}, which no memory holds. Write the file again")
        if 0 in self.sizes:
            return self.offset, 0
        last = sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True))
        if math.prod(self.sizes) > 64 * (last + 1) + 4096:  # expanded: many elements from a few stored ones
            raise FileError(f"a tensor of sizes {self.sizes[:8]} has {last + 1} stored numbers. Write it contiguous")
        if (self.offset + last + 1) * unit > self.stored_bytes:
            raise FileError(
                f"a tensor of sizes {self.sizes[:8]} needs {(self.offset + last + 1) * unit} bytes, and its storage "
                f"has {self.stored_bytes}. Write the file again"
            )
        return self.offset, last + 1

    def array(self, origin: str = "constant") -> StoredArray:
        """Return the record of an inventory."""
        self._range()
        return StoredArray(
            self.sizes,
            plain_type(self.dtype) if self.quantization is None else "float32",
            self.read,
            origin,
            math.prod(self.sizes) * np.dtype(NUMBERS.get(self.dtype, "f4")).itemsize,
            self.quantization,
            plain_type(self.dtype) if self.quantization is not None else "",
        )


def plain_type(name: str) -> str:
    """Return the name of a type as arrays have it: "int8" for PyTorch's "qint8"."""
    return name.removeprefix("q") if name.startswith(("qint", "quint")) else name


def file_storage(archive: Archive, name: str) -> Callable[[int, int], bytes]:
    """Return a function that reads bytes of a member of an archive."""
    return lambda start, count: archive.content(name, start, count, _MOST_BYTES)


def cast(array: StoredArray, dtype: str, origin: str = "") -> StoredArray:
    """Return an array in another type, as a cast of the program makes it."""
    if dtype == array.dtype or dtype not in NUMBERS:
        return array
    read = lambda: cast_values(array.read(), plain_type(dtype))  # noqa: E731
    return replace(array, dtype=dtype, read=read, stored_dtype=array.stored_dtype or array.dtype)


SCALAR_TYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    8: "complex32",
    9: "complex64",
    10: "complex128",
    11: "bool",
    12: "qint8",
    13: "quint8",
    14: "qint32",
    15: "bfloat16",
}
"""Types by PyTorch's own numbers, which TorchScript has; those of exported programs are one higher, up to bool."""
