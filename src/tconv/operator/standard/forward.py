"""The transposed convolution as convolutions of stride 1, one for each group of phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from tconv.geometry import Geometry
from tconv.operator.standard.operations import Operations
from tconv.operator.standard.phase_groups import AxisPhases, PhaseGroup, axis_phases


def conv_transpose(ops: Operations, x: Any, w: Any, g: Geometry, aligned: Sequence[bool]) -> Any:
    """Return y [N, *L, C_out] from x [N, *n, C_in] and w [groups, *kernel, C_in/groups, C_out/groups].

    `aligned` says for each axis how its phases are grouped, see `axis_phases`.
    """
    known = [n if isinstance(n, int) else None for n in ops.sizes(x)[1:-1]]
    spec = zip(g.kernel, g.stride, g.dilation, g.crop, aligned, known, strict=True)
    axes = [axis_phases(k, s, d, *crop, align, n) for k, s, d, crop, align, n in spec]
    pieces = {
        numbers: _piece(ops, x, w, [axis.groups[i] for axis, i in zip(axes, numbers, strict=True)], axes)
        for numbers in product(*(range(len(axis.groups)) for axis in axes))
    }
    y = _interleaved(ops, pieces, axes)
    return ops.pad(y, [(0, 0), *((-lo, -hi) for lo, hi in (axis.crop for axis in axes)), (0, 0)])


def _piece(ops: Operations, x: Any, w: Any, groups: Sequence[PhaseGroup], axes: Sequence[AxisPhases]) -> Any:
    """Return the outputs of a group of phases as [N, m, phases, m, phases, ..., C_out]."""
    batch, *inputs, _ = ops.sizes(x)
    outputs = [n + axis.extra for n, axis in zip(inputs, axes, strict=True)]
    phases = [len(group.phases) for group in groups]
    channels = ops.sizes(w)[0] * ops.sizes(w)[-1]
    pairs = [size for pair in zip(outputs, phases, strict=True) for size in pair]
    if not all(group.tap_count for group in groups):
        return ops.zeros((batch, *pairs, channels), x)
    kernel = _kernel(ops, w, groups)
    y = ops.conv(x, kernel, [1] * len(groups), [g.input_step for g in groups], [g.pad for g in groups])
    if math.prod(phases) == 1:
        return ops.reshape(y, (batch, *pairs, channels))
    ndim, (G, *_, per_group) = len(groups), ops.sizes(w)
    y = ops.reshape(y, (batch, *outputs, G, *phases, per_group))
    spread = [axis for a in range(ndim) for axis in (1 + a, 2 + ndim + a)]
    y = ops.transpose(y, (0, *spread, 1 + ndim, 2 + 2 * ndim))
    return ops.reshape(y, (batch, *pairs, channels))


def _kernel(ops: Operations, w: Any, groups: Sequence[PhaseGroup]) -> Any:
    """Return the taps of a group of phases as [G, *counts, C_in/G, phases x C_out/G], last taps first."""
    ndim = len(groups)
    for a, group in enumerate(groups):
        w = _axis_kernel(ops, w, a, group)  # each puts an axis of its phases before the last
    w = ops.flip(w, [1 + a for a, group in enumerate(groups) if group.tap_count > 1])
    sizes = ops.sizes(w)
    return ops.reshape(w, (*sizes[: ndim + 2], math.prod(sizes[ndim + 2 :])))


def _axis_kernel(ops: Operations, w: Any, a: int, group: PhaseGroup) -> Any:
    axis, sizes = 1 + a, ops.sizes(w)
    first, count, step = group.first_taps, group.tap_count, group.tap_step
    taps = len(first) * count
    if (
        first == tuple(range(first[0], first[0] + step)) and len(first) == step
    ):  # consecutive taps in consecutive phases
        w = _range(ops, w, axis, first[0], taps, 1)
        w = ops.reshape(w, (*sizes[:axis], count, step, *sizes[axis + 1 :]))
    else:
        rows = [_range(ops, w, axis, t, count, step) for t in first]
        rows = [ops.reshape(row, (*sizes[:axis], count, 1, *sizes[axis + 1 :])) for row in rows]
        w = ops.concatenate(rows, axis + 1)
    order = list(range(len(sizes) + 1))
    order.insert(len(sizes) - 1, order.pop(axis + 1))
    return ops.transpose(w, order) if len(first) > 1 else ops.reshape(w, [ops.sizes(w)[i] for i in order])


def _range(ops: Operations, w: Any, axis: int, start: int, count: int, step: int) -> Any:
    sizes = list(ops.sizes(w))
    if (start, count) == (0, sizes[axis]):
        return w
    starts, steps = [0] * len(sizes), [1] * len(sizes)
    starts[axis], sizes[axis], steps[axis] = start, count, step
    return ops.slice(w, starts, sizes, steps)


def _interleaved(ops: Operations, pieces: dict[tuple[int, ...], Any], axes: Sequence[AxisPhases]) -> Any:
    """Return the groups of phases as one array [N, *outputs, C_out], from the last axis to the first."""
    for a in range(len(axes) - 1, -1, -1):
        groups, axis = axes[a].groups, 2 + 2 * a
        joined = {}
        for numbers in sorted({numbers[:-1] for numbers in pieces}):
            row = [pieces[*numbers, i] for i in range(len(groups))]
            sizes = ops.sizes(row[0])
            y = row[0] if len(row) == 1 else ops.concatenate(_in_order(ops, row, groups, axis), axis)
            stride = sum(len(group.phases) for group in groups)
            joined[numbers] = ops.reshape(y, (*sizes[: axis - 1], sizes[axis - 1] * stride, *sizes[axis + 1 :]))
        pieces = joined
    return pieces[()]


def _in_order(ops: Operations, row: list[Any], groups: Sequence[PhaseGroup], axis: int) -> list[Any]:
    """Return arrays whose phases stand in order when they are joined along the axis: whole groups, or single phases."""
    order = sorted(range(len(groups)), key=lambda i: groups[i].phases)
    phases = [phase for i in order for phase in groups[i].phases]
    if phases == sorted(phases):
        return [row[i] for i in order]
    singles = {
        phase: _range(ops, array, axis, at, 1, 1)
        for array, group in zip(row, groups, strict=True)
        for at, phase in enumerate(group.phases)
    }
    return [singles[phase] for phase in sorted(singles)]
