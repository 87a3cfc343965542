"""Instructions for pairs of bfloat16 in 32 bits: their dot products, and their reading from x.

A vector of pairs has the type of a vector of float32 sums, so that it is loaded, stored and shuffled like one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from llvmlite import ir

from tconv.kernels.simd.half_floats import BFLOAT16, I16
from tconv.kernels.simd.vector_ir import I32, Function, Operand, Value


def add_products(f: Function, a: Value, b: Value, sums: Value) -> Value:
    """Return sums plus both products of each pair of a with the pair of b: the odd one first, each rounded."""
    pairs = ir.VectorType(BFLOAT16, 2 * f.lanes)
    kind = ir.FunctionType(f.vector, [f.vector, pairs, pairs])
    dot = f.intrinsic(f"llvm.x86.avx512bf16.dpbf16ps.{32 * f.lanes}", kind)
    return Value(f, f.b.call(dot, [sums.ir, f.b.bitcast(a.ir, pairs), f.b.bitcast(b.ir, pairs)]))


def adder(f: Function) -> Callable[[Value, Value, Value], Value]:
    """Return the function (a, b, sums) that adds the products of two vectors: of numbers, or of pairs."""
    return partial(add_products, f) if f.elements.dot else f.fma


class PairReader:
    """Reader of pairs from two channels of x, at a distance in bytes; without an odd channel its half is 0."""

    def __init__(self, f: Function, distance: Value, there: Value) -> None:
        self._f = f
        # where there is no odd channel the even one is read instead, and masked out
        self._distance = f.select(there, distance, 0)
        self._upper = Value(f, f.b.select(there.ir, I32(0xFFFF0000), I32(0)))
        self._uppers = Value(f, f.splat_of(self._upper.ir, f.bits))

    def load_stored(self, source: Value, index: Operand, mask: Value | None = None) -> Value:
        """Return the pairs of the positions from source[index] on; with a mask as `Function.masked_load`."""
        f, kind = self._f, ir.VectorType(I16, self._f.lanes)
        even, odd = (
            f.load(place, index, kind).ir if mask is None else f.load_masked(kind, place, index, mask)
            for place in (source, source + self._distance)
        )
        upper = f.b.and_(f.b.shl(f.b.zext(odd, f.bits), f.value(16, f.bits).ir), self._uppers.ir)
        return Value(f, f.b.bitcast(f.b.or_(f.b.zext(even, f.bits), upper), f.vector))

    def load_stored_number(self, source: Value, index: Operand) -> Value:
        """Return the pair of the position source[index]."""
        f = self._f
        even, odd = (f.b.zext(f.load(place, index, I16).ir, I32) for place in (source, source + self._distance))
        return Value(f, f.b.or_(even, f.b.and_(f.b.shl(odd, I32(16)), self._upper.ir)))


Reader: TypeAlias = Function | PairReader
"""Reader of the entries of a panel from x: its methods `load_stored` and `load_stored_number`."""


def copy_halves(f: Function, source: Value, to: Value, count: Value) -> None:
    """Copy neighbouring channels as they are, and write whole vectors: 0 after the last one."""
    halves = 2 * f.lanes
    kind = ir.VectorType(I16, halves)
    whole = count // halves * halves
    with f.loop(0, whole, halves) as place:
        f.store(f.load(source, place, kind), to, place)
    with f.when(whole < count):
        numbers = ir.Constant(kind, list(range(halves)))
        mask = f.b.icmp_signed("<", numbers, f.splat_of(f.b.trunc((count - whole).ir, I16), kind))
        f.store(Value(f, f.load_masked(kind, source, whole, Value(f, mask))), to, whole)


def load_pairs(f: Function, base: Value, index: Operand) -> Value:
    """Return 128 bits of neighbouring channels from base[index] on, as pairs."""
    halves, pairs = ir.VectorType(I16, 8), ir.VectorType(f.number, 4)
    return Value(f, f.b.bitcast(f.load(base, index, halves).ir, pairs))


def load_halves(f: Function, base: Value, places: list[Value]) -> Value:
    """Return the pairs of the last channel, which has no partner: of one position, base[place], in each lane."""
    pairs = f.value(0, f.bits).ir
    for lane, place in enumerate(places):
        pairs = f.b.insert_element(pairs, f.b.zext(f.load(base, place, I16).ir, I32), I32(lane))
    return Value(f, f.b.bitcast(pairs, f.vector))
