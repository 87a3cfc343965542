"""A network of `tconv.models` as PyTorch users write it, to compare times and numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tconv.errors import ArgumentError
from tconv.kernels.activation import Activation, activation_of
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.resizing import Resize
from tconv.models.steps.snake import Snake
from tconv.models.steps.step import NetworkStep
from tconv.models.steps.strided_convolution import StridedConvolution

Tensor = Callable[[Any], Any]
"""Function that makes tensors of constants."""
_NAMES = {"linear": "bilinear", "cubic": "bicubic", "edge": "replicate", "multiply": "mul", "divide": "div"}
"""PyTorch's words where they differ from ours."""


def in_torch(network: Network, form: Any = None, dtype: Any = None) -> Callable[[Any], Any]:
    """Return the network as a function of a tensor: ordinary convolutions, and transposed ones where there is a stride.

    `form` is the memory format of the weights, torch.channels_last for example, `dtype` their dtype, float32 if None.
    Raises ArgumentError for a step that has no simple form in PyTorch.
    """
    import torch

    def tensor(array: Any) -> Any:
        """Return constants of the network as a tensor."""
        stored = torch.from_numpy(np.array(array, np.float32)).to(dtype or torch.float32)
        return stored.contiguous(memory_format=form) if form is not None and stored.ndim == 4 else stored

    steps = []
    for number, node in enumerate(network.nodes, 1):
        used_later = {place for later in network.nodes[number:] for place in later.inputs}
        done = [place for place in range(number) if place not in used_later]
        steps.append((node.inputs, done, _call(node.step, network.channels[number], tensor)))

    def run(x: Any) -> Any:
        outputs = [x]
        for inputs, done, call in steps:
            given = [outputs[place] for place in inputs]
            for place in done:  # frees outputs that no later layer reads, as in a model of modules
                outputs[place] = None
            outputs.append(call(*given))
            given.clear()
        return outputs[-1]

    return run


def _call(step: NetworkStep, channels: int, tensor: Tensor) -> Callable[..., Any]:
    """Return a step as a function of tensors."""
    import torch
    import torch.nn.functional as nn

    if isinstance(step, Convolution) and step.bias is not None and step.bias.ndim == 3:
        return _with_pattern(step, channels, tensor)
    if isinstance(step, (Convolution, StridedConvolution)):
        linear = _convolution(step, tensor) if isinstance(step, Convolution) else _strided(step, tensor)
        activation = _activation(step.activation, channels, tensor)
        return linear if activation is None else lambda x: activation(linear(x))
    if isinstance(step, Pointwise):
        return _activation(step.activation, channels, tensor) or (lambda x: x)
    if isinstance(step, Sum):
        a, b = step.scales
        return lambda x, z: (x if a == 1 else a * x) + (z if b == 1 else b * z)
    if isinstance(step, Combination):
        operation = getattr(torch, _NAMES.get(step.operation, step.operation))
        return lambda x, z: operation(x, z)
    if isinstance(step, Affine):
        scale, shift = map(tensor, (step.scale, step.shift))
        return lambda x: x * scale + shift
    if isinstance(step, Snake):
        alpha, scale = (tensor(each.reshape(-1, 1, 1)) for each in (step.alpha, step.scale))
        return lambda x: x + scale * torch.sin(alpha * x) ** 2
    if isinstance(step, Concat):
        return lambda *given: torch.cat(given, 1)
    if isinstance(step, ChannelRange):
        return lambda x: x[:, step.start : step.stop]
    if isinstance(step, ChannelsToPixels) and step.order == "channels":
        return lambda x: nn.pixel_shuffle(x, step.r)
    if isinstance(step, PixelsToChannels) and step.order == "channels":
        return lambda x: nn.pixel_unshuffle(x, step.r)
    if isinstance(step, Padding) and step.multiple == (1, 1) and not isinstance(step.value, tuple):
        value = step.value if step.mode == "constant" else None
        sides, mode = (*step.sides[1], *step.sides[0]), _NAMES.get(step.mode, step.mode)
        return lambda x: nn.pad(x, sides, mode, value)
    if isinstance(step, Resize) and step in _usual_resizes(step):
        factors, mode = [float(factor) for factor in step.factors], _NAMES.get(step.mode, step.mode)
        return lambda x: nn.interpolate(x, scale_factor=factors, mode=mode)
    if isinstance(step, GlobalMean):
        return lambda x: x.mean((2, 3), keepdim=True)
    raise ArgumentError(f"{step} has no simple form in PyTorch. Compare with another engine")


