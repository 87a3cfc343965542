"""The profile of LiteRT, against its interpreter on random layers: one of SAME and VALID must give the layer's crop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from target_layers import compare_with_profile, geometry_of, output_of, random_facts
from test_tflite import native

import tconv

RUN = native("optimised")


def run(facts, x, w):
    """Return the first result that is the layer's, of the two paddings that the operator has."""
    if facts.groups > 1:
        raise ValueError("TRANSPOSE_CONV has no groups")
    expected = tconv.conv_transpose(x, w, geometry=geometry_of(facts))
    sizes = [facts.batch, *output_of(facts), facts.out_channels]
    x_last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    stored = np.ascontiguousarray(tconv.convert(w, source="torch", target="tflite"))
    for padding in ("SAME", "VALID"):
        arguments = {"output_shape": sizes, "strides": list(facts.stride), "padding": padding}
        try:
            y = np.moveaxis(RUN(x_last, stored, None, arguments | {"dilations": list(facts.dilation)}), -1, 1)
        except (RuntimeError, ValueError):
            continue
        if np.array_equal(y, expected):
            return y
    raise ValueError("neither SAME nor VALID gives this crop")


def layers(rng, ndim, count):
    """Draw layers, half of them with the pads of SAME."""
    for _ in range(count):
        facts = random_facts(rng, ndim, batches=(1, 2), least_pad=0)
        if rng.random() < 0.5:
            total = [max(k - s, 0) for k, s in zip(facts.kernel, facts.stride, strict=True)]
            begin, end = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
            facts = replace(
                facts, pads_begin=begin, pads_end=end, output_padding=(0,) * ndim, dilation=(1,) * ndim, groups=1,
                in_channels=2, out_channels=3,
            )  # fmt: skip
        yield facts


@pytest.mark.parametrize("ndim", [2, 3])
def test_random_layers(ndim):
    tally = compare_with_profile("litert", run, layers(np.random.default_rng(ndim), ndim, 250), ValueError)
    assert min(tally["refused"], tally["equal"]) > 50, tally
