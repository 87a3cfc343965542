"""Layers that change height and width: crops, paddings, interpolation, and pixels from channels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.steps.channels import ChannelRange
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.depth_to_space import ORDERS, ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize

_ALL = -233
_FAR = 1 << 30
"""Ends from here on mean the end of any picture."""


def crop(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a crop: from starts to ends as NumPy's slices, by margins, or to the size of a second input."""
    starts, ends = layer.line.wholes(9), layer.line.wholes(10)
    if starts and ends:
        return [_crop_by_slices(layer, starts, ends)]
    if len(layer.inputs) == 2:
        return [_crop_like(layer)]
    return [_crop_by_margins(layer)]


def _crop_by_slices(layer: NcnnLayer, starts: list[int], ends: list[int]) -> LayerOutput:
    x = layer.value()
    axes = layer.line.wholes(11) or list(range(x.axes))
    axes = [axis + x.axes if axis < 0 else axis for axis in axes]
    if not len(axes) == len(starts) == len(ends) or not {*axes} <= {*range(x.axes)}:
        raise layer.refusal(f"from {starts} to {ends} on the axes {axes}; one start and end for each axis is needed")
    for axis, start, end in zip(axes, starts, ends, strict=True):
        start = 0 if start == _ALL else start
        end = 0 if end == _ALL or end >= _FAR else end  # ncnn reads an end of 0 as the last
        if axis == 0:
            first = start + (x.channels if start < 0 else 0)
            last = min(x.channels, end if end > 0 else x.channels + end)
            x = _channels(layer, x, first, last)
        else:
            x = _margins(layer, x, axis, start, -end)
    return x


def _crop_by_margins(layer: NcnnLayer) -> LayerOutput:
    x, line = layer.picture(), layer.line
    before = [line.whole(key, 0) for key in (0, 1, 2)]
    sizes = [line.whole(key, 0) for key in (3, 4, 5)]
    after = [line.whole(key, 0) for key in (6, 7, 8)]
    if not any(sizes):
        raise layer.refusal("to the size of a second input, which it does not have; two inputs are needed")
    if min(before) < 0:
        raise layer.refusal(f"with the offsets {before}; numbers from 0 up are needed")
    for axis, lo, size, hi in zip((2, 1, 0), before, sizes, after, strict=True):
        if axis == 0:
            left = x.channels - lo - hi
            x = _channels(layer, x, lo, lo + (left if size == _ALL else min(size, left)))
        elif size != _ALL:
            raise layer.refusal(f"to a fixed size, {size}; margins are needed, so that pictures of any size fit")
        else:
            x = _margins(layer, x, axis, lo, hi)
    return x


def _crop_like(layer: NcnnLayer) -> LayerOutput:
    x, like = layer.values(2)
    line = layer.line
    left, top, first = (line.whole(key, 0) for key in (0, 1, 2))
    if left == _ALL or min(left, top, first) < 0 or (x.axes, like.axes) != (3, 3):
        raise layer.refusal(f"from ({top}, {left}) of vectors or by numbers; two pictures, and offsets are needed")
    x = _channels(layer, x, first, first + like.channels)
    x = _margins(layer, _margins(layer, x, 1, top, 0), 2, left, 0)
    return layer.add(CropLike((1, 1)), x, like)


def _channels(layer: NcnnLayer, x: LayerOutput, first: int, last: int) -> LayerOutput:
    return x if (first, last) == (0, x.channels) else layer.add(ChannelRange(first, last), x)


def _margins(layer: NcnnLayer, x: LayerOutput, axis: int, lo: int, hi: int) -> LayerOutput:
    if min(lo, hi) < 0:
        raise layer.refusal(
            f"to rows or columns from {lo} to {-hi}, a fixed number of them; a start from 0 up and an end below 0 are "
            "needed, so that pictures of any size fit"
        )
    sides: Any = tuple((-lo, -hi) if each == axis else (0, 0) for each in (1, 2))
    return layer.add(Padding(sides), x) if lo or hi else x


