"""Machine code of the handler that XLA calls: it reads the call frame, finds the record of the call, and runs it.

It takes no lock and needs no interpreter, so a compiled program runs it on XLA's own threads beside any Python code. A
callback into Python is for the first call of a program that comes from a cache of programs, and has no record yet.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tconv.jax import xla_call_frame as xla
from tconv.jax.xla_call_frame import offset
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I32, I64, Operand, Value

# -- integers of the process, which begin at the address that the handler returns for `ASK_FOR_INTEGERS` ---------------

ASK_FOR_INTEGERS = 1
"""Argument that is no call frame."""
TABLE = 0  # address of the table of calls
CALLBACK = 1  # address of the function of Python that adds a call to it; 0 once the interpreter has ended
RUN = 2  # address of the function that runs a record
TEXT_FRAME, TEXT_ATTRIBUTES, TEXT_OPERANDS, TEXT_ENDED = 3, 4, 5, 6  # addresses of messages
PROCESS_INTEGERS = 8

# -- of the table: a mask, then the addresses of calls, at places that begin with the digest -----------------------

MASK, FIRST = 0, 1

# -- of a call ---------------------------------------------------------------------------------------------------

DIGEST, RECORD, DTYPE, BIAS, MESSAGE = 0, 1, 2, 3, 4
"""Digest of the text, address of the record, XLA's dtype, 1 with a bias, address of the message of a failure."""
SIZES = 5
"""Elements of x, weight, bias and output."""
CALL_INTEGERS = SIZES + 4
_OUT = 3


class _Handler(ThreadFunction):
    """Function of a call frame, with fields of XLA's structures."""

    def static(self, count: int) -> Value:
        """Return the address of memory that belongs to the code, for this many integers."""
        memory = ir.GlobalVariable(self._module, ir.ArrayType(I64, count), "tconv_xla_integers")
        memory.linkage, memory.initializer, memory.align = "internal", ir.Constant(memory.value_type, None), 64
        return Value(self, self._allocations.ptrtoint(memory, I64))

    def field(self, base: Value, structure: Any, *names: str, kind: Any = I64) -> Value:
        """Return a field of a structure at an address; an int as 64 bits, too."""
        loaded = self.load(base + offset(structure, *names), 0, kind)
        return Value(self, self.b.sext(loaded.ir, I64)) if kind is I32 else loaded

    def set_field(self, value: Operand, base: Value, structure: Any, *names: str, kind: Any = I64) -> None:
        """Write a field of a structure at an address."""
        self.store(value, base + offset(structure, *names), 0, kind)


def write_handler() -> str:
    """Write the handler: a function of a call frame that returns 0, or an error of XLA."""
    f = _Handler("tconv_xla_handler", 1, returns=True)
    (frame,) = f.arguments
    integers, result = f.static(PROCESS_INTEGERS), f.var(0)

    def run() -> None:
        f.cases(_is_query(f, frame), lambda: _answer(f, frame), lambda: result.set(_execute(f, frame, integers)))

    f.cases(frame.equals(ASK_FOR_INTEGERS), lambda: result.set(integers), run)
    return f.finish(result.value)


def _is_query(f: _Handler, frame: Value) -> Value:
    """Return the condition that XLA asks for the handler's version instead of calling it."""
    extension, kind = f.field(frame, xla.CallFrame, "extension_start"), f.var(0)
    with f.when(extension.differs(0)):
        kind.set(f.field(extension, xla.Extension, "type", kind=I32))
    return kind.value.equals(xla.EXTENSION_METADATA)


def _answer(f: _Handler, frame: Value) -> None:
    metadata = f.field(f.field(frame, xla.CallFrame, "extension_start"), xla.Extension, "metadata")
    f.set_field(xla.API_MAJOR, metadata, xla.Metadata, "api_version", "major_version", kind=I32)
    f.set_field(xla.API_MINOR, metadata, xla.Metadata, "api_version", "minor_version", kind=I32)


def _execute(f: _Handler, frame: Value, integers: Value) -> Value:
    """Run the call of a frame, and return 0 or an error."""
    message, code = f.var(0), f.var(xla.ERROR_INVALID_ARGUMENT)
    last = offset(xla.CallFrame, "attrs", "attrs") + 8
    known = f.field(frame, xla.CallFrame, "struct_size") >= last

    def run() -> None:
        stage = f.field(frame, xla.CallFrame, "stage", kind=I32)
        with f.when(stage.equals(xla.STAGE_EXECUTE)):
            _run(f, frame, integers, message, code)

    f.cases(known, run, lambda: message.set(f.load(integers, TEXT_FRAME, I64)))
    error = f.var(0)
    with f.when(message.value.differs(0)):
        error.set(_error(f, frame, message.value, code.value))
    return error.value


