"""The handler that XLA calls inside of compiled programs, and the table of calls that it knows.

A program contains a call as text (`call_attributes`) and a digest of the text. When a program is lowered in this
process its calls are added to the table. A program that JAX reads from its cache of programs is not lowered: its first
run adds them, through a callback. Records are kept until the process ends; they are small, and the machine code limits
the packed weights of all of them together.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import threading
from typing import Any

import jax
import numpy as np
import xxhash

from tconv._arrays import Array
from tconv._fork import LOADING, own_in_forks
from tconv.errors import MethodError
from tconv.jax import handler_code as code
from tconv.jax import xla_call_frame as xla
from tconv.jax.call_attributes import decoded, digest
from tconv.jax.call_layouts import canonical_strides, weight_shape
from tconv.kernels.simd.availability import reason_unavailable

TARGET = "tconv_conv_transpose"
"""Name of the handler in a compiled program."""
_TEXTS = {
    code.TEXT_FRAME: "XLA's call frame is smaller than this tconv knows it. Use a release of jaxlib that tconv names",
    code.TEXT_ATTRIBUTES: "the program has other attributes than this tconv writes. Compile it again",
    code.TEXT_OPERANDS: "the operands have other shapes or dtypes than the program says. Compile it again",
    code.TEXT_ENDED: "the program runs for the first time, and the interpreter has ended",
}
_FIRST_SIZE = 256


class Handler:
    """The handler of this process, registered with XLA."""

    def __init__(self, address: int, run: int) -> None:
        self.address = address
        self._lock = threading.RLock()
        own_in_forks(self._lock)
        self._known: dict[int, _KnownCall] = {}
        self._texts: list[Any] = []  # each stays in memory, like the tables: machine code may read them at any time
        self._tables: list[Array] = []
        ask = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self.address)
        integers = ctypes.c_int64 * code.PROCESS_INTEGERS
        self._integers: Any = integers.from_address(ask(code.ASK_FOR_INTEGERS))
        self._callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self._added_from_frame)
        for place, message in _TEXTS.items():
            self._integers[place] = self._text(f"tconv.jax: {message}.")
        self._integers[code.RUN] = run
        self._grow(_FIRST_SIZE)
        self._integers[code.CALLBACK] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        atexit.register(self._end)
        jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(self.address), platform="cpu")

    def _end(self) -> None:
        """Call no function of Python any more, and keep the tables in memory: programs run until the process ends."""
        self._integers[code.CALLBACK] = 0
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _text(self, message: str) -> int:
        self._texts.append(ctypes.create_string_buffer(message.encode()))
        return ctypes.addressof(self._texts[-1])

    def add(self, text: str) -> int:
        """Add a call to the table, and return its address. Raises the errors of reading it."""
        key = digest(text)
        known = self._known.get(key)
        if known is None:
            made = _KnownCall(text, key)
            with self._lock:
                known = self._known.setdefault(key, made)
                if known is made and 2 * len(self._known) > len(self._tables[-1]):
                    self._grow(2 * len(self._tables[-1]))
            with self._lock:  # a second time: on chips that reorder writes, the call must be there before its address
                if known is made:
                    self._put(self._tables[-1], known)
        return known.address

    def _grow(self, size: int) -> None:
        """Replace the table by one of at least this size, a power of two."""
        table = np.zeros(code.FIRST + (1 << (size - 1).bit_length()), np.int64)
        table[code.MASK] = len(table) - code.FIRST - 1
        for known in self._known.values():
            self._put(table, known)
        self._tables.append(table)
        self._integers[code.TABLE] = table.ctypes.data

    @staticmethod
    def _put(table: Array, known: _KnownCall) -> None:
        mask = int(table[code.MASK])
        place = known.key & mask
        while table[code.FIRST + place] not in (0, known.address):
            place = (place + 1) & mask
        table[code.FIRST + place] = known.address

    def _added_from_frame(self, frame: int) -> int:
        """Add the call of a frame, and return its address; the negative of the address of a message if that fails."""
        try:
            return self.add(_text_of(frame))
        except BaseException as error:  # it must not leave a callback
            return -self._text(f"tconv.jax cannot run this program: {error}")


class _KnownCall:
    """Call of the table: its integers for the machine code, and its record."""

    def __init__(self, text: str, key: int) -> None:
        from tconv.kernels.simd.native_call import NativeCall, places

        p, layouts, method = decoded(text)
        self.key, shape = key, weight_shape(layouts.weight, p.in_channels, p.out_channels, p.geometry)
        strides = canonical_strides(p, layouts, p.dtype.itemsize)
        self._record = NativeCall(p, *strides, shape, layouts.weight, method)
        self._integers = np.zeros(code.CALL_INTEGERS, np.int64)
        record = (ctypes.c_int64 * (places.TEXT + 1)).from_address(self._record.address)
        self._integers[code.DIGEST], self._integers[code.RECORD] = key, self._record.address
        self._integers[code.DTYPE], self._integers[code.BIAS] = xla.DTYPES[p.dtype.name], p.bias
        self._integers[code.MESSAGE] = record[places.TEXT]
        outputs = p.batch * p.out_channels * math.prod(p.output_shape)
        inputs = p.batch * p.in_channels * math.prod(p.input_shape)
        self._integers[code.SIZES :] = inputs, math.prod(shape), p.out_channels, outputs
        self.address = int(self._integers.ctypes.data)


def _text_of(frame: int) -> str:
    """Return the text of the call in a frame."""
    attributes = xla.CallFrame.from_address(frame).attrs
    names = (ctypes.c_void_p * attributes.size).from_address(attributes.names)
    values = (ctypes.c_void_p * attributes.size).from_address(attributes.attrs)
    for name, value in zip(names, values, strict=True):
        if _string(name) == "call":
            return _string(value)
    raise ValueError("it has no text of a call")


def _string(address: int | None) -> str:
    span = xla.ByteSpan.from_address(address or 0)
    return ctypes.string_at(span.ptr, span.len).decode()


_handler: list[Handler] = []
_lock = threading.RLock()
own_in_forks(_lock)


def handler() -> Handler:
    """Return the handler, which is built and registered at its first use."""
    if not _handler:
        addresses = _machine_code()  # before the lock: a fork waits for it after that of the object cache
        with _lock:
            if not _handler:
                _handler.append(Handler(*addresses))
    return _handler[0]


def _machine_code() -> tuple[int, int]:
    """Return the addresses of the handler, and of the function that runs a record."""
    with LOADING:
        from tconv.kernels.simd.native_call import native_function
        from tconv.kernels.simd.object_cache import OBJECT_CACHE
    text = code.write_handler()
    # the object cache is keyed by the sources of the kernels, and this text is not among them
    name = f"tconv_xla_handler_{xxhash.xxh3_64_hexdigest(text.encode())}"
    return OBJECT_CACHE.address(name, lambda: text.replace("tconv_xla_handler", name)), native_function()


def register_handler() -> None:
    """Register tconv's handler with XLA, for compiled programs that are loaded without being traced.

    >>> import tconv.jax
    >>> tconv.jax.register_handler()

    A program that this process traces registers it by itself. Raises MethodError where the kernel cannot run.
    """
    if (reason := reason_unavailable()) is not None:
        raise MethodError(f"the kernel cannot run here: {reason}. Compile the program again on this machine")
    handler()
