"""float32 on the vector units of the CPU."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tconv.kernels.problem import Array, Kernel, Problem
from tconv.kernels.simd import job
from tconv.kernels.simd.pool import pool

_threads = 2


@lru_cache(maxsize=64)
def _job(p, xs, os_, threads, activated):
    return job.Job(p, xs, os_, threads, activated)


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array) -> None:
    j = _job(p, tuple(s // 4 for s in x.strides), tuple(s // 4 for s in out.strides), _threads, False)
    weights = job.packed(p, w)
    frame = j.filled(x.ctypes.data, weights.ctypes.data, 0 if bias is None else bias.ctypes.data, out.ctypes.data)
    pool().run(j.item, frame.ctypes.data, j.scratch, 0, j.items, j.threads)
