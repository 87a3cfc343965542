"""Writer of LLVM's language with vectors: Python code runs once, when a function is built, and writes its instructions.

A function is ordinary Python around a few methods: `loop`, `when`, `var`, `load`, `store`, `fma`. Integers have 64
bits. Numbers are of the dtype of the sums, and vectors have as many of them as the chip's registers. `load_stored` and
`store_stored` convert from and to the dtype in memory. Python's own loops are unrolled.

>>> import numpy as np
>>> from tconv.kernels.simd import vector_ir
>>> f = vector_ir.Function("double", 2)
>>> source, count = f.arguments
>>> with f.loop(count) as i:
...     f.store(f.load(source, i) + f.load(source, i), source, i)
>>> "define" in f.finish()
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from llvmlite import ir

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.elements import FLOAT32, Elements
from tconv.kernels.simd.half_floats import I16, narrowed, rounded_by_chip, widened
from tconv.kernels.simd.number_types import bytes_of, element_of, is_integer, mangled

I64, I32, I1 = ir.IntType(64), ir.IntType(32), ir.IntType(1)
POINTER = ir.PointerType()
_NUMBERS = {"float32": (ir.FloatType(), I32), "float64": (ir.DoubleType(), I64)}
"""LLVM's type of a number by dtype, and of an integer of its size."""


class Value:
    """Number, vector or address that the function computes when it runs, with the operators of Python."""

    __slots__ = ("f", "ir")

    def __init__(self, f: Function, value: Any) -> None:
        self.f, self.ir = f, value

    def _both(self, other: Operand) -> tuple[Any, Any]:
        return self.ir, self.f.value(other, self.ir.type).ir

    def _binary(self, other: Operand, of_integers: str, of_floats: str) -> Value:
        a, b = self._both(other)
        return Value(self.f, getattr(self.f.b, of_integers if is_integer(a.type) else of_floats)(a, b))

    def __add__(self, other: Operand) -> Value:
        return self._binary(other, "add", "fadd")

    def __sub__(self, other: Operand) -> Value:
        return self._binary(other, "sub", "fsub")

    def __mul__(self, other: Operand) -> Value:
        return self._binary(other, "mul", "fmul")

    def __rsub__(self, other: int) -> Value:
        return self.f.value(other, self.ir.type) - self

    __radd__, __rmul__ = __add__, __mul__

    def __floordiv__(self, other: Operand) -> Value:
        """Return the quotient of integers. Both are known to be >= 0."""
        return self._binary(other, "udiv", "")

    def __mod__(self, other: Operand) -> Value:
        """Return the remainder of integers. Both are known to be >= 0."""
        return self._binary(other, "urem", "")

    def __xor__(self, other: Operand) -> Value:
        return self._binary(other, "xor", "")

    def __and__(self, other: Operand) -> Value:
        return self._binary(other, "and_", "")

    def __rshift__(self, other: Operand) -> Value:
        return self._binary(other, "lshr", "")

    def __lshift__(self, other: Operand) -> Value:
        return self._binary(other, "shl", "")

    def _compare(self, sign: str, other: Operand) -> Value:
        a, b = self._both(other)
        # comparisons of floats with NaN are false, except "!="
        of_floats = self.f.b.fcmp_unordered if sign == "!=" else self.f.b.fcmp_ordered
        compare = self.f.b.icmp_signed if is_integer(a.type) else of_floats
        return Value(self.f, compare(sign, a, b))

    def __lt__(self, other: Operand) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Operand) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Operand) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> Value:
        return self._compare(">=", other)

    def equals(self, other: Operand) -> Value:
        """Return the condition that two integers are equal (`==` compares the Python objects)."""
        return self._compare("==", other)

    def differs(self, other: Operand) -> Value:
        """Return the condition that two numbers differ; NaN differs from every number."""
        return self._compare("!=", other)


Operand: TypeAlias = "Value | int | float"


