"""Functions for threads: integers that threads share, C functions of the process, and the float mode of a thread."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tconv.kernels.simd.cpu_target import is_x86
from tconv.kernels.simd.vector_ir import I32, I64, POINTER, Function, Operand, Value


class ThreadFunction(Function):
    """Function with the instructions that the pool of threads needs."""

    def atomic_add(self, base: Value, index: int, amount: Operand) -> Value:
        """Add to an integer that threads share, and return its value before."""
        return Value(self, self.b.atomic_rmw("add", self._shared(base, index), self.value(amount).ir, "seq_cst"))

    def atomic_load(self, base: Value, index: int) -> Value:
        """Return an integer that other threads write."""
        return Value(self, self.b.load_atomic(self._shared(base, index), "seq_cst", 8))

    def atomic_store(self, value: Operand, base: Value, index: int) -> None:
        """Store an integer that other threads read."""
        self.b.store_atomic(self.value(value).ir, self._shared(base, index), "seq_cst", 8)

    def atomic_swap(self, base: Value, index: int, expected: Operand, wanted: Operand) -> Value:
        """Store `wanted` if the integer is `expected`, and return the condition that it was."""
        before, after = self.value(expected).ir, self.value(wanted).ir
        old_and_success = self.b.cmpxchg(self._shared(base, index), before, after, "seq_cst", "seq_cst")
        return Value(self, self.b.extract_value(old_and_success, 1))

    def _shared(self, base: Value, index: int) -> Any:
        """Return the address base[index] as the typed pointer that llvmlite's atomic instructions need."""
        return self.b.inttoptr((base + index * 8).ir, I64.as_pointer())

    def integers(self, count: int) -> Value:
        """Return the address of memory of the function's own, for this many integers, at a cache line."""
        memory = self._allocations.alloca(ir.ArrayType(I64, count))
        memory.align = 64
        return Value(self, self._allocations.ptrtoint(memory, I64))

    def run_tiles_of(
        self, tile: Value, frame: Value, scratch: Operand, end: Operand, launch: Value, pool: Value, helpers: Operand
    ) -> None:
        """Run the tiles in [0, end) with helpers of a pool (`launch` opens a call for them), or alone without any."""

        def together() -> None:
            self.call(launch, pool, tile, frame, scratch, 0, end, helpers, returns=True)

        def alone() -> None:
            with self.loop(end) as number:
                self.call(tile, frame, scratch, number)

        self.cases(self.value(helpers) > 0, together, alone)

    def save_float_mode(self, base: Value, index: Operand) -> None:
        """Store the rounding mode of this thread, and its treatment of denormals, at base[index]."""
        if is_x86():
            self._x86_float_mode("llvm.x86.sse.stmxcsr", base, index)
        else:
            get = self.intrinsic("llvm.aarch64.get.fpcr", ir.FunctionType(I64, []))
            self.store(Value(self, self.b.call(get, [])), base, index, I64)

    def restore_float_mode(self, base: Value, index: Operand) -> None:
        """Set the float mode of this thread to the one that is stored at base[index]."""
        if is_x86():
            self._x86_float_mode("llvm.x86.sse.ldmxcsr", base, index)
        else:
            put = self.intrinsic("llvm.aarch64.set.fpcr", ir.FunctionType(ir.VoidType(), [I64]))
            self.b.call(put, [self.load(base, index, I64).ir])

    def _x86_float_mode(self, name: str, base: Value, index: Operand) -> None:
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        self.b.call(self.intrinsic(name, kind), [self._pointer(base, index, I64)])

    def external(self, name: str, *arguments: Operand) -> Value:
        """Call a C function of the process that takes and returns 64-bit integers."""
        kind = ir.FunctionType(I64, [I64] * len(arguments))
        function = self.intrinsic(name, kind)
        return Value(self, self.b.call(function, [self.value(argument).ir for argument in arguments]))

    def pause(self) -> None:
        """Pause for some cycles in a loop that waits."""
        if is_x86():
            self.b.call(self.intrinsic("llvm.x86.sse2.pause", ir.FunctionType(ir.VoidType(), [])), [])
        else:  # longer than the instruction "yield", which most chips skip
            self.b.call(self.intrinsic("llvm.aarch64.isb", ir.FunctionType(ir.VoidType(), [I32])), [I32(15)])
