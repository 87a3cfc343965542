"""Depth to space behind a convolution, as one transposed convolution with r times its stride and r times its taps.

Output c, r y + a, r x + b is channel (c, a, b) of the convolution's output y, x. So tap t of the convolution becomes
the taps r d t + a, and each phase a, b has a bias of its own (Shi et al. 2016, arXiv:1609.07009; see
`tconv.weights.artifacts.pixel_shuffle`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.models.layers import Convolution
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.depth_to_space import ChannelsToPixels


def folded_shuffle(graph: NodeGraph, number: int) -> bool:
    """Fold a depth to space into the convolution before, where the direct sum is as fast as what it replaces."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if not isinstance(step, ChannelsToPixels) or not isinstance(before, Convolution) or step.r == 1:
        return False
    if graph.only_reader(place) != number or not is_worthwhile(before):
        return False
    folded = shuffled(before, step)
    if folded is None:
        return False
    graph.replace(number, folded, graph.inputs(place))
    return True


def is_worthwhile(step: Convolution) -> bool:
    """Return True if the direct sum of the folded convolution takes no longer than the convolution and a shuffle.

    Three rows of taps by minimal filtering take half of the multiplications, which is more than a shuffle costs.
    """
    return set(step.geometry.dilation) == {1} and step.grouped is None


def shuffled(step: Convolution, shuffle: ChannelsToPixels) -> Convolution | None:
    """Return a convolution and a depth to space as one; None if phases have different slopes, or groups are split."""
    g, r, (into, out) = step.geometry, shuffle.r, step.channels
    channels = out // r**2
    if g.groups > 1 and (shuffle.order != "channels" or (out // g.groups) % r**2):
        return None
    by_phase = _by_phase(step.weight, 1, r, shuffle.order)  # [C_in, C_out, a, b, kh, kw]
    weight = np.zeros((into, by_phase.shape[1], *(r * extent for extent in g.extent)), np.float32)
    (dh, dw) = g.dilation
    for a in range(r):
        for b in range(r):
            weight[:, :, a :: r * dh, b :: r * dw] = by_phase[:, :, a, b]
    activation = _of_channels(step.activation, shuffle)
    if activation is False:
        return None
    bias: Any = step.bias
    if bias is not None:
        if bias.ndim == 3:
            return None
        bias = np.ascontiguousarray(_by_phase(bias, 0, r, shuffle.order))
        if (bias == bias[:, :1, :1]).all():
            bias = np.ascontiguousarray(bias[:, 0, 0])
    stride = [r * s for s in g.stride]
    crop = [(r * lo, r * hi) for lo, hi in g.crop]
    geometry = Geometry(weight.shape[2:], stride, crop, 1, g.groups)
    assert channels * r**2 == out
    return Convolution(weight, geometry, bias, activation)


def _by_phase(array: Array, axis: int, r: int, order: str) -> Array:
    """Return an array whose axis of channels before the shuffle is split into channels behind it, and both phases."""
    shape = list(array.shape)
    count = shape[axis] // r**2
    if order == "channels":
        return array.reshape(*shape[:axis], count, r, r, *shape[axis + 1 :])
    return np.moveaxis(array.reshape(*shape[:axis], r, r, count, *shape[axis + 1 :]), axis + 2, axis)


def _of_channels(activation: Any, shuffle: ChannelsToPixels) -> Any:
    """Return the activation for the channels behind a shuffle; False if it differs between phases."""
    if not isinstance(activation, tuple) or activation[0] != "prelu" or np.size(activation[1]) == 1:
        return activation
    slopes = _by_phase(np.asarray(activation[1]).ravel(), 0, shuffle.r, shuffle.order)
    return ("prelu", np.ascontiguousarray(slopes[:, 0, 0])) if (slopes == slopes[:, :1, :1]).all() else False
