"""Building of the machine code that most layers need, ahead of the first call: `tconv env --warmup`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from tconv._arrays import bfloat16
from tconv.geometry import Geometry
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import epilogue, microkernel, native_call
from tconv.kernels.simd.bfloat16_dot import direct_elements
from tconv.kernels.simd.channel_lanes import microkernel as channel_lanes
from tconv.kernels.simd.direct import DTYPES, input_packing, tile_loop
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.elementwise import element_pass, lstm_pass
from tconv.kernels.simd.form_choice import direct_form
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.planes import plane_pass
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
_DEPTHWISE = ((2, 2, 0), (3, 2, 1), (4, 2, 1))
"""Those of usual depthwise ones."""


def warm_up(report: Callable[[str], None]) -> int:
    """Build the code and return the number of functions built. `report` is called with a text before each step."""
    before = OBJECT_CACHE.built
    report("threads")
    pool()
    report("groups of rows")
    row_groups.warm_up()
    report("planes")
    plane_pass.warm_up()
    element_pass.warm_up()
    lstm_pass.address()
    for dtype in _dtypes():
        elements = direct_elements(Layer(Geometry((1, 1)), 64, 64, dtype))
        _build_parts(elements, report)
        for (k, s, p), channels in product(_KERNELS, (1, 2, 3, 4)):
            report(f"{dtype}, kernel {k}, stride {s}, {channels} output channels")
            for size in (64, 100):
                _build_layer(Geometry((k, k), s, p), 64, channels, size, dtype)
        for (k, s, p), channels, size in product(_KERNELS, (32, 64, 128), (8, 14, 28, 56)):
            report(f"{dtype}, kernel {k}, stride {s}, {channels} output channels")
            _build_layer(Geometry((k, k), s, p), 4 * channels, channels, size, dtype)
        for vectors, activated in product(range(1, channel_lanes.most_vectors() + 1), (False, True)):
            report(f"{dtype}, channels last, {vectors} vectors")
            most = channel_lanes.most_positions(vectors)
            for positions in (most, most - 1):
                channel_lanes.address(channel_lanes.Block(positions, vectors), activated, elements)
    report("calls of compiled programs")
    native_call.build(_dtypes())
    for k, s, p in _DEPTHWISE:
        report(f"depthwise kernel {k}, stride {s}")
        _build_layer(Geometry((k, k), s, p, 1, 64), 64, 64, 28, np.dtype(np.float32))
    return OBJECT_CACHE.built - before


def _dtypes() -> list[np.dtype[Any]]:
    """Return the dtypes of the kernel; bfloat16 if NumPy has it, with ml_dtypes."""
    others = [np.dtype(name) for name in DTYPES if name != "bfloat16"]
    return [*others, np.dtype(bfloat16("x"))] if importlib.util.find_spec("ml_dtypes") else others


def _build_parts(elements: Elements, report: Callable[[str], None]) -> None:
    """Build the functions that do not depend on a geometry."""
    tile_loop.address(elements)
    epilogue.address_of_prefetch(elements)
    for rows in range(1, 7):
        for vectors in range(1, microkernel.most_vectors(rows) + 1):
            report(f"{elements.stored}, multiply-adds, {rows} rows of {vectors} vectors")
            microkernel.address(microkernel.Rows(rows, 1, ((0,),)), vectors, elements)
    for stride in (1, 2, 3, 4, 8):
        for out_fast, out_channel, activated in product((1, 2), (1, 2), (False, True)):
            report(f"{elements.stored}, writing, stride {stride}")
            epilogue.address(stride, out_fast, out_channel, 64, False, activated, elements)
    for x_fast, x_channel in product((1, 2), (1, 2)):
        report(f"{elements.stored}, packing")
        for vectors in range(1, input_packing.SHORT + 2):
            input_packing.address(x_fast, x_channel, 64, vectors * elements.lanes, elements)


def _build_layer(g: Geometry, in_channels: int, out_channels: int, size: int, dtype: np.dtype[Any]) -> None:
    """Build the functions of the direct sum of a layer, with channels first and with channels last."""
    p = Problem(g, 1, in_channels, out_channels, (size, size), dtype)
    shapes = (1, in_channels, size, size), (1, out_channels, *p.output_shape)
    for order in (0, 1, 2, 3), (0, 3, 1, 2):
        # channels last: the strides of [N, H, W, C] in the order of the canonical axes
        moved = [tuple(shape[axis] for axis in np.argsort(order)) for shape in shapes]
        x, out = (np.empty(shape, dtype).transpose(order) for shape in moved)
        strides = [tuple(step // dtype.itemsize for step in array.strides) for array in (x, out)]
        direct_form(p, strides[0], strides[1]).compile(p, *strides, 1, False)
