"""Matrix product for kernels that do not overlap."""

from __future__ import annotations

import math

import numpy as np

from tconv._arrays import Array
from tconv.rewriting.builder import Builder, shuffle_forms
from tconv.rewriting.operations import ConvTranspose, Size, Sizes
from tconv.rewriting.steps.kernel_taps import spread_taps, with_zero_taps
from tconv.rewriting.steps.step import RewriteStep, Variant


class MatrixProduct(RewriteStep):
    """Product of the channels with the weight as a matrix, whose columns are the taps of each output channel."""

    name = "matmul"
    summary = "a matrix product, for kernels that are not larger than the stride"
    waste = "a kernel below the stride is filled up with zeros"

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        return shuffle_forms(operation.geometry.stride)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        g = operation.geometry
        return [
            f"its kernel spans {e} elements on spatial axis {axis} and its stride is {s}, so that kernels overlap; "
            "phases take it"
            for axis, (e, s) in enumerate(zip(g.extent, g.stride, strict=True))
            if e > s
        ]

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        missing = [s - e for s, e in zip(g.stride, g.extent, strict=True)]
        wide = with_zero_taps(spread_taps(operation.weight, g.dilation), [(0, zeros) for zeros in missing])
        c_in, c_out, taps = wide.shape[0] // g.groups, wide.shape[1], math.prod(g.stride)
        spatial: list[Size] = [builder.size(0, axis) for axis in range(2, g.ndim + 2)]
        x, batch = 0, builder.size(0, 0)
        shape: tuple[int, ...] = (c_in, c_out * taps)
        if g.groups > 1:
            x = builder.reshape(x, [batch, g.groups, c_in, *spatial])
            shape = (g.groups, *[1] * (g.ndim - 1), *shape)
        last = len(builder.shapes[x]) - 1
        channels = last - g.ndim
        x = builder.transpose(x, [*range(channels), *range(channels + 1, last + 1), channels])
        y = builder.matmul(x, wide.derived(shape, lambda w: _columns(w, shape)))
        y = builder.transpose(y, [*range(channels), last, *range(channels, last)])
        if g.groups > 1:
            y = builder.reshape(y, [batch, g.groups * c_out * taps, *spatial])
        y = builder.shuffle(y, g.stride, "CRD", variant.get("shuffle", "depth_to_space"))
        y = builder.cut(y, [(lo, hi + zeros) for (lo, hi), zeros in zip(g.crop, missing, strict=True)])
        builder.add_bias(y, operation.bias)


def _columns(w: Array, shape: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(w.reshape(shape))


STEP = MatrixProduct()
