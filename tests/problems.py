"""Random transposed convolutions of whole numbers, in which float32 is exact, for tests in processes of their own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import tconv
from tconv import Geometry, TconvError

KINDS = ("any", "kernel = stride", "long kernel", "long stride", "few channels", "many channels", "short rows", "pairs")


class Problem(NamedTuple):
    """One call on float32 arrays, and its exact result."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    geometry: Geometry
    y: np.ndarray
    method: str = "simd"

    def check(self, y):
        np.testing.assert_array_equal(y, self.y, err_msg=repr((self.x.shape, self.w.shape, self.geometry)))


def problem(rng, ndim=None, kind="any"):
    """One that has an output."""

    def pick(low, high):
        return tuple(int(number) for number in rng.integers(low, high + 1, ndim))

    ndim = ndim or int(rng.integers(1, 4))
    longest = (60, 12, 6)[ndim - 1]
    most = {"few channels": 4, "many channels": 40}.get(kind, 9)
    while True:
        kernel, stride, dilation = pick(1, 5), pick(1, 4), pick(1, 3) if rng.random() < 0.3 else (1,) * ndim
        if kind == "kernel = stride":
            kernel, dilation = stride, (1,) * ndim
        elif kind == "pairs":  # phases of one tap and of two
            kernel, dilation = [s + int(rng.integers(1, s + 1)) for s in stride], (1,) * ndim
            if ndim > 1 and rng.random() < 0.4:  # and an axis of another kind
                kernel[rng.integers(ndim - 1)] = int(rng.integers(5, 10))
            kernel = tuple(kernel)
        elif kind == "long kernel":
            kernel = (*kernel[:-1], int(rng.integers(9, 40)))
        elif kind == "long stride":
            stride = (*stride[:-1], int(rng.integers(9, 40)))
        elif kind == "short rows":
            kernel, stride = (*kernel[:-1], int(rng.integers(3, 13))), (*stride[:-1], int(rng.integers(1, 3)))
        n, crop = pick(1, longest), list(zip(pick(-3, 4), pick(-3, 4), strict=True))
        if rng.random() < 0.3:
            crop = [(0, 0)] * ndim
        if kind == "short rows":  # in and out
            n = (*n[:-1], int(rng.integers(1, 5)))
            full = Geometry(kernel, stride, 0, dilation).full_shape(n)[-1]
            before = int(rng.integers(0, full))
            crop[-1] = before, max(0, full - before - int(rng.integers(1, 5)))
        groups, batch, c_out = (
            int(rng.choice(choices)) for choices in ([1, 1, 1, 2, 3], [1, 2, 3], range(1, most + 1))
        )
        if kind == "pairs":
            groups = 1
        g = Geometry(kernel, stride, crop, dilation, groups)
        try:
            size = batch * groups * c_out * int(np.prod(g.output_shape(n)))
        except TconvError:
            continue
        if size <= 50_000:
            break
    c_in = groups * int(rng.integers(1, 40 if kind == "many channels" else 12))

    def whole(*shape):
        return rng.integers(-5, 6, shape).astype(np.float32)

    x, w = whole(batch, c_in, *n), whole(c_in, c_out, *kernel)
    bias = whole(c_out * groups) if rng.random() < 0.5 else None
    y = tconv.definition.scatter(x, w, bias, geometry=g)
    return Problem(x, w, bias, g, y, "winograd" if kind == "pairs" else "simd")


def run(p, method=None, **more):
    return tconv.conv_transpose(p.x, p.w, p.bias, geometry=p.geometry, method=method or p.method, **more)
