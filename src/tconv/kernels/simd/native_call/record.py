"""Record of a call: what the machine code of a compiled program reads, and what Python does for it on request."""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import threading
import weakref
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._fork import own_in_forks
from tconv._memory import TRIMMED
from tconv.dialects.layouts import WeightLayout
from tconv.kernels import num_threads, tap_products
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.bfloat16_dot import reason_unavailable as dot_reason
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.form import NOT_PACKED, Form
from tconv.kernels.simd.form_choice import direct_form, winograd_form
from tconv.kernels.simd.native_call import machine_code, places, slots, weight_gather
from tconv.kernels.simd.native_call.process_table import ProcessTable, code_addresses
from tconv.kernels.simd.native_call.weight_hash import chunk_bytes
from tconv.kernels.simd.native_call.weight_table import scratch_bytes, table_of
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.specialized_call import SpecializedCall, compiled
from tconv.kernels.simd.tile_tickets import machine_function
from tconv.kernels.simd.weight_cache import WEIGHT_CACHE, cache_line_aligned
from tconv.kernels.simd.weight_cache import fingerprint as cache_fingerprint
from tconv.kernels.simd.winograd_f22.weight_packing import LARGEST

_SLOTS = 4
"""Packed weights of a record."""
_TEXT_BYTES = 1024
_TEXTS = {
    places.FAILED: "it failed in Python",
    places.ENDED_EARLY: "it needs Python's interpreter, which has ended",
    places.NO_MEMORY: "there is no memory left for it",
}
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)

_lock = threading.RLock()  # a finalizer may run inside of any statement
own_in_forks(_lock)
_records: dict[int, weakref.ref[NativeCall]] = {}
"""Living records by address."""


