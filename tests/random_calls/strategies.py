"""Hypothesis strategies: random geometries, and calls of whole numbers, whose sums are exact in every dtype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import tconv
from random_calls.sizes import has_output, random_crop, random_sizes
from tconv import Geometry


@dataclass(frozen=True)
class Case:
    """One call: canonical arrays of int64 and the geometry between them."""

    geometry: Geometry
    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None

    @property
    def y(self) -> np.ndarray:
        return tconv.definition.scatter(self.x, self.w, self.bias, geometry=self.geometry)


class _HypothesisSource:
    """Source of `random_sizes` that Hypothesis can shrink. It chooses how often chances are True."""

    def __init__(self, draw):
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def chance(self, probability: float) -> bool:
        return self._draw(st.booleans())


def _sizes(draw, ndims, largest, groups):
    """Sizes of a call, and its geometry, which need not have an output."""
    source, ndim, span = _HypothesisSource(draw), draw(st.sampled_from(ndims)), (1, largest)
    sizes = random_sizes(source, ndim, n=span, k=span, s=span, groups=groups, in_per_group=(1, 2, 3))
    return sizes, sizes.geometry(random_crop(source, ndim, (-2, largest)))


@st.composite
def geometries(draw, ndims=(1, 2, 3), largest=4, groups=(1, 2, 3)):
    return _sizes(draw, ndims, largest, groups)[1]


@st.composite
def shaped(draw, ndims=(1, 2, 3), largest=4):
    """A geometry with an input shape that has an output."""
    sizes, g = _sizes(draw, ndims, largest, (1, 2, 3))
    assume(has_output(g, sizes.n))
    return g, sizes.n


@st.composite
def cases(draw, ndims=(1, 2, 3), largest=4, complex_=False):
    sizes, g = _sizes(draw, ndims, largest, (1, 2, 3))
    assume(has_output(g, sizes.n))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def whole(*shape):
        real = rng.integers(-9, 10, shape)
        return real + 1j * rng.integers(-9, 10, shape) if complex_ else real

    x, w = whole(sizes.batch, sizes.c_in, *sizes.n), whole(sizes.c_in, sizes.out_per_group, *sizes.k)
    return Case(g, x, w, whole(sizes.c_out) if draw(st.booleans()) else None)
