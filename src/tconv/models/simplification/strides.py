"""Strided convolutions of stride 1 as what they are: convolutions of the kernel's own form."""

from __future__ import annotations

from tconv.models.layers import Convolution
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.strided_convolution import StridedConvolution


def unit_stride(graph: NodeGraph, number: int) -> bool:
    """Turn an ordinary convolution of stride 1 into the transposed convolution that it is."""
    step = graph.step(number)
    if not isinstance(step, StridedConvolution) or tuple(step.stride) != (1, 1):
        return False
    same = Convolution.ordinary(step.weight, step.bias, step.padding, step.dilation, step.groups, step.activation)
    graph.replace(number, same)
    return True
