"""Stride a*b as two layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.crops import append, with_small_output_padding, with_taps_around
from tconv.rewriting.steps.step import RewriteStep, Variant


class SplitStride(RewriteStep):
    """Identity layer with one tap and stride b, which puts b - 1 zeros between inputs, then the layer with stride a.

    `first` is b per axis. The identity has one group per channel.
    """

    name = "split-stride"
    summary = "a stride a*b as an identity layer with stride b, then the layer with stride a"
    waste = "the second layer multiplies the zeros between inputs: b times the multiply-adds per axis"
    adds_zeros = True

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        stride = operation.geometry.stride
        factors = sorted({b for s in stride for b in range(2, s) if s % b == 0})
        found: dict[tuple[int, ...], None] = {}
        for b in factors:
            found[tuple(b if s % b == 0 and s > b else 1 for s in stride)] = None
            found[tuple(b if s % b == 0 and s == max(stride) else 1 for s in stride)] = None
        found.pop((1,) * len(stride), None)
        return tuple({"first": first} for first in found)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        if not variant:
            return [f"no stride of {operation.geometry.stride} is a product of two numbers above 1"]
        first = variant["first"]
        fits = all(s % b == 0 for s, b in zip(operation.geometry.stride, first, strict=True))
        return [] if fits else [f"{first} does not divide its stride {operation.geometry.stride}"]

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        first, channels = variant["first"], operation.in_channels
        shape = (channels, 1, *[1] * g.ndim)

        def ones(array: Array) -> Array:
            return np.ones(shape, array.dtype)

        identity = ConvTranspose(
            (0,), (1,), operation.weight.derived(shape, ones), None, Geometry(shape[2:], first, 0, 1, channels)
        )
        stride = [s // b for s, b in zip(g.stride, first, strict=True)]
        geometry = Geometry(g.kernel, stride, g.crop, g.dilation, g.groups)
        second = replace(operation, geometry=geometry, auto_pad="NOTSET")
        append(builder, with_small_output_padding(second), append(builder, identity))


class ZeroTaps(RewriteStep):
    """Kernel that is filled up with zeros at its end until it reaches the stride."""

    name = "kernel-to-stride"
    summary = "a kernel below the stride, filled up with zeros to the stride"
    waste = "the new taps multiply by zero"
    adds_zeros = True

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        g = operation.geometry
        small = any(k < s for k, s in zip(g.kernel, g.stride, strict=True))
        return [] if small else [f"no kernel size of {g.kernel} is below the stride {g.stride}"]

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        missing = [(0, max(0, s - k)) for k, s in zip(g.kernel, g.stride, strict=True)]
        append(builder, with_taps_around(operation, missing))


STEP, ZERO_TAPS = SplitStride(), ZeroTaps()
