"""The chip's own limit: fused multiply-adds on registers only, as vectors of the host's width, built with Numba.

Twelve independent chains hide the latency of the instruction (4 cycles on two pipes need eight); nothing is loaded or
stored while they run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

_CHAINS = 12


def lanes() -> int:
    """Float32 numbers in a vector register of this machine."""
    features = import_module("llvmlite.binding").get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


def build() -> tuple[Callable[[int], float], int]:
    """A function of a number of loops that runs without the GIL, and the floating-point operations of one loop.

    Raises ImportError without Numba.
    """
    numba: Any = import_module("numba")
    extending: Any = import_module("numba.extending")
    cgutils: Any = import_module("numba.core.cgutils")
    ir: Any = import_module("llvmlite.ir")
    width = lanes()
    vector = ir.VectorType(ir.FloatType(), width)

    def emit(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        (loops,) = arguments
        kind = ir.FunctionType(vector, [vector] * 3)
        # llvm.fmuladd, unlike llvm.fma, does not become a call to libm on a chip without the instruction
        fma = cgutils.get_or_insert_function(b.module, kind, f"llvm.fmuladd.v{width}f32")
        half, one = ir.Constant(vector, [0.5] * width), ir.Constant(vector, [1.0] * width)
        before, loop, after = b.basic_block, b.append_basic_block("loop"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        count = b.phi(loops.type)
        count.add_incoming(loops, before)
        chains = [b.phi(vector) for _ in range(_CHAINS)]
        for number, chain in enumerate(chains):
            chain.add_incoming(ir.Constant(vector, [float(number)] * width), before)
            chain.add_incoming(b.call(fma, [chain, half, one]), loop)  # towards 2: neither grows nor becomes denormal
        left = b.sub(count, loops.type(1))
        count.add_incoming(left, loop)
        b.cbranch(b.icmp_signed(">", left, loops.type(0)), loop, after)
        b.position_at_end(after)
        total = chains[0]
        for chain in chains[1:]:
            total = b.fadd(total, chain)
        return b.extract_element(total, ir.IntType(32)(0))

    def chained(typing_context: Any, loops: Any) -> Any:
        return numba.types.float32(numba.types.int64), emit

    multiply_adds = extending.intrinsic(chained)

    def run(loops: int) -> Any:
        return multiply_adds(loops)

    compiled: Callable[[int], float] = numba.njit(nogil=True)(run)
    compiled(1)
    return compiled, 2 * _CHAINS * width
