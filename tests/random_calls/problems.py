"""Random calls of whole numbers with their exact results, for tests of the compiled kernels.

Each kind of problem has shapes that the kernels treat differently. Tests that run the kernels in a process of
their own import this module there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import tconv
from dtypes import rounded
from random_calls.sizes import has_output, random_crop, random_sizes
from tconv import Geometry

KINDS = ("any", "kernel = stride", "long kernel", "long stride", "few channels", "many channels", "short rows", "pairs")


class Problem(NamedTuple):
    """One call, on float32 arrays if it was not converted, its exact result, and the method that its kind is for."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    geometry: Geometry
    y: np.ndarray
    method: str = "simd"

    def converted(self, dtype):
        """Return the problem in another dtype, with the exact result rounded to it."""
        x, w, bias = (None if array is None else array.astype(dtype) for array in (self.x, self.w, self.bias))
        return self._replace(x=x, w=w, bias=bias, y=rounded(self.y, dtype))

    def check(self, y):
        np.testing.assert_array_equal(y, self.y, err_msg=repr((self.x.shape, self.w.shape, self.geometry)))


def problem(rng, ndim=None, kind="any"):
    """Draw a problem of this kind that has an output of at most 50,000 elements."""
    ndim = ndim or int(rng.integers(1, 4))
    while True:
        sizes, crop = _sizes(rng, ndim, kind), list(random_crop(rng, ndim, (-3, 4), 0.7))
        if kind == "short rows":  # at most 4 outputs per row, and as many inputs
            full = sizes.full[-1]
            before = int(rng.integers(0, full))
            crop[-1] = before, max(0, full - before - int(rng.integers(1, 5)))
        g = sizes.geometry(crop)
        if has_output(g, sizes.n) and sizes.batch * sizes.c_out * np.prod(g.output_shape(sizes.n)) <= 50_000:
            break

    def whole(*shape):
        return rng.integers(-5, 6, shape).astype(np.float32)

    x, w = whole(sizes.batch, sizes.c_in, *sizes.n), whole(sizes.c_in, sizes.out_per_group, *sizes.k)
    bias = whole(sizes.c_out) if rng.random() < 0.5 else None
    y = tconv.definition.scatter(x, w, bias, geometry=g)
    return Problem(x, w, bias, g, y, "winograd" if kind == "pairs" else "simd")


def _sizes(rng, ndim, kind):
    """Draw sizes, with the kernel, stride or channels of a kind."""
    sizes = random_sizes(
        rng,
        ndim,
        n=(1, (60, 12, 6)[ndim - 1]),
        k=(1, 5),
        s=(1, 4),
        dilated=0.3,
        groups=(1,) if kind == "pairs" else (1, 1, 1, 2, 3),
        in_per_group=range(1, 40 if kind == "many channels" else 12),
        out_per_group=range(1, {"few channels": 4, "many channels": 40}.get(kind, 9) + 1),
        batch=(1, 2, 3),
    )
    *outer_k, _ = sizes.k
    *outer_s, _ = sizes.s
    if kind == "kernel = stride":
        return sizes._replace(k=sizes.s, d=(1,) * ndim)
    if kind == "pairs":  # phases of one tap and of two
        kernel = [s + int(rng.integers(1, s + 1)) for s in sizes.s]
        if ndim > 1 and rng.random() < 0.4:  # and an axis with longer phases
            kernel[rng.integers(ndim - 1)] = int(rng.integers(5, 10))
        return sizes._replace(k=tuple(kernel), d=(1,) * ndim)
    if kind == "long kernel":
        return sizes._replace(k=(*outer_k, int(rng.integers(9, 40))))
    if kind == "long stride":
        return sizes._replace(s=(*outer_s, int(rng.integers(9, 40))))
    if kind == "short rows":
        *outer_n, _ = sizes.n
        k, s, n = (int(rng.integers(*span)) for span in ((3, 13), (1, 3), (1, 5)))
        return sizes._replace(k=(*outer_k, k), s=(*outer_s, s), n=(*outer_n, n))
    return sizes


def run(p, method=None, **more):
    """Run the call of a problem, with its own method by default."""
    return tconv.conv_transpose(p.x, p.w, p.bias, geometry=p.geometry, method=method or p.method, **more)
