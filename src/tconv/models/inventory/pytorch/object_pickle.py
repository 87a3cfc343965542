"""Reader of the pickles in PyTorch's archives, which runs no code of the file and imports nothing by name.

Tensors become records of where their numbers lie, objects become records of their attributes, containers stay. Any
other name that the pickle has is an opaque record.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tconv.errors import FileError
from tconv.models.inventory.model_layer import Quantization
from tconv.models.inventory.pytorch.tensors import NUMBERS, Tensor, file_storage
from tconv.models.inventory.pytorch.zip_archive import Archive

_MOST_BYTES = 16 << 20  # a byte can ask for an object of 64
_MOST_NAMES = 10_000  # of classes, each of which needs memory
_REFUSED = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EXT1, pickle.EXT2, pickle.EXT4)
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_UNPICKLER: Any = pickle._Unpickler  # type: ignore[attr-defined,unused-ignore]
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


class Record:
    """Object of a pickle: the name of its class, what it was made from, and its attributes."""

    kind = ""

    def __new__(cls, *given: Any, **_: Any) -> Record:
        made = super().__new__(cls)
        made.given, made.attributes, made.state = given, {}, None
        return made

    given: tuple[Any, ...]
    attributes: dict[str, Any]
    state: Any

    def __init__(self, *given: Any, **_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state
        if isinstance(state, dict):
            self.attributes = {key: value for key, value in state.items() if isinstance(key, str)}

    def __call__(self, *given: Any, **_: Any) -> Record:
        """Return an opaque record for what the pickle would call."""
        return Record(*given)

    def append(self, item: Any) -> None:
        """Take an item of a list that the pickle fills; it is not kept."""

    def extend(self, items: Any) -> None:
        """Take items of a list that the pickle fills; they are not kept."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _Storage:
    def __init__(self, dtype: str, key: str) -> None:
        self.dtype, self.key = dtype, key


class _Name:
    """Name of PyTorch's that is no class of objects: a type of numbers, or a scheme."""

    def __init__(self, text: str) -> None:
        self.text = text


def read_pickle(archive: Archive, name: str, folder: str) -> Any:
    """Return the object in a member `name` of an archive; its storages lie in `folder`. Raises FileError."""
    content = archive.content(name, most=_MOST_BYTES)
    try:
        return _TensorUnpickler(content, archive, folder).load()
    except FileError:
        raise
    except Exception as error:  # damaged pickles raise nearly everything
        raise FileError(
            f"{archive.path}: {name} is damaged, or no pickle of PyTorch: {type(error).__name__}: {str(error)[:100]}. "
            "Write the file again"
        ) from None


class _TensorUnpickler(_UNPICKLER):  # type: ignore[misc]
    """The unpickler in Python, whose memo is a dictionary, so that no number in the file sizes an array."""

    dispatch: ClassVar[dict[int, Any]] = {
        code: function for code, function in _UNPICKLER.dispatch.items() if bytes([code]) not in _REFUSED
    }

    def __init__(self, content: bytes, archive: Archive, folder: str) -> None:
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder
        self._classes: dict[str, Any] = {}

    def load_build(self) -> None:
        """Give a record its state; states of anything else are dropped."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Record):
            self.stack[-1].__setstate__(state)

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str) -> Any:
        """Return a reader of this class or function of PyTorch, or a class of opaque records."""
        full = f"{module}.{name}"
        if full not in self._classes:
            if len(self._classes) >= _MOST_NAMES:
                raise FileError(f"{self._archive.path}: a pickle names more than {_MOST_NAMES} classes")
            self._classes[full] = self._found(module, name)
        return self._classes[full]

    def _found(self, module: str, name: str) -> Any:
        functions: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._typed_tensor,
            "torch._utils._rebuild_qtensor": self._quantized,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch.jit._pickle.restore_type_tag": lambda value, *_: value,
            "torch.jit._pickle.build_tensor_from_id": lambda number, *_: Record(number),
            "collections.OrderedDict": dict,
        }
        full = f"{module}.{name}"
        if full in functions:
            return functions[full]
        if module == "torch.jit._pickle" and name in _LISTS:
            return lambda items, *_: list(items)
        if module in ("torch", "torch.storage") and (name.endswith("Storage") or name in NUMBERS or "_affine" in name):
            return _Name(name)
        return type("Record", (Record,), {"kind": full[:400], "__slots__": ()})

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage that a persistent id names: ("storage", type, key, place, elements)."""
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _Name)):
            raise FileError("a persistent id names no storage")
        return _Storage(_STORAGES.get(pid[1].text, "uint8"), str(pid[2]))

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        return self._made(storage, storage.dtype, offset, size, stride)

    def _typed_tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, gradient: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        return self._made(storage, dtype.text, offset, size, stride)

    def _quantized(self, storage: Any, offset: Any, size: Any, stride: Any, scheme: Any, *_: Any) -> Tensor:
        _, scales, zeros, *axis = scheme
        scales, zeros = (each.read() if isinstance(each, Tensor) else float(each) for each in (scales, zeros))
        quantization = Quantization(
            storage.dtype.removeprefix("q"),
            int(axis[0]) if axis else None,
            np.asarray(scales, np.float32).ravel(),
            np.asarray(zeros).ravel(),
        )
        return self._made(storage, storage.dtype, offset, size, stride, quantization)

    def _made(
        self, storage: Any, dtype: str, offset: Any, size: Any, stride: Any, quantization: Quantization | None = None
    ) -> Tensor:
        sizes, strides = tuple(size), tuple(stride)
        if not all(type(each) is int for each in (*sizes, *strides, offset)):
            raise FileError("a tensor has sizes that are no whole numbers")
        member = f"{self._folder}/{storage.key}"
        return Tensor(
            dtype,
            sizes,
            strides,
            offset,
            file_storage(self._archive, member),
            self._archive.size(member) if member in self._archive else 0,
            quantization,
        )
