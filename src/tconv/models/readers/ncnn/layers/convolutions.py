"""Convolutions, transposed convolutions, and dense layers of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.dialects.ncnn import read_parameters
from tconv.errors import FileError, TconvError
from tconv.geometry import Geometry
from tconv.models.layers import Convolution
from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.readers.ncnn.layers.activations import included
from tconv.models.steps.padding import Padding
from tconv.models.steps.strided_convolution import StridedConvolution

Sides = tuple[tuple[int, int], tuple[int, int]]


def convolution(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a convolution, and before it a padding with another number than 0."""
    line, x = layer.line, layer.value()
    if line.whole(19, 0):
        raise layer.refusal("whose weight is an input; one in the file is needed")
    out, wide = line.whole(0, 0, least=1), line.whole(1, 0, least=1)
    kernel = line.whole(11, wide, least=1), wide
    dilation = line.whole(12, line.whole(2, 1), least=1), line.whole(2, 1, least=1)
    stride = line.whole(13, line.whole(3, 1), least=1), line.whole(3, 1, least=1)
    weight, groups = _weight(layer, out, kernel)
    bias = layer.floats("bias")
    if x.axes == 1:
        if kernel != (1, 1) or groups != 1:
            raise layer.refusal(f"of {kernel} taps on a vector; a picture with height and width is needed")
        return [included(layer, layer.add(Convolution.ordinary(weight, bias), x))]
    sides = _sides(layer, kernel, stride, dilation)
    value = line.number(18, 0.0)
    if value and any(map(any, sides)):
        x = layer.add(Padding(sides, value=value), x)
        sides = ((0, 0), (0, 0))
    step: Any
    if stride == (1, 1):
        step = Convolution.ordinary(weight, bias, sides, dilation, groups)
    else:
        step = StridedConvolution(weight, bias, stride, sides, dilation, groups)
    single = x.single and kernel == (1, 1) and not any(map(any, sides))
    return [included(layer, layer.add(step, x, single=single))]


def deconvolution(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a transposed convolution."""
    line, x = layer.line, layer.picture()
    if line.whole(28, 0):
        raise layer.refusal("whose weight is an input; one in the file is needed")
    kernel, _, arguments = read_parameters({key: line.whole(key, 0) for key in line.numbers}, 2)
    if not line.kind.endswith("DepthWise"):
        arguments["group"] = 1
    try:
        geometry: Geometry = dialect("ncnn").geometry(kernel=kernel, **arguments)
    except TconvError as error:
        if arguments.get("output_w", 0) > 0:
            raise layer.refusal(
                f"with an output of a fixed size, {arguments.get('output_h', arguments['output_w'])} x "
                f"{arguments['output_w']}; pads are needed, so that pictures of any size fit"
            ) from None
        raise FileError(f"{line.name}: {error}") from None
    out = line.whole(0, 0, least=1)
    weight, groups = _weight(layer, out, kernel)
    # ncnn's order is [groups, C_out/groups, C_in/groups, kh, kw]
    by_group = weight.reshape(groups, out // groups, -1, *kernel)
    canonical = np.ascontiguousarray(np.moveaxis(by_group, 2, 1)).reshape(-1, out // groups, *kernel)
    return [included(layer, layer.add(Convolution(canonical, geometry, layer.floats("bias")), x, single=False))]


def inner_product(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a product of a vector with a matrix, as a convolution of one tap."""
    line, x = layer.line, layer.value()
    if not x.single:
        raise layer.refusal("of a picture; a vector, as a mean over the picture is, is needed")
    out = line.whole(0, 0, least=1)
    weight = layer.required("weight")
    if len(weight) != out * x.channels:
        raise layer.refusal(f"of {len(weight)} weights; {out} x {x.channels} are needed")
    step = Convolution.ordinary(weight.reshape(out, x.channels, 1, 1), layer.floats("bias"))
    return [included(layer, layer.add(step, x, axes=1))]


def _weight(layer: NcnnLayer, out: int, kernel: tuple[int, ...]) -> tuple[Array, int]:
    """Return the weight [C_out, C_in/groups, kh, kw] and the number of groups. Raises FileError."""
    line = layer.line
    groups = line.whole(7, 1, least=1) if line.kind.endswith("DepthWise") else 1
    count = line.whole(6, 0, least=1)
    per_group, rest = divmod(count, out * kernel[0] * kernel[1])
    if rest or out % groups:
        raise FileError(
            f"{line.name} has {count} weights, which do not fit {out} channels of {kernel[0]} x {kernel[1]} taps in "
            f"{groups} groups"
        )
    return layer.required("weight").reshape(out, per_group, *kernel), groups


def _sides(layer: NcnnLayer, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Sides:
    """Return the padding of a convolution ((top, bottom), (left, right)). Raises FileError for rules that vary."""
    line = layer.line
    left, top = line.whole(4, 0), line.whole(14, line.whole(4, 0))
    sides = (top, line.whole(16, top)), (left, line.whole(15, left))
    given = {*sides[0], *sides[1]}
    if min(given) >= 0:
        return sides
    if given not in ({-233}, {-234}):
        raise layer.refusal(f"with a padding of {sides}; numbers from 0 up are needed, or -233 or -234 for all sides")
    if stride != (1, 1):
        raise layer.refusal(
            f"of stride {stride} with the padding {left}, which differs for odd and even sizes; numbers from 0 up are "
            "needed"
        )
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    halves = [(total // 2, total - total // 2) for total in totals]  # -233: the larger half behind
    return tuple(pair if left == -233 else pair[::-1] for pair in halves)  # type: ignore[return-value]
