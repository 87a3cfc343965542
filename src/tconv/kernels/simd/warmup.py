"""Machine code for what most layers need, built ahead of the first call."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd import micro, pack, winograd_rows, write
from tconv.kernels.simd.job import Job
from tconv.kernels.simd.library import LIBRARY
from tconv.kernels.simd.pool import pool
from tconv.kernels.simd.target import target

_KERNELS = (
    (1, 1, 0),
    (2, 2, 0),
    (3, 1, 1),
    (3, 2, 1),
    (4, 2, 1),
    (4, 4, 0),
    (5, 2, 2),
    (9, 2, 4),
    (9, 3, 4),
    (9, 4, 4),
)
"""kernel, stride, padding"""


def warmup(tell: Callable[[str], None]) -> int:
    """Build it, telling what is being built; how many functions had to be built."""
    before = LIBRARY.built
    tell("threads")
    pool()
    for rows in range(1, 7):
        for vectors in range(1, micro.most_vectors(rows) + 1):
            tell(f"multiply-adds, {rows} rows of {vectors} vectors")
            micro.address(micro.Rows(rows, 1, ((0,),)), vectors)
    for stride in (1, 2, 3, 4, 8):
        for out_fast, out_channel, activated in product((1, 2), (1, 2), (False, True)):
            tell(f"writing, stride {stride}")
            write.address(stride, out_fast, out_channel, activated)
    for x_fast, x_channel in product((1, 2), (1, 2)):
        tell("packing")
        for vectors in range(1, pack.SHORT + 2):
            pack.address(x_fast, x_channel, vectors * target().lanes)
    for activated in (False, True):
        tell("groups of rows")
        winograd_rows.address(activated)
    for k, s, p in _KERNELS:
        for channels in (1, 2, 3, 4):
            tell(f"kernel {k}, stride {s}, {channels} output channels")
            _build(Geometry((k, k), s, p), channels)
    return LIBRARY.built - before


def _build(g: Geometry, channels: int) -> None:
    for size in (64, 100):
        p = Problem(g, 1, 64, channels, (size, size), np.dtype(np.float32))
        steps = [np.empty(shape, np.float32).strides for shape in ((1, 64, size, size), (1, channels, *p.output_shape))]
        x, out = (tuple(step // 4 for step in strides) for strides in steps)
        Job(p, x, out, 1, False)
