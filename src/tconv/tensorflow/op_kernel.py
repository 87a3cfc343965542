"""CPU kernel of the operator "Tconv>ConvTranspose": what Python does when a kernel is created, and for sizes not seen.

Everything that a call needs is in attributes and shapes; a graph that is built in one place runs anywhere in the
process. Problems that the machine code cannot run are computed by `tconv.conv_transpose`'s other methods.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import threading
import weakref
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import as_strided

from tconv import kernels
from tconv._arrays import Array
from tconv.dialects.layouts import DataLayout
from tconv.errors import ShapeError, TconvError
from tconv.kernels.problem import Problem
from tconv.kernels.simd.availability import reason_unavailable
from tconv.operator.method_choice import choose_method, machine_code_method
from tconv.tensorflow.call_reading import in_own_names
from tconv.tensorflow.compute_code import ENTRY, FIELDS, IN_PYTHON, MOST_KEY, NOTHING, compute_address, delete_address
from tconv.tensorflow.operator_rule import Operator, rule_of_attributes
from tconv.tensorflow.registration import (
    INTERNAL,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    KernelAttributes,
    api,
    register,
)

_MOST = 64
"""Entries in the table of an instance; models of more sizes than that read some of them again."""
_INT64 = ctypes.c_int64
_Record = ctypes.c_int64 * len(FIELDS)


class Entry:
    """Answer to a call with these sizes: what the machine code calls, and the shape of y."""

    def __init__(self, instance: Instance, x_shape: Any, filters_shape: Any, bias_shape: Any, sizes: Any) -> None:
        self.operator = operator = instance.rule.operator_for_shapes(x_shape, filters_shape, sizes)
        self.problem = problem_of(operator, x_shape, filters_shape, bias_shape, instance.dtype)
        self.shapes = x_shape, filters_shape, bias_shape
        y_layout = operator.y_layout
        p = self.problem
        self.y_shape = y_layout.native_shape((p.batch, p.out_channels, *p.output_shape))
        self.dtype = instance.dtype
        made: tuple[Any, int, int] = (None, NOTHING, 0) if 0 in self.y_shape else self._call()
        self.call, function, record = made
        self.token = _keep(_entries, self)
        bytes_of_y = math.prod(self.y_shape) * self.dtype.itemsize
        key = (*x_shape, *filters_shape, *(bias_shape or ()), *(sizes or ()))
        self.memory = (_INT64 * (len(ENTRY) - 1 + len(self.y_shape) + len(key)))(
            function, record, bytes_of_y, self.token, *self.y_shape, *key
        )
        self.address = ctypes.addressof(self.memory)

    def _call(self) -> tuple[Any, int, int]:
        """Return the object that owns the record, with the addresses of function and record."""
        method, _ = machine_code_method(self.problem)  # without one, Python chooses another
        if not method:
            return None, IN_PYTHON, 0
        from tconv.kernels.simd.native_call import native_function

        operator, size = self.operator, self.dtype.itemsize
        strides = [
            canonical_strides(layout, shape, size)
            for layout, shape in ((operator.x_layout, self.shapes[0]), (operator.y_layout, self.y_shape))
        ]
        call = _native_call(self.problem, *strides, self.shapes[1], operator.weight_layout, method)
        return call, native_function(), call.address

    def compute(self, x: int, filters: int, bias: int, y: int) -> None:
        """Fill y by a method that can run the problem with these numbers."""
        x_shape, filters_shape, bias_shape = self.shapes
        operator = self.operator
        images = operator.x_layout.canonical(_array(x, x_shape, self.dtype))
        weight = operator.weight_layout.canonical(_array(filters, filters_shape, self.dtype), operator.geometry.groups)
        biases = _array(bias, bias_shape, self.dtype) if bias_shape else None
        out = operator.y_layout.canonical(_array(y, self.y_shape, self.dtype))
        run_problem(self.problem, images, weight, biases, out)


def canonical_strides(layout: DataLayout, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides, in bytes, of the canonical view of a tensor."""
    steps = tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    described = as_strided(np.empty(1, np.uint8), shape, steps)  # its memory is never touched
    return layout.canonical(described).strides


_native_calls: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()
_native_lock = threading.Lock()


def _native_call(*arguments: Any) -> Any:
    """Return the record of a problem, which all operators with equal problems share, and its packed weights."""
    from tconv.kernels.simd.native_call import NativeCall

    with _native_lock:
        call = _native_calls.get(arguments)
        if call is None:
            _native_calls[arguments] = call = NativeCall(*arguments)
        return call


