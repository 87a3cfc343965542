"""Peaks of this machine's processor: multiply-adds and copied bytes per second, measured.

The bound of a layer is max(2 * MACs / peak, bytes / bandwidth): direct arithmetic at the peak, every byte of x, weight
and y moved once. The peak is the larger of a matrix product through NumPy's BLAS and, where LLVM is installed,
multiply-adds on registers only. A layer that fits the caches may move its bytes faster than the copy does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

_PRODUCT = 2048
COPIED = 1 << 28
"""Bytes: several times the caches of a large server."""
_FMA_SECONDS = 0.03
_PRODUCTS = {"sgemm": np.float32, "dgemm": np.float64}

FMA = {"float32": ("fma", "sgemm"), "float64": ("fma float64", "dgemm")}
SOURCES = {**FMA, "float16": FMA["float32"], "bfloat16": ("dot bfloat16", *FMA["float32"])}
"""Probes of the peak for each dtype, in that of its sums; bfloat16 has dot products of its own on some chips."""


class Peaks(NamedTuple):
    """Highest rates of this machine."""

    gflops: float
    """FLOP per second, in 10**9; a multiply-add is two."""
    source: str
    """Probe that reached it: "fma", "sgemm", or the precision of a GPU's matrix products."""
    copy: float
    """Bytes read and written per second, in 10**9."""

    def seconds(self, macs: int, nbytes: int) -> tuple[float, str]:
        """Return the bound of a layer in seconds, and the side that gives it: "arithmetic" or "bytes"."""
        sides = (2 * macs / self.gflops / 1e9, "arithmetic"), (nbytes / self.copy / 1e9, "bytes")
        return max(sides)


def peaks(threads: int, dtype: str = "float32") -> Peaks:
    """Return the peaks for one dtype, from one run of the probes that it needs. It takes about a second."""
    wanted = SOURCES.get(dtype, SOURCES["float32"])
    figures = cpu_probe(threads, wanted, copied=COPIED // 4)()
    best = max((figures[name], name) for name in wanted if name in figures)
    return Peaks(*best, figures["copy"])


def highest(*measured: Peaks) -> Peaks:
    """Return the highest rates of several measurements: other programs can only lower them."""
    fastest = max(measured, key=lambda each: each.gflops)
    return fastest._replace(copy=max(each.copy for each in measured))


def cpu_probe(
    threads: int, wanted: Sequence[str] = (), settle: Callable[[], None] = lambda: None, copied: int = COPIED
) -> Callable[[], dict[str, float]]:
    """Return a function that measures GFLOP/s by source, and the GB/s of a copy, read and written.

    `wanted` are the sources to measure, all by default; `settle` is called where threads may still be busy.
    """
    products = {name: kind for name, kind in _PRODUCTS.items() if not wanted or name in wanted}
    factors = {name: np.ones((3, _PRODUCT, _PRODUCT), kind) for name, kind in products.items()}
    source, target = np.ones(copied, np.uint8), np.ones(copied, np.uint8)
    parts = [slice(start, start + copied // threads) for start in range(0, copied, copied // threads)]
    pool = ThreadPoolExecutor(threads)
    multiply_adds = _multiply_adds(pool, threads, wanted)

    def copy() -> None:
        list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

    def probe() -> dict[str, float]:
        figures = {name: 2 * _PRODUCT**3 / best(partial(np.matmul, *arrays)) / 1e9 for name, arrays in factors.items()}
        figures["copy"] = 2 * copied / best(copy) / 1e9
        settle()
        return figures | {name: measure() for name, measure in multiply_adds.items()}

    return probe


def _multiply_adds(pool: ThreadPoolExecutor, threads: int, wanted: Sequence[str]) -> dict[str, Callable[[], float]]:
    """Return the measurements of GFLOP/s on registers, by name: those that this chip can run."""
    try:
        loops = import_module("tconv.acceleration.peak_flops").loops()
    except ImportError:  # no LLVM
        return {}

    def measured(run: Callable[[int], None], flops: int) -> Callable[[], float]:
        once = min(seconds(lambda: run(100_000)) for _ in range(3))
        count = round(100_000 * _FMA_SECONDS / once)
        return lambda: threads * count * flops / best(lambda: list(pool.map(run, [count] * threads))) / 1e9

    return {name: measured(run, flops) for name, (run, flops) in loops.items() if not wanted or name in wanted}


def best(call: Callable[[], Any], times: int = 3) -> float:
    """Return the least seconds of some calls."""
    return min(seconds(call) for _ in range(times))


def seconds(call: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
