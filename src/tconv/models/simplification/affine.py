"""Products and sums with constants that become a part of the convolution before or behind them, or of each other.

Batch normalization at inference is one: gamma (x - mean) / sqrt(var + eps) + beta.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.layers import Convolution
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.padding import Padding
from tconv.models.steps.strided_convolution import StridedConvolution


def affine_behind(graph: NodeGraph, number: int) -> bool:
    """Fold a scale and a shift into the convolution before: s (w * x + b) + t = (s w) * x + (s b + t).

    Behind an activation with act(s y) = s act(y) for s > 0, a positive scale alone.
    """
    found = _constants(graph, number)
    if found is None:
        return False
    place, (scale, shift) = graph.inputs(number)[0], found
    before = graph.step(place)
    if (
        not isinstance(before, (Convolution, StridedConvolution))
        or graph.only_reader(place) != number
        or graph.channels(place) != graph.channels(number)
        or not (
            before.activation is None or (_is_homogeneous(before.activation) and (scale > 0).all() and not shift.any())
        )
    ):
        return False
    wide = before.weight.astype(np.float64)
    if isinstance(before, Convolution):
        by_group = wide.reshape(before.geometry.groups, -1, *wide.shape[1:])
        weight = (by_group * scale.reshape(len(by_group), 1, -1, 1, 1)).reshape(wide.shape)
    else:
        weight = wide * scale[:, None, None, None]
    return _folded(graph, number, before, weight, before_bias(before.bias, scale, shift), graph.inputs(place))


def affine_in_front(graph: NodeGraph, number: int) -> bool:
    """Fold a scale and a shift into the convolution behind: w * (s x + t) + b = (w s) * x + (b + sum of w t).

    Padding zeros have no shift, so there must be none if there is one; and all outputs have the same taps, so a
    transposed convolution has a stride of 1. Between the two may be a padding that only repeats pixels, or a crop.
    """
    found = _constants(graph, number)
    behind = graph.only_reader(number)
    if found is None or behind is None:
        return False
    (scale, shift), place, inputs = found, graph.inputs(number)[0], graph.inputs(number)
    after = graph.step(behind)
    if isinstance(after, Padding) and (after.mode != "constant" or max(max(pair) for pair in after.sides) <= 0):
        if after.multiple != (1, 1) and after.mode == "constant":
            return False
        following = graph.only_reader(behind)
        if following is None:
            return False
        behind, inputs, after = following, (behind,), graph.step(following)
    if not isinstance(after, (Convolution, StridedConvolution)) or graph.channels(place) != graph.channels(number):
        return False
    if shift.any() and not _reads_no_padding(after):
        return False
    wide = after.weight.astype(np.float64)
    bias = None if after.bias is None else after.bias.astype(np.float64)
    if isinstance(after, Convolution):
        per_input: Any = (slice(None), None, None, None)
        groups = after.geometry.groups
        sums = (wide * shift[per_input]).reshape(groups, -1, *wide.shape[1:]).sum((1, 3, 4)).ravel()
        weight = wide * scale[per_input]
    else:
        outputs = wide.reshape(after.groups, -1, *wide.shape[1:])
        per_group = (after.groups, 1, -1, 1, 1)
        sums = (outputs * shift.reshape(per_group)).sum((2, 3, 4)).ravel()
        weight = (outputs * scale.reshape(per_group)).reshape(wide.shape)
    if shift.any():
        bias = sums if bias is None else bias + sums.reshape(-1, *[1] * (bias.ndim - 1))
    # inputs: the padding between both, or that of the product and sum, which then has no reader left
    folded = _folded(graph, behind, after, weight, bias, inputs)
    return folded and (number not in graph or graph.bypass(number, place))


def merged_affine(graph: NodeGraph, number: int) -> bool:
    """Merge two in a row: s2 (s1 x + t1) + t2 = (s1 s2) x + (s2 t1 + t2)."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if not isinstance(step, Affine) or not isinstance(before, Affine) or graph.only_reader(place) != number:
        return False
    (s1, t1), (s2, t2) = ([_three_axes(each) for each in (part.scale, part.shift)] for part in (before, step))
    with np.errstate(all="ignore"):
        scale, shift = s1 * s2, s2 * t1 + t2
        narrow = scale.astype(np.float32), shift.astype(np.float32)
    if max(scale.size, shift.size) > max(each.size for each in (s1, t1, s2, t2)) or not _is_safe(scale, s1, s2):
        return False
    if not all(np.isfinite(each).all() for each in narrow):
        return False
    graph.replace(number, Affine(*narrow), graph.inputs(place))
    return True


def constants_per_channel(step: Affine, channels: int) -> tuple[Array, Array] | None:
    """Return scale and shift [C] in float64; None if they differ between pixels, or are not finite."""
    constants = [_three_axes(each) for each in (step.scale, step.shift)]
    if any(each.shape[1:] != (1, 1) or not np.isfinite(each).all() for each in constants):
        return None
    scale, shift = (np.broadcast_to(each.ravel(), (channels,)) for each in constants)
    return scale, shift


def before_bias(bias: Array | None, scale: Array, shift: Array) -> Array | None:
    """Return the bias s b + t of s (y + b) + t; None for none."""
    if bias is None:
        return shift if shift.any() else None
    axes = (-1, *[1] * (bias.ndim - 1))
    return bias.astype(np.float64) * scale.reshape(axes) + shift.reshape(axes)


def _constants(graph: NodeGraph, number: int) -> tuple[Array, Array] | None:
    step = graph.step(number)
    return constants_per_channel(step, graph.channels(number)) if isinstance(step, Affine) else None


def _three_axes(constant: Any) -> Array:
    array = np.asarray(constant, np.float64)
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def _is_homogeneous(activation: Any) -> bool:
    """Return True if the activation of s y is s times that of y, for any s > 0."""
    name = activation[0] if isinstance(activation, tuple) else activation
    return name in ("relu", "leaky_relu", "prelu")


def _reads_no_padding(step: Convolution | StridedConvolution) -> bool:
    """Return True if all taps of all outputs lie in the picture."""
    if isinstance(step, StridedConvolution):
        return all(side <= 0 for sides in step.padding for side in sides)
    g = step.geometry
    return set(g.stride) == {1} and all(
        side >= extent - 1 for extent, sides in zip(g.extent, g.crop, strict=True) for side in sides
    )


def _is_safe(product: Array, *factors: Array) -> bool:
    """Return True if a product of constants is 0 in float32 only where a factor is."""
    tiny = float(np.finfo(np.float32).tiny)
    zero = np.zeros((), bool)
    for factor in factors:
        zero = zero | (factor == 0)
    return bool(((np.abs(product) >= tiny) | zero).all())


def _folded(
    graph: NodeGraph,
    number: int,
    step: Convolution | StridedConvolution,
    weight: Array,
    bias: Array | None,
    inputs: tuple[int, ...],
) -> bool:
    """Put the convolution with these constants at a node. Return False if float32 cannot hold them."""
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(weight, np.float32), None if bias is None else np.asarray(bias, np.float32)
    if not all(each is None or np.isfinite(each).all() for each in narrow):
        return False
    graph.replace(number, replace(step, weight=narrow[0], bias=narrow[1]), inputs)
    return True
