"""Products of a weight matrix with vectors, whose bits do not depend on how many vectors there are.

BLAS adds the products of a sum in an order that depends on the sizes of both matrices and on its threads. Here a
product is a convolution of one tap by the direct sum, which has one order of sums. Vectors are pixels with channels
last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.operator.strips import DIRECT, StripLayer


class MatrixProduct:
    """Product of weight [M, C] with each row of x [n, C], plus a bias [M]: `product(x, out)` fills out [n, M].

    >>> product, out = MatrixProduct(np.eye(3, dtype=np.float32)), np.empty((2, 3), np.float32)
    >>> product(np.ones((2, 3), np.float32), out)
    >>> out.tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    Arrays are in C order and have the weight's dtype, and at least LEAST rows: one alone takes twice the time of two.
    """

    LEAST = 2
    geometry = Geometry((1, 1))
    """That of a convolution of one tap."""

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        self.weight, self.bias = np.ascontiguousarray(weight.T)[:, :, None, None], bias
        """as a convolution has them"""
        self._layer = StripLayer(self.weight, bias, self.geometry, None)
        self.is_direct = self._layer.method == DIRECT
        """True for direct sums; else BLAS multiplies vector by vector"""
        self._calls: dict[int, Callable[[Array, Array], Any]] = {}

    def __call__(self, x: Array, out: Array) -> None:
        """Fill out."""
        if self.is_direct:
            self._run(x, out)
            return
        pair, sums = (np.zeros((self.LEAST, each.shape[1]), each.dtype) for each in (x, out))
        for number, row in enumerate(x):  # matrices of one size: BLAS then has one order of sums
            pair[0] = row
            self._run(pair, sums)
            out[number] = sums[0]

    def _run(self, x: Array, out: Array) -> None:
        source, target = x.T[None, :, None], out.T[None, :, None]
        run = self._calls.get(len(x))
        if run is None:
            run = self._calls[len(x)] = self._layer.specialized(source, target)
        run(source, target)
