"""Norms over channels along time."""

import numpy as np
import pytest

from stream_steps import cut, in_parts, numbers, whole
from tconv.errors import ShapeError
from tconv.streaming.channel_norm import ChannelNorm


def defined(x, gain, shift, eps, centred):
    x = x.astype(np.float64)
    x = x - x.mean(1, keepdims=True) if centred else x
    y = x / np.sqrt(np.square(x).mean(1, keepdims=True) + eps)
    return y * (1 if gain is None else gain[:, None, None]) + (0 if shift is None else shift[:, None, None])


@pytest.mark.parametrize("channels", [1, 2, 7, 96])
@pytest.mark.parametrize("centred", [True, False])
def test_it_is_the_definition_for_any_cut(channels, centred):
    rng = np.random.default_rng(channels)
    x = numbers(rng, 2, channels, 1, 70)
    gain, shift = numbers(rng, 2, channels)
    for constants in ((gain, shift), (gain, None), (None, None)):
        step = ChannelNorm(*constants, 1e-3, centred)
        y = whole(step, x)
        np.testing.assert_allclose(y, defined(x, *constants, 1e-3, centred), 1e-5, 3e-6)
        np.testing.assert_array_equal(in_parts(step, list(range(71)), x), y)
        np.testing.assert_array_equal(in_parts(step, cut(rng, 70, 20), x), y)
    with pytest.raises(ShapeError, match=rf"gain of the norm has shape \({channels},\); \({channels + 1},\) is needed"):
        ChannelNorm(gain).output_channels([channels + 1])
