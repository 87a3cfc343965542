"""Nearest interpolation in front of a convolution, as one transposed convolution.

Pixel j = r i + p of the enlarged picture is x[i], and tap t of the convolution adds it to output j + d t of the full
result: y[r i + p + d t] += x[i] w[t]. That is a transposed convolution of stride r with r + d (k - 1) taps, whose tap q
is the sum of w[t] over all p + d t = q, and with the same crop: borders are exact. For k = 3 and r = 2 it has 4 x 4
taps, so 4 products for each output and channel where there were 9.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.models.layers import Convolution
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize

_MOST = 16
"""Largest factor: weights grow with its square."""


def nearest_in_front(graph: NodeGraph, number: int) -> bool:
    """Fold a nearest interpolation by whole numbers into the convolution of stride 1 that alone reads it."""
    step, behind = graph.step(number), graph.only_reader(number)
    if not isinstance(step, Resize) or behind is None:
        return False
    after, factors = graph.step(behind), repeats(step)
    if factors is None or not isinstance(after, Convolution) or set(after.geometry.stride) != {1}:
        return False
    folded = enlarged(after, factors)
    if not is_cheaper(after.geometry, folded.geometry) or not np.isfinite(folded.weight).all():
        return False
    graph.replace(behind, folded, graph.inputs(number))
    return True


def repeats(step: Resize) -> tuple[int, int] | None:
    """Return how often each row and each column is repeated; None for other interpolations."""
    if isinstance(step, ResizeLike) or any(factor != int(factor) or factor > _MOST for factor in step.factors):
        return None
    factors = int(step.factors[0]), int(step.factors[1])
    for axis, r in enumerate(factors):
        for size in (1, 2, 5):  # rules of rounding show in pixels beside each other, those of sizes at the ends
            for place in range(r * size):
                if step.source(0, slice(place, place + 1), [size], axis) != slice(place // r, place // r + 1):
                    return None
    return factors


def enlarged(step: Convolution, factors: tuple[int, int]) -> Convolution:
    """Return the convolution of a picture that was enlarged by these factors as one of the picture itself."""
    g, weight = step.geometry, step.weight.astype(np.float64)
    for axis, (r, d) in enumerate(zip(factors, g.dilation, strict=True), 2):
        weight = _summed_taps(weight, axis, r, d)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(weight, np.float32)
    return replace(step, weight=narrow, geometry=Geometry(narrow.shape[2:], factors, g.crop, 1, g.groups))


def is_cheaper(before: Geometry, after: Geometry) -> bool:
    """Return True if fewer products make an output."""
    return _products(after) < _products(before)


def _products(g: Geometry) -> int:
    """Return the taps of a phase that has most of them."""
    return int(np.prod([-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True)]))


def _summed_taps(weight: Array, axis: int, r: int, d: int) -> Array:
    taps = np.moveaxis(weight, axis, 0)
    result = np.zeros((r + d * (len(taps) - 1), *taps.shape[1:]))
    for number, tap in enumerate(taps):
        result[d * number : d * number + r] += tap
    return np.moveaxis(result, 0, axis)
