"""Building of the machine code that most layers need, ahead of the first call: `tconv env --warmup`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.direct import DTYPES, input_packing, tile_loop
from tconv.kernels.simd.direct.call_tables import DirectCall
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.winograd_f43 import row_groups

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
"""Size, stride and padding of usual kernels."""


def warm_up(report: Callable[[str], None]) -> int:
    """Build the code and return the number of functions built. `report` is called with a text before each step."""
    before = OBJECT_CACHE.built
    report("threads")
    pool()
    for activated in (False, True):
        report("groups of rows")
        row_groups.address(activated)
    for name in DTYPES:
        elements = Elements(name, "float64" if name == "float64" else "float32")
        _build_parts(elements, report)
        if elements == elements.sums:  # the others have the multiply-adds of float32
            for (k, s, p), channels in product(_KERNELS, (1, 2, 3, 4)):
                report(f"{name}, kernel {k}, stride {s}, {channels} output channels")
                _build_geometry(Geometry((k, k), s, p), channels, np.dtype(name))
    return OBJECT_CACHE.built - before


def _build_parts(elements: Elements, report: Callable[[str], None]) -> None:
    """Build the functions that do not depend on a geometry."""
    tile_loop.address(elements)
    for rows in range(1, 7):
        for vectors in range(1, microkernel.most_vectors(rows) + 1):
            report(f"{elements.stored}, multiply-adds, {rows} rows of {vectors} vectors")
            microkernel.address(microkernel.Rows(rows, 1, ((0,),)), vectors, elements)
    for stride in (1, 2, 3, 4, 8):
        for out_fast, out_channel, activated in product((1, 2), (1, 2), (False, True)):
            report(f"{elements.stored}, writing, stride {stride}")
            epilogue.address(stride, out_fast, out_channel, activated, elements)
    for x_fast, x_channel in product((1, 2), (1, 2)):
        report(f"{elements.stored}, packing")
        for vectors in range(1, input_packing.SHORT + 2):
            input_packing.address(x_fast, x_channel, vectors * elements.lanes, elements)


def _build_geometry(g: Geometry, channels: int, dtype: np.dtype[Any]) -> None:
    for size in (64, 100):
        p = Problem(g, 1, 64, channels, (size, size), dtype)
        shapes = (1, 64, size, size), (1, channels, *p.output_shape)
        x, out = (tuple(step // dtype.itemsize for step in np.empty(shape, dtype).strides) for shape in shapes)
        DirectCall(p, x, out, 1, False)
