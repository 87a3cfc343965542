"""Signals of ever-changing lengths: memory must stay flat, no machine code be built, and a new length cost little.

    python benchmarks/changing_lengths.py [MINUTES]

prints, once a minute, the resident memory of the process, the number of compiled functions, and the median time of a
call with a new length, and of the same call again.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np

import tconv
from tconv.kernels.simd.object_cache import OBJECT_CACHE

_PAGE = 4096


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def main(minutes: float) -> None:
    rng = np.random.default_rng(0)
    layer = tconv.prepare(rng.standard_normal((64, 32, 16), dtype=np.float32), stride=8, padding=4)
    signal = rng.standard_normal((1, 64, 200_000), dtype=np.float32)
    begun = time.perf_counter()
    print("minute  calls  resident MB  functions built  new length ms  again ms")
    for minute in range(1, round(minutes) + 1):
        new, again = [], []
        while time.perf_counter() - begun < 60 * minute:
            x = np.ascontiguousarray(signal[:, :, : rng.integers(1, 3000)])
            for times in (new, again):
                start = time.perf_counter()
                layer(x)
                times.append(time.perf_counter() - start)
        medians = [statistics.median(times) * 1e3 for times in (new, again)]
        print(
            f"{minute:6}  {len(new):5}  {resident():11.1f}  {OBJECT_CACHE.built:15}  "
            f"{medians[0]:13.2f}  {medians[1]:8.2f}"
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