def run_problem(problem: Problem, x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Fill out from canonical arrays by the fastest method that can run them."""
    from dataclasses import replace

    from tconv._arrays import is_finite

    problem = replace(problem, finite_weight=is_finite(weight))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
        kernels.kernel(choose_method(problem, "auto")).run(problem, x, weight, bias, out)


def problem_of(operator: Operator, x_shape: Any, filters_shape: Any, bias_shape: Any, dtype: Any) -> Problem:
    """Return the problem of a call. Raises ShapeError where shapes do not match."""
    g, sizes = operator.geometry, operator.weight_layout.sizes(filters_shape)
    batch, channels, spatial = operator.x_layout.sizes(x_shape)
    groups = g.groups
    grouped = operator.weight_layout.grouped
    taken = sizes["I"] * (1 if grouped == "I" else groups)
    returned = sizes["O"] * (1 if grouped == "O" else groups)
    total = taken if grouped == "I" else returned
    if operator.weight_layout.kernel(filters_shape) != g.kernel or min(spatial) < 1:
        raise ShapeError(
            f"x has shape {x_shape} and the filters {filters_shape}; a kernel {g.kernel} and at least 1 element per "
            "spatial axis are needed. Use the shapes that the function was traced with"
        )
    if taken != channels or total % groups or returned < 1:
        raise ShapeError(
            f"filters {filters_shape} take {taken} channels in {groups} groups; x {x_shape} has {channels}. Use "
            "filters that fit x"
        )
    if bias_shape is not None and tuple(bias_shape) != (returned,):
        raise ShapeError(
            f"bias has shape {tuple(bias_shape)}; one number per output channel is needed: ({returned},). Use such a "
            "bias"
        )
    return Problem(g, batch, channels, returned, tuple(spatial), dtype, bias_shape is not None)


def _array(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a tensor's memory as an array."""
    count = math.prod(shape)
    if not count:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, memory)


class Instance:
    """Kernel of one operator in a graph: its attributes, and the table of the sizes that it was called with."""

    def __init__(self, attributes: KernelAttributes) -> None:
        number = attributes.type("T")
        self.dtype = np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype)
        biases, sizes = attributes.integer("B"), attributes.integer("S")
        if not (biases in (0, 1) and sizes in (0, 1)):
            raise ShapeError(f"{biases} biases and {sizes} output sizes; at most one of each is possible")
        self.rule = rule_of_attributes(
            attributes.integers("strides"),
            attributes.integers("dilations"),
            attributes.integers("crop"),
            attributes.integer("groups"),
            attributes.text("padding"),
            attributes.text("layouts"),
        )
        self.biases, self.ndim = biases, len(self.rule.strides)
        self.entries: dict[Any, Entry] = {}
        # entries and tables that a call in another thread may still read
        self.evicted: list[Any] = []
        self.replaced: list[Any] = []
        self.older: list[Any] = []
        self.lock = threading.Lock()
        x_rank, filters_rank = len(self.rule.x_layout.axes), len(self.rule.weight_layout.axes)
        self.lengths = x_rank, filters_rank, biases, self.ndim * sizes
        if sum(self.lengths) > MOST_KEY:
            raise ShapeError(f"the layouts {attributes.text('layouts')} have too many axes; at most 3 are spatial")
        self.token = _keep(_instances, self)
        self.table = (_INT64 * 1)(0)
        values = {
            **dict(zip(FIELDS, api().addresses, strict=False)),
            "miss": _callbacks().miss_address,
            "fallback": _callbacks().fallback_address,
            "token": self.token,
            "dtype": number,
            "inputs": 2 + biases + sizes,
            "biases": biases,
            "x_rank": x_rank,
            "filters_rank": filters_rank,
            "sizes": self.ndim * sizes,
            "y_rank": len(self.rule.y_layout.axes),
            "key_length": sum(self.lengths),
            "table": ctypes.addressof(self.table),
            "last": 0,
            "active": 0,
            "deleted": 0,
        }
        self.record = _Record(*(values[name] for name in FIELDS))

    def entry(self, key: tuple[int, ...]) -> Entry:
        """Return the entry of a key, new or known, and put it into the table."""
        with self.lock:
            entry = self.entries.get(key)
            if entry is None:
                parts, position = [], 0
                for length in self.lengths:
                    parts.append(key[position : position + length])
                    position += length
                x_shape, filters_shape, bias_shape, sizes = parts
                entry = Entry(
                    self, x_shape, filters_shape, bias_shape if self.biases else None, sizes if sizes else None
                )
                if len(self.entries) >= _MOST:
                    oldest = next(iter(self.entries))
                    self.evicted.append(self.entries.pop(oldest))
                self.entries[key] = entry
                self._publish()
            return entry

    def _publish(self) -> None:
        """Give the machine code a new table.

        What it replaces stays in memory for one more table at least, and until no other call runs that may read it.
        """
        alone = self.record[FIELDS.index("active")] <= 1  # the call that asks for this is the only one
        last = self.record[FIELDS.index("last")]  # read after: a call that ends between them has written it
        if alone and all(last != each.address for each in self.older if isinstance(each, Entry)):
            _forget(self.older)
            self.older = []
        addresses = [entry.address for entry in self.entries.values()]
        table = (_INT64 * (1 + len(addresses)))(len(addresses), *addresses)
        self.older, self.replaced = [*self.older, *self.replaced], [*self.evicted, self.table]
        self.evicted = []
        self.table = table
        self.record[FIELDS.index("table")] = ctypes.addressof(table)
        self.record[FIELDS.index("last")] = 0


