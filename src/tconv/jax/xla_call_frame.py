"""XLA's call frame, with the structures and field names of xla/ffi/api/c_api.h.

The offsets are the same in all releases of jaxlib from 0.4.35 to 0.12. Structures that grew since (XLA_FFI_Metadata,
XLA_FFI_Api, XLA_FFI_CallFrame) are described up to the last field that all of them have.
"""

from __future__ import annotations

import ctypes
from typing import Any

_POINTER, _SIZE, _INT, _I64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int64
_HEAD: list[Any] = [("struct_size", _SIZE), ("extension_start", _POINTER)]
"""First fields of every structure."""


class Extension(ctypes.Structure):
    """XLA_FFI_Metadata_Extension: an XLA_FFI_Extension_Base, and in a query the metadata to fill."""

    _fields_ = [("struct_size", _SIZE), ("type", _INT), ("next", _POINTER), ("metadata", _POINTER)]


class ApiVersion(ctypes.Structure):
    """XLA_FFI_Api_Version."""

    _fields_ = [*_HEAD, ("major_version", _INT), ("minor_version", _INT)]


class Metadata(ctypes.Structure):
    """XLA_FFI_Metadata, which XLA asks every handler for before it calls it."""

    _fields_ = [("struct_size", _SIZE), ("api_version", ApiVersion), ("traits", ctypes.c_uint32)]


class Api(ctypes.Structure):
    """XLA_FFI_Api: functions of XLA."""

    _fields_ = [*_HEAD, ("api_version", ApiVersion), ("internal_api", _POINTER), ("Error_Create", _POINTER)]


class ErrorCreateArgs(ctypes.Structure):
    """XLA_FFI_Error_Create_Args."""

    _fields_ = [*_HEAD, ("message", _POINTER), ("errc", _INT)]


class Buffer(ctypes.Structure):
    """XLA_FFI_Buffer: an array in C order."""

    _fields_ = [*_HEAD, ("dtype", _INT), ("data", _POINTER), ("rank", _I64), ("dims", _POINTER)]


class Args(ctypes.Structure):
    """XLA_FFI_Args and XLA_FFI_Rets: operands, and results."""

    _fields_ = [*_HEAD, ("size", _I64), ("types", _POINTER), ("args", _POINTER)]


class Attrs(ctypes.Structure):
    """XLA_FFI_Attrs: attributes, sorted by name."""

    _fields_ = [*_HEAD, ("size", _I64), ("types", _POINTER), ("names", _POINTER), ("attrs", _POINTER)]


class ByteSpan(ctypes.Structure):
    """XLA_FFI_ByteSpan: a string, and the value of a string attribute."""

    _fields_ = [("ptr", _POINTER), ("len", _SIZE)]


class Scalar(ctypes.Structure):
    """XLA_FFI_Scalar: the value of an attribute that is a number."""

    _fields_ = [("dtype", _INT), ("value", _POINTER)]


class CallFrame(ctypes.Structure):
    """XLA_FFI_CallFrame: all that a handler is called with."""

    _fields_ = [
        *_HEAD,
        ("api", _POINTER),
        ("ctx", _POINTER),
        ("stage", _INT),
        ("args", Args),
        ("rets", Args),
        ("attrs", Attrs),
    ]


API_MAJOR, API_MINOR = 0, 1
"""Version of the interface that the handler is written for: the oldest with these structures. XLA refuses a handler
that names a newer one than its own, and then does not start."""
EXTENSION_METADATA = 1
STAGE_EXECUTE = 3
ERROR_INTERNAL, ERROR_INVALID_ARGUMENT = 13, 3
ATTRIBUTE_SCALAR, ATTRIBUTE_STRING = 3, 4
DTYPES = {"float16": 10, "float32": 11, "float64": 12, "bfloat16": 16}
INT64 = 5


def offset(structure: Any, *names: str) -> int:
    """Return the offset of a field, of a field of that field, and so on, in bytes."""
    total = 0
    for name in names:
        field = getattr(structure, name)
        total += field.offset
        structure = dict(structure._fields_)[name]
    return total
