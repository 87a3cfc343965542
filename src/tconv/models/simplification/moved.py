"""Steps of each pixel by itself that run in front of an enlargement, where there are fewer pixels or a convolution.

Nearest interpolation and depth to space only copy numbers: act(copy(x)) = copy(act(x)).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.layers import Convolution
from tconv.models.simplification.activations import is_fusable
from tconv.models.simplification.affine import constants_per_channel
from tconv.models.simplification.graph import NodeGraph
from tconv.models.simplification.nearest import repeats
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.depth_to_space import ChannelsToPixels
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.resizing import Resize
from tconv.models.steps.step import NetworkStep


def moved_in_front(graph: NodeGraph, number: int) -> bool:
    """Let an activation, or a product and sum with constants, run in front of an enlargement that nothing else reads.

    In front of a depth to space only where a convolution before that takes it up.
    """
    step, place = graph.step(number), graph.inputs(number)[0]
    enlargement = graph.step(place)
    if not isinstance(step, (Pointwise, Affine)) or graph.only_reader(place) != number:
        return False
    if graph.channels(place) != graph.channels(number):
        return False
    if isinstance(enlargement, Resize):
        if repeats(enlargement) is None:
            return False
        if isinstance(step, Affine) and constants_per_channel(step, graph.channels(number)) is None:
            return False
        moved: NetworkStep | None = step
    elif isinstance(enlargement, ChannelsToPixels):
        (source,) = graph.inputs(place)
        before = graph.step(source)
        if not isinstance(before, Convolution) or before.activation is not None or graph.only_reader(source) != place:
            return False
        moved = _for_blocks(step, enlargement, graph.channels(number))
        if isinstance(moved, Pointwise) and not is_fusable(moved.activation, graph.channels(source)):
            return False
    else:
        return False
    if moved is None:
        return False
    first = graph.insert(place, moved, graph.inputs(place))
    graph.replace(number, enlargement, (first,))
    return True


def of_blocks(values: Array, shuffle: ChannelsToPixels) -> Array:
    """Return one value for each channel before a depth to space, from those for each channel behind it."""
    return np.repeat(values, shuffle.r**2) if shuffle.order == "channels" else np.tile(values, shuffle.r**2)


def _for_blocks(step: Pointwise | Affine, shuffle: ChannelsToPixels, channels: int) -> NetworkStep | None:
    """Return the step for the channels before a depth to space; None if pixels differ."""
    if isinstance(step, Affine):
        found = constants_per_channel(step, channels)
        if found is None:
            return None
        scale, shift = (of_blocks(each, shuffle).astype(np.float32)[:, None, None] for each in found)
        return Affine(scale, shift)
    name, *numbers = step.activation if isinstance(step.activation, tuple) else (step.activation,)
    if name != "prelu":
        return step
    slopes: Any = np.asarray(numbers[0])
    return step if slopes.size == 1 else replace(step, activation=(name, of_blocks(slopes.ravel(), shuffle)))
