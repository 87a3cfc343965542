"""Means over the whole picture, as gates of squeeze and excitation read them, and over blocks of pixels."""

from __future__ import annotations

import numpy as np

from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.strided_convolution import StridedConvolution

_MEAN = 3
_MOST_TAPS = 4096
"""Pixels of a block, which become the taps of a convolution."""


def pooling(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a mean: over the whole picture, or over blocks of pixels as a convolution of equal weights."""
    x, line = layer.picture(), layer.line
    if line.whole(0, 0) != 1:
        raise layer.refusal("of the largest numbers (0=0); means (0=1) are read")
    if line.whole(4, 0):
        return [layer.add(GlobalMean(), x, axes=1, single=True)]
    if line.whole(7, 0):
        sizes = line.whole(18, line.whole(8, 0)), line.whole(8, 0)
        if sizes != (1, 1):
            raise layer.refusal(f"to a fixed size of {sizes}; (1, 1), the mean of the whole picture, is read")
        return [layer.add(GlobalMean(), x, single=True)]
    wide, across, left = line.whole(1, 0, least=1), line.whole(2, 1, least=1), line.whole(3, 0, least=0)
    kernel, stride = (line.whole(11, wide, least=1), wide), (line.whole(12, across, least=1), across)
    top = line.whole(13, left, least=0)
    sides = (top, line.whole(15, top, least=0)), (left, line.whole(14, left, least=0))
    if kernel[0] * kernel[1] > _MOST_TAPS:
        raise layer.refusal(f"over blocks of {kernel[0]} x {kernel[1]} pixels; up to {_MOST_TAPS} pixels are read")
    if line.whole(5, 0) != 1:
        raise layer.refusal("that adds rows and columns for a last block that is cut (5=0); 5=1 is needed")
    if any(map(any, sides)) and not line.whole(6, 0):
        raise layer.refusal("whose means leave out the padding (6=0); 6=1, or no padding, is needed")
    weight = np.full((x.channels, 1, *kernel), 1 / (kernel[0] * kernel[1]), np.float32)
    return [layer.add(StridedConvolution(weight, None, stride, sides, groups=x.channels), x, single=False)]


def reduction(layer: NcnnLayer) -> list[LayerOutput]:
    """Append the mean over height and width."""
    x, line = layer.picture(), layer.line
    axes = {axis + x.axes if axis < 0 else axis for axis in line.wholes(3)}
    operation = line.whole(0, 0)
    if operation != _MEAN or line.whole(1, 1) or axes != {1, 2}:
        raise layer.refusal(
            f"with the operation {operation} over the axes {sorted(axes) or 'all'}; means (3) over height and width "
            "(1 and 2) are read"
        )
    mean = layer.add(GlobalMean(), x, axes=3 if line.whole(4, 0) else 1, single=True)
    factor = line.number(2, 1.0)
    return [mean if factor == 1 else layer.add(Affine(np.full(1, factor, np.float32)), mean)]
