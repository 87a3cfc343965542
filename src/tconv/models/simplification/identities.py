"""Steps that change nothing, and pairs of steps that undo each other."""

from __future__ import annotations

from math import inf

import numpy as np

from tconv.errors import ArgumentError
from tconv.kernels.activation import activation_of
from tconv.models.simplification.graph import NodeGraph
from tconv.models.simplification.nearest import repeats
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.resizing import Resize


def identity(graph: NodeGraph, number: int) -> bool:
    """Drop a step whose output is its input: padding of 0, resize by 1, all channels, product with 1, sum with 0."""
    inputs = graph.inputs(number)
    return len(inputs) == 1 and _changes_nothing(graph, number) and graph.bypass(number, inputs[0])


def undone_shuffle(graph: NodeGraph, number: int) -> bool:
    """Drop a depth to space and a space to depth of the same blocks and order, one after the other."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    # pixels to channels to pixels: those of a picture whose size the blocks divide, which the first one checks
    pair = {type(step), type(before)}
    if pair != {ChannelsToPixels, PixelsToChannels} or (step.r, step.order) != (before.r, before.order):  # type: ignore[union-attr]
        return False
    if isinstance(before, PixelsToChannels):
        return False
    return graph.bypass(number, graph.inputs(place)[0])


def nested_concat(graph: NodeGraph, number: int) -> bool:
    """Concatenate at once: concat(concat(a, b), c) = concat(a, b, c), where nothing else reads the inner one."""
    step, inputs = graph.step(number), graph.inputs(number)
    if not isinstance(step, Concat):
        return False
    for index, place in enumerate(inputs):
        if isinstance(graph.step(place), Concat) and graph.only_reader(place) == number:
            graph.replace(number, step, (*inputs[:index], *graph.inputs(place), *inputs[index + 1 :]))
            return True
    return False


def range_of_channels(graph: NodeGraph, number: int) -> bool:
    """Take channels where they come from: of a range of channels, or of a part of a concatenation."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if not isinstance(step, ChannelRange):
        return False
    if isinstance(before, ChannelRange):
        moved = ChannelRange(before.start + step.start, before.start + step.stop)
        graph.replace(number, moved, graph.inputs(place))
        return True
    if isinstance(before, Concat):
        start = 0
        for each in graph.inputs(place):
            stop = start + graph.channels(each)
            if start <= step.start and step.stop <= stop:
                graph.replace(number, ChannelRange(step.start - start, step.stop - start), (each,))
                return True
            start = stop
    return False


def _changes_nothing(graph: NodeGraph, number: int) -> bool:
    step = graph.step(number)
    before, after = graph.channels(graph.inputs(number)[0]), graph.channels(number)
    if isinstance(step, Padding):
        return not any(side for pair in step.sides for side in pair) and step.multiple == (1, 1)
    if isinstance(step, Resize):
        return repeats(step) == (1, 1)  # some rules take the pixel beside, or between two, even so
    if isinstance(step, ChannelRange):
        return before == after
    if isinstance(step, Concat):
        return True
    if isinstance(step, (ChannelsToPixels, PixelsToChannels)):
        return step.r == 1
    if isinstance(step, Affine):
        constants = np.ndim(step.scale) <= 1 == np.size(step.scale), np.ndim(step.shift) <= 1 == np.size(step.shift)
        uniform = all(constants) or before == after
        has_rows = any(np.shape(each)[-2:] not in ((), (1,), (1, 1)) for each in (step.scale, step.shift))
        return uniform and not has_rows and bool((np.asarray(step.scale) == 1).all() and not np.any(step.shift))
    if isinstance(step, Pointwise):
        return _is_linear(step, after)
    return False


def _is_linear(step: Pointwise, channels: int) -> bool:
    """Return True for slopes of 1 without limits."""
    try:
        activation = activation_of(step.activation, channels)
    except ArgumentError:
        return False
    if activation is None:
        return True
    limits = getattr(activation, "low", None), getattr(activation, "high", None)
    return limits == (-inf, inf) and bool((activation.slopes == 1).all())
