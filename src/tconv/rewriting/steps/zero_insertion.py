"""Zeros between the inputs, and an ordinary convolution: the textbook's picture of a transposed convolution."""

from __future__ import annotations

from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose
from tconv.rewriting.steps.kernel_taps import flipped
from tconv.rewriting.steps.step import RewriteStep, Variant


class ZeroInsertion(RewriteStep):
    """Convolution of the input with s - 1 zeros between its elements; for targets that have nothing else."""

    name = "zero-insertion"
    summary = "zeros between the inputs, then an ordinary convolution; the last resort"
    waste = "the zeros between inputs are multiplied: stride times the multiply-adds per axis"
    adds_zeros = True

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        x = 0
        for axis, s in enumerate(g.stride, 2):
            x = builder.spread(x, axis, s)
        # s - 1 zeros are behind the last input, too
        pads = [(e - 1 - lo, e - s - hi) for e, s, (lo, hi) in zip(g.extent, g.stride, g.crop, strict=True)]
        builder.conv(x, flipped(operation.weight, g.groups), operation.bias, pads, g.dilation, g.groups)


STEP = ZeroInsertion()