_numbers = itertools.count(1)
_instances: dict[int, Instance] = {}
_entries: dict[int, Entry] = {}


def _keep(objects: dict[int, Any], kept: Any) -> int:
    """Return a number by which the machine code names an object, which stays in memory."""
    number = next(_numbers)
    objects[number] = kept
    return number


def _forget(objects: list[Any]) -> None:
    """Drop the numbers of entries that no machine code can reach any more."""
    for each in objects:
        if isinstance(each, Entry):
            _entries.pop(each.token, None)


def _remove_deleted() -> None:
    """Drop the instances of the kernels that TensorFlow has deleted."""
    for token, instance in list(_instances.items()):
        if instance.record[FIELDS.index("deleted")]:
            _instances.pop(token, None)
            _forget([*instance.entries.values(), *instance.evicted, *instance.replaced, *instance.older])


# -- functions that TensorFlow and the machine code call -----------------------------------------------------------


def _create(context: int) -> int:
    try:
        _remove_deleted()
        return ctypes.addressof(Instance(KernelAttributes(context)).record)
    except BaseException as error:
        api().fail(context, *_status_of(error), "TF_OpKernelConstruction_Failure")
        return 0


def _miss(token: int, context: int, key: int) -> int:
    try:
        instance = _instances[token]
        if not key:
            raise ShapeError(
                f"the call has tensors of other ranks than x {instance.lengths[0]}, filters {instance.lengths[1]}. Use "
                "the ranks that the function was traced with"
            )
        return instance.entry(tuple((_INT64 * sum(instance.lengths)).from_address(key))).address
    except BaseException as error:
        api().fail(context, *_status_of(error))
        return 0


def _fallback(token: int, context: int, x: int, filters: int, bias: int, y: int) -> int:
    try:
        _entries[token].compute(x, filters, bias, y)
    except BaseException as error:
        api().fail(context, *_status_of(error))
    return 0


def _status_of(error: BaseException) -> tuple[int, str]:
    """Return the code and the message that TensorFlow gets."""
    if isinstance(error, TconvError):
        return INVALID_ARGUMENT, in_own_names(str(error))
    if isinstance(error, MemoryError):
        return RESOURCE_EXHAUSTED, str(error)
    return INTERNAL, f"{type(error).__name__}: {error}"


class _Callbacks(NamedTuple):
    """Functions of Python that machine code can call, and their addresses. They live as long as the process."""

    functions: list[Any]
    create_address: int
    miss_address: int
    fallback_address: int


@cache
def _callbacks() -> _Callbacks:
    pointer = ctypes.c_void_p
    functions = [
        ctypes.CFUNCTYPE(pointer, pointer)(_create),
        ctypes.CFUNCTYPE(pointer, _INT64, pointer, pointer)(_miss),
        ctypes.CFUNCTYPE(_INT64, _INT64, *[pointer] * 5)(_fallback),
    ]
    for used in (*functions, _instances, _entries):
        # machine code may still call them, and write to records, while the interpreter shuts down and after it
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(used))
    return _Callbacks(functions, *(ctypes.cast(function, pointer).value or 0 for function in functions))


TYPES: tuple[Any, ...] = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
"""Types that have a kernel."""


@cache
def registered() -> str:
    """Register the operator at the first call. Returns an empty text, or the reason why it is not possible."""
    if reason := reason_unavailable():
        return reason
    try:
        types = [number.as_datatype_enum for number in TYPES]
        register(_callbacks().create_address, compute_address(), delete_address(), types)
    except (OSError, AttributeError, RuntimeError) as error:
        return f"TensorFlow's C API does not take the operator: {error}"
    return ""
