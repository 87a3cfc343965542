"""The windows of PyTorch's and Keras' layers, against what the layers themselves depend on."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import pytest
import torch
from torch import nn

from tconv import window
from tconv.errors import ArgumentError, ArrayError, ShapeError

L = keras.layers
SIZE = 23

TORCH = [
    nn.Conv1d(1, 1, 5, padding=2, dilation=2),
    nn.Conv1d(1, 1, 4, padding="same", dilation=3),
    nn.Conv1d(1, 1, 3, stride=2, padding=1),
    nn.ConvTranspose1d(1, 1, 16, stride=8, padding=4),
    nn.ConvTranspose1d(1, 1, 3, stride=4, padding=1, output_padding=2, dilation=2),
    nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(1, 1, 4, stride=2, padding=1)),
    nn.AvgPool1d(3, 2, padding=1),
    nn.MaxPool1d(3, stride=1, dilation=2),
    nn.ZeroPad1d((3, -1)),
    nn.ConstantPad1d((0, 2), 7.0),
    nn.Upsample(scale_factor=3),
    nn.Sequential(
        nn.Conv1d(1, 1, 7, padding=3),
        nn.LeakyReLU(),
        nn.Sequential(
            nn.ConvTranspose1d(1, 1, 10, stride=5, padding=3, output_padding=1), nn.BatchNorm1d(1), nn.Tanh()
        ),
        nn.Upsample(scale_factor=2),
        nn.Conv1d(1, 1, 4, stride=3),
    ),
]
KERAS = [
    lambda: [L.Conv1D(1, 5, padding="same", dilation_rate=2)],
    lambda: [L.Conv1D(1, 4, strides=3, padding="same")],
    lambda: [L.Conv1D(1, 4, strides=2, padding="causal")],
    lambda: [L.Conv1DTranspose(1, 7, strides=3, padding="same")],
    lambda: [L.Conv1DTranspose(1, 4, strides=2, padding="valid", output_padding=1)],
    lambda: [L.AveragePooling1D(3, 2, padding="same"), L.UpSampling1D(3)],
    lambda: [L.ZeroPadding1D((2, 1)), L.Conv1D(1, 3, activation="relu"), L.Activation("tanh"), L.MaxPooling1D(2)],
]


def check(chain, joined):
    """Compare all windows of a bounded input with [inputs, outputs] that depend on each other."""
    w = window(chain, input_shape=joined.shape[:1])
    assert w.output_shape(joined.shape[0]) == joined.shape[1:]
    for place in range(joined.shape[0]):
        reached = np.flatnonzero(joined[place])
        expected = slice(int(reached[0]), int(reached[-1]) + 1) if len(reached) else slice(0, 0)
        assert w.output_window(slice(place, place + 1)) == (expected,)
    for place in range(0, joined.shape[1], 3):
        needed = np.flatnonzero(joined[:, place : place + 3].any(1))
        expected = slice(int(needed[0]), int(needed[-1]) + 1) if len(needed) else slice(0, 0)
        assert w.input_window(slice(place, place + 3)) == (expected,)


@pytest.mark.parametrize("module", TORCH, ids=lambda module: type(module).__name__)
def test_torch_layers(module):
    module.eval()
    for name, parameter in module.named_parameters():
        nn.init.constant_(parameter, 0.0 if "bias" in name else 1.0)
    with torch.no_grad():
        joined = (module(torch.eye(SIZE)[:, None]) - module(torch.zeros(SIZE, 1, SIZE)))[:, 0] != 0
    if isinstance(module, nn.MaxPool1d):  # it passes one value on, but may pass any
        assert window(module).receptive_field == (5,)
    check(module, joined.numpy())


@pytest.mark.parametrize("make", KERAS)
def test_keras_layers(make):
    model = keras.Sequential([keras.Input((SIZE, 1)), *make()])
    for weight in model.weights:
        weight.assign(np.full(tuple(weight.shape), 0.0 if "bias" in weight.path else 1.0))
    x = np.eye(SIZE, dtype=np.float32)[..., None]
    made = np.asarray(model(x).detach() - model(0 * x).detach())[..., 0]
    check(model, made != 0)


def test_two_axes_and_other_layers():
    w = window([nn.Conv2d(1, 4, (3, 5), padding=(1, 2)), nn.PixelShuffle(2), L.UpSampling2D((3, 1)), nn.AvgPool2d(2)])
    assert w.rate == (3, 1)
    assert [layer.name for layer in w.layers] == ["Conv2d", "PixelShuffle", "UpSampling2D", "AvgPool2d"]
    assert w.receptive_field == (3, 5)
    assert window([nn.ZeroPad2d((1, 2, 3, 4))]).output_shape((5, 6)) == (12, 9)


@pytest.mark.parametrize(
    ("chain", "kind", "message"),
    [
        ([nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect")], ArgumentError, "chain[0] is a Conv1d with padding_mode='reflect', whose borders repeat the input. Write tconv.Geometry"),
        (nn.Sequential(nn.ReLU(), nn.GroupNorm(1, 1)), ArgumentError, "chain[1] is a GroupNorm, which reads all positions at once: no window is exact"),
        ([nn.AvgPool1d(2, ceil_mode=True)], ArgumentError, "ceil_mode=True, whose size is rounded up. Use ceil_mode=False"),
        ([nn.AdaptiveAvgPool1d(3)], ArgumentError, "chain[0] is of type AdaptiveAvgPool1d, which is no layer whose window is known"),
        ([nn.Upsample(scale_factor=2, mode="linear")], ArgumentError, "chain[0] is of type Upsample"),
        ([nn.LSTM(1, 1)], ArgumentError, "chain[0] is of type LSTM"),
        ([nn.ReLU()], ArgumentError, "the chain has no layer"),
        ([L.Conv1D(1, 3)], ArrayError, "chain[0] is a Conv1D without a weight yet"),
    ],
)  # fmt: skip
def test_refusals(chain, kind, message):
    with pytest.raises(kind) as caught:
        window(chain)
    assert message in str(caught.value)


def test_same_of_keras_with_a_stride_needs_the_size():
    layer = L.Conv1D(1, 3, strides=2, padding="same")
    layer.build((None, 8, 1))
    with pytest.raises(
        ShapeError, match=r"chain\[0\] has padding 'same' and stride 2, whose borders depend on the size"
    ):
        window([layer])
    assert window([layer], input_shape=8).layers[0].geometry.crop == ((0, 1),)
