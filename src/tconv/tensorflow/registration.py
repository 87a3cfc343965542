"""The operator "Tconv>ConvTranspose" and its CPU kernels, registered through TensorFlow's C API without a compiler.

The name has a namespace, so that TensorFlow refuses, in words, to save a graph that contains it: `tf.saved_model.save`
names the operator and the namespace. Its attributes are the whole geometry, nothing of this process is in a graph.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

import tensorflow as tf

OPERATOR = "Tconv>ConvTranspose"

_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_INT64S = ctypes.POINTER(ctypes.c_int64)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "TF_NewStatus": (_POINTER,),
    "TF_DeleteStatus": (None, _POINTER),
    "TF_GetCode": (_INT, _POINTER),
    "TF_Message": (_TEXT, _POINTER),
    "TF_SetStatus": (None, _POINTER, _INT, _TEXT),
    "TF_NewOpDefinitionBuilder": (_POINTER, _TEXT),
    "TF_OpDefinitionBuilderAddInput": (None, _POINTER, _TEXT),
    "TF_OpDefinitionBuilderAddOutput": (None, _POINTER, _TEXT),
    "TF_OpDefinitionBuilderAddAttr": (None, _POINTER, _TEXT),
    "TF_OpDefinitionBuilderSetShapeInferenceFunction": (None, _POINTER, _POINTER),
    "TF_RegisterOpDefinition": (None, _POINTER, _POINTER),
    "TF_NewKernelBuilder": (_POINTER, _TEXT, _TEXT, _POINTER, _POINTER, _POINTER),
    "TF_KernelBuilder_TypeConstraint": (None, _POINTER, _TEXT, _INT, _POINTER),
    "TF_RegisterKernelBuilder": (None, _TEXT, _POINTER, _POINTER),
    "TF_OpKernelConstruction_GetAttrType": (None, _POINTER, _TEXT, ctypes.POINTER(_INT), _POINTER),
    "TF_OpKernelConstruction_GetAttrInt64": (None, _POINTER, _TEXT, _INT64S, _POINTER),
    "TF_OpKernelConstruction_GetAttrSize": (
        None,
        _POINTER,
        _TEXT,
        ctypes.POINTER(ctypes.c_int32),
        ctypes.POINTER(ctypes.c_int32),
        _POINTER,
    ),
    "TF_OpKernelConstruction_GetAttrInt64List": (None, _POINTER, _TEXT, _INT64S, _INT, _POINTER),
    "TF_OpKernelConstruction_GetAttrString": (None, _POINTER, _TEXT, _POINTER, ctypes.c_size_t, _POINTER),
    "TF_OpKernelConstruction_Failure": (None, _POINTER, _POINTER),
    "TF_OpKernelContext_Failure": (None, _POINTER, _POINTER),
}
"""Result and arguments of the functions that Python calls."""

CALLED_BY_CODE = (
    "TF_NewStatus",
    "TF_DeleteStatus",
    "TF_GetInput",
    "TF_NumDims",
    "TF_Dim",
    "TF_TensorData",
    "TF_AllocateOutput",
    "TF_DeleteTensor",
    "TF_OpKernelContext_Failure",
)
"""Functions that the machine code of the kernel calls, in the order of its table of addresses."""

INVALID_ARGUMENT, INTERNAL, RESOURCE_EXHAUSTED = 3, 13, 8
"""Codes of a status, as in absl."""


class Api:
    """The functions of TensorFlow's C API, by their names. Raises OSError or AttributeError where one is missing."""

    def __init__(self) -> None:
        folder = os.path.dirname(tf.__file__)
        names = [name for name in os.listdir(folder) if name.startswith("libtensorflow_framework.")]
        # on Windows everything is in one library of another name
        library = ctypes.CDLL(os.path.join(folder, min(names, key=len) if names else "libtensorflow_framework.so.2"))
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        self.addresses = [_address(getattr(library, name)) for name in CALLED_BY_CODE]
        """Addresses of the functions in CALLED_BY_CODE"""
        self.unknown_shape = _address(library.TF_ShapeInferenceContextSetUnknownShape)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"TensorFlow's C API has no {name}")

    def fail(self, context: int, code: int, message: str, failure: str = "TF_OpKernelContext_Failure") -> None:
        """Report an error of a kernel to TensorFlow, which raises it where the operator was run."""
        status = self.TF_NewStatus()
        self.TF_SetStatus(status, code, message.encode())
        getattr(self, failure)(context, status)
        self.TF_DeleteStatus(status)


