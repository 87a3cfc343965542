"""Dilation as zeros in the kernel, or as layers on every d-th input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from tconv.geometry import Geometry
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Size, Sizes
from tconv.rewriting.steps.crops import append, with_small_output_padding
from tconv.rewriting.steps.kernel_taps import spread_taps
from tconv.rewriting.steps.step import RewriteStep, Variant, separate_bias, too_many


def _dilation_missing(operation: ConvTranspose) -> list[str]:
    return ["it has no dilation"] if max(operation.geometry.dilation) == 1 else []


class DilationToKernel(RewriteStep):
    """Larger kernel with zeros between the taps."""

    name = "dilation-to-kernel"
    summary = "a larger kernel with zeros between its taps"
    waste = "the zeros between taps are multiplied"
    adds_zeros = True

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        return _dilation_missing(operation)

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        weight = spread_taps(operation.weight, g.dilation)
        geometry = Geometry(weight.shape[2:], g.stride, g.crop, 1, g.groups)
        append(builder, with_small_output_padding(replace(operation, weight=weight, geometry=geometry)))


class NoDilation(RewriteStep):
    """Layers without dilation on every d-th input, whose outputs are put between each other.

    With c = gcd(stride, dilation), all outputs outside a grid of step c hold only bias, and on the grid stride and
    dilation are s/c and d/c, which share no factor. Inputs r, r + d/c, ... reach the outputs that are s/c*r modulo d/c,
    and no others: so these are layers of their own, with stride s/c and no dilation.
    """

    name = "no-dilation"
    summary = "one layer without dilation for every d-th input, without a wasted multiply"
    adds_zeros = True  # behind the input

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        g = operation.geometry
        count = math.prod(d // math.gcd(s, d) for s, d in zip(g.stride, g.dilation, strict=True))
        return _dilation_missing(operation) or too_many(count, "layers")

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        dilation = [d if k > 1 else 1 for k, d in zip(g.kernel, g.dilation, strict=True)]  # one tap has no distances
        common = [math.gcd(s, d) if d > 1 else 1 for s, d in zip(g.stride, dilation, strict=True)]
        steps = [d // c for d, c in zip(dilation, common, strict=True)]
        strides = [s // c for s, c in zip(g.stride, common, strict=True)]
        bias = separate_bias(operation.bias)
        simple = max(dilation) == 1 and all(min(pair) >= 0 for pair in g.crop)
        inner = replace(
            operation,
            geometry=Geometry(g.kernel, strides, 0, 1, g.groups),
            bias=operation.bias if simple else bias.inside,
            output_padding=(),
            auto_pad="NOTSET",
        )
        parts: dict[tuple[int, ...], int] = {}
        for places in product(*map(range, steps)):
            x = _every(builder, steps, places)
            y = append(builder, inner, x)
            shifts = [s * place // step for s, place, step in zip(strides, places, steps, strict=True)]
            most = [s * (step - 1) // step for s, step in zip(strides, steps, strict=True)]
            rows = [(shift, last - shift) for shift, last in zip(shifts, most, strict=True)]
            target = tuple(s * place % step for s, place, step in zip(strides, places, steps, strict=True))
            parts[target] = builder.pad(y, [(0, 0), (0, 0), *rows], bias.value)
        y = _interleaved(builder, parts, steps)
        y = _on_grid(builder, y, common, bias.value)
        y = builder.pad(y, [(0, 0)] * 2 + [(max(0, -lo), max(0, -hi)) for lo, hi in g.crop], bias.value)
        starts: list[Size] = [max(0, lo) for lo, _ in g.crop]
        stops: list[Size] = []
        for axis, (s, e, (lo, hi)) in enumerate(zip(g.stride, g.extent, g.crop, strict=True), 2):
            # the end of the whole output is s*(n - 1) + e; the layers above may be longer
            stops.append(builder.size(0, axis, s, e - s - hi + max(0, -lo)))
        y = builder.slices(y, range(2, g.ndim + 2), starts, stops)
        builder.add_bias(y, None if simple else bias.behind)


def _every(builder: Builder, steps: Sequence[int], places: Sequence[int]) -> int:
    """Append x[place::step] per axis, with zeros at the end so that every place has equally many inputs."""
    x = builder.pad(0, [(0, 0), (0, 0), *((0, step - 1) for step in steps)])
    for axis, (step, place) in enumerate(zip(steps, places, strict=True), 2):
        if step > 1:  # of n + step - 1 inputs
            x = builder.slice(x, axis, place, place - step + 1 or None, step)
    return x


def _interleaved(builder: Builder, parts: dict[tuple[int, ...], int], steps: Sequence[int]) -> int:
    """Put values between each other: row place + step*m of the result is row m of parts[place]."""
    if math.prod(steps) == 1:
        return next(iter(parts.values()))
    return builder.shuffle(builder.concat([parts[place] for place in sorted(parts)], 1), steps, "DCR")


def _on_grid(builder: Builder, y: int, common: Sequence[int], value: float) -> int:
    """Put common - 1 rows behind each row of every axis."""
    for axis, step in enumerate(common, 2):
        if step > 1:
            y = builder.pad_axis(builder.unsqueeze(y, [axis + 1]), axis + 1, 0, step - 1, value)
            y = builder.merge(y, axis)
    return y


STEP, TO_KERNEL = NoDilation(), DilationToKernel()