def _run(f: _Handler, frame: Value, integers: Value, message: Any, code: Any) -> None:
    """Find the call, check its operands, and run it; sets the message and the code of an error."""
    call = f.var(0)

    def find() -> None:
        call.set(_find(f, frame, f.atomic_load(integers, TABLE)))
        with f.when(call.value.equals(0)):
            callback = f.atomic_load(integers, CALLBACK)
            message.set(f.load(integers, TEXT_ENDED, I64))
            with f.when(callback.differs(0)):
                # the address of a call, or of a message, which is the negative of it
                made = f.call(callback, frame, returns=True)
                call.set(f.select(made > 0, made, 0))
                message.set(f.select(made > 0, 0, 0 - made))

    f.cases(_has_attributes(f, frame), find, lambda: message.set(f.load(integers, TEXT_ATTRIBUTES, I64)))
    with f.when(call.value.differs(0)):
        arrays = [f.var(0) for _ in range(4)]
        fits = _operands(f, frame, call.value, arrays)

        def compute() -> None:
            record = f.load(call.value, RECORD, I64)
            status = f.call(f.load(integers, RUN, I64), record, *(each.value for each in arrays), returns=True)
            with f.when(status.differs(0)):
                code.set(xla.ERROR_INTERNAL)
                message.set(f.load(call.value, MESSAGE, I64))

        f.cases(fits, compute, lambda: message.set(f.load(integers, TEXT_OPERANDS, I64)))


def _has_attributes(f: _Handler, frame: Value) -> Value:
    """Return the condition that the frame has the attributes `call`, a string, and `digest`, an integer."""
    kinds = f.var(0)
    with f.when(f.field(frame, xla.CallFrame, "attrs", "size").equals(2)):
        types = f.field(frame, xla.CallFrame, "attrs", "types")
        first, second = (Value(f, f.b.sext(f.load(types, at, I32).ir, I64)) for at in (0, 1))
        kinds.set(first * 16 + second)
    return kinds.value.equals(xla.ATTRIBUTE_STRING * 16 + xla.ATTRIBUTE_SCALAR)


def _find(f: _Handler, frame: Value, table: Value) -> Value:
    """Return the address of the call with the frame's digest; 0 if the table does not have it."""
    attributes = f.field(frame, xla.CallFrame, "attrs", "attrs")
    digest = f.load(f.field(f.load(attributes, 1, I64), xla.Scalar, "value"), 0, I64)
    mask = f.load(table, MASK, I64)
    found, place = f.var(0), f.var(digest & mask)
    with f.repeat() as leave:
        found.set(f.atomic_load(table + place.value * 8, FIRST))
        leave(found.value.equals(0))
        leave(f.load(found.value, DIGEST, I64).equals(digest))
        place.set((place.value + 1) & mask)
    return found.value


def _operands(f: _Handler, frame: Value, call: Value, arrays: list[Any]) -> Value:
    """Set the addresses of x, weight, bias and output; return the condition that their sizes are those of the call."""
    fits, bias = f.var(0), f.load(call, BIAS, I64)
    counts = f.field(frame, xla.CallFrame, "args", "size"), f.field(frame, xla.CallFrame, "rets", "size")
    with f.when(f.both(counts[0].equals(bias + 2), counts[1].equals(1))):
        fits.set(1)
        operands = f.field(frame, xla.CallFrame, "args", "args")
        results = f.field(frame, xla.CallFrame, "rets", "args")
        for number, array in enumerate(arrays):

            def read(number: int = number, array: Any = array) -> None:
                buffer = f.load(results if number == _OUT else operands, 0 if number == _OUT else number, I64)
                array.set(f.field(buffer, xla.Buffer, "data"))
                fits.set(f.select(_is_of(f, buffer, call, number), fits.value, 0))

            if number == 2:
                with f.when(bias.differs(0)):
                    read()
            else:
                read()
    return fits.value.differs(0)


def _is_of(f: _Handler, buffer: Value, call: Value, number: int) -> Value:
    """Return the condition that a buffer has the dtype of a call, and the number of elements of its array."""
    elements, dims = f.var(1), f.field(buffer, xla.Buffer, "dims")
    with f.loop(f.field(buffer, xla.Buffer, "rank")) as axis:
        elements.set(elements.value * f.load(dims, axis, I64))
    same = f.field(buffer, xla.Buffer, "dtype", kind=I32).equals(f.load(call, DTYPE, I64))
    return f.both(same, elements.value.equals(f.load(call, SIZES + number, I64)))


def _error(f: _Handler, frame: Value, message: Value, code: Value) -> Value:
    """Return an error of XLA with this message and code."""
    arguments = f.integers(8)
    f.set_field(offset(xla.ErrorCreateArgs, "errc") + 4, arguments, xla.ErrorCreateArgs, "struct_size")
    f.set_field(0, arguments, xla.ErrorCreateArgs, "extension_start")
    f.set_field(message, arguments, xla.ErrorCreateArgs, "message")
    f.set_field(Value(f, f.b.trunc(code.ir, I32)), arguments, xla.ErrorCreateArgs, "errc", kind=I32)
    create = f.field(f.field(frame, xla.CallFrame, "api"), xla.Api, "Error_Create")
    return f.call(create, arguments, returns=True)
