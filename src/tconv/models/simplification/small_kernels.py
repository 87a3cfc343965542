"""Convolutions of single pixels (1 x 1) behind another convolution, as a part of that.

Both are linear: v (w * x + b) + c = (v w) * x + (v b + c), with the matrix v [C_out, C_between] of the 1 x 1 kernel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.models.layers import Convolution
from tconv.models.simplification.graph import NodeGraph


def single_pixels_behind(graph: NodeGraph, number: int) -> bool:
    """Multiply a convolution of 1 x 1, without padding, into the convolution before it, where products get fewer."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if not isinstance(step, Convolution) or not isinstance(before, Convolution) or graph.only_reader(place) != number:
        return False
    if before.activation is not None or before.geometry.groups > 1 or not _is_matrix(step):
        return False
    (into, between), out = before.channels, step.channels[1]
    taps = int(np.prod([-(-k // s) for k, s in zip(before.geometry.kernel, before.geometry.stride, strict=True)]))
    if taps * into * out > taps * into * between + between * out:
        return False
    if before.bias is not None and before.bias.ndim == 3:
        return False
    matrix = step.weight[:, :, 0, 0].astype(np.float64)  # [C_between, C_out]
    weight = np.tensordot(before.weight.astype(np.float64), matrix, (1, 0)).transpose(0, 3, 1, 2)
    bias: Array | None = None if step.bias is None else step.bias.astype(np.float64)
    if before.bias is not None:
        bias = before.bias.astype(np.float64) @ matrix + (0 if bias is None else bias)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(weight, np.float32), None if bias is None else bias.astype(np.float32)
    if not all(each is None or np.isfinite(each).all() for each in narrow):
        return False
    merged = replace(before, weight=narrow[0], bias=narrow[1], activation=step.activation)
    graph.replace(number, merged, graph.inputs(place))
    return True


def _is_matrix(step: Convolution) -> bool:
    """Return True for a convolution of 1 x 1 over whole channels that neither crops nor pads."""
    g = step.geometry
    plain = set(g.kernel) == set(g.stride) == {1} and g.groups == 1 and not np.any(g.crop)
    return plain and (step.bias is None or step.bias.ndim == 1)