class Var:
    """Variable that can be assigned more than once. LLVM turns it into registers."""

    def __init__(self, f: Function, pointer: Any, kind: Any) -> None:
        self._f, self._pointer, self._kind = f, pointer, kind

    @property
    def value(self) -> Value:
        """Return the value of the variable here in the function."""
        return Value(self._f, self._f.b.load(self._pointer, typ=self._kind))

    def set(self, value: Operand) -> None:
        """Assign a value."""
        self._f.b.store(self._f.value(value, self._kind).ir, self._pointer)


class Function:
    """Function of 64-bit integers (addresses are integers, too), in an LLVM module of its own.

    `number` and `vector` are the types of the sums, `size` the bytes of a number, `lanes` the numbers in a vector, and
    `bits` a vector of integers of that size. `stored` is the type of x and output in memory, `stored_size` its bytes.
    """

    def __init__(self, name: str, arguments: int, elements: Elements = FLOAT32, returns: bool = False) -> None:
        self.elements, self.lanes = elements, elements.lanes
        self.size, self.stored_size = elements.summed_size, elements.stored_size
        self.number, self.integer = _NUMBERS[elements.summed]
        self.stored = I16 if elements.stored_size == 2 else self.number
        self._halves = ir.VectorType(I16, self.lanes) if elements.stored_size == 2 else None
        self.vector, self.bits = ir.VectorType(self.number, self.lanes), ir.VectorType(self.integer, self.lanes)
        self._module = ir.Module(name)
        kind = ir.FunctionType(I64 if returns else ir.VoidType(), [I64] * arguments)
        self._function = ir.Function(self._module, kind, name)
        self._function.attributes.add("nounwind")
        # LLVM must not make calls of memset and the like out of loops: llvmlite has no name for this attribute
        set.add(self._function.attributes, '"no-builtins"')
        self._entry = self._function.append_basic_block("entry")
        self._allocations = ir.IRBuilder(self._entry)
        self._body = self._function.append_basic_block("body")
        self.b = ir.IRBuilder(self._body)
        self.arguments = [Value(self, argument) for argument in self._function.args]

    def finish(self, result: Operand | None = None) -> str:
        """Return from the function; returns its LLVM text."""
        if result is None:
            self.b.ret_void()
        else:
            self.b.ret(self.value(result, I64).ir)
        self._allocations.branch(self._body)
        return str(self._module)

    # -- values --------------------------------------------------------------------------------------------------

    def value(self, operand: Operand, kind: Any = I64) -> Value:
        """Return a Python number as a constant of this type; a `Value` is returned unchanged."""
        if isinstance(operand, Value):
            return operand
        return Value(self, ir.Constant(kind, [operand] * kind.count if isinstance(kind, ir.VectorType) else operand))

    def var(self, start: Operand, kind: Any = None) -> Var:
        """Return a new variable with this value."""
        kind = kind or (start.ir.type if isinstance(start, Value) else I64)
        variable = Var(self, self._allocations.alloca(kind), kind)
        variable.set(start)
        return variable

    def memory(self, numbers: int) -> Value:
        """Return the address of memory of the function's own, for this many numbers of the sums."""
        pointer = self._allocations.alloca(ir.ArrayType(self.number, numbers))
        return Value(self, self._allocations.ptrtoint(pointer, I64))

    def zero(self) -> Value:
        """Return a vector of zeros."""
        return self.value(0.0, self.vector)

    def least(self, a: Operand, b: Operand) -> Value:
        """Return the smaller of two integers."""
        first = self.value(a)
        return self.select(first < b, first, b)

    def most(self, a: Operand, b: Operand) -> Value:
        """Return the larger of two integers."""
        first = self.value(a)
        return self.select(first > b, first, b)

    def select(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """Return one of two values without a jump, lane by lane if the condition is a vector."""
        kind = yes.ir.type if isinstance(yes, Value) else no.ir.type if isinstance(no, Value) else I64
        return Value(self, self.b.select(condition.ir, self.value(yes, kind).ir, self.value(no, kind).ir))

    def both(self, a: Value, b: Value) -> Value:
        """Return the condition that two conditions are true."""
        return Value(self, self.b.and_(a.ir, b.ir))

    def any(self, condition: Value) -> Value:
        """Return the condition that a condition is true in at least one lane."""
        return self._lanes_of(condition, "!=", 0)

    def all(self, condition: Value) -> Value:
        """Return the condition that a condition is true in every lane."""
        return self._lanes_of(condition, "==", -1)

    def _lanes_of(self, condition: Value, sign: str, number: int) -> Value:
        lanes = self.b.bitcast(condition.ir, ir.IntType(self.lanes))
        return Value(self, self.b.icmp_unsigned(sign, lanes, lanes.type(number)))

    # -- control -------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, *limits: Operand, at_least_once: bool = False) -> Iterator[Value]:
        """Write `for i in range(*limits)`. With `at_least_once` the end of the range is tested after each run only."""
        start, stop, step = (0, *limits, 1) if len(limits) == 1 else (*limits, 1) if len(limits) == 2 else limits
        first, last = self.value(start), self.value(stop)
        head, after = self._block("loop"), self._block("after")
        before = self.b.basic_block
        if at_least_once:
            self.b.branch(head)
        else:
            self.b.cbranch((first < last).ir, head, after)
        self.b.position_at_end(head)
        index = self.b.phi(I64)
        index.add_incoming(first.ir, before)
        i = Value(self, index)
        yield i
        following = i + step
        index.add_incoming(following.ir, self.b.basic_block)
        self.b.cbranch((following < last).ir, head, after)
        self.b.position_at_end(after)

    @contextmanager
    def repeat(self) -> Iterator[Callable[[Value], None]]:
        """Write `while True:`, and yield a function that leaves the loop if its condition is true."""
        head, after = self._block("repeat"), self._block("after")
        self.b.branch(head)
        self.b.position_at_end(head)

        def leave(condition: Value) -> None:
            on = self._block("on")
            self.b.cbranch(condition.ir, after, on)
            self.b.position_at_end(on)

        yield leave
        self.b.branch(head)
        self.b.position_at_end(after)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Write `if condition:`."""
        then, after = self._block("then"), self._block("after")
        self.b.cbranch(condition.ir, then, after)
        self.b.position_at_end(then)
        yield
        self.b.branch(after)
        self.b.position_at_end(after)

    def cases(self, condition: Value, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """Write `if condition: yes() else: no()`."""
        then, otherwise, after = self._block("then"), self._block("else"), self._block("after")
        self.b.cbranch(condition.ir, then, otherwise)
        for block, body in ((then, yes), (otherwise, no)):
            self.b.position_at_end(block)
            body()
            self.b.branch(after)
        self.b.position_at_end(after)

    def _block(self, name: str) -> Any:
        return self._function.append_basic_block(name)

    # -- memory --------------------------------------------------------------------------------------------------

    def _pointer(self, base: Value, index: Operand, kind: Any) -> Any:
        pointer = self.b.inttoptr(base.ir, POINTER)
        return self.b.gep(pointer, [self.value(index).ir], source_etype=kind)

    def load(self, base: Value, index: Operand = 0, kind: Any = None) -> Value:
        """Return the number at base[index], or the vector that begins there. Vectors need no alignment."""
        kind = kind or self.number
        element = element_of(kind)
        return Value(self, self.b.load(self._pointer(base, index, element), typ=kind, align=bytes_of(element)))

    def store(self, value: Operand, base: Value, index: Operand = 0, kind: Any = None) -> None:
        """Store a number at base[index], or a vector from there on."""
        written = self.value(value, kind or self.number).ir
        element = element_of(written.type)
        self.b.store(written, self._pointer(base, index, element), align=bytes_of(element))

    def mask(self, begin: Operand, end: Operand) -> Value:
        """Return the mask of the lanes l with begin <= l < end."""
        numbers = ir.Constant(self.bits, list(range(self.lanes)))
        inside = []
        for sign, limit in ((">=", begin), ("<", end)):
            clipped = self.least(self.most(limit, 0), self.lanes).ir
            narrow = clipped if self.integer is I64 else self.b.trunc(clipped, self.integer)
            inside.append(self.b.icmp_signed(sign, numbers, self.splat_of(narrow, self.bits)))
        return Value(self, self.b.and_(*inside))

    def mask_of(self, bits: Value) -> Value:
        """Return the mask of the lanes whose bits are set in an integer."""
        narrow = self.b.trunc(bits.ir, ir.IntType(self.lanes))
        return Value(self, self.b.bitcast(narrow, ir.VectorType(I1, self.lanes)))

    def masked_load(self, base: Value, index: Operand, mask: Value) -> Value:
        """Return base[index:] in the lanes of the mask and 0 in the others, whose memory is not touched."""
        return Value(self, self.load_masked(self.vector, base, index, mask))

    def load_masked(self, vector: Any, base: Value, index: Operand, mask: Value) -> Any:
        """Return what `masked_load` does, as a vector of this type."""
        kind = ir.FunctionType(vector, [POINTER, I32, mask.ir.type, vector])
        element, zero = vector.element, self.value(0 if is_integer(vector) else 0.0, vector)
        arguments = [self._pointer(base, index, element), I32(bytes_of(element)), mask.ir, zero.ir]
        return self.b.call(self.intrinsic(f"llvm.masked.load.{mangled(vector)}.p0", kind), arguments)

    def masked_store(self, value: Value, base: Value, index: Operand, mask: Value) -> None:
        """Store the lanes of the mask; memory of the others is not touched."""
        written = value.ir
        element = written.type.element
        kind = ir.FunctionType(ir.VoidType(), [written.type, POINTER, I32, mask.ir.type])
        arguments = [written, self._pointer(base, index, element), I32(bytes_of(element)), mask.ir]
        self.b.call(self.intrinsic(f"llvm.masked.store.{mangled(written.type)}.p0", kind), arguments)

    # -- memory of x and of the output: conversion of the stored dtype ------------------------------------------------

    def load_stored(self, base: Value, index: Operand, mask: Value | None = None) -> Value:
        """Return the vector of x that begins at base[index], as numbers of the sums; with a mask as `masked_load`."""
        kind = self._halves or self.vector
        if mask is None:
            return self.widen(self.load(base, index, kind))
        if not self._halves or target().masks_halves:
            return self.widen(Value(self, self.load_masked(kind, base, index, mask)))
        loaded = self.var(self.value(0, kind))
        self.cases(  # without an instruction for it, LLVM tests lane after lane
            self.all(mask),
            lambda: loaded.set(self.load(base, index, kind)),
            lambda: loaded.set(Value(self, self.load_masked(kind, base, index, mask))),
        )
        return self.widen(loaded.value)

    def widen(self, loaded: Value) -> Value:
        """Return numbers of type `stored`, or a vector of them, as numbers of the sums."""
        return Value(self, widened(self.b, loaded.ir, self.elements.stored)) if self._halves else loaded

    def load_stored_number(self, base: Value, index: Operand = 0) -> Value:
        """Return the number of x at base[index], as one of the sums."""
        return self.widen(self.load(base, index, self.stored))

    def store_stored(self, vector: Value, base: Value, index: Operand, mask: Value | None = None) -> None:
        """Store a vector of outputs at base[index], rounded once to the nearest, ties to even."""
        written = self._stored(vector)
        if mask is None:
            self.store(written, base, index)
        elif not self._halves or target().masks_halves:
            self.masked_store(written, base, index, mask)
        else:
            self.cases(
                self.all(mask),
                lambda: self.store(written, base, index),
                lambda: self.masked_store(written, base, index, mask),
            )

    def store_stored_number(self, vector: Value, base: Value, index: Operand = 0) -> None:
        """Store the first lane of a vector of outputs at base[index]."""
        self.store(Value(self, self.b.extract_element(self._stored(vector).ir, I64(0))), base, index)

    def stream_stored(self, vector: Value, base: Value, index: Operand) -> None:
        """Store a vector of outputs at base[index], aligned to its size, past the caches: it is not read again soon."""
        written = self._stored(vector).ir
        if self.elements.dot:
            # an empty instruction: LLVM merges the rounding with the store, and forgets that it goes past the caches
            written = self.b.asm(ir.FunctionType(written.type, [written.type]), "", "=x,0", [written], False)
        place = self._pointer(base, index, written.type.element)
        store = self.b.store(written, place, align=self.stored_size * self.lanes)
        store.set_metadata("nontemporal", self._module.add_metadata([I32(1)]))

    def _stored(self, vector: Value) -> Value:
        """Return a vector of sums in the dtype in memory."""
        if self.elements.dot:
            return Value(self, rounded_by_chip(self.b, vector.ir))
        return Value(self, narrowed(self.b, vector.ir, self.elements.stored)) if self._halves else vector

    def prefetch(self, address: Value, write: bool = False, level: int = 1) -> None:
        """Prefetch the cache line at an address, to read or to write it. Any address is allowed."""
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        pointer = self.b.inttoptr(address.ir, POINTER)
        self.b.call(self.intrinsic("llvm.prefetch.p0", kind), [pointer, I32(int(write)), I32(4 - level), I32(1)])

    # -- vectors -------------------------------------------------------------------------------------------------

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return a*b + c, rounded once where the chip can (llvm.fma would call libm where it cannot)."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        fused = self.intrinsic(f"llvm.fmuladd.{mangled(self.vector)}", kind)
        return Value(self, self.b.call(fused, [a.ir, b.ir, c.ir]))

    def splat(self, number: Value) -> Value:
        """Return a vector with this number in every lane."""
        return Value(self, self.splat_of(number.ir, self.vector))

    def splat_of(self, number: Any, kind: Any) -> Any:
        """Return a vector of this type with a number of LLVM in every lane."""
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        return self.b.shuffle_vector(
            one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count)
        )

    def zero_unless(self, a: Value, bits: Value) -> Value:
        """Return a in the lanes where a vector of integers of its size is -1, and 0.0 where it is 0."""
        masked = self.b.and_(self.b.bitcast(a.ir, bits.ir.type), bits.ir)
        return Value(self, self.b.bitcast(masked, self.vector))

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Return the lanes with these numbers: those of a begin at 0, those of b at `self.lanes`."""
        picked = ir.Constant(ir.VectorType(I32, self.lanes), list(lanes))
        return Value(self, self.b.shuffle_vector(a.ir, b.ir, picked))

    def total(self, a: Value) -> Value:
        """Return the sum of all lanes: of both halves, and of the halves of their sum."""
        count = self.lanes
        while count > 1:
            count //= 2
            a = a + self.shuffle(a, a, [(lane + count) % self.lanes for lane in range(self.lanes)])
        return Value(self, self.b.extract_element(a.ir, I64(0)))

    # -- calls --------------------------------------------------------------------------------------------------

    def call(self, address: Value, *arguments: Operand, returns: bool = False) -> Value:
        """Call a `Function` by its address."""
        kind = ir.FunctionType(I64 if returns else ir.VoidType(), [I64] * len(arguments))
        # llvmlite reads the function's type from a typed pointer; LLVM's own pointers have no type any more
        function = self.b.inttoptr(address.ir, kind.as_pointer())
        return Value(self, self.b.call(function, [self.value(argument).ir for argument in arguments]))

    def intrinsic(self, name: str, kind: Any) -> Any:
        """Return a function of LLVM, declared once."""
        return self._module.globals.get(name) or ir.Function(self._module, kind, name)