@cache
def api() -> Api:
    """Return the functions of the C API."""
    return Api()


def _address(function: Any) -> int:
    return ctypes.cast(function, _POINTER).value or 0


INPUTS = (b"x: T", b"filters: T", b"bias: B * T", b"output_sizes: S * int32")
"""`bias` and `output_sizes` are lists of none or one."""
ATTRIBUTES = (
    b"T: {half, bfloat16, float, double}",
    b"B: int >= 0",
    b"S: int >= 0",
    b"strides: list(int)",
    b"dilations: list(int)",
    b"crop: list(int)",
    b"groups: int >= 1",
    b"padding: {'CROP', 'SAME', 'VALID', 'PAIRS'}",
    b"layouts: string",
)
"""
`crop` has two numbers per axis, `padding` says which: "CROP" is what is cut off the full result; with "PAIRS" they are
the paddings of the convolution that gives x for `output_sizes`, and with "SAME" they are not read.
"""


def register(create: int, compute: int, delete: int, types: list[int]) -> None:
    """Register the operator, and a kernel with these three functions for each type of TensorFlow.

    Raises RuntimeError with TensorFlow's words if it refuses.
    """
    tensorflow = api()
    status = tensorflow.TF_NewStatus()

    def check() -> None:
        if tensorflow.TF_GetCode(status):
            raise RuntimeError(tensorflow.TF_Message(status).decode(errors="replace"))

    builder = tensorflow.TF_NewOpDefinitionBuilder(OPERATOR.encode())
    for line in ATTRIBUTES:
        tensorflow.TF_OpDefinitionBuilderAddAttr(builder, line)
    for line in INPUTS:
        tensorflow.TF_OpDefinitionBuilderAddInput(builder, line)
    tensorflow.TF_OpDefinitionBuilderAddOutput(builder, b"y: T")
    # lists of attributes cannot be read there: what Python knows of the shape is set on the tensor
    tensorflow.TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, tensorflow.unknown_shape)
    tensorflow.TF_RegisterOpDefinition(builder, status)
    check()
    for number in types:
        kernel = tensorflow.TF_NewKernelBuilder(OPERATOR.encode(), b"CPU", create, compute, delete)
        tensorflow.TF_KernelBuilder_TypeConstraint(kernel, b"T", number, status)
        check()
        tensorflow.TF_RegisterKernelBuilder(f"TconvConvTranspose{number}".encode(), kernel, status)
        check()
    tensorflow.TF_DeleteStatus(status)


class KernelAttributes:
    """Attributes of an operator in a graph, read while its kernel is created."""

    def __init__(self, context: int) -> None:
        self._context = context

    def _read(self, function: str, *arguments: Any) -> None:
        tensorflow = api()
        status = tensorflow.TF_NewStatus()
        try:
            getattr(tensorflow, function)(self._context, *arguments, status)
            if tensorflow.TF_GetCode(status):
                raise RuntimeError(tensorflow.TF_Message(status).decode(errors="replace"))
        finally:
            tensorflow.TF_DeleteStatus(status)

    def type(self, name: str) -> int:
        """Return an attribute that is a type."""
        number = _INT()
        self._read("TF_OpKernelConstruction_GetAttrType", name.encode(), ctypes.byref(number))
        return number.value

    def integer(self, name: str) -> int:
        """Return an attribute that is an integer."""
        number = ctypes.c_int64()
        self._read("TF_OpKernelConstruction_GetAttrInt64", name.encode(), ctypes.byref(number))
        return number.value

    def _sizes(self, name: str) -> tuple[int, int]:
        """Return the entries of a list and the bytes of a text."""
        entries, size = ctypes.c_int32(), ctypes.c_int32()
        self._read("TF_OpKernelConstruction_GetAttrSize", name.encode(), ctypes.byref(entries), ctypes.byref(size))
        return entries.value, size.value

    def integers(self, name: str) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        numbers = (ctypes.c_int64 * self._sizes(name)[0])()
        self._read("TF_OpKernelConstruction_GetAttrInt64List", name.encode(), numbers, len(numbers))
        return tuple(numbers)

    def text(self, name: str) -> str:
        """Return an attribute that is a text."""
        content = ctypes.create_string_buffer(self._sizes(name)[1])
        self._read("TF_OpKernelConstruction_GetAttrString", name.encode(), content, len(content))
        return content.raw.decode()
