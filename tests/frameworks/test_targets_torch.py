"""The profile of PyTorch, against PyTorch on random layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from target_layers import compare_with_profile, random_facts

from tconv.targets import LayerFacts


def run(facts, x, w):
    if facts.pads_begin != facts.pads_end:
        raise RuntimeError("one padding for both ends")
    call = getattr(torch.nn.functional, f"conv_transpose{len(facts.kernel)}d")
    return call(
        torch.from_numpy(x), torch.from_numpy(w), None, facts.stride, facts.pads_begin, facts.output_padding,
        facts.groups, facts.dilation,
    ).numpy()  # fmt: skip


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_layers(ndim):
    rng = np.random.default_rng(ndim)
    layers = [random_facts(rng, ndim, batches=(1, 2)) for _ in range(200)]
    tally = compare_with_profile("torch", run, layers, RuntimeError)
    assert min(tally["refused"], tally["equal"]) > 20, tally


def test_more_axes_have_no_function():
    assert not hasattr(torch.nn.functional, "conv_transpose4d")
    four = LayerFacts((2,) * 4, (2,) * 4, (1,) * 4, (0,) * 4, (0,) * 4, (0,) * 4, 1, 2, 3)
    from tconv.targets import target

    assert [limit.key for limit in target("torch").limits_against(four)] == ["ndim"]
