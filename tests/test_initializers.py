"""Initializers: constants stay in every channel and blocks are equal, for any axes, groups and strides."""

import numpy as np
import pytest

import tconv
from tconv.errors import DtypeError, GeometryError, ShapeError
from tconv.weights.initializers import bilinear, icnr
from tconv.weights.interpolation import Interpolation


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("c_in", "c_out", "groups"), [(4, 4, 1), (4, 4, 4), (4, 4, 2), (2, 6, 1), (6, 2, 1), (6, 9, 3), (5, 3, 1)]
)
def test_bilinear_keeps_constants_in_all_channels(ndim, stride, c_in, c_out, groups):
    for k in {2 * stride - stride % 2, 2 * stride - 1, 2 * stride + 1}:
        w = bilinear((c_in, c_out // groups, *[k] * ndim), stride, groups)
        x = np.ones((1, c_in, *[6] * ndim), np.float32)
        y = tconv.conv_transpose(x, w, stride=stride, groups=groups)
        inner = (slice(None), slice(None), *[slice(k, -k)] * ndim)
        np.testing.assert_allclose(y[inner], 1, rtol=1e-6)
        assert y[inner].size


def test_bilinear_is_the_interpolation():
    x = np.random.default_rng(0).standard_normal((1, 3, 7, 5)).astype("f")
    for scale in (2, 3, 4):
        k, p = 2 * scale - scale % 2, (2 * scale - scale % 2 - scale) // 2
        y = tconv.conv_transpose(x, bilinear((3, 1, k, k), scale, groups=3), stride=scale, padding=p, groups=3)
        inner = (..., slice(scale, -scale), slice(scale, -scale))
        np.testing.assert_allclose(y[inner], Interpolation("bilinear", scale).upsample(x)[inner], atol=1e-6)


def test_each_channel_comes_from_its_own():
    w = bilinear((4, 4, 4), 2)
    assert ((w.sum(2) > 0) == np.eye(4)).all()
    grouped = bilinear((4, 2, 4), 2, groups=2)
    assert ((grouped.sum(2) > 0) == np.tile(np.eye(2), (2, 1))).all()


@pytest.mark.parametrize(
    ("kernel", "stride"), [((4,), (2,)), ((4, 6), (2, 3)), ((5, 2), (2, 2)), ((2, 2, 4), (2, 2, 2)), ((7, 3), (3, 1))]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_icnr_makes_equal_blocks(kernel, stride, groups):
    rng = np.random.default_rng(1)
    w = icnr((4, 3, *kernel), stride, groups, draw=lambda shape: rng.integers(-5, 6, shape))
    assert np.abs(w).max() > 0
    x = rng.integers(-5, 6, (2, 4, *[5] * len(kernel))).astype("f")
    y = tconv.conv_transpose(x, w, stride=stride, groups=groups)
    for axis, s in enumerate(stride, 2):
        whole = np.take(y, range(y.shape[axis] // s * s), axis)
        blocks = np.moveaxis(whole, axis, -1).reshape(*np.delete(whole.shape, axis), -1, s)
        assert (blocks == blocks[..., :1]).all()


def test_icnr_has_hes_variance():
    w = icnr((64, 64, 4, 4), 2, seed=0)
    assert w.dtype == np.float32
    assert abs(w.std() - np.sqrt(2 / (64 * 4))) < 1e-3
    assert (icnr((64, 64, 4, 4), 2, seed=0) == w).all()


def test_what_is_refused():
    with pytest.raises(GeometryError, match=r"needs 5 taps or more. Write a kernel of 5, with padding 1"):
        bilinear((1, 1, 4, 4), 3)
    with pytest.raises(GeometryError, match="below the stride 4"):
        icnr((1, 1, 3), 4)
    for make in (bilinear, icnr):
        with pytest.raises(ShapeError, match="2 groups do not divide"):
            make((3, 1, 4), 2, groups=2)
        with pytest.raises(ShapeError, match="a weight"):
            make((3, 1), 2)
    with pytest.raises(ShapeError, match=r"draw returned \(2,\)"):
        icnr((1, 1, 4), 2, draw=lambda shape: np.ones(2))
    for kind in (complex, str):
        with pytest.raises(DtypeError, match="real numbers are needed"):
            icnr((1, 1, 4), 2, draw=lambda shape, kind=kind: np.ones(shape).astype(kind))
