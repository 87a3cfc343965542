"""The filters against Pillow, and their properties: no dark border, adjoint, the same result in strips."""

import numpy as np
import pytest
from PIL import Image

import tconv
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError
from tconv.weights.interpolation import FILTERS, Interpolation, downsample, upsample

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SHAPES = [(1, 1), (1, 7), (6, 1), (2, 3), (13, 17)]
SCALES = [1, 2, 3, 4, 5, 8]

each = pytest.mark.parametrize("kernel", FILTERS)
scaled = pytest.mark.parametrize("scale", SCALES)
shaped = pytest.mark.parametrize("shape", SHAPES, ids=str)


def values(shape, dtype="f4"):
    return (np.random.default_rng(list(shape)).random(shape) * 255).astype(dtype)


def pillow(x, size, kernel):
    return np.asarray(Image.fromarray(x, "F").resize(size[::-1], PILLOW[kernel]))


@each
@scaled
@shaped
def test_upsampling_is_pillows(kernel, scale, shape):
    x = values(shape)
    expected = pillow(x, (scale * shape[0], scale * shape[1]), kernel)
    np.testing.assert_allclose(upsample(x, scale, kernel), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "lanczos"])
@scaled
@shaped
def test_downsampling_is_pillows(kernel, scale, shape):
    x = values((scale * shape[0], scale * shape[1]))
    np.testing.assert_allclose(downsample(x, scale, kernel), pillow(x, shape, kernel), rtol=0, atol=1e-4)


@scaled
def test_nearest_repeats_and_its_adjoint_is_the_mean(scale):
    x = values((2, 5, 4))
    np.testing.assert_array_equal(upsample(x, scale, "nearest"), x.repeat(scale, 1).repeat(scale, 2))
    blocks = values((5 * scale, 4 * scale), "f8").reshape(5, scale, 4, scale)
    smaller = downsample(blocks.reshape(5 * scale, 4 * scale), scale, "nearest")
    np.testing.assert_allclose(smaller, blocks.mean((1, 3)), rtol=1e-14)


@each
@scaled
@shaped
def test_a_constant_stays_constant(kernel, scale, shape):
    """Up to the border: in float64 to the last bits, and so to the last step of 8 and 16 bits in float32."""
    x = np.full(shape, 51234.0)
    np.testing.assert_allclose(upsample(x, scale, kernel), 51234, rtol=1e-14)
    np.testing.assert_array_equal(np.rint(upsample(x.astype("f4"), scale, kernel)), 51234)


@each
@scaled
def test_up_and_down_are_adjoint_before_they_are_normalised(kernel, scale):
    """<T(x), y> == <x, T*(y)>, where T(x) = upsample(x) T(1) and T*(y) = downsample(y) T*(1)."""
    small, large = (3, 5), (3 * scale, 5 * scale)
    x, y = values(small, "f8"), values(large, "f8")
    w = Interpolation(kernel, scale)
    taps, arguments = np.outer(w.taps, w.taps)[None, None], {"stride": scale, "padding": (w.size - scale) // 2}
    ones = tconv.conv_transpose(np.ones((1, 1, *small)), taps, **arguments)[0, 0]
    back = tconv.conv(np.ones((1, 1, *large)), taps, **arguments)[0, 0]
    left = np.vdot(upsample(x, scale, kernel) * ones, y)
    assert left == pytest.approx(np.vdot(x, downsample(y, scale, kernel) * back), rel=1e-12)


@each
@scaled
def test_strips_are_the_whole(kernel, scale):
    """Bit for bit: every strip sees the inputs that `window` names and nothing else."""
    x = values((2, 11, 5))
    whole, filter_ = upsample(x, scale, kernel), Interpolation(kernel, scale)
    for start, stop in [(0, 1), (0, 4), (3, 7), (11 * scale - 2, 11 * scale), (1, 11 * scale)]:
        if 0 <= start < stop <= 11 * scale:
            rows = slice(start, stop)
            window = filter_.window(rows, 11)
            np.testing.assert_array_equal(filter_.strip(x[:, window], window.start, rows), whole[:, rows])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
def test_dtype_and_leading_axes_stay(dtype):
    x = values((2, 3, 4, 5)).astype(dtype)
    y = upsample(x, 2)
    assert y.shape == (2, 3, 8, 10)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y[1, 2], upsample(x[1, 2], 2), rtol=1e-3 if dtype == "f2" else 1e-6)


@each
@scaled
def test_the_kernel_is_symmetric_and_the_largest_that_fits(kernel, scale):
    w = Interpolation(kernel, scale)
    np.testing.assert_array_equal(w.taps, w.taps[::-1])
    assert w.size == len(w.taps)
    assert (w.size - scale) % 2 == 0
    assert (w.size - 1) / 2 < FILTERS[kernel].width * scale / 2 <= (w.size + 1) / 2
    assert w.geometry.output_shape(7) == (7 * scale,)


@pytest.mark.parametrize(
    ("kind", "call", "message"),
    [
        (ArgumentError, lambda: upsample(np.ones((2, 2)), 2, "cubic"), "kernel is 'cubic'; there are nearest, bilinear, bicubic, lanczos. Write kernel=\"bicubic\", for example"),
        (GeometryError, lambda: upsample(np.ones((2, 2)), 2.5), "scale is 2.5; an integer is needed. Write scale=2, for example"),
        (GeometryError, lambda: upsample(np.ones((2, 2)), 0), "scale is 0; it must be at least 1. Write scale=1, for example"),
        (DtypeError, lambda: upsample(np.ones((2, 2), "u1")), "x has dtype uint8, and weighted means of integers are fractions. Write x.astype(np.float32)"),
        (ShapeError, lambda: upsample(np.ones(3)), "x has shape (3,); rows and columns are needed: [..., H, W]. Write x[None]"),
        (ShapeError, lambda: upsample(np.ones((3, 0))), "x has shape (3, 0); every image needs at least 1 row and 1 column"),
        (ShapeError, lambda: downsample(np.ones((5, 6)), 2), "the array is 5 x 6, which scale 2 does not divide; multiples of it are needed. Write y[..., :4, :6]"),
    ],
)  # fmt: skip
def test_messages(kind, call, message):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_step_keeps_some_of_the_rows_and_columns(step):
    x = np.random.default_rng(0).normal(0, 1, (2, 6, 9)).astype("f4")
    filter = Interpolation("bicubic", 5)
    whole, rows = filter.upsample(x), slice(step // 2 + 5, 30)
    strip = filter.strip(x, 0, rows, step)
    np.testing.assert_array_equal(strip, whole[:, rows][:, ::step, step // 2 :: step])