class NativeCall:
    """Record of a problem with arrays of these strides in bytes, for `native_function`.

    `weight_shape` is that of the native weight, which is contiguous; `layout` describes it, None if it is canonical.
    Method "simd" is the direct sum, "winograd" the one with fewer multiplications. The method must have no reason
    against the problem. Its memory, and all that the machine code needs, lives as long as this object.
    """

    def __init__(
        self,
        p: Problem,
        x_strides: tuple[int, ...],
        out_strides: tuple[int, ...],
        weight_shape: tuple[int, ...],
        layout: WeightLayout | None = None,
        method: str = "simd",
        slot_count: int = _SLOTS,
    ) -> None:
        self._problem, self._layout, self._weight_shape = p, layout, tuple(weight_shape)
        self._bytes = tuple(x_strides), tuple(out_strides)
        strides = [tuple(step // p.dtype.itemsize for step in steps) for steps in self._bytes]
        self._x_strides, self._out_strides = strides
        choose = winograd_form if method == "winograd" else direct_form
        self._form, self._is_direct = choose(p, *self._x_strides_and_out()), method != "winograd"
        self._slot_count = slot_count
        self._direct: NativeCall | None = None
        self._misses, self._weight_table = 0, table_of(self._form, p.layer, layout, self._weight_shape, build=False)
        self._plans: list[Any] = []  # each stays in memory: a call may have read its address
        self._lock = threading.RLock()
        self._text = np.zeros(_TEXT_BYTES, np.uint8)
        self._write_text(f"{_TEXTS[places.ENDED_EARLY]}, or {_TEXTS[places.NO_MEMORY]}")
        self._memory = cache_line_aligned(8 * (places.SLOTS + slot_count * places.LINE))
        self._record = self._memory.view(np.int64)
        self.address = int(self._memory.ctypes.data)
        """Address of the record."""
        self._fill(self._record)
        weakref.finalize(self, _forget, self.address, self._memory, slot_count).atexit = False
        with _lock:
            _records[self.address] = weakref.ref(self)

    def __call__(self, x: Array, weight: Array, bias: Array | None, out: Array) -> None:
        """Run the call on arrays. Raises RuntimeError if it fails."""
        biases = 0 if bias is None else bias.ctypes.data
        result = _function()(self.address, x.ctypes.data, weight.ctypes.data, biases, out.ctypes.data)
        if result != places.DONE:
            raise RuntimeError(f"the transposed convolution has no result: {self.error(result)}")

    def error(self, result: int = places.FAILED) -> str:
        """Return the text of a result of `native_function` that is not 0."""
        if result != places.FAILED:
            return _TEXTS.get(result, f"result {result}")
        return bytes(self._text).partition(b"\0")[0].decode(errors="replace")

    # -- the integers --------------------------------------------------------------------------------------------

    def _x_strides_and_out(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self._x_strides, self._out_strides

    def _fill(self, record: Array) -> None:
        p = self._problem
        record[places.SHARED] = table().base
        record[places.WEIGHT_BYTES] = self._weight_bytes = math.prod(self._weight_shape) * p.dtype.itemsize
        record[places.PACKED_BYTES] = self._packed_bytes = _packed_bytes(self._form, p.layer)
        record[places.IS_DIRECT] = self._is_direct
        if p.dtype != p.accumulate:
            record[places.CONVERT] = _convert_address(p.dtype)
        record[places.BIASES], record[places.SLOT_COUNT] = p.out_channels, self._slot_count
        record[places.TEXT] = self._text.ctypes.data
        self._use_table()
        self._make_plan()

    def _publish(self, place: int, value: int) -> None:
        """Store an integer for other threads, after all that it refers to."""
        _store()(self.address + 8 * place, value)

    def _make_plan(self) -> None:
        """Make the plan for the present number of threads and the present pool, or find it again."""
        threads, pool, p = get_num_threads(), table().integers[places.POOL], self._problem
        for plan, _ in self._plans:
            alone = not plan[places.HELPERS] and plan[places.PLAN_POOL] >= 0
            if plan[places.REQUESTED] == threads and (alone or plan[places.PLAN_POOL] == pool):
                self._publish(places.PLAN, plan.ctypes.data)
                return
        call = compiled(self._form, p, *self._x_strides_and_out(), threads, False)
        plan, most = cache_line_aligned(8 * places.PLAN_INTEGERS).view(np.int64), min(call.threads, call.tiles)
        scratch = max(call.scratch, scratch_bytes(self._form, p.layer))
        base, helpers = table().prepare_pool(most, scratch) if most > 1 else (0, 0)
        bias_place = -(-scratch // 64) * 64
        hash_place = bias_place + -(-p.out_channels * p.accumulate.itemsize // 64) * 64
        chunks = -(-self._weight_bytes // chunk_bytes(self._weight_bytes))
        plan[places.REQUESTED], plan[places.PLAN_POOL], plan[places.HELPERS] = threads, base, helpers
        plan[places.TILE_FUNCTION], plan[places.TILES] = call.tile_function, call.tiles
        plan[places.SCRATCH] = hash_place + 8 * (chunks + 1)
        plan[places.BIAS_PLACE], plan[places.HASH_PLACE] = bias_place, hash_place
        plan[places.FRAME_PLACE : places.FRAME_PLACE + len(call.frame)] = call.frame
        self._plans.append((plan, call))
        self._publish(places.PLAN, plan.ctypes.data)

    # -- requests of the machine code ------------------------------------------------------------------------------

    def _answer(self, kind: int, *arguments: int) -> int:
        """Do what the machine code asks for, and return a result."""
        if kind == places.PACK_WEIGHT:
            return self._pack(*arguments[:2])
        if kind == places.COMPUTE:
            self._compute(*arguments)
        elif kind == places.MAKE_ROOM:
            _make_room(arguments[0])
        else:
            with self._lock:
                if kind == places.MAKE_PLAN:
                    self._make_plan()
                else:
                    self._make_direct()
        return places.DONE

    def _use_table(self) -> None:
        """Let the machine code pack weights, if there is a table."""
        found = self._weight_table
        if found is not None:
            self._record[places.PARTS], self._record[places.PART_COUNT] = found.address, found.count
            self._publish(places.PACK, found.function)

    def _make_direct(self) -> None:
        if self._direct is None:
            p, (x, out), shape, layout = self._problem, self._bytes, self._weight_shape, self._layout
            self._direct = NativeCall(p, x, out, shape, layout, slot_count=self._slot_count)
            self._publish(places.DIRECT, self._direct.address)

    def _pack(self, address: int, target: int) -> int:
        """Pack the weight at an address. From the second one on, it is in training: the machine code will do it."""
        p, layout = self._problem, self._layout
        self._misses += 1
        if self._misses > 1:
            with self._lock:
                if self._weight_table is None:
                    self._weight_table = table_of(self._form, p.layer, layout, self._weight_shape)
                    self._use_table()
        w = _array(address, self._weight_shape, p.dtype)
        packed = WEIGHT_CACHE.get((cache_fingerprint(w), w.shape, w.strides, self._form.name, layout, p.layer))
        if packed is None:
            packed = self._form.pack(p, w if layout is None else layout.canonical(w, p.geometry.groups))
        if packed is NOT_PACKED:
            return places.NEEDS_OTHER
        ctypes.memmove(target, packed.ctypes.data, packed.nbytes)
        return places.DONE

    def _compute(self, x: int, weight: int, bias: int, out: int) -> None:
        """Run the call in Python, for a weight that is not finite."""
        p, layout = self._problem, self._layout
        w = _array(weight, self._weight_shape, p.dtype)
        xs = _array(x, (p.batch, p.in_channels, *p.input_shape), p.dtype, self._bytes[0])
        to = _array(out, (p.batch, p.out_channels, *p.output_shape), p.dtype, self._bytes[1])
        biases = _array(bias, (p.out_channels,), p.dtype) if bias else None
        if not SpecializedCall(p, *self._bytes, layout)(xs, w, biases, to):
            canonical = w if layout is None else layout.canonical(w, p.geometry.groups)
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
                tap_products.run(p, xs, canonical, biases, to)

    def _write_text(self, text: str) -> None:
        encoded = f"tconv: {text}".encode(errors="replace")[: _TEXT_BYTES - 1]
        self._text[: len(encoded) + 1] = np.frombuffer(encoded + b"\0", np.uint8)

    def _slots(self) -> list[tuple[int, int]]:
        """Return the place and the last use of each slot that has memory."""
        found = [places.SLOTS + number * places.LINE for number in range(self._slot_count)]
        return [(place, int(self._record[place + places.USED])) for place in found if self._record[place + places.RAW]]

    def drop(self, most: int = 1 << 62) -> int:
        """Release packed weights that are not in use, the oldest first, until so many bytes are; returns the bytes."""
        freed = 0
        for place, _ in sorted(self._slots(), key=lambda slot: slot[1]):
            if freed >= most:
                break
            freed += _drop()(table().base, self.address + 8 * place, self._packed_bytes)
        return freed


def _array(address: int, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None = None) -> Array:
    """Return a view of the memory at an address."""
    if strides is None:
        strides = tuple(dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    reach = [(size - 1) * step for size, step in zip(shape, strides, strict=True)]
    low, high = sum(min(0, each) for each in reach), sum(max(0, each) for each in reach)
    memory = (ctypes.c_char * (high - low + dtype.itemsize)).from_address(address + low)
    return np.ndarray(shape, dtype, memory, -low, strides)


@lru_cache(maxsize=256)
def _packed_bytes(form: Form, layer: Layer) -> int:
    g = layer.geometry
    p = Problem(g, 1, layer.in_channels, layer.out_channels, tuple(max(2, each) for each in g.extent), layer.dtype)
    zeros = np.zeros((layer.in_channels, layer.group_out, *g.kernel), layer.dtype)
    return int(form.pack_weight(p, zeros).nbytes)


def _convert_address(dtype: np.dtype[Any]) -> int:
    elements = elements_of(dtype)
    name = f"native_widen{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: machine_code.write_convert(name, elements))


# -- the process -----------------------------------------------------------------------------------------------------


_table: ProcessTable | None = None


def table() -> ProcessTable:
    """Return the integers that all records refer to."""
    global _table
    if _table is None:
        addresses = code_addresses()  # before the lock: a fork waits for it after that of the object cache
        with _lock:
            _table = _table or _new_table(addresses)
    return _table


def _new_table(addresses: dict[int, int]) -> ProcessTable:
    made = ProcessTable(addresses, ctypes.cast(_callback, ctypes.c_void_p).value or 0)
    num_threads.TOLD.append(made.take_note)
    TRIMMED.append(_trim)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    atexit.register(_at_exit)
    return made


def native_function() -> int:
    """Return the address of the machine function `(record, x, weight, bias, out)` of 64-bit integers.

    x and out are the addresses of the first elements of the canonical views, bias is 0 or the address of contiguous
    numbers of the dtype of x. It returns 0, or another number if the call failed: `NativeCall.error` has the text. Any
    thread may call it, without Python's lock, several at once.
    """
    return int(table().integers[places.CALL])


@cache
def _function() -> Any:
    table()
    return machine_function("native_call", machine_code.write_call, 5, returns=True)


@cache
def _store() -> Any:
    return machine_function("native_store", slots.write_store, 2, keeps_lock=True)


@cache
def _drop() -> Any:
    return machine_function("native_drop", slots.write_drop, 3, returns=True)


def _answer(address: int, kind: int, *arguments: int) -> int:
    """Answer a request of the machine code. No exception leaves it."""
    try:
        with _lock:
            call = _records[address]()
        if call is None:
            return places.FAILED
        try:
            return call._answer(kind, *arguments)
        except BaseException as error:  # an interrupt, too: the caller reports it
            call._write_text(f"{type(error).__name__}: {error}")
            return places.FAILED
    except BaseException:
        return places.FAILED


_callback = _FUNCTION(_answer)
"""Function of machine code, which lives as long as the process."""


def build(dtypes: Iterable[np.dtype[Any]]) -> None:
    """Build the machine code of all records with problems of these dtypes."""
    native_function()
    OBJECT_CACHE.address("native_drop", slots.write_drop)
    OBJECT_CACHE.address("native_store", slots.write_store)
    for dtype in dtypes:
        elements = elements_of(dtype)
        for each in {elements, elements._replace(dot=elements.stored == "bfloat16" and not dot_reason())}:
            weight_gather.copy_address(each)
        weight_gather.sums_address(elements, LARGEST[elements.summed])
        if elements.stored_size == 2:
            _convert_address(dtype)


def _living() -> list[NativeCall]:
    with _lock:
        references = [*_records.values()]  # first: a finalizer may remove one
    calls = [each() for each in references]
    return [call for call in calls if call is not None]


def _trim() -> int:
    return sum(call.drop() for call in _living())


def _make_room(size: int) -> None:
    """Release packed weights of this many bytes, of all records in turn."""
    freed = 0
    for call in _living():
        if freed >= size:
            break
        freed += call.drop(size - freed)


def _forget(address: int, memory: Array, slot_count: int) -> None:
    """Release the packed weights of a record that is deleted."""
    with _lock:
        _records.pop(address, None)
    record = memory.view(np.int64)
    for number in range(slot_count):
        place = places.SLOTS + number * places.LINE
        _drop()(table().base, address + 8 * place, int(record[places.PACKED_BYTES]))


def _after_fork() -> None:
    table().forget_parent()
    for call in _living():
        call._lock = threading.RLock()
        call._record[places.SLOTS + places.READERS :: places.LINE] = 0
        for plan, _ in call._plans:
            plan[places.PLAN_POOL] = -1  # of no pool: one of this process may have the address of the parent's


def _at_exit() -> None:
    table().end()
    for each in (_callback, *_living()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
