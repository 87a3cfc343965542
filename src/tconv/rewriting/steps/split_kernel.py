"""Large kernel as a sum of smaller ones."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, product

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.crops import append
from tconv.rewriting.steps.step import RewriteStep, Variant, too_many

MOST_PARTS = 36
"""Most parts that a planner tries: each is a layer and a sum. A form that is asked for may have more."""
_LIMITS = (128, 64, 32, 31, 28, 16, 15, 8, 7, 4, 3, 2, 1)
"""Kernel sizes at which targets stop."""


class SplitKernel(RewriteStep):
    """Layers with a part of the taps each, whose outputs are shifted and added.

    `taps` is the largest kernel size of a part.
    """

    name = "split-kernel"
    summary = "a large kernel as the sum of smaller ones, each shifted"

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        kernel = operation.geometry.kernel
        forms: dict[tuple[int, ...], int] = {}
        for taps in _LIMITS:
            parts = tuple(-(-k // taps) for k in kernel)
            if 1 < math.prod(parts) <= MOST_PARTS:
                forms.setdefault(parts, taps)
        return tuple({"taps": taps} for taps in forms.values())

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        if not variant or max(operation.geometry.kernel) <= variant["taps"]:
            return [f"its kernel is {operation.geometry.kernel}, which is small enough"]
        return too_many(math.prod(-(-k // variant["taps"]) for k in operation.geometry.kernel), "parts")

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        parts = [_parts(k, variant["taps"]) for k in g.kernel]
        values = []
        for piece in product(*parts):
            part = tuple(slice(first, end) for first, end in piece)
            kernel = tuple(end - first for first, end in piece)
            w = operation.weight

            def taken(array: Array, part: tuple[slice, ...] = part) -> Array:
                return array[:, :, *part]

            layer = replace(
                operation,
                weight=w.derived((*w.shape[:2], *kernel), taken),
                bias=None,
                geometry=Geometry(kernel, g.stride, 0, g.dilation, g.groups),
                output_padding=(),
                auto_pad="NOTSET",
            )
            rows = [(d * first, d * (k - end)) for (first, end), k, d in zip(piece, g.kernel, g.dilation, strict=True)]
            values.append(builder.pad(append(builder, layer), [(0, 0), (0, 0), *rows]))
        builder.add_bias(builder.cut(builder.sum(values), g.crop), operation.bias)


def _parts(kernel: int, most: int) -> list[tuple[int, int]]:
    """Return (first, end) of the fewest parts of at most this many taps, as equal as they can be."""
    count = -(-kernel // most)
    ends = [kernel * part // count for part in range(count + 1)]
    return list(pairwise(ends))


STEP = SplitKernel()
