"""1-D and 3-D layers as 2-D ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Size, Sizes
from tconv.rewriting.steps.crops import append
from tconv.rewriting.steps.phase_taps import axis_taps, blocks
from tconv.rewriting.steps.step import RewriteStep, Variant


class TwoDimensional(RewriteStep):
    """2-D layer of the same numbers.

    A 1-D layer gets an axis of size 1 in front. A 3-D layer is one 2-D layer of all depth slices, the taps of the depth
    as output channels, which are then shifted and added along the depth.
    """

    name = "2d"
    summary = "1-D with an axis of size 1; 3-D as one 2-D layer and sums along the depth"

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        ndim = operation.geometry.ndim
        return [] if ndim in (1, 3) else [f"it has {ndim} spatial axes; 1 or 3 are needed"]

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        (_flat if operation.geometry.ndim == 1 else _deep)(operation, builder)


def _flat(operation: ConvTranspose, builder: Builder) -> None:
    g, w = operation.geometry, operation.weight
    shape = (*w.shape[:2], 1, w.shape[2])
    layer = replace(
        operation,
        weight=w.derived(shape, lambda array: array.reshape(shape)),
        geometry=Geometry((1, *g.kernel), (1, *g.stride), ((0, 0), *g.crop), (1, *g.dilation), g.groups),
        output_padding=(0, *operation.output_padding) if operation.output_padding else (),
    )
    builder.squeeze(append(builder, layer, builder.unsqueeze(0, [2])), [2])


def _deep(operation: ConvTranspose, builder: Builder) -> None:
    g, w, groups = operation.geometry, operation.weight, operation.geometry.groups
    c_in, c_out, taps = w.shape[0], w.shape[1], g.kernel[0]
    wide = (c_in, c_out * taps, *w.shape[3:])
    weight = w.derived(wide, lambda array: np.ascontiguousarray(_tap_major(array)).reshape(wide))
    inner = Geometry(g.kernel[1:], g.stride[1:], g.crop[1:], g.dilation[1:], groups)
    extra = operation.output_padding[1:]
    layer = replace(operation, weight=weight, bias=None, geometry=inner, output_padding=extra, auto_pad="NOTSET")
    batch, depth = builder.size(0, 0), builder.size(0, 2)
    slices = builder.transpose(0, [0, 2, 1, 3, 4])
    rows: list[Size] = [builder.product(slices, [0, 1]), c_in, builder.size(slices, 3), builder.size(slices, 4)]
    x = builder.reshape(slices, rows)
    y = append(builder, layer, x)
    sizes: list[Size] = [builder.size(y, 2), builder.size(y, 3)]
    y = builder.reshape(y, [batch, depth, groups, taps, c_out, *sizes])
    # one value per tap: [N, D, C_out, h, w]
    shape = [batch, depth, groups * c_out, *sizes]
    by_tap = [builder.reshape(part, shape) for part in builder.split(y, 3, taps)]
    grown, cut = blocks(g, 0)
    found = axis_taps(g, 0)
    phases: list[int | None] = []
    for phase in range(g.stride[0]):
        moved = [_window(builder, by_tap[tap.tap], tap.shift, grown) for tap in found if tap.phase == phase]
        phases.append(builder.sum(moved) if moved else None)
    y = _stacked(builder, phases)
    # [N, D, s, C_out, h, w] to [N, C_out, D*s, h, w]
    y = builder.transpose(y, [0, 3, 1, 2, 4, 5])
    y = builder.merge(y, 2)
    y = builder.cut(y, [(0, cut), (0, 0), (0, 0)])
    builder.add_bias(y, operation.bias)


def _tap_major(array: Array) -> Array:
    """Return [C_in, C_out/groups, kd, kh, kw] as [C_in, kd, C_out/groups, kh, kw]."""
    return array.swapaxes(1, 2)


def _window(builder: Builder, value: int, shift: int, grown: int) -> int:
    """Append the rows m + shift of the depth, for n + grown values of m; zeros outside."""
    lo, hi = -shift, grown + shift
    value = builder.pad_axis(value, 1, max(0, lo), max(0, hi))
    if lo >= 0 and hi >= 0:
        return value
    return builder.slice(value, 1, max(0, -lo), min(0, hi) or None)


def _stacked(builder: Builder, phases: list[int | None]) -> int:
    """Stack values on a new axis behind the depth, zeros for those that are None."""
    runs: list[int] = []
    gap = 0
    for value in phases:
        if value is None:
            gap += 1
            continue
        runs.append(builder.pad_axis(builder.unsqueeze(value, [2]), 2, gap, 0))
        gap = 0
    runs[-1] = builder.pad_axis(runs[-1], 2, 0, gap)
    return builder.concat(runs, 2)


STEP = TwoDimensional()
