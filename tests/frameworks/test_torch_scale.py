"""Layers of PyTorch tile by tile: its own numbers, and the bits of the whole."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tconv.errors import ArgumentError
from tconv.scale.layer_call import layer
from tconv.scale.operators.chain import ChainOperator
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.operators.reading import operator_of
from tile_checks import assert_tiles

nn = torch.nn
TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
ORDINARY = nn.Conv1d, nn.Conv2d, nn.Conv3d


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_decoder_of_layers_and_activations(ndim):
    torch.manual_seed(ndim)
    rng, up, across = np.random.default_rng(ndim), TRANSPOSED[ndim - 1], ORDINARY[ndim - 1]
    decoder = nn.Sequential(
        across(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Sequential(up(4, 6, 4, 2, 1, groups=2), nn.LeakyReLU(0.2), nn.Dropout()),
        up(6, 2, 3, 2, 1, output_padding=1),
        nn.PReLU(2),
        across(2, 2, 3, padding="same", dilation=2, groups=2),
    ).eval()
    operator = operator_of(decoder)
    assert isinstance(operator, ChainOperator)
    assert len(operator.operators) == 4
    x = rng.standard_normal((3, *(13, 9, 5)[:ndim])).astype("f4")
    whole = computed(operator, x)
    with torch.no_grad():
        np.testing.assert_allclose(whole, decoder(torch.from_numpy(x)[None])[0].numpy(), atol=3e-6)
    assert_tiles(rng, operator, x, whole, 3)


def test_one_layer_of_any_dtype():
    rng = np.random.default_rng(4)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        module = nn.ConvTranspose2d(3, 4, 4, 2, 1).to(dtype)
        operator = operator_of(module)
        assert isinstance(operator, LayerOperator)
        assert operator.dtype == layer(module).dtype
        x = rng.standard_normal((3, 8, 9)).astype(operator.dtype)
        with torch.no_grad():
            expected = module.double()(torch.from_numpy(x.astype("f8"))[None])[0].numpy()
        whole = computed(operator, x)
        np.testing.assert_allclose(whole.astype("f8"), expected, atol=1e-12 if dtype == torch.float64 else 0.05)
        assert_tiles(rng, operator, x, whole, 2)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Conv2d(3, 3, 3, stride=2),
            r"network has a Conv2d with stride \(2, 2\); ordinary convolutions have stride 1",
        ),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "PyTorch's with zeros around are taken"),
        (nn.Sequential(nn.ReLU()), r"network\[0\] is a ReLU, and no layer is before it that could apply it"),
        (nn.Sequential(nn.ConvTranspose1d(1, 1, 2), nn.BatchNorm1d(1)), "network is a BatchNorm1d; a file of weights"),
        (nn.Linear(3, 3), r"network is a Linear; .* Write the path of its .onnx file, for example"),
    ],
)
def test_other_modules_are_refused(module, message):
    with pytest.raises(ArgumentError, match=message):
        operator_of(module)
