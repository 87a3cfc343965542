"""Inventories of ONNX files that both of PyTorch's exporters write: weight norm, pixel shuffles, zero insertion."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from onnx_models import check_layers, layer_output, tensors
from tconv.models.inventory import inventory_of

EXPORTERS = [False, True]


def export(module, x, path, dynamo, dynamic=None):
    """Write an ONNX file by one of the exporters; `dynamic` names the axes of x that vary."""
    module = module.eval()
    words: dict[str, Any] = {"dynamo": dynamo, "input_names": ["x"], "output_names": ["y"], "opset_version": 18}
    if dynamic and dynamo:
        words["dynamic_shapes"] = ({axis: torch.export.Dim(name, min=2, max=999) for axis, name in dynamic.items()},)
    elif dynamic:
        words["dynamic_axes"] = {"x": dynamic}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), str(path), **words)
    return path


class Only(nn.Module):
    """Module of one function of x, with the layers that it uses."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def decoder(norm):
    """Return the end of an audio decoder in the manner of EnCodec: causal, cut at its end."""
    torch.manual_seed(0)
    up = norm(nn.ConvTranspose1d(8, 4, 8, 4)), norm(nn.ConvTranspose1d(4, 2, 4, 2))
    for layer in up:
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)

    def forward(self, x):
        y = torch.nn.functional.elu(self.first(x)[..., :-4])
        return torch.tanh(self.second(y)[..., :-2])

    return Only(forward, first=up[0], second=up[1])


@pytest.mark.parametrize("dynamo", EXPORTERS)
@pytest.mark.parametrize("norm", ["parametrization", "hook"])
def test_weight_norm(norm, dynamo, tmp_path):
    by = {"parametrization": nn.utils.parametrizations.weight_norm, "hook": nn.utils.weight_norm}[norm]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = decoder(by)
    x = torch.randn(1, 8, 20)
    module(x)  # the hook of the older weight norm computes the weight
    path = export(module, x, tmp_path / "a.onnx", dynamo, {2: "time"})
    found = check_layers(path, {"x": np.random.default_rng(0).normal(0, 1, (1, 8, 33)).astype("f4")})
    assert len(found.layers) == 2
    print(norm, dynamo, [layer.weight.origin for layer in found.layers], [layer.output_shape for layer in found.layers])
    for layer, own in zip(found.layers, (module.first, module.second), strict=True):
        np.testing.assert_allclose(layer.weight.read(), own.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert layer.bias is not None
        assert not layer.limitations


@pytest.mark.parametrize("dynamo", EXPORTERS)
@pytest.mark.parametrize("dynamic", [None, {2: "h", 3: "w"}])
def test_pixel_shuffle(dynamic, dynamo, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 27, 3, padding=1, bias=False), nn.PixelShuffle(3))
    path = export(module, torch.randn(1, 3, 6, 7), tmp_path / "a.onnx", dynamo, dynamic)
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 6, 7)).astype("f4")
    (layer,) = inventory_of(path).layers
    assert layer.form == "convolution and depth to space"
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(layer_output(layer, x), expected, atol=1e-5)


def upfirdn(self, x):
    """StyleGAN's enlargement: zeros between, then a filter per channel."""
    n, c, h, w = x.shape
    z = torch.nn.functional.pad(x.reshape(n, c, h, 1, w, 1), [0, 1, 0, 0, 0, 1]).reshape(n, c, 2 * h, 2 * w)
    z = torch.nn.functional.pad(z, [2, 1, 2, 1])
    return torch.nn.functional.conv2d(z, self.filter.weight, groups=c)


def assigned(self, x):
    z = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    z[:, :, ::2, ::2] = x
    return self.filter(z)


def stacked(self, x):
    z = torch.stack([x, torch.zeros_like(x)], -1).flatten(-2)
    z = torch.stack([z, torch.zeros_like(z)], -2).flatten(2, 3)
    return self.filter(z)


@pytest.mark.parametrize("dynamo", EXPORTERS)
@pytest.mark.parametrize("insert", [upfirdn, assigned, stacked])
def test_zero_insertion(insert, dynamo, tmp_path):
    torch.manual_seed(0)
    module = Only(insert, filter=nn.Conv2d(3, 3, 4, padding=2, groups=3, bias=False))
    x = torch.randn(1, 3, 6, 5)
    path = export(module, x, tmp_path / "a.onnx", dynamo)
    (layer,) = inventory_of(path).layers
    print(insert.__name__, dynamo, layer.op)
    assert layer.form == "zero insertion and convolution"
    np.testing.assert_allclose(layer_output(layer, x.numpy()), module(x).detach().numpy(), atol=1e-5)
    model = onnx.load(path)
    y = model.graph.output[0].name
    assert tensors(model, {model.graph.input[0].name: x.numpy()}, [])[y].shape == tuple(layer.output_shape)


@pytest.mark.parametrize("dynamo", EXPORTERS)
def test_frozen_output_padding(dynamo, tmp_path):
    """An output size in PyTorch becomes the output_padding of the example."""
    layer = nn.ConvTranspose2d(2, 2, 3, 2, 1)
    module = Only(lambda self, x: self.up(x, output_size=[2 * x.shape[2], 2 * x.shape[3]]), up=layer)
    path = export(module, torch.randn(1, 2, 6, 5), tmp_path / "a.onnx", dynamo, None if dynamo else {2: "h", 3: "w"})
    (found,) = inventory_of(path).layers
    assert found.crop_origin == ("pads and output_padding" if dynamo else "pads and a frozen output_padding")
