"""Machine code of the kernel: TensorFlow calls it, and it calls TensorFlow's C API and tconv's kernel by address.

The kernel of an operator in a graph has an instance: integers that the code reads, in the order of `FIELDS`. The sizes
of a call are its key: the shapes of its inputs, and the numbers in `output_sizes`. The table of the instance has an
entry per key seen: what to call, and the shape of y. A key that is not in it costs one call of Python. In the steady
state neither the interpreter nor its lock is needed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import xxhash

from tconv.tensorflow.registration import CALLED_BY_CODE

FIELDS = (
    *CALLED_BY_CODE,
    "miss",
    "fallback",
    "token",
    "dtype",
    "inputs",
    "biases",
    "x_rank",
    "filters_rank",
    "sizes",
    "y_rank",
    "key_length",
    "table",
    "last",
    "active",
    "deleted",
)
"""
Fields of an instance: addresses of functions, the number by which Python knows it, type, number of inputs, ranks, the
number of output sizes that are given, the address of the table, the entry found last, the calls that run now, and a 1
after TensorFlow has deleted the kernel. A table has the number of its entries, then their addresses.
"""
ENTRY = ("function", "record", "bytes", "token", "shape")
"""Fields of an entry; the shape of y is followed by the key."""
NOTHING, IN_PYTHON = 0, 1
"""Numbers that an entry has in the place of a function's address: y is empty, and y is computed by Python."""
MOST_KEY = 16
"""Longest key: 5 + 5 axes, the bias and 3 sizes, and some to spare."""
_SHAPE = ENTRY.index("shape")
_NAME = "tensorflow_compute"


@cache
def compute_address() -> int:
    """Return the address of the function (instance, context) that TensorFlow calls to run the kernel."""
    return _address(_compute_text())


@cache
def delete_address() -> int:
    """Return the address of the function that TensorFlow calls when it deletes a kernel.

    That may happen after the interpreter has ended, so that it must not be Python.
    """
    return _address(_delete_text())


def _address(text: str) -> int:
    """Return the address of a function. The cache of machine code finds it by the text, whose sources are not its."""
    from tconv.kernels.simd.object_cache import OBJECT_CACHE

    name = f"{_NAME}_{xxhash.xxh3_64_hexdigest(text.encode())}"
    return OBJECT_CACHE.address(name, lambda: text.replace(_NAME, name))


def _delete_text() -> str:
    from tconv.kernels.simd.vector_ir import Function

    f = Function(_NAME, 1)
    with f.when(f.arguments[0].differs(0)):
        f.store(f.value(1), f.arguments[0], FIELDS.index("deleted"))
    return f.finish()


def _compute_text() -> str:
    from tconv.kernels.simd.vector_ir import I64, Function

    f = Function(_NAME, 2)
    instance, context = f.arguments

    def field(name: str) -> Any:
        return f.load(instance, FIELDS.index(name), I64)

    def call(name: str, *arguments: Any) -> Any:
        return f.call(field(name), *arguments, returns=True)

    _count(f, instance, 1)
    status = call("TF_NewStatus")
    tensors, key = f.memory(2 * 4), f.memory(2 * MOST_KEY)  # numbers have 4 bytes
    with f.loop(field("inputs")) as i:
        f.store(f.value(0), tensors, i)
        call("TF_GetInput", context, i, tensors + i * 8, status)
    valid = _read_key(f, field, call, tensors, key)
    entry = f.var(0)
    with f.when(valid.equals(1)):
        _find(f, field, key, entry)
    with f.when(entry.value.equals(0)):
        entry.set(call("miss", field("token"), context, f.select(valid.equals(1), key, 0)))
    with f.when(entry.value.differs(0)):  # else the error was reported
        found = entry.value
        f.store(found, instance, FIELDS.index("last"))
        of = {name: f.load(found, ENTRY.index(name), I64) for name in ENTRY[:-1]}
        shape = found + 8 * _SHAPE
        y = call("TF_AllocateOutput", context, 0, field("dtype"), shape, field("y_rank"), of["bytes"], status)

        def report() -> None:
            call("TF_OpKernelContext_Failure", context, status)

        def run() -> None:
            addresses = [call("TF_TensorData", f.load(tensors, i, I64)) for i in (0, 1)]
            bias = f.var(0)
            with f.when(field("biases").differs(0)):
                bias.set(call("TF_TensorData", f.load(tensors, 2, I64)))
            arrays = (*addresses, bias.value, call("TF_TensorData", y))
            failed = f.var(of["function"])  # 0 for NOTHING
            with f.when(of["function"] > IN_PYTHON):
                failed.set(f.call(of["function"], of["record"], *arrays, returns=True))
            with f.when(failed.value.differs(0)):
                call("fallback", of["token"], context, *arrays)
            call("TF_DeleteTensor", y)

        f.cases(y.equals(0), report, run)
    with f.loop(field("inputs")) as i:
        call("TF_DeleteTensor", f.load(tensors, i, I64))
    call("TF_DeleteStatus", status)
    _count(f, instance, -1)
    return f.finish()