def padding(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a padding with a number, by the outermost pixels or by reflection."""
    x, line = layer.picture(), layer.line
    top, bottom, left, right = (line.whole(key, 0) for key in (0, 1, 2, 3))
    kind, front, behind = line.whole(4, 0), line.whole(7, 0), line.whole(8, 0)
    if min(top, bottom, left, right) < 0 or front or behind:
        raise layer.refusal(
            f"by {(top, bottom, left, right)} pixels and {(front, behind)} channels; pixels from 0 up are needed"
        )
    if kind not in (0, 1, 2):
        raise layer.refusal(f"of type {kind}; 0 (a number), 1 (the outermost pixels) and 2 (reflection) are read")
    mode = ("constant", "edge", "reflect")[kind]
    values: Any = line.number(5, 0.0)
    if kind == 0 and (stored := layer.floats("values")) is not None:
        if len(stored) != x.channels:
            raise layer.refusal(f"of {len(stored)} numbers on {x.channels} channels; as many are needed")
        values = tuple(map(float, stored))
        values = values if len({*values}) > 1 else values[0]
    return [layer.add(Padding(((top, bottom), (left, right)), mode, values), x)]


def interp(layer: NcnnLayer) -> list[LayerOutput]:
    """Append an interpolation by factors, or to the size of a second input."""
    line = layer.line
    kind, aligned = line.whole(0, 0), line.whole(6, 0)
    if kind not in (1, 2, 3):
        raise layer.refusal(f"of type {kind}; 1 (nearest), 2 (bilinear) and 3 (bicubic) are read")
    mode = ("nearest", "linear", "cubic")[kind - 1]
    positions = "asymmetric" if kind == 1 else "align_corners" if aligned else "half_pixel"
    if line.whole(5, 0) and len(layer.inputs) == 2:
        x, like = layer.values()
        if (x.axes, like.axes) != (3, 3):
            raise layer.refusal("of a vector; two pictures with height and width are needed")
        return [layer.add(ResizeLike(mode=mode, positions=positions), x, like, single=like.single)]
    if line.whole(3, 0) or line.whole(4, 0) or line.whole(5, 0):
        raise layer.refusal(
            f"to a fixed size of {line.whole(3, 0)} x {line.whole(4, 0)}; factors (1 and 2) are needed, so that "
            "pictures of any size fit"
        )
    factors: Any = tuple(_fraction(layer, line.number(key, 1.0)) for key in (1, 2))
    # ncnn's nearest takes the factor as it is, and the others the quotient of both sizes
    step = Resize(factors, mode, positions, by_size=False)
    return [layer.add(step, layer.picture(), single=False)]


def _fraction(layer: NcnnLayer, factor: float) -> Fraction:
    """Return a factor as a simple fraction where float32 has no other number for that, else exactly."""
    if not 0 < factor < 1 << 16:
        raise layer.refusal(f"by a factor of {factor:g}; one above 0 is needed")
    simple = Fraction(factor).limit_denominator(1000)
    return simple if np.float32(float(simple)) == np.float32(factor) else Fraction(factor)


def pixel_shuffle(layer: NcnnLayer) -> list[LayerOutput]:
    """Append channels that become the pixels of a block."""
    x, r = layer.picture(), layer.line.whole(0, 1, least=1)
    return [layer.add(ChannelsToPixels(r, _order(layer)), x, single=False)]


def reorg(layer: NcnnLayer) -> list[LayerOutput]:
    """Append the pixels of a block that become channels."""
    x, r = layer.picture(), layer.line.whole(0, 1, least=1)
    return [layer.add(PixelsToChannels(r, _order(layer)), x, single=False)]


def _order(layer: NcnnLayer) -> str:
    mode = layer.line.whole(1, 0)
    if mode not in (0, 1):
        raise layer.refusal(f"of mode {mode}; 0 or 1 is needed")
    return ORDERS[mode]
