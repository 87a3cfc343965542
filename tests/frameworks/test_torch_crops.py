"""The operator on PyTorch's tensors with any crop, also beyond the full result, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tconv
from random_calls import whole_numbers
from tconv.errors import TconvError
from tconv.geometry import Geometry


def random_call(rng):
    """x [2, 4, *sizes], a weight [4, 5, *kernel] and a geometry whose output has elements."""
    while True:
        ndim = int(rng.integers(1, 4))
        kernel, stride, dilation, sizes = (tuple(map(int, rng.integers(1, most, ndim))) for most in (7, 4, 3, 6))
        g = Geometry(kernel, stride, [tuple(map(int, pair)) for pair in rng.integers(-4, 8, (ndim, 2))], dilation)
        try:
            shape = g.output_shape(sizes)
        except TconvError:
            continue
        return g, *(whole_numbers(rng, each) for each in ((2, 4, *sizes), (4, 5, *kernel), (5,), (2, 5, *shape)))


@pytest.mark.parametrize("seed", range(8))
def test_any_crop(seed):
    rng = np.random.default_rng([seed, 77])
    for _ in range(25):
        g, x, w, bias, dy = random_call(rng)
        tensors = [torch.tensor(each, requires_grad=True) for each in (x, w, bias)]
        y = tconv.conv_transpose(*tensors, geometry=g)
        assert np.array_equal(y.detach(), tconv.conv_transpose(x, w, bias, geometry=g)), g
        y.backward(torch.tensor(dy))
        back = tconv.conv(dy, w, geometry=g)
        assert np.array_equal(tensors[0].grad, back), g
        assert np.array_equal(tconv.conv(torch.tensor(dy, requires_grad=True), tensors[1], geometry=g).detach(), back)
        assert np.sum(tensors[1].grad.numpy() * w) == np.sum(back * x)
