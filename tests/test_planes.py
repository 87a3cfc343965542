"""Passes over planes in machine code: bit for bit what NumPy computes, whatever strides, sizes and threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import network_steps as ns
import tconv
from tconv.kernels.simd import planes
from tconv.kernels.simd.availability import reason_unavailable
from tconv.models.steps.arithmetic import Combination, Sum
from tconv.models.steps.padding import Padding
from tconv.models.steps.step import Region
from tconv.models.steps.strided_convolution import StridedConvolution

pytestmark = pytest.mark.skipif(reason_unavailable() is not None, reason="the CPU kernel does not run here")
SHAPES = [(1, 1, 1), (1, 3, 17), (3, 5, 16), (33, 2, 31), (64, 4, 100), (2, 70, 97)]


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    monkeypatch.setattr(planes, "_LEAST", 1)


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = tconv.get_num_threads()
    tconv.set_num_threads(request.param)
    yield
    tconv.set_num_threads(before)


def framed(rng, shape, *, zeros=False):
    """Return a view of this shape into a larger array, with numbers of any kind, and that array."""
    channels, height, width = shape
    whole = np.zeros((channels, height + 3, width + 9), np.float32)
    if not zeros:
        whole[...] = rng.normal(0, 1, whole.shape)
        for number in (np.nan, np.inf, -np.inf, -0.0, 1e-42):
            whole.reshape(-1)[rng.integers(whole.size)] = number
    return whole[:, 1 : 1 + height, 3 : 3 + width], whole


def assert_written(function, expected):
    """Assert that a function of an output writes these numbers, and nothing beside them."""
    out, whole = framed(None, expected.shape, zeros=True)
    whole[...] = 7
    assert function(out)
    np.testing.assert_array_equal(out, expected)
    out[...] = 7
    assert (whole == 7).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_passes_write_the_numbers_of_numpy(shape, threads):
    rng = np.random.default_rng(shape)
    (x, _), (z, _) = framed(rng, shape), framed(rng, shape)
    with np.errstate(all="ignore"):
        for scales in ((1.0, 1.0), (0.2, 1.0), (-1.0, 3.0)):
            assert_written(
                lambda out, scales=scales: planes.add(x, z, scales, out),
                np.float32(scales[0]) * x + np.float32(scales[1]) * z,
            )
        for ends in itertools.product((1, None), repeat=3):
            gate = z[: ends[0], : ends[1], : ends[2]]
            assert_written(lambda out, gate=gate: planes.multiply(x, gate, out), x * gate)
            assert_written(lambda out, gate=gate: planes.multiply(gate, x, out), x * gate)
    assert_written(lambda out: planes.copy(x, out), x)


@pytest.mark.parametrize("step", [Sum(), Sum((0.5, 1.0)), Combination("multiply")], ids=["sum", "scaled", "product"])
@pytest.mark.parametrize("second", list(itertools.product((1, 8), (1, 5), (1, 24))), ids=str)
@pytest.mark.parametrize("swapped", [False, True])
def test_an_input_of_one_channel_row_or_column_counts_for_all(step, second, swapped):
    rng, shape = np.random.default_rng(0), (8, 5, 24)
    given = [rng.normal(0, 1, each).astype("f4") for each in (shape, second)]
    given = given[::-1] if swapped else given
    regions = [Region(array, slice(0, array.shape[1]), slice(0, array.shape[2])) for array in given]
    sizes = [array.shape[1:] for array in given]
    out, exact = np.full(shape, np.nan, "f4"), np.full(shape, np.nan)
    step.compute(regions, sizes, Region(out, slice(0, 5), slice(0, 24)))
    wide = [region._replace(values=region.values.astype(float)) for region in regions]
    step.compute(wide, sizes, Region(exact, slice(0, 5), slice(0, 24)))
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_are_split(shape, rows, threads):
    channels, height, width = shape
    x, _ = framed(np.random.default_rng(shape), (channels, rows * height, 2 * width))
    out = np.full((channels, rows, 3, height, width + 1), 7, np.float32)
    assert planes.split_blocks(x, out[:, :, :2, :, :-1])
    for row, odd in np.ndindex(rows, 2):
        np.testing.assert_array_equal(out[:, row, odd, :, :-1], x[:, row::rows, odd::2])
    assert (out[..., -1] == 7).all()
    assert (out[:, :, 2] == 7).all()


def test_what_machine_code_does_not_read_is_left_to_numpy(monkeypatch):
    x = np.ones((2, 4, 8), np.float32)
    out = np.zeros_like(x)
    assert not planes.copy(x.astype(np.float64), out)
    assert not planes.copy(x[None], out[None])
    assert not planes.copy(np.ones((2, 4, 16), np.float32)[:, :, ::2], out)
    assert not planes.add(x[:, :3], x, (1.0, 1.0), out)
    assert not planes.split_blocks(x, np.zeros((2, 2, 2, 2, 3), np.float32))
    monkeypatch.setattr(planes, "_LEAST", x.size + 1)
    assert not planes.copy(x, out)
    assert not out.any()


STEPS = {
    "sum": (Sum((1.0, -0.3)), 2),
    "product": (Combination("multiply"), 2),
    "crop": (Padding(((-2, -1), (-3, -2))), 1),
    "padding": (Padding(((1, 1), (2, 2)), "reflect"), 1),
    "2x2": (StridedConvolution(np.ones((3, 4, 2, 2), np.float32), stride=(2, 2)), 1),
    "3x4": (StridedConvolution(np.ones((3, 4, 3, 4), np.float32), None, (3, 2), ((1, 2), (1, 1))), 1),
}


@pytest.mark.parametrize("name", STEPS)
def test_parts_of_a_step_have_the_bits_that_numpy_gives(name, monkeypatch):
    rng = np.random.default_rng(list(name.encode()))
    step, count = STEPS[name]
    given = [rng.normal(0, 1, (4, 23, 41)).astype(np.float32) for _ in range(count)]
    monkeypatch.setattr(planes, "_LEAST", 1 << 60)
    y = ns.whole(step, given)
    monkeypatch.setattr(planes, "_LEAST", 1)
    for _ in range(30):
        spans = [ns.part(rng, size) for size in y.shape[1:]]
        np.testing.assert_array_equal(ns.rectangle(step, given, spans), y[:, spans[0], spans[1]])
