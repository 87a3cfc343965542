"""Factors of the inputs of sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv.models.simplification.affine import constants_per_channel
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.arithmetic import Affine, Sum


def scaled_sum(graph: NodeGraph, number: int) -> bool:
    """Let a sum scale its inputs: (c x) + z = c x + z, where nothing else reads c x."""
    step, inputs = graph.step(number), graph.inputs(number)
    if not isinstance(step, Sum) or inputs[0] == inputs[1]:
        return False
    for index, place in enumerate(inputs):
        before = graph.step(place)
        if not isinstance(before, Affine) or graph.only_reader(place) != number:
            continue
        found, (source,) = constants_per_channel(before, graph.channels(place)), graph.inputs(place)
        if found is None or graph.channels(source) != graph.channels(place):
            continue
        scale, shift = found
        if shift.any() or (scale != scale[0]).any():
            continue
        scales = list(step.scales)
        scales[index] = float(np.float32(scales[index] * scale[0]))
        if not np.isfinite(scales[index]) or (scales[index] == 0 and step.scales[index] * scale[0] != 0):
            continue
        changed = list(inputs)
        changed[index] = source
        graph.replace(number, replace(step, scales=(scales[0], scales[1])), changed)
        return True
    return False
