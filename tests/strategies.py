"""Random transposed convolutions for hypothesis: geometries, and whole-number data whose sums are exact in every dtype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import tconv
from tconv import Geometry, TconvError


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


@st.composite
def geometries(draw, ndims=(1, 2, 3), largest=4, groups=(1, 2, 3)):
    ndim = draw(st.sampled_from(ndims))
    sizes = st.tuples(*[st.integers(1, largest)] * ndim)
    sides = st.integers(-2, largest)
    crop = draw(st.tuples(*[st.tuples(sides, sides)] * ndim))
    return Geometry(
        draw(sizes), draw(sizes), crop, draw(st.tuples(*[st.integers(1, 3)] * ndim)), draw(st.sampled_from(groups))
    )


@st.composite
def shaped(draw, ndims=(1, 2, 3), largest=4):
    """A geometry with an input shape that has an output."""
    g = draw(geometries(ndims=ndims))
    n = draw(st.tuples(*[st.integers(1, largest)] * g.ndim))
    try:
        g.output_shape(n)
    except TconvError:
        assume(False)
    return g, n


@st.composite
def cases(draw, ndims=(1, 2, 3), largest=4, complex_=False):
    g, n = draw(shaped(ndims=ndims, largest=largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    c_in, c_out = g.groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))

    def whole(*shape):
        real = rng.integers(-9, 10, shape)
        return real + 1j * rng.integers(-9, 10, shape) if complex_ else real

    x = whole(draw(st.integers(1, 2)), c_in, *n)
    w = whole(c_in, c_out, *g.kernel)
    bias = whole(c_out * g.groups) if draw(st.booleans()) else None
    return Case(g, x, w, bias)
