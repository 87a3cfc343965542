"""The adjoint, a strided convolution, and the gradient of the weight, a correlation, without inserted zeros."""

from __future__ import annotations

from itertools import product
from typing import Any

from tconv.geometry import Geometry
from tconv.operator.standard.operations import Operations, Size


def conv(ops: Operations, y: Any, w: Any, g: Geometry) -> Any:
    """Return u [N, *n, C_in] from y [N, *L, C_out] and w [groups, *kernel, C_in/groups, C_out/groups]."""
    last = g.ndim + 2
    return ops.conv(y, ops.transpose(w, (*range(last - 1), last, last - 1)), g.stride, g.dilation, g.crop)


def weight_gradient(ops: Operations, x: Any, y: Any, g: Geometry, taps_at_once: int) -> Any:
    """Return w [groups, *kernel, C_in/groups, C_out/groups] from x [N, *n, C_in] and y [N, *L, C_out].

    It is one product for each run of `taps_at_once` taps of the kernel in C order: w[t] = sum over i of
    x[i] y[s*i + d*t - lo], whose second factor is a strided slice of y.
    """
    batch, *inputs, c_in = ops.sizes(x)
    c_out = ops.sizes(y)[-1]
    G = g.groups
    windows = ops.pad(y, [(0, 0), *g.crop, (0, 0)])
    x = ops.reshape(x, (batch, *inputs, G, c_in // G))
    taps, rows = list(product(*map(range, g.kernel))), []
    for start in range(0, len(taps), taps_at_once):
        slices = [_slice(ops, windows, g, tap, inputs) for tap in taps[start : start + taps_at_once]]
        slices = [ops.reshape(each, (batch, *inputs, G, c_out // G)) for each in slices]
        sums = ops.correlate(x, slices[0] if len(slices) == 1 else ops.concatenate(slices, g.ndim + 2))
        rows.append(ops.reshape(sums, (G, c_in // G, len(slices), c_out // G)))
    w = rows[0] if len(rows) == 1 else ops.concatenate(rows, 2)
    return ops.reshape(ops.transpose(w, (0, 2, 1, 3)), (G, *g.kernel, c_in // G, c_out // G))


def _slice(ops: Operations, windows: Any, g: Geometry, tap: tuple[int, ...], inputs: list[Size]) -> Any:
    """Return what a tap reads of the padded y: [N, *n, C_out]."""
    batch, *_, channels = ops.sizes(windows)
    starts = [0, *(d * t for d, t in zip(g.dilation, tap, strict=True)), 0]
    return ops.slice(windows, starts, (batch, *inputs, channels), (1, *g.stride, 1))
