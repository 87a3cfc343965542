"""Activations that the convolutions before them apply as they write."""

from __future__ import annotations

from dataclasses import replace

from tconv.errors import ArgumentError
from tconv.kernels.activation import activation_of
from tconv.models.layers import Convolution
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.strided_convolution import StridedConvolution


def fused_activation(graph: NodeGraph, number: int) -> bool:
    """Let the convolution before an activation apply it: act(conv(x)), where nothing else reads conv(x)."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if (
        not isinstance(step, Pointwise)
        or not isinstance(before, (Convolution, StridedConvolution))
        or before.activation is not None
        or graph.only_reader(place) != number
        or not is_fusable(step.activation, graph.channels(number))
    ):
        return False
    graph.replace(number, replace(before, activation=step.activation), graph.inputs(place))
    return True


def is_fusable(activation: object, channels: int) -> bool:
    """Return True if convolutions apply this activation as they write."""
    try:
        return activation_of(activation, channels) is not None
    except ArgumentError:
        return False