def _count(f: Any, instance: Any, step: int) -> None:
    """Add to the number of calls that run now, which tells Python when entries can be freed."""
    from tconv.kernels.simd.vector_ir import POINTER

    place = f.b.inttoptr((instance + 8 * FIELDS.index("active")).ir, POINTER)
    f.b.atomic_rmw("add", place, f.value(step).ir, "seq_cst")


def _read_key(f: Any, field: Any, call: Any, tensors: Any, key: Any) -> Any:
    """Write the key of a call. Returns 1, or 0 if a rank is another than expected."""
    from llvmlite import ir

    from tconv.kernels.simd.vector_ir import I32, I64, Value

    valid, length = f.var(1), f.var(0)

    def add(number: Any) -> None:
        f.store(number, key, length.value)
        length.set(length.value + 1)

    def check(tensor: Any, rank: Any) -> None:
        # the C function returns 32 bits; the others are not defined
        with f.when((call("TF_NumDims", tensor) & 0xFFFFFFFF).differs(rank)):
            valid.set(0)

    def add_shape(number: int, rank: Any) -> None:
        tensor = f.load(tensors, number, I64)
        check(tensor, rank)
        with f.when(valid.value.equals(1)), f.loop(rank) as axis:
            add(call("TF_Dim", tensor, axis))

    add_shape(0, field("x_rank"))
    add_shape(1, field("filters_rank"))
    with f.when(field("biases").differs(0)):
        add_shape(2, f.value(1))
    sizes = field("sizes")
    with f.when(sizes.differs(0)):
        tensor = f.load(tensors, field("biases") + 2, I64)
        check(tensor, f.value(1))
        with f.when(valid.value.equals(1)), f.when(call("TF_Dim", tensor, 0).differs(sizes)):
            valid.set(0)
        with f.when(valid.value.equals(1)):
            numbers = call("TF_TensorData", tensor)
            with f.loop(sizes) as axis:
                add(Value(f, f.b.sext(f.load(numbers, axis, I32).ir, ir.IntType(64))))
    return valid.value


def _find(f: Any, field: Any, key: Any, entry: Any) -> None:
    """Set `entry` to the entry of a key: the one found last, or one in the table."""
    from tconv.kernels.simd.vector_ir import I64

    length, start = field("key_length"), field("y_rank") + _SHAPE

    def try_entry(address: Any) -> None:
        different = f.var(0)
        with f.loop(length) as i:
            unequal = f.load(key, i, I64) ^ f.load(address, start + i, I64)
            different.set(f.select(unequal.equals(0), different.value, 1))
        with f.when(different.value.equals(0)):
            entry.set(address)

    last = field("last")
    with f.when(last.differs(0)):
        try_entry(last)
    with f.when(entry.value.equals(0)):
        table = field("table")
        with f.loop(f.load(table, 0, I64)) as i:
            try_entry(f.load(table, i + 1, I64))
