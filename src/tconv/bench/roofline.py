"""Probes of this machine's peak multiply-adds and memory bandwidth, run beside the layers, in a process of their own.

`tconv.acceleration.machine_peaks` has the probes of a processor, and the bound of a layer.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tconv._memory import physical_memory
from tconv.acceleration.machine_peaks import best, cpu_probe
from tconv.bench import timing
from tconv.bench.dtypes import DTYPES
from tconv.bench.worker_protocol import private_stdout, serve


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
                self._probe = (
                    _cuda_probe() if self._device == "cuda" else cpu_probe(self._threads, settle=timing.settle)
                )
                return {"state": "started", "versions": {"numpy": np.__version__}}
            figures = self._probe()
            timing.settle()
            return {"state": "probed", **figures}
        except Exception as error:  # the layers can be timed without a bound
            return {"state": "error", "reason": f"{type(error).__name__}: {error}"[:600]}


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
        return best(once)

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
