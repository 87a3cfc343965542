"""Crops that a layer and the operations behind it share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tconv.geometry import Geometry
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import Constant, ConvTranspose
from tconv.rewriting.steps.kernel_taps import with_zero_taps
from tconv.rewriting.steps.step import separate_bias


def words_of(operation: ConvTranspose) -> list[tuple[int, int, int]]:
    """Return (pads_begin, pads_end, output_padding) per axis, in ONNX's meaning."""
    extra = operation.output_padding or (0,) * operation.geometry.ndim
    return [(lo, hi + op, op) for (lo, hi), op in zip(operation.geometry.crop, extra, strict=True)]


def with_crop(
    operation: ConvTranspose, crop: Sequence[tuple[int, int]], weight: Constant | None = None
) -> ConvTranspose:
    """Return the layer with another crop, written as pads alone."""
    g = operation.geometry
    weight = operation.weight if weight is None else weight
    geometry = Geometry(weight.shape[2:], g.stride, crop, g.dilation, g.groups)
    return replace(operation, weight=weight, geometry=geometry, output_padding=(), auto_pad="NOTSET", output_shape=None)


def with_small_output_padding(operation: ConvTranspose) -> ConvTranspose:
    """Return the layer with less output_padding, and as much less pad, where it is not below stride or dilation."""
    g = operation.geometry
    extra = tuple(
        op if op < max(s, d) else max(0, -hi)
        for (_, _, op), (_, hi), s, d in zip(words_of(operation), g.crop, g.stride, g.dilation, strict=True)
    )
    return replace(operation, output_padding=extra)


def safe(crop: tuple[int, int], extent: int) -> tuple[int, int]:
    """Return the part of a crop that leaves an output of even one input: (0, 0) if it could remove everything."""
    lo, hi = max(0, crop[0]), max(0, crop[1])
    return (lo, hi) if lo + hi < extent else (0, 0)


def append_layer(
    builder: Builder,
    operation: ConvTranspose,
    inside: Sequence[tuple[int, int]],
    output_padding: tuple[int, ...] = (),
    x: int = 0,
) -> int:
    """Append the layer with the crop `inside`; the rest of its crop is cut behind it, or padded with its bias."""
    crop = operation.geometry.crop
    rest = [(lo - a, hi - b) for (lo, hi), (a, b) in zip(crop, inside, strict=True)]
    grows = any(min(pair) < 0 for pair in rest)
    bias = separate_bias(operation.bias) if grows else None
    layer = replace(with_crop(operation, inside), output_padding=output_padding)
    y = append(builder, layer if bias is None else replace(layer, bias=bias.inside), x)
    y = builder.cut(y, rest, 0.0 if bias is None else bias.value)
    return y if bias is None else builder.add_bias(y, bias.behind)


def append(builder: Builder, layer: ConvTranspose, x: int = 0) -> int:
    """Append a layer as it is."""
    return builder.conv_transpose(
        x,
        weight=layer.weight,
        bias=layer.bias,
        geometry=layer.geometry,
        output_padding=layer.output_padding,
        auto_pad=layer.auto_pad,
        output_shape=layer.output_shape,
    )


def with_taps_around(operation: ConvTranspose, counts: Sequence[tuple[int, int]]) -> ConvTranspose:
    """Return the layer with zero taps around its kernel, which its crop takes back."""
    g = operation.geometry
    weight = with_zero_taps(operation.weight, counts)
    moved = zip(g.crop, counts, g.dilation, strict=True)
    crop = [(lo + d * front, hi + d * behind) for (lo, hi), (front, behind), d in moved]
    return with_crop(operation, crop, weight)
