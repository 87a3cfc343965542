"""Recurrent layers of PyTorch as steps of a stream."""

import numpy as np
import pytest
from torch import manual_seed, nn, no_grad, randn

import tconv.torch  # noqa: F401
from stream_steps import cut, in_parts, whole
from tconv.errors import ArgumentError
from tconv.torch.recurrent_layers import recurrent_step

MODULES = {
    "LSTM": lambda: nn.LSTM(12, 20, 2),
    "LSTM without biases": lambda: nn.LSTM(12, 20, bias=False),
    "LSTM with a projection": lambda: nn.LSTM(12, 20, 2, proj_size=9),
    "GRU": lambda: nn.GRU(12, 20, 3, dropout=0.5).eval(),
    "RNN": lambda: nn.RNN(12, 20, 2, nonlinearity="relu"),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", MODULES)
def test_it_is_pytorchs_layer(name):
    manual_seed(0)
    for module in (MODULES[name](), MODULES[name]().double()):
        step = recurrent_step(module)
        x = randn(33, 2, 12, dtype=module.weight_ih_l0.dtype)
        with no_grad():
            wanted = module(x)[0].numpy()
        array = np.ascontiguousarray(x.numpy().transpose(1, 2, 0))[:, :, None]
        y = whole(step, array)
        np.testing.assert_allclose(y[:, :, 0].transpose(2, 0, 1), wanted, 1e-4, 64 * np.finfo(wanted.dtype).eps)
        np.testing.assert_array_equal(in_parts(step, cut(np.random.default_rng(0), 33, 5), array), y)


def test_both_directions_are_refused():
    with pytest.raises(ArgumentError, match=r"GRU is bidirectional.*Write bidirectional=False"):
        recurrent_step(nn.GRU(3, 4, bidirectional=True))
