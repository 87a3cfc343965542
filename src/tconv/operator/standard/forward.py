"""The transposed convolution as convolutions of stride 1, one for each group of phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from tconv.geometry import Geometry
from tconv.operator.standard.operations import Operations, Size
from tconv.operator.standard.phase_groups import AxisPhases, PhaseGroup, axis_phases


def has_plain_form(g: Geometry) -> bool:
    """Return True if frameworks' own transposed convolutions are right for a geometry, and sum columns of a product.

    They do so in 1-D and 2-D without a dilation. For crops below 0 or of more than the kernel spans, XLA reads outside
    of x, and for 2 taps at stride 2 cropped by 1 on both sides it ends the process (see `dialects.faults`).
    """
    axes = list(zip(g.kernel, g.stride, g.crop, strict=True))
    inside = all(0 <= side < k for k, _, crop in axes for side in crop)
    ends_process = any((k, s) == (2, 2) and crop == (1, 1) for k, s, crop in axes)
    return inside and not ends_process and g.ndim < 3 and max(g.dilation) == 1 < max(g.stride)


def conv_transpose(ops: Operations, x: Any, w: Any, g: Geometry, aligned: Sequence[bool]) -> Any:
    """Return y [N, *L, C_out] from x [N, *n, C_in] and w [groups, *kernel, C_in/groups, C_out/groups].

    `aligned` says for each axis how its phases are grouped, see `axis_phases`.
    """
    known = [n if isinstance(n, int) else None for n in ops.sizes(x)[1:-1]]
    # of a single input any stride beyond the kernel makes the same output: one of 2**40 has as many phases
    steps = [min(s, e) if n == 1 else s for s, e, n in zip(g.stride, g.extent, known, strict=True)]
    g = replace(g, stride=tuple(steps))
    spec = zip(g.kernel, g.stride, g.dilation, g.crop, aligned, known, strict=True)
    axes = [axis_phases(k, s, d, *crop, align, n) for k, s, d, crop, align, n in spec]
    # later taps read earlier inputs
    w = ops.flip(w, [1 + a for a, axis in enumerate(axes) if _reverses(axis)])
    batch, *inputs, _ = ops.sizes(x)
    outputs = [n + axis.extra for n, axis in zip(inputs, axes, strict=True)]
    channels = ops.sizes(w)[0] * ops.sizes(w)[-1]
    pieces = {
        numbers: _piece(ops, x, w, [axis.groups[i] for axis, i in zip(axes, numbers, strict=True)], axes, outputs)
        for numbers in product(*(range(len(axis.groups)) for axis in axes))
    }
    for a in range(g.ndim - 1, -1, -1):
        behind = [m * s for m, s in zip(outputs[a + 1 :], g.stride[a + 1 :], strict=True)]
        pieces = _joined(ops, pieces, axes[: a + 1], (batch, *outputs[: a + 1]), (*behind, channels))
    y = ops.reshape(pieces[()], (batch, *(m * s for m, s in zip(outputs, g.stride, strict=True)), channels))
    return ops.pad(y, [(0, 0), *((-lo, -hi) for lo, hi in (axis.crop for axis in axes)), (0, 0)])


def _piece(
    ops: Operations, x: Any, w: Any, groups: Sequence[PhaseGroup], axes: Sequence[AxisPhases], outputs: Sequence[Size]
) -> Any:
    """Return the outputs of a group of phases in the order [N, m, phases, m, phases, ..., C_out]."""
    ndim, (G, *_, per_group), batch = len(groups), ops.sizes(w), ops.sizes(x)[0]
    phases, channels = [len(group.phases) for group in groups], G * per_group
    if not all(group.tap_count for group in groups):
        return ops.zeros((batch, *(m * p for m, p in zip(outputs, phases, strict=True)), channels), x)
    kernel = _kernel(ops, w, groups, list(map(_reverses, axes)))
    y = ops.conv(x, kernel, [1] * len(groups), [g.input_step for g in groups], [g.pad for g in groups])
    if math.prod(phases) == 1:
        return y
    if G > 1:  # two transpositions, each of at most as many axes as TensorFlow Lite takes
        y = ops.reshape(y, (batch, *outputs, G, math.prod(phases), per_group))
        y = ops.transpose(y, (*range(1 + ndim), 2 + ndim, 1 + ndim, 3 + ndim))
    y = ops.reshape(y, (batch, *outputs, *phases, channels))
    spread = [axis for a in range(ndim) for axis in (1 + a, 1 + ndim + a)]
    return ops.transpose(y, (0, *spread, 1 + 2 * ndim))


def _kernel(ops: Operations, w: Any, groups: Sequence[PhaseGroup], reversed_axes: Sequence[bool]) -> Any:
    """Return the taps of a group of phases as [G, *counts, C_in/G, phases x C_out/G]."""
    *sizes, per_group = ops.sizes(w)
    w = ops.reshape(w, (*sizes, 1, per_group))
    for a, (group, reverses) in enumerate(zip(groups, reversed_axes, strict=True)):
        w = _axis_kernel(ops, w, 1 + a, group, reverses)
    *sizes, phases, per_group = ops.sizes(w)
    return ops.reshape(w, (*sizes, phases * per_group))


def _axis_kernel(ops: Operations, w: Any, axis: int, group: PhaseGroup, reverses: bool) -> Any:
    """Return the taps of the phases of an axis, with the phases joined to those of [..., P, O]."""
    sizes = ops.sizes(w)
    count, step, phases = group.tap_count, group.tap_step, len(group.phases)
    firsts = [sizes[axis] - 1 - t - (count - 1) * step if reverses else t for t in group.first_taps]
    if phases == 1:
        return _range(ops, w, axis, firsts[0], count, step)
    if phases == step and group.first_taps == tuple(range(group.first_taps[0], group.first_taps[0] + step)):
        w = _range(ops, w, axis, min(firsts), count * step, 1)  # runs of consecutive taps, one of each phase
        w = ops.reshape(w, (*sizes[:axis], count, step, *sizes[axis + 1 :]))
        w = ops.flip(w, [axis + 1] if reverses else [])
    else:
        rows = [_range(ops, w, axis, first, count, step) for first in firsts]
        rows = [ops.reshape(row, (*sizes[:axis], count, 1, *sizes[axis + 1 :])) for row in rows]
        w = ops.concatenate(rows, axis + 1)
    order = list(range(len(sizes) + 1))
    order.insert(len(sizes) - 1, order.pop(axis + 1))
    return ops.reshape(
        ops.transpose(w, order), (*sizes[:axis], count, *sizes[axis + 1 : -2], sizes[-2] * phases, sizes[-1])
    )


def _reverses(axis: AxisPhases) -> bool:
    return any(group.tap_count > 1 for group in axis.groups)


def _range(ops: Operations, w: Any, axis: int, start: int, count: int, step: int) -> Any:
    sizes = list(ops.sizes(w))
    if (start, count) == (0, sizes[axis]):
        return w
    starts, steps = [0] * len(sizes), [1] * len(sizes)
    starts[axis], sizes[axis], steps[axis] = start, count, step
    return ops.slice(w, starts, sizes, steps)


def _joined(
    ops: Operations,
    pieces: dict[tuple[int, ...], Any],
    axes: Sequence[AxisPhases],
    front: Sequence[Size],
    behind: Sequence[Size],
) -> dict[tuple[int, ...], Any]:
    """Return pieces in which the phases of the last of the axes are interleaved, between the sizes before and behind.

    The sizes in front are without the phases of the other axes, which are still apart.
    """
    *others, axis = axes
    joined = {}
    for numbers in product(*(range(len(other.groups)) for other in others)):
        row = [pieces[*numbers, i] for i in range(len(axis.groups))]
        if len(row) > 1:
            phases = [1, *(len(other.groups[i].phases) for other, i in zip(others, numbers, strict=True)), 1]
            lead = [size * p for size, p in zip(front, phases, strict=True)]
            sizes = [(*lead, len(group.phases), *behind) for group in axis.groups]
            row = [ops.reshape(piece, size) for piece, size in zip(row, sizes, strict=True)]
            row = [ops.concatenate(_in_order(ops, row, axis.groups, len(front)), len(front))]
        joined[numbers] = row[0]
    return joined


def _in_order(ops: Operations, row: list[Any], groups: Sequence[PhaseGroup], axis: int) -> list[Any]:
    """Return arrays whose phases, on an axis, are in order: those of whole groups, or of single phases."""
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
