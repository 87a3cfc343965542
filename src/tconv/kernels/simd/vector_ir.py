"""The vector room: a staged language. Python runs at build time, what it writes down here runs at the peak of the chip.

A function is written with ordinary Python around a few words: `loop`, `when`, `var`, `load`, `store`, `fma`. Integers
are 64 bits, floats 32, vectors have as many floats as the chip's registers. Python's own loops unroll. Whoever ports
to a new chip reads this file and `cpu_target.py` only.

>>> import numpy as np
>>> from tconv.kernels.simd import vector_ir
>>> f = vector_ir.Function("double", 2, lanes=4)
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

from tconv.kernels.simd.cpu_target import is_x86

I64, I32, I1, F32 = ir.IntType(64), ir.IntType(32), ir.IntType(1), ir.FloatType()
POINTER = ir.PointerType()


class Value:
    """A number, a vector or an address that the function will have; integers know arithmetic and comparison."""

    __slots__ = ("f", "ir")

    def __init__(self, f: Function, value: Any) -> None:
        self.f, self.ir = f, value

    def _both(self, other: Operand) -> tuple[Any, Any]:
        return self.ir, self.f.value(other, self.ir.type).ir

    def _binary(self, other: Operand, whole: str, real: str) -> Value:
        a, b = self._both(other)
        return Value(self.f, getattr(self.f.b, whole if _is_whole(a.type) else real)(a, b))

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
        """Whole division; both sides are known to be >= 0."""
        return self._binary(other, "udiv", "")

    def __mod__(self, other: Operand) -> Value:
        """The rest of a whole division; both sides are known to be >= 0."""
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
        # of floats a comparison with NaN is false, but for "!="
        real = self.f.b.fcmp_unordered if sign == "!=" else self.f.b.fcmp_ordered
        through = self.f.b.icmp_signed if _is_whole(a.type) else real
        return Value(self.f, through(sign, a, b))

    def __lt__(self, other: Operand) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Operand) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Operand) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> Value:
        return self._compare(">=", other)

    def equals(self, other: Operand) -> Value:
        """Whether two integers are the same (`==` stays Python's own, for identity)."""
        return self._compare("==", other)

    def differs(self, other: Operand) -> Value:
        """Whether two numbers are not the same, NaN among them."""
        return self._compare("!=", other)


Operand: TypeAlias = "Value | int | float"


class Var:
    """A place that can be written more than once; LLVM turns it into registers."""

    def __init__(self, f: Function, place: Any, kind: Any) -> None:
        self._f, self._place, self._kind = f, place, kind

    @property
    def value(self) -> Value:
        """What stands there now."""
        return Value(self._f, self._f.b.load(self._place, typ=self._kind))

    def set(self, value: Operand) -> None:
        """Put a value there."""
        self._f.b.store(self._f.value(value, self._kind).ir, self._place)


def _is_whole(kind: Any) -> bool:
    return isinstance(kind, ir.IntType) or (isinstance(kind, ir.VectorType) and isinstance(kind.element, ir.IntType))


class Function:
    """One function of 64-bit integers (addresses are integers, too), in a module of its own."""

    def __init__(self, name: str, arguments: int, lanes: int, returns: bool = False) -> None:
        self.lanes = lanes
        self.vector, self.bits = ir.VectorType(F32, lanes), ir.VectorType(I32, lanes)
        self._module = ir.Module(name)
        kind = ir.FunctionType(I64 if returns else ir.VoidType(), [I64] * arguments)
        self._function = ir.Function(self._module, kind, name)
        self._entry = self._function.append_basic_block("entry")
        self._places = ir.IRBuilder(self._entry)
        body = self._function.append_basic_block("body")
        self.b = ir.IRBuilder(body)
        self._body = body
        self.arguments = [Value(self, argument) for argument in self._function.args]

    def finish(self, result: Operand | None = None) -> str:
        """Return from the function; its text."""
        if result is None:
            self.b.ret_void()
        else:
            self.b.ret(self.value(result, I64).ir)
        self._places.branch(self._body)
        return str(self._module)

    # -- values --------------------------------------------------------------------------------------------------

    def value(self, given: Operand, kind: Any = I64) -> Value:
        """A Python number as a constant of this kind; a `Value` as it is."""
        if isinstance(given, Value):
            return given
        return Value(self, ir.Constant(kind, [given] * kind.count if isinstance(kind, ir.VectorType) else given))

    def var(self, start: Operand, kind: Any = None) -> Var:
        """A place with a first value."""
        kind = kind or (start.ir.type if isinstance(start, Value) else I64)
        place = Var(self, self._places.alloca(kind), kind)
        place.set(start)
        return place

    def zero(self) -> Value:
        """A vector of zeros."""
        return self.value(0.0, self.vector)

    def least(self, a: Operand, b: Operand) -> Value:
        """The smaller of two integers."""
        first = self.value(a)
        return self.choose(first < b, first, b)

    def most(self, a: Operand, b: Operand) -> Value:
        """The larger of two integers."""
        first = self.value(a)
        return self.choose(first > b, first, b)

    def choose(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """One of two values, without a jump; lane by lane if the condition is a vector."""
        kind = yes.ir.type if isinstance(yes, Value) else no.ir.type if isinstance(no, Value) else I64
        return Value(self, self.b.select(condition.ir, self.value(yes, kind).ir, self.value(no, kind).ir))

    def both(self, a: Value, b: Value) -> Value:
        """Whether two conditions hold."""
        return Value(self, self.b.and_(a.ir, b.ir))

    def any(self, condition: Value) -> Value:
        """Whether a condition holds in at least one lane."""
        bits = ir.IntType(self.lanes)
        return Value(self, self.b.icmp_unsigned("!=", self.b.bitcast(condition.ir, bits), bits(0)))

    # -- control -------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, *limits: Operand, at_least_once: bool = False) -> Iterator[Value]:
        """`for i in range(*limits)`; a run that is known to happen is tested at its end only."""
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
        """`while True:`; the function that it yields leaves the loop where its condition holds."""
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
        """`if condition:`."""
        then, after = self._block("then"), self._block("after")
        self.b.cbranch(condition.ir, then, after)
        self.b.position_at_end(then)
        yield
        self.b.branch(after)
        self.b.position_at_end(after)

    def cases(self, condition: Value, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """`if condition: yes() else: no()`."""
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

    def _place(self, base: Value, index: Operand, kind: Any) -> Any:
        pointer = self.b.inttoptr(base.ir, POINTER)
        return self.b.gep(pointer, [self.value(index).ir], source_etype=kind)

    def load(self, base: Value, index: Operand = 0, kind: Any = F32) -> Value:
        """The number at base[index]; a vector begins there, and needs no alignment."""
        element = kind.element if isinstance(kind, ir.VectorType) else kind
        place = self._place(base, index, element)
        return Value(self, self.b.load(place, typ=kind, align=8 if element is I64 else 4))

    def store(self, value: Operand, base: Value, index: Operand = 0, kind: Any = F32) -> None:
        """Put a number, or a vector from there on, at base[index]."""
        written = self.value(value, kind).ir
        element = written.type.element if isinstance(written.type, ir.VectorType) else written.type
        self.b.store(written, self._place(base, index, element), align=8 if element is I64 else 4)

    def stream(self, vector: Value, base: Value, index: Operand) -> None:
        """Put a vector at base[index], aligned to its own size, past the caches: nobody reads it soon."""
        written = self.b.store(vector.ir, self._place(base, index, F32), align=4 * self.lanes)
        written.set_metadata("nontemporal", self._module.add_metadata([I32(1)]))

    def mask(self, begin: Operand, end: Operand) -> Value:
        """Which lanes l have begin <= l < end."""
        kind = ir.VectorType(I32, self.lanes)
        numbers = ir.Constant(kind, list(range(self.lanes)))
        inside = []
        for sign, limit in ((">=", begin), ("<", end)):
            clipped = self.least(self.most(limit, 0), self.lanes)
            inside.append(self.b.icmp_signed(sign, numbers, self._splat(self.b.trunc(clipped.ir, I32), kind)))
        return Value(self, self.b.and_(*inside))

    def masked_load(self, base: Value, index: Operand, mask: Value) -> Value:
        """base[index:] in the lanes of the mask, 0 in the others; memory of the others is not touched."""
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        kind = ir.FunctionType(self.vector, [POINTER, I32, mask.ir.type, self.vector])
        given = [self._place(base, index, F32), I32(4), mask.ir, self.zero().ir]
        return Value(self, self.b.call(self._intrinsic(name, kind), given))

    def masked_store(self, value: Value, base: Value, index: Operand, mask: Value) -> None:
        """Write the lanes of the mask; memory of the others is not touched."""
        name = f"llvm.masked.store.v{self.lanes}f32.p0"
        kind = ir.FunctionType(ir.VoidType(), [self.vector, POINTER, I32, mask.ir.type])
        self.b.call(self._intrinsic(name, kind), [value.ir, self._place(base, index, F32), I32(4), mask.ir])

    def prefetch(self, address: Value, write: bool = False, level: int = 1) -> None:
        """Ask for the cache line at an address, to read or to write it; it need not be anyone's memory."""
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        place = self.b.inttoptr(address.ir, POINTER)
        self.b.call(self._intrinsic("llvm.prefetch.p0", kind), [place, I32(int(write)), I32(4 - level), I32(1)])

    # -- vectors -------------------------------------------------------------------------------------------------

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a*b + c; rounded once where the chip can (llvm.fma would call libm where it cannot)."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        fused = self._intrinsic(f"llvm.fmuladd.v{self.lanes}f32", kind)
        return Value(self, self.b.call(fused, [a.ir, b.ir, c.ir]))

    def splat(self, number: Value) -> Value:
        """A vector of one number."""
        return Value(self, self._splat(number.ir, self.vector))

    def _splat(self, number: Any, kind: Any) -> Any:
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        return self.b.shuffle_vector(
            one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count)
        )

    def only(self, a: Value, bits: Value) -> Value:
        """A vector where a vector of 32-bit integers is -1, and 0.0 where it is 0."""
        kept = self.b.and_(self.b.bitcast(a.ir, bits.ir.type), bits.ir)
        return Value(self, self.b.bitcast(kept, self.vector))

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """A vector picked from the lanes of a (0 ...) and b (`lanes` ...)."""
        picked = ir.Constant(ir.VectorType(I32, self.lanes), list(lanes))
        return Value(self, self.b.shuffle_vector(a.ir, b.ir, picked))

    # -- calls and threads ---------------------------------------------------------------------------------------

    def call(self, address: Value, *arguments: Operand, returns: bool = False) -> Value:
        """Call a function of this language by its address."""
        kind = ir.FunctionType(I64 if returns else ir.VoidType(), [I64] * len(arguments))
        # llvmlite takes the function's type from a typed pointer; LLVM's own pointers have no type any more
        function = self.b.inttoptr(address.ir, kind.as_pointer())
        return Value(self, self.b.call(function, [self.value(argument).ir for argument in arguments]))

    def atomic_add(self, base: Value, index: int, amount: int) -> Value:
        """Add to an integer that several threads see; what stood there before."""
        return Value(self, self.b.atomic_rmw("add", self._shared(base, index), I64(amount), "seq_cst"))

    def atomic_load(self, base: Value, index: int) -> Value:
        """An integer that other threads write."""
        return Value(self, self.b.load_atomic(self._shared(base, index), "seq_cst", 8))

    def atomic_store(self, value: Operand, base: Value, index: int) -> None:
        """Write an integer that other threads read."""
        self.b.store_atomic(self.value(value).ir, self._shared(base, index), "seq_cst", 8)

    def atomic_swap(self, base: Value, index: int, expected: Value, wanted: Value) -> Value:
        """Whether the integer was as expected, and is now as wanted."""
        pair = self.b.cmpxchg(self._shared(base, index), expected.ir, wanted.ir, "seq_cst", "seq_cst")
        return Value(self, self.b.extract_value(pair, 1))

    def _shared(self, base: Value, index: int) -> Any:
        """An address that llvmlite knows as one of an integer, as its atomic instructions want."""
        return self.b.inttoptr((base + index * 8).ir, I64.as_pointer())

    def keep_float_mode(self, base: Value, index: Operand) -> None:
        """Write down how this thread rounds, and what it does with denormal numbers, where the chip lets one ask."""
        self._float_mode("llvm.x86.sse.stmxcsr", base, index)

    def take_float_mode(self, base: Value, index: Operand) -> None:
        """Compute as the thread that wrote it down."""
        self._float_mode("llvm.x86.sse.ldmxcsr", base, index)

    def _float_mode(self, name: str, base: Value, index: Operand) -> None:
        if is_x86():
            kind = ir.FunctionType(ir.VoidType(), [POINTER])
            self.b.call(self._intrinsic(name, kind), [self._place(base, index, I64)])

    def external(self, name: str, *arguments: Operand) -> Value:
        """Call a C function of 64-bit integers that the process has."""
        kind = ir.FunctionType(I64, [I64] * len(arguments))
        function = self._intrinsic(name, kind)
        return Value(self, self.b.call(function, [self.value(argument).ir for argument in arguments]))

    def pause(self) -> None:
        """Tell the chip that this thread is waiting."""
        kind = ir.FunctionType(ir.VoidType(), [])
        if is_x86():
            self.b.call(self._intrinsic("llvm.x86.sse2.pause", kind), [])

    def _intrinsic(self, name: str, kind: Any) -> Any:
        return self._module.globals.get(name) or ir.Function(self._module, kind, name)
