"""Probes of this machine's peak multiply-adds and memory bandwidth, run beside the layers, in a process of their own.

The bound of a layer is max(2 * MACs / peak, bytes / copy bandwidth): direct arithmetic at the peak, every byte of x,
weight and y moved once. The peak is the larger of a matrix product through NumPy's BLAS and, where LLVM is installed,
multiply-adds on registers only, in the dtype of the sums; for bfloat16 also its dot products where the chip has them.
A layer that fits the caches may move its bytes faster than the copy does.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tconv._memory import physical_memory
from tconv.bench import timing
from tconv.bench.dtypes import DTYPES
from tconv.bench.worker_protocol import private_stdout, serve

_PRODUCT = 2048
_COPIED = 1 << 28  # bytes: several times the caches of a large server
_FMA_SECONDS = 0.03
_PRODUCTS = {"sgemm": np.float32, "dgemm": np.float64}


class RooflineProbe:
    """Answers the messages "start" and "probe", as a worker does."""

    def __init__(self, threads: int, device: str) -> None:
        self._threads, self._device = threads, device
        self._probe: Callable[[], dict[str, float]] = lambda: {}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return {"state": "probed", ...}: GFLOP/s by source ("fma float64", "sgemm"), and the copy's GB/s.

        The latter counts bytes read plus bytes written.
        """
        try:
            if message["do"] == "start":
                self._probe = _cuda_probe() if self._device == "cuda" else _cpu_probe(self._threads)
                return {"state": "started", "versions": {"numpy": np.__version__}}
            figures = self._probe()
            timing.settle()
            return {"state": "probed", **figures}
        except Exception as error:  # the layers can be timed without a bound
            return {"state": "error", "reason": f"{type(error).__name__}: {error}"[:600]}


def _cpu_probe(threads: int) -> Callable[[], dict[str, float]]:
    factors = {name: np.ones((3, _PRODUCT, _PRODUCT), kind) for name, kind in _PRODUCTS.items()}
    source, target = np.ones(_COPIED, np.uint8), np.ones(_COPIED, np.uint8)
    parts = [slice(start, start + _COPIED // threads) for start in range(0, _COPIED, _COPIED // threads)]
    pool = ThreadPoolExecutor(threads)
    multiply_adds = _multiply_adds(pool, threads)

    def copy() -> None:
        list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

    def probe() -> dict[str, float]:
        figures = {name: 2 * _PRODUCT**3 / _best(partial(np.matmul, *arrays)) / 1e9 for name, arrays in factors.items()}
        figures["copy"] = 2 * _COPIED / _best(copy) / 1e9
        timing.settle()
        return figures | {name: measure() for name, measure in multiply_adds.items()}

    return probe


def _multiply_adds(pool: ThreadPoolExecutor, threads: int) -> dict[str, Callable[[], float]]:
    """Return the measurements of GFLOP/s on registers, by name: those that this chip can run."""
    try:
        loops = import_module("tconv.bench.peak_flops").loops()
    except ImportError:  # no LLVM
        return {}

    def measured(run: Callable[[int], None], flops: int) -> Callable[[], float]:
        once = min(_seconds(lambda: run(100_000)) for _ in range(3))
        count = round(100_000 * _FMA_SECONDS / once)
        return lambda: threads * count * flops / _best(lambda: list(pool.map(run, [count] * threads))) / 1e9

    return {name: measured(run, flops) for name, (run, flops) in loops.items()}


def _best(call: Callable[[], Any], times: int = 3) -> float:
    return min(_seconds(call) for _ in range(times))


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _cuda_probe() -> Callable[[], dict[str, float]]:
    """Products in every dtype and a copy on the GPU. Never run on a GPU so far."""
    torch: Any = import_module("torch")
    size = 8192
    a, b = torch.randn(2, size, size, device="cuda")
    source = torch.ones(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)

    def timed(call: Callable[[], Any]) -> float:
        def once() -> None:
            call()
            torch.cuda.synchronize()

        once()
        return _best(once)

    def product(dtype: str) -> float:
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        left, right = (a.bfloat16(), b.bfloat16()) if dtype == "bfloat16" else (a, b)
        return float(2 * size**3 / timed(lambda: left @ right) / 1e9)

    def probe() -> dict[str, float]:
        products = {dtype: product(dtype) for dtype in DTYPES["cuda"]}
        return {**products, "copy": 2 * len(source) / timed(lambda: target.copy_(source)) / 1e9}

    return probe


def machine_facts() -> dict[str, Any]:
    """Return name, processor, cores, memory, system and load (the average of a minute) of this machine."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text(errors="replace").splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {
        "name": platform.node(),
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": physical_memory(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def main(arguments: Sequence[str]) -> None:
    """Serve the probes: THREADS DEVICE."""
    threads, device = arguments
    answers = private_stdout()
    serve(RooflineProbe(int(threads), device), sys.stdin, answers.write)


if __name__ == "__main__":
    main(sys.argv[1:])
