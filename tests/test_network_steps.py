"""Steps of networks: each equals its definition and the runtimes that have it, and any part of it equals the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import network_steps as ns
from tconv import TconvError
from tconv.models.error_bound import piece

seeds = st.integers(0, 2**32 - 1)


def drawn(rng, kind):
    """Return a random step of a kind, and inputs that it takes."""
    while True:
        channels = int(rng.choice([1, 2, 4, 8, 9]))
        shape = tuple(int(n) for n in rng.integers(1, 14, 2))
        if kind in ("sum", "combination", "concat", "crop_like", "resize_like"):
            step = ns.two_inputs(rng, kind)
            other = shape if kind in ("sum", "combination", "concat") else tuple(int(n) for n in rng.integers(1, 14, 2))
            more = [rng.normal(0, 1, (channels, *other)).astype("f4")]
        else:
            step, more = ns.one_input(rng, kind, channels), []
        given = [rng.normal(0, 1, (channels, *shape)).astype("f4"), *more]
        try:
            step.output_channels([len(each) for each in given])
            for axis in (0, 1):
                step.output_extent([each.shape[1 + axis] for each in given], axis)
        except TconvError:
            continue
        return step, given


@pytest.mark.parametrize("kind", ns.STEPS)
def test_a_part_of_a_step_has_the_bits_of_the_whole(kind):
    rng = np.random.default_rng(list(kind.encode()))
    for _ in range(40):
        step, inputs = drawn(rng, kind)
        if rng.random() < 0.3:
            inputs[0][:, rng.integers(inputs[0].shape[1])] = [np.nan, np.inf, -np.inf][rng.integers(3)]
        y = ns.whole(step, inputs)
        for _ in range(4):
            spans = [ns.part(rng, n) for n in y.shape[1:]]
            np.testing.assert_array_equal(ns.rectangle(step, inputs, spans), y[:, spans[0], spans[1]])


@pytest.mark.parametrize("kind", ns.STEPS)
def test_a_step_in_float32_is_the_step_in_float64(kind):
    rng = np.random.default_rng(list(kind.encode()))
    for _ in range(30):
        step, inputs = drawn(rng, kind)
        y, exact = ns.whole(step, inputs), ns.whole(step, inputs, "f8")
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, exact, rtol=3e-6, atol=3e-6 * max(1, np.abs(exact).max()))


@given(seeds)
@settings(max_examples=100)
def test_a_random_network_is_within_the_allowed_error_of_its_pieces(seed):
    rng = np.random.default_rng(seed)
    network, x = ns.random_network(rng)
    y, shape = network(x[None])[0], x.shape[1:]
    for _ in range(2):
        outputs = tuple(ns.part(rng, n) for n in y.shape[1:])
        rows, columns = (network.window(span, shape[axis], axis) for axis, span in enumerate(outputs))
        found = piece(network, x[:, rows, columns].astype("f8"), (rows, columns), shape, outputs)
        assert (np.abs(y[:, *outputs] - found.values) <= found.error + 1e-30).all()


@given(seeds, st.integers(1, 17))
@settings(max_examples=60)
def test_rows_of_a_random_network_have_the_same_bits_for_any_cut(seed, cuts):
    rng = np.random.default_rng(seed)
    network, x = ns.random_network(rng)
    y = network(x[None])[0]
    edges = [0, *sorted(rng.integers(0, y.shape[1] + 1, cuts % 4)), y.shape[1]]
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            window = network.window(slice(start, stop), x.shape[1])
            rows = network.rows(x[:, window], window.start, x.shape[1], slice(int(start), int(stop)))
            np.testing.assert_array_equal(rows, y[:, start:stop])
