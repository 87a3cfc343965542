"""Random layers near a target's limits, run by the runtime itself: accepted and refused must agree with its profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

import tconv
from random_calls import whole_numbers
from tconv.geometry import Geometry
from tconv.targets import LayerFacts, target


def random_facts(rng: np.random.Generator, ndim: int, *, batches=(1,), most_pad=3, least_pad=-1) -> LayerFacts:
    """Draw a layer with a positive output, so that only limits of the runtime can refuse it."""
    while True:
        kernel, stride, small = (tuple(int(v) for v in rng.integers(1, 5, ndim)) for _ in range(3))
        dilation = tuple(int(v) for v in rng.choice([1, 1, 1, 2, 3], ndim))
        begin, end = (tuple(int(v) for v in rng.choice([0, 0, 1, 2, most_pad, least_pad], ndim)) for _ in range(2))
        if rng.random() < 0.5:
            end = begin
        extra = tuple(int(v) for v in rng.choice([0, 0, 0, 1, 2, 3], ndim))
        groups = int(rng.choice([1, 1, 2]))
        facts = LayerFacts(
            kernel, stride, dilation, begin, end, extra, groups, 2 * groups, 3 * groups, int(rng.choice(batches)), small
        )
        if min(output_of(facts)) > 0:
            return facts


def output_of(facts: LayerFacts) -> tuple[int, ...]:
    """Return the size of the output."""
    rows = zip(
        facts.kernel, facts.stride, facts.dilation, facts.pads_begin, facts.pads_end, facts.output_padding, facts.input,
        strict=True,
    )  # fmt: skip
    return tuple(s * (n - 1) + d * (k - 1) + 1 + op - lo - hi for k, s, d, lo, hi, op, n in rows)


def geometry_of(facts: LayerFacts) -> Geometry:
    """Return the layer's geometry."""
    crop = [(lo, hi - op) for lo, hi, op in zip(facts.pads_begin, facts.pads_end, facts.output_padding, strict=True)]
    return Geometry(facts.kernel, facts.stride, crop, facts.dilation, facts.groups)


def arrays_of(facts: LayerFacts, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return x [N, C, *spatial] and the weight [C_in, C_out/groups, *kernel] of whole numbers."""
    x = whole_numbers(rng, (facts.batch, facts.in_channels, *facts.input))
    return x, whole_numbers(rng, (facts.in_channels, facts.out_channels // facts.groups, *facts.kernel))


def compare_with_profile(name: str, run: Callable, layers, refusals) -> Counter:
    """Run every layer; it must be taken where the profile accepts it, equal the definition there, and else be refused."""
    rng, tally, it = np.random.default_rng(3), Counter(), target(name)
    for facts in layers:
        x, w = arrays_of(facts, rng)
        limits = [limit.text for limit in it.limits_against(facts)]
        try:
            y, refusal = run(facts, x, w), None
        except refusals as error:
            y, refusal = None, str(error)
        assert bool(limits) == (refusal is not None), (facts, limits, refusal)
        tally["accepted" if refusal is None else "refused"] += 1
        if refusal is not None:
            continue
        expected = tconv.conv_transpose(x, w, geometry=geometry_of(facts))
        np.testing.assert_array_equal(y, expected, err_msg=str(facts))
        tally["equal"] += 1
    return tally
