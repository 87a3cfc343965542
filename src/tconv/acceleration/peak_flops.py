"""Peak of the processor: compiled loops of multiply-adds on registers only, in vectors of the target's width.

Twelve independent chains hide the latency of the instruction (4 cycles on two pipes need eight); nothing is loaded or
stored while they run. The loops are LLVM's text, for `vector_ir` has no use for most of their types.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.object_cache import OBJECT_CACHE

_CHAINS = 12
_VECTOR_BYTES = 4  # of one of the target's lanes


class _Instruction(NamedTuple):
    """A multiply-add of vectors: LLVM's types of its sums and of its factors, its name, and the FLOP of one."""

    sums: str
    factors: str
    name: str
    flops: int


def loops() -> dict[str, tuple[Callable[[int], None], int]]:
    """Return functions of a number of loops that run without the GIL, and the FLOP of one loop, by name.

    "fma" and "fma float64" are multiply-adds of vectors; "dot bfloat16" are the dot products of AVX512-BF16, if the
    target is this machine's own chip and has them.
    """
    lanes = target().lanes
    known = {}
    for name, element, count in (("fma", "float", lanes), ("fma float64", "double", lanes // 2)):
        vector = f"<{count} x {element}>"
        known[name] = _Instruction(vector, vector, f"llvm.fmuladd.v{count}f{32 * lanes // count}", 2 * count)
    if target().cpu == llvm.get_host_cpu_name() and llvm.get_host_cpu_features().get("avx512bf16"):
        pairs = f"<{2 * lanes} x bfloat>"
        name = f"llvm.x86.avx512bf16.dpbf16ps.{8 * _VECTOR_BYTES * lanes}"
        known["dot bfloat16"] = _Instruction(f"<{lanes} x float>", pairs, name, 4 * lanes)
    return {name: (_compiled(name, kind), _CHAINS * kind.flops) for name, kind in known.items()}


def _compiled(name: str, kind: _Instruction) -> Callable[[int], None]:
    # machine code is cached by name and by the sources of the kernels, and this file is not one of them
    symbol = f"{name.replace(' ', '_')}_{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    address = OBJECT_CACHE.address(symbol, lambda: _loop(symbol, kind))
    chained = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(address)
    size = _CHAINS * _VECTOR_BYTES * target().lanes

    def run(count: int) -> None:
        sums = np.zeros(size, np.uint8)
        chained(count, sums.ctypes.data)

    return run


def _loop(symbol: str, kind: _Instruction) -> str:
    """Return the text of a function of a number of loops (at least 1) and the address of zeros that its sums replace.

    A multiply-add computes 0.5 * sum + 1, which goes to 2; a dot product sum + 1, which grows to 2**24 and stays.
    """
    sums, factors, name, _ = kind
    element = factors.split()[-1].rstrip(">")
    half, one = (f"splat ({element} {_constant(element, value)})" for value in (0.5, 1.0))
    phis, steps, stores = [], [], []
    for c in range(_CHAINS):
        phis.append(f"%s{c} = phi {sums} [%sum, %start], [%t{c}, %loop]")
        steps.append(f"%t{c} = call {sums} @{name}({sums} %s{c}, {factors} %a, {factors} %b)")
        stores += [f"%p{c} = getelementptr {sums}, ptr %sums, i64 {c}", f"store {sums} %t{c}, ptr %p{c}, align 4"]
    lines = [
        f"declare {sums} @{name}({sums}, {factors}, {factors})",
        f"define void @{symbol}(i64 %count, ptr %sums) {{",
        "start:",
        f"%zeros = load {factors}, ptr %sums, align 4",  # a compiler that knew the factors could leave out the loop
        f"%sum = load {sums}, ptr %sums, align 4",
        f"%a = fadd {factors} %zeros, {half}",
        f"%b = fadd {factors} %zeros, {one}",
        "br label %loop",
        "loop:",
        "%i = phi i64 [0, %start], [%next, %loop]",
        *phis,
        *steps,
        "%next = add i64 %i, 1",
        "%on = icmp slt i64 %next, %count",
        "br i1 %on, label %loop, label %end",
        "end:",
        *stores,
        "ret void",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _constant(element: str, value: float) -> str:
    return "0xR" + {0.5: "3F00", 1.0: "3F80"}[value] if element == "bfloat" else f"{value:e}"
