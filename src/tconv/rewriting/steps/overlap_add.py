"""Matrix product and shifted sums, for long 1-D kernels."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Size, Sizes
from tconv.rewriting.steps.kernel_taps import spread_taps, with_zero_taps
from tconv.rewriting.steps.step import RewriteStep, Variant

MOST_BLOCKS = 64


class OverlapAdd(RewriteStep):
    """Product that gives all taps of all inputs as blocks of one stride, which are added, each one block later.

    The kernel is filled up with zeros to a multiple of the stride. This is the inverse short-time Fourier transform's
    sum of frames, with the weight as its window.
    """

    name = "overlap-add"
    summary = "1-D: a matrix product and shifted sums of its blocks, for a long kernel"
    waste = "a kernel that is no multiple of the stride is filled up with zeros"

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        g = operation.geometry
        if g.ndim != 1:
            return [f"it has {g.ndim} spatial axes; one is needed"]
        count = -(-g.extent[0] // g.stride[0])
        if count > MOST_BLOCKS:
            return [f"its kernel spans {count} strides, a sum of as many values; {MOST_BLOCKS} are allowed"]
        return []

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        (s,), (e,), ((lo, hi),) = g.stride, g.extent, g.crop
        count = -(-e // s)
        wide = with_zero_taps(spread_taps(operation.weight, g.dilation), [(0, count * s - e)])
        c_in, c_out, groups = wide.shape[0] // g.groups, wide.shape[1], g.groups
        shape: tuple[int, ...] = (c_in, count * c_out * s) if groups == 1 else (groups, c_in, count * c_out * s)

        def columns(w: Array) -> Array:
            # [g*i, o, b*s] to [g, i, (b, o, s)]
            apart = w.reshape(groups, c_in, c_out, count, s).transpose(0, 1, 3, 2, 4)
            return np.ascontiguousarray(apart).reshape(shape)

        batch: Size = builder.size(0, 0)
        x = 0
        if groups > 1:
            x = builder.reshape(x, [batch, groups, c_in, builder.size(0, 2)])
        time = len(builder.shapes[x]) - 2
        x = builder.transpose(x, [*range(time - 0), time + 1, time])
        z = builder.matmul(x, wide.derived(shape, columns))  # [N, (g), n, b*o*s]
        blocks = builder.split(z, time + 1, count)
        y = builder.sum([builder.pad_axis(block, time, b, count - 1 - b) for b, block in enumerate(blocks)])
        # [N, (g), m, o*s] to [N, (g), m, o, s] to [N, (g), o, m, s] to [N, C_out, m*s]
        outer: list[Size] = [builder.size(y, axis) for axis in range(time + 1)]
        y = builder.transpose(builder.reshape(y, [*outer, c_out, s]), [*range(time), time + 1, time, time + 2])
        y = builder.reshape(y, [batch, groups * c_out, builder.size(y, time + 1, s)])
        y = builder.cut(y, [(lo, hi + count * s - e)])
        builder.add_bias(y, operation.bias)


STEP = OverlapAdd()
