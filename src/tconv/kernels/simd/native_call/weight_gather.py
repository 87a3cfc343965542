"""Machine code that packs a part of a weight by a table (`weight_table`), and looks for numbers a form cannot use.

A part is a list of segments: runs of neighbouring places in the packed weight. Each has its place and the indices of
its numbers in the weight. An index below 0 says that no number comes to its place: -1 minus one that may be read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I32, I64, Operand, Value

PARTS, SOURCE, TARGET, UNFIT = range(4)
"""Places of the frame: the parts, the weight, the packed weight, and 1 after a number that the form cannot use."""
PART = 16
"""Integers of a part."""
PLACES, INDICES, SEGMENTS, LENGTH = range(4)
"""Places of a part: addresses of the segments' places (in bytes) and indices, their number, and numbers in each."""
STEP, DISTANCES, TAPS, TERMS, PRODUCTS = range(4, 9)
"""With sums: bytes between two products; distances of the taps in the weight and their number; terms of the products
(how many, then the number of a tap and its sign for each), and number of products."""
_UNROLLED = 4
_I16 = ir.IntType(16)
_INFINITE = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF << 52}
"""Bits of infinity: those of larger numbers and of NaN are larger."""


def copy_address(elements: Elements) -> int:
    """Return the address of the function that changes the order: `(frame, local, number of the part)`."""
    name = f"weight_copy_{elements.stored}{'_dot' if elements.dot else ''}"
    return OBJECT_CACHE.address(name, lambda: write_copy(name, elements))


def sums_address(elements: Elements, largest: float) -> int:
    """Return the address of the function that adds taps up: `(frame, local, number of the part)`."""
    name = f"weight_sums_{elements.stored}"
    return OBJECT_CACHE.address(name, lambda: write_sums(name, elements, largest))


class _Part:
    """Part of a table, in a function of `(frame, local, number of the part)`."""

    def __init__(self, f: ThreadFunction) -> None:
        self.f = f
        self.frame, _, number = f.arguments
        self.source, self.target = (f.load(self.frame, place, I64) for place in (SOURCE, TARGET))
        self._part = f.load(self.frame, PARTS, I64) + number * (PART * 8)
        self.segments, self.length = self[SEGMENTS], self[LENGTH]

    def __getitem__(self, place: int) -> Value:
        return self.f.load(self._part, place, I64)

    def segment(self, number: Value) -> tuple[Value, Value]:
        """Return the addresses of a segment's place in the packed weight, and of its indices."""
        place = self.f.load(self[PLACES], number, I64)
        return self.target + place, self[INDICES] + number * self.length * 4

    def index(self, indices: Value, i: Value) -> tuple[Value, Value]:
        """Return an index, and the condition that a number comes to its place."""
        index = Value(self.f, self.f.b.sext(self.f.load(indices, i, I32).ir, I64))
        there = index >= 0
        return self.f.select(there, index, index ^ -1), there

    def for_each(self, write: Callable[[Value], None]) -> None:
        """Write the loop over the numbers of a segment."""
        whole = self.length // _UNROLLED * _UNROLLED
        with self.f.loop(0, whole, _UNROLLED) as first:
            for each in range(_UNROLLED):
                write(first + each)
        with self.f.loop(whole, self.length) as i:
            write(i)

    def mark_above(self, size: Value, largest: int) -> None:
        """Write 1 into the frame if the largest of all numbers, as bits without a sign, is above this."""
        with self.f.when(size > largest):
            self.f.atomic_store(1, self.frame, UNFIT)


def write_copy(name: str, elements: Elements) -> str:
    """Write the function that copies numbers, widened to those of the sums; pairs are copied as they are."""
    f = ThreadFunction(name, 3, elements)
    part = _Part(f)
    bits = _I16 if elements.stored_size == 2 else f.integer
    largest = f.var(f.value(0, bits))
    with f.loop(part.segments) as segment:
        target, indices = part.segment(segment)

        def copy(i: Value, target: Value = target, indices: Value = indices) -> None:
            index, there = part.index(indices, i)
            number = f.select(there, f.load(part.source, index, bits), f.value(0, bits))
            largest.set(_larger(f, largest.value, number))
            as_it_is = elements.dot or elements.stored_size > 2
            f.store(number if as_it_is else f.widen(number), target, i)

        part.for_each(copy)
    part.mark_above(largest.value, _INFINITE[elements.stored] - 1)
    return f.finish()


def _larger(f: ThreadFunction, largest: Value, number: Value) -> Value:
    """Return the larger of a number's bits without the sign and those of earlier ones."""
    size = number & ((1 << (number.ir.type.width - 1)) - 1)
    return f.select(size > largest, size, largest)


def write_sums(name: str, elements: Elements, largest: float) -> str:
    """Write the function that adds the numbers of several taps up, in the order and with the signs of their terms.

    Of each segment it first copies the numbers of all taps into the thread's memory.
    """
    f = ThreadFunction(name, 3, elements)
    part, local = _Part(f), f.arguments[1]
    sizes = f.var(f.value(0, f.integer))
    with f.loop(part.segments) as segment:
        target, indices = part.segment(segment)
        distances = part[DISTANCES]
        with f.loop(part[TAPS]) as tap:
            source = part.source + f.load(distances, tap, I64) * elements.stored_size
            copied = local + tap * part.length * elements.summed_size

            def copy(i: Value, source: Value = source, copied: Value = copied, indices: Value = indices) -> None:
                index, there = part.index(indices, i)
                number = f.select(there, f.load_stored_number(source, index), f.value(0.0, f.number))
                sizes.set(_larger(f, sizes.value, Value(f, f.b.bitcast(number.ir, f.integer))))
                f.store(number, copied, i)

            part.for_each(copy)
        terms = f.var(part[TERMS])
        with f.loop(part[PRODUCTS]) as product:
            count, first = f.load(terms.value, 0, I64), terms.value + 8
            _add_up(f, part, (first, count), target + product * part[STEP])
            terms.set(first + count * 16)
    code, bits = ("<f", "<i") if elements.summed == "float32" else ("<d", "<q")
    part.mark_above(sizes.value, struct.unpack(bits, struct.pack(code, largest))[0])
    return f.finish()


def _add_up(f: ThreadFunction, part: _Part, terms: tuple[Value, Value], target: Value) -> None:
    """Write the sums of one product from the thread's memory: some vectors together, then one, then numbers."""
    local, (first, count) = f.arguments[1], terms

    def add(begin: Value, vectors: int, kind: Any) -> None:
        places = [begin + number * f.lanes for number in range(vectors)]
        totals = [f.var(f.value(0.0, kind)) for _ in places]

        def add_term(number: Operand, alone: bool) -> None:
            tap, sign = (f.load(first + number * 16, each, I64) for each in (0, 1))
            factor = Value(f, f.b.sitofp(sign.ir, f.number))
            factor = factor if kind is f.number else f.splat(factor)
            for total, place in zip(totals, places, strict=True):
                loaded = f.load(local, tap * part.length + place, kind) * factor
                total.set(loaded if alone else total.value + loaded)

        add_term(f.value(0), True)
        with f.loop(1, count) as number:
            add_term(number, False)
        for total, place in zip(totals, places, strict=True):
            f.store(total.value, target, place)

    done = f.value(0)
    for vectors, kind in ((_UNROLLED, f.vector), (1, f.vector), (1, f.number)):
        step = vectors * (f.lanes if kind is f.vector else 1)
        end = done + (part.length - done) // step * step
        with f.loop(done, end, step) as i:
            add(i, vectors, kind)
        done = end
