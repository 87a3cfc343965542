"""The adjoint, a strided convolution, and the gradient of the weight, a correlation, without inserted zeros."""

from __future__ import annotations

from collections.abc import Sequence
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
    *positions, c_in = ops.sizes(x)
    c_out, G = ops.sizes(y)[-1], g.groups
    x = ops.reshape(x, (*positions, G, c_in // G))
    windows, rows = slices(ops, y, g, positions), []
    for start in range(0, len(windows), taps_at_once):
        run = [ops.reshape(each, (*positions, G, c_out // G)) for each in windows[start : start + taps_at_once]]
        sums = ops.correlate(x, run[0] if len(run) == 1 else ops.concatenate(run, g.ndim + 2))
        rows.append(ops.reshape(sums, (G, c_in // G, len(run), c_out // G)))
    w = rows[0] if len(rows) == 1 else ops.concatenate(rows, 2)
    return ops.reshape(ops.transpose(w, (0, 2, 1, 3)), (G, *g.kernel, c_in // G, c_out // G))


def slices(ops: Operations, y: Any, g: Geometry, positions: Sequence[Size]) -> list[Any]:
    """Return what each tap of the kernel reads of y: y[s*i + d*t - lo] for all positions (N, *n) of x."""
    windows = ops.pad(y, [(0, 0), *g.crop, (0, 0)])
    sizes, found = (*positions, ops.sizes(y)[-1]), []
    for tap in product(*map(range, g.kernel)):
        starts = [0, *(d * t for d, t in zip(g.dilation, tap, strict=True)), 0]
        found.append(ops.slice(windows, starts, sizes, (1, *g.stride, 1)))
    return found
