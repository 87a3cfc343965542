"""Zero padding in front of a convolution, and crops behind it, as crops of its own geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv.models.layers import Convolution, replace_crop
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.depth_to_space import ChannelsToPixels
from tconv.models.steps.padding import Padding
from tconv.models.steps.strided_convolution import StridedConvolution

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Numbers of the top and bottom, and of the left and right."""


def padding_in_front(graph: NodeGraph, number: int) -> bool:
    """Let the convolution behind a zero padding pad: p zeros before the input are s p positions before the output.

    An ordinary convolution adds them to its padding; a transposed one of stride s crops s p outputs less.
    """
    step, behind = graph.step(number), graph.only_reader(number)
    if not isinstance(step, Padding) or behind is None or not _is_fixed(step):
        return False
    after, inputs = graph.step(behind), graph.inputs(number)
    if step.mode != "constant" or np.any(step.value) or min(min(pair) for pair in step.sides) < 0:
        return False
    if isinstance(after, StridedConvolution):
        graph.replace(behind, replace(after, padding=_sums(after.padding, step.sides)), inputs)
        return True
    if isinstance(after, Convolution) and (after.bias is None or after.bias.ndim == 1):
        g = after.geometry
        crop = [
            (lo - s * top, hi - s * bottom)
            for s, (lo, hi), (top, bottom) in zip(g.stride, g.crop, step.sides, strict=True)
        ]
        graph.replace(behind, replace(after, geometry=replace_crop(g, crop)), inputs)
        return True
    return False


def crop_behind(graph: NodeGraph, number: int) -> bool:
    """Let the convolution before a crop compute the outputs that are left."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if (
        not isinstance(step, Padding)
        or not isinstance(before, Convolution)
        or graph.only_reader(place) != number
        or not _is_fixed(step)
        or max(max(pair) for pair in step.sides) > 0
    ):
        return False
    g, bias = before.geometry, before.bias
    crop = [(lo - top, hi - bottom) for (lo, hi), (top, bottom) in zip(g.crop, step.sides, strict=True)]
    if bias is not None and bias.ndim == 3:  # the pattern begins where the crop does
        bias = np.ascontiguousarray(np.roll(bias, [pair[0] for pair in step.sides], (1, 2)))
    graph.replace(number, replace(before, geometry=replace_crop(g, crop), bias=bias), graph.inputs(place))
    return True


def crop_of_blocks(graph: NodeGraph, number: int) -> bool:
    """Crop in front of a depth to space by r what is a multiple of r behind it, so that a convolution can take it."""
    step, place = graph.step(number), graph.inputs(number)[0]
    shuffle = graph.step(place)
    if not isinstance(step, Padding) or not isinstance(shuffle, ChannelsToPixels) or not _is_fixed(step):
        return False
    if graph.only_reader(place) != number or any(side > 0 or side % shuffle.r for pair in step.sides for side in pair):
        return False
    (top, bottom), (left, right) = (tuple(side // shuffle.r for side in pair) for pair in step.sides)
    crop = graph.insert(place, Padding(((top, bottom), (left, right))), graph.inputs(place))
    graph.replace(number, shuffle, (crop,))
    return True


def merged_padding(graph: NodeGraph, number: int) -> bool:
    """Merge two paddings in a row: both crops, or both paddings with the same number."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if not isinstance(step, Padding) or not isinstance(before, Padding) or graph.only_reader(place) != number:
        return False
    if not _is_fixed(step) or not _is_fixed(before):
        return False
    every = [side for part in (before, step) for pair in part.sides for side in pair]
    same = (before.mode, before.value, step.mode) == ("constant", step.value, "constant")
    if max(every) > 0 and (min(every) < 0 or not same):
        return False
    graph.replace(number, replace(step, sides=_sums(before.sides, step.sides)), graph.inputs(place))
    return True


def _sums(one: Sides, other: Sides) -> Sides:
    (a, b), (c, d) = one
    (e, f), (g, h) = other
    return (a + e, b + f), (c + g, d + h)


def _is_fixed(step: Padding) -> bool:
    """Return True if its sides do not depend on the size of the picture."""
    return step.multiple == (1, 1)
