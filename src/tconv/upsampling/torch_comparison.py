"""A network built from PyTorch's own layers, to compare its time with tconv's.

The command reports both times for the sample photograph, where PyTorch is installed.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.kernels.activation import Activation, activation_of
from tconv.kernels.num_threads import get_num_threads
from tconv.models.image_model import Model, edge_extended
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.steps.arithmetic import Sum
from tconv.models.steps.pointwise import Pointwise

_RUNS = 5


class Times(NamedTuple):
    """Seconds of one run of a network, the best of interleaved runs, and the version of PyTorch."""

    here: float
    torch: float
    version: str


def times(model: Model, pixels: Array) -> Times | None:
    """Return both times for 8-bit pixels [C, H, W]; None if PyTorch is not installed or does not load."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        import torch
    except (ImportError, OSError):
        return None
    border = model.border
    padded = model.network_input(pixels.astype(np.float32) / 255)
    for axis in (1, 2):
        padded = edge_extended(padded, slice(-border, padded.shape[axis] + border), axis)
    x = np.ascontiguousarray(padded[None])
    before = torch.get_num_threads()
    torch.set_num_threads(get_num_threads())
    try:
        torch_run, tensor = in_torch(model.network), torch.from_numpy(x)
        spent: dict[str, list[float]] = {"here": [], "torch": []}
        with torch.inference_mode():
            for turn in range(_RUNS + 1):
                for name, call in (("here", lambda: model.network(x)), ("torch", lambda: torch_run(tensor))):
                    start = time.perf_counter()
                    call()
                    if turn:  # the first run compiles and allocates
                        spent[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    # the best, and not the median: on a busy machine threads that wait for each other lose far more than one thread
    here, there = (min(each) for each in spent.values())
    return Times(here, there, str(torch.__version__))


def in_torch(network: Network, form: Any = None) -> Callable[[Any], Any]:
    """Return the network as PyTorch users write it: ordinary convolutions, and transposed ones where there is a stride.

    `form` is the memory format of the weights, torch.channels_last for example.
    """
    import torch

    steps = []
    for number, node in enumerate(network.nodes, 1):
        step = node.step
        if isinstance(step, Convolution):
            call, activation = _layer(step, form), activation_of(step.activation, step.channels[1])
        else:
            given = step.activation if isinstance(step, Pointwise) else None
            call, activation = None, activation_of(given, network.channels[number])
        used_later = {place for later in network.nodes[number:] for place in later.inputs}
        done = [place for place in range(number) if place not in used_later]
        steps.append((node.inputs, done, call, isinstance(step, Sum), *_activation(activation)))

    def run(x: Any) -> Any:
        outputs = [x]
        for inputs, done, call, is_sum, slopes, limits in steps:
            given = [outputs[place] for place in inputs]
            for place in done:  # frees outputs that no later layer reads, as in a model of modules
                outputs[place] = None
            y = call(given[0]) if call else given[0] + given[1] if is_sum else given[0]
            given.clear()
            y = y if slopes is None else torch.nn.functional.prelu(y, slopes)
            outputs.append(y if limits is None else torch.clamp(y, *limits))
        return outputs[-1]

    return run


def _activation(activation: Activation | None) -> tuple[Any, tuple[float, float] | None]:
    """Return slopes and limits as PyTorch takes them; None for those that change nothing."""
    import torch

    if activation is None:
        return None, None
    slopes, limits = activation.slopes.astype(np.float32), (activation.low, activation.high)
    bent, bounded = bool((slopes != 1).any()), bool(np.isfinite(limits).any())
    return torch.from_numpy(slopes) if bent else None, limits if bounded else None


def _layer(step: Convolution, form: Any) -> Callable[[Any], Any]:
    import torch
    import torch.nn.functional as nn

    form = form or torch.contiguous_format

    g, (into, out) = step.geometry, step.channels
    bias = None if step.bias is None else torch.from_numpy(step.bias)
    if g.stride == (1, 1):
        by_group = step.weight.reshape(g.groups, into // g.groups, out // g.groups, *g.kernel)
        flipped = np.flip(np.moveaxis(by_group, 1, 2), (3, 4)).reshape(out, into // g.groups, *g.kernel)
        weight = torch.from_numpy(flipped.copy()).contiguous(memory_format=form)
        (top, bottom), (left, right) = ((e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(g.extent, g.crop, strict=True))
        if top == bottom >= 0 and left == right >= 0:
            return lambda x: nn.conv2d(x, weight, bias, 1, (top, left), g.dilation, g.groups)
        return lambda x: nn.conv2d(nn.pad(x, (left, right, top, bottom)), weight, bias, 1, 0, g.dilation, g.groups)
    weight = torch.from_numpy(step.weight).contiguous(memory_format=form)
    if all(lo >= 0 and 0 <= lo - hi < max(s, d) for (lo, hi), s, d in zip(g.crop, g.stride, g.dilation, strict=True)):
        arguments = g.stride, [lo for lo, _ in g.crop], [lo - hi for lo, hi in g.crop], g.groups, g.dilation
        return lambda x: nn.conv_transpose2d(x, weight, bias, *arguments)
    # a crop that PyTorch has no argument for: the full result, cut or padded
    padding = [-side for side in (*g.crop[1], *g.crop[0])]
    shift = 0 if bias is None else bias[:, None, None]
    return lambda x: nn.pad(nn.conv_transpose2d(x, weight, None, g.stride, 0, 0, g.groups, g.dilation), padding) + shift