def _usual_resizes(step: Resize) -> list[Resize]:
    """Return the interpolations of PyTorch at these factors, written in either way."""
    positions = "asymmetric" if step.mode == "nearest" else "half_pixel"
    return [Resize(step.factors, step.mode, each) for each in (None, positions)]


def _activation(argument: Any, channels: int, tensor: Tensor) -> Callable[[Any], Any] | None:
    """Return an activation as a function of a tensor; None for one that changes nothing."""
    import torch

    if isinstance(argument, str) and hasattr(torch, argument) and argument not in ("relu", "relu6"):
        function: Callable[[Any], Any] = getattr(torch, argument)
        return function
    activation: Activation | None = activation_of(argument, channels)
    if activation is None:
        return None
    slopes, limits = tensor(activation.slopes), (activation.low, activation.high)
    bent, bounded = bool((slopes != 1).any()), bool(np.isfinite(limits).any())

    def apply(y: Any) -> Any:
        if bent:
            one = slopes.numel() == 1
            y = torch.nn.functional.leaky_relu(y, float(slopes)) if one else torch.nn.functional.prelu(y, slopes)
        return torch.clamp(y, *limits) if bounded else y

    return apply if limits != (0.0, float("inf")) or bent else torch.relu


def _with_pattern(step: Convolution, channels: int, tensor: Tensor) -> Callable[..., Any]:
    """Return a convolution whose bias differs between pixels as a function of a tensor."""
    linear = _convolution(replace(step, bias=None), tensor)
    activation = _activation(step.activation, channels, tensor)

    def run(x: Any) -> Any:
        y = linear(x)
        y = y + tensor(step.bias_over(*(slice(0, size) for size in y.shape[2:])))
        return y if activation is None else activation(y)

    return run


def _strided(step: StridedConvolution, tensor: Tensor) -> Callable[..., Any]:
    import torch.nn.functional as nn

    weight, bias = tensor(step.weight), None if step.bias is None else tensor(step.bias)
    (top, bottom), (left, right) = step.padding
    if (top, left) == (bottom, right):
        return lambda x: nn.conv2d(x, weight, bias, step.stride, (top, left), step.dilation, step.groups)
    padding = left, right, top, bottom
    return lambda x: nn.conv2d(nn.pad(x, padding), weight, bias, step.stride, 0, step.dilation, step.groups)


def _convolution(step: Convolution, tensor: Tensor) -> Callable[..., Any]:
    import torch.nn.functional as nn

    g, (into, out) = step.geometry, step.channels
    bias = None if step.bias is None else tensor(step.bias)
    if g.stride == (1, 1):
        by_group = step.weight.reshape(g.groups, into // g.groups, out // g.groups, *g.kernel)
        flipped = np.flip(np.moveaxis(by_group, 1, 2), (3, 4)).reshape(out, into // g.groups, *g.kernel)
        weight = tensor(flipped)
        (top, bottom), (left, right) = ((e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(g.extent, g.crop, strict=True))
        if top == bottom >= 0 and left == right >= 0:
            return lambda x: nn.conv2d(x, weight, bias, 1, (top, left), g.dilation, g.groups)
        return lambda x: nn.conv2d(nn.pad(x, (left, right, top, bottom)), weight, bias, 1, 0, g.dilation, g.groups)
    weight = tensor(step.weight)
    if all(lo >= 0 and 0 <= lo - hi < max(s, d) for (lo, hi), s, d in zip(g.crop, g.stride, g.dilation, strict=True)):
        arguments = g.stride, [lo for lo, _ in g.crop], [lo - hi for lo, hi in g.crop], g.groups, g.dilation
        return lambda x: nn.conv_transpose2d(x, weight, bias, *arguments)
    # a crop that PyTorch has no argument for: the full result, cut or padded
    padding = [-side for side in (*g.crop[1], *g.crop[0])]
    shift = 0 if bias is None else bias[:, None, None]
    return lambda x: nn.pad(nn.conv_transpose2d(x, weight, None, g.stride, 0, 0, g.groups, g.dilation), padding) + shift
