"""Peak of the processor: a compiled loop of fused multiply-adds on registers only, in vectors of the host's width.

Twelve independent chains hide the latency of the instruction (4 cycles on two pipes need eight); nothing is loaded or
stored while they run.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import Function

_CHAINS = 12


def build() -> tuple[Callable[[int], None], int]:
    """Return a function of a number of loops that runs without the GIL, and the operations (FLOP) of one loop."""
    # machine code is cached by name and by the sources of the kernels, and this file is not one of them
    name = "multiply_adds_" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    chained = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(OBJECT_CACHE.address(name, lambda: _write(name)))
    lanes = target().lanes

    def run(loops: int) -> None:
        sums = np.empty(_CHAINS * lanes, np.float32)
        chained(loops, sums.ctypes.data)

    return run, 2 * _CHAINS * lanes


def _write(name: str) -> str:
    f = Function(name, 2)
    loops, sums = f.arguments
    half, one = (f.value(number, f.vector) for number in (0.5, 1.0))
    chains = [f.var(f.value(float(number), f.vector)) for number in range(_CHAINS)]
    with f.loop(loops):
        for chain in chains:
            chain.set(f.fma(chain.value, half, one))  # towards 2: neither grows nor becomes denormal
    for number, chain in enumerate(chains):
        f.store(chain.value, sums, number * f.lanes)
    return f.finish()
