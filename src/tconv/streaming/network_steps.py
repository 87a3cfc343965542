"""Steps of networks as a stream needs them: time as rows where columns have no one order of sums, and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array, is_finite
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.models.layers import Convolution
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.operator.strips import DIRECT, layer_method


def refuse(step: Any) -> None:
    """Raise ShapeError for a step whose first outputs depend on the length of the whole input."""
    reason = None
    if isinstance(step, GlobalMean):
        reason = "it is a mean over all of time, which a stream never has. Write the network without it"
    elif isinstance(step, ResizeLike):
        reason = "it resizes to the length of another value, which a stream does not know. Write a factor"
    elif isinstance(step, Resize) and step.factors[1] != 1:
        whole = step.factors[1] == int(step.factors[1])
        if step.positions == "align_corners":
            reason = "its positions depend on the length of the input. Write align_corners=False"
        elif (step.by_size or step.positions == "half_pixel_symmetric") and not whole:
            reason = "its positions depend on the length of the input. Write positions by the factor, or a whole factor"
        elif step.positions == "pytorch_half_pixel" and step.factors[1] < 1:
            reason = 'an input with one output has another position. Write positions="half_pixel"'
    if reason is not None:
        raise ShapeError(reason)


def with_time_as_rows(step: Any) -> Any:
    """Return a convolution with its axes swapped if it is not computed by the direct sum; None for other steps.

    Then every row is computed alone, by products of the same sizes; the bits of columns depend on how many there are.
    """
    if not isinstance(step, (Convolution, StridedConvolution)):
        return None
    weight = step.weight
    finite = is_finite(weight)
    pixel = Problem(Geometry((1, 1)), 1, 1, 1, (1, 1), weight.dtype, finite_weight=finite)
    if layer_method(pixel) == DIRECT:
        return None
    weight = np.ascontiguousarray(weight.swapaxes(2, 3))
    if isinstance(step, StridedConvolution):
        pairs = {name: getattr(step, name)[::-1] for name in ("stride", "padding", "dilation")}
        return replace(step, weight=weight, **pairs)
    g = step.geometry
    swapped = Geometry(g.kernel[::-1], g.stride[::-1], g.crop[::-1], g.dilation[::-1], g.groups)
    bias: Array | None = step.bias
    if bias is not None and bias.ndim == 3:
        bias = np.ascontiguousarray(bias.swapaxes(1, 2))
    return replace(step, weight=weight, geometry=swapped, bias=bias)
