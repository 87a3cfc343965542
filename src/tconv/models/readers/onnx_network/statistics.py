"""Means over the picture or the channels, normalizations, and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.geometry import Geometry
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.activations import appended, scaled
from tconv.models.readers.onnx_network.axes import long_atoms
from tconv.models.readers.onnx_network.broadcasting import to_channels
from tconv.models.readers.onnx_network.builder import Atom, GraphPicture
from tconv.models.readers.onnx_network.convolutions import on_channels, pads_of
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.pooling import ChannelMean, GlobalMean, Pooling

Operator = Callable[[NodeReader, Any], Any]


def _batch_normalization(reader: NodeReader, node: Any) -> GraphPicture:
    place = reader.place(node)
    attributes = reader.attributes(node)
    if attributes.get("training_mode", 0):
        raise FileError(f"{label(node)} has training_mode=1; write the network as it infers (model.eval())")
    scale, shift, mean, variance = (reader.floats(node, number).ravel().astype(np.float64) for number in range(1, 5))
    channels = reader.builder.channels[place]
    if any(each.shape != (channels,) for each in (scale, shift, mean, variance)) or variance.min() < 0:
        raise FileError(f"{label(node)} has numbers that do not fit {channels} channels, or a variance below 0")
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    if not np.isfinite(factor).all():
        raise FileError(f"{label(node)} divides by a variance of 0; a larger epsilon is needed")
    step = Affine(*(each.astype(np.float32)[:, None, None] for each in (factor, shift - mean * factor)))
    return reader.builder.whole(reader.builder.add(step, place))


# -- means -----------------------------------------------------------------------------------------------------------


def _global_average(reader: NodeReader, node: Any) -> GraphPicture:
    return reader.builder.whole(reader.builder.add(GlobalMean(), reader.place(node)))


def _reduced(sums: bool) -> Operator:
    """Return the operator of a mean or a sum over axes."""

    def read(reader: NodeReader, node: Any) -> GraphPicture:
        picture, builder = reader.picture(node), reader.builder
        attributes, rank = reader.attributes(node), len(picture.axes)
        given = reader.integers(node, 1, "axes")
        if given is None and attributes.get("noop_with_empty_axes", 0):
            return picture
        axes = sorted({axis % rank for axis in given}) if given else list(range(rank))
        gone = [atom for axis in axes for atom in long_atoms(picture.axes[axis])]
        place = _mean(reader, node, picture, gone, sums)
        kept = attributes.get("keepdims", 1)
        whole = {axis[0].kind: axis for axis in builder.whole(place).axes}
        result = []
        for number, axis in enumerate(picture.axes):
            letters = [atom.kind for atom in axis if not atom.path]
            if number not in axes:
                result.append(axis)
            elif kept:
                result.append(whole[letters[0]] if len(letters) == len(axis) == 1 else ())
        return GraphPicture(place, tuple(result))

    return read


def _mean(reader: NodeReader, node: Any, picture: GraphPicture, gone: list[Atom], sums: bool = False) -> int:
    """Append the mean over some whole axes of a picture; return its place."""
    builder, place = reader.builder, picture.place
    kinds = {atom.kind for atom in gone}
    long = {atom.kind for axis in picture.axes for atom in long_atoms(axis)}
    if (
        "N" in kinds
        or any(atom.path for atom in gone)
        or len(kinds & {"H", "W"}) != len(long & {"H", "W"}) * bool(kinds & {"H", "W"})
    ):
        names = ", ".join(sorted(kinds))
        raise FileError(
            f"{label(node)} reduces the axes {names} of {picture.shape}; the mean over all rows and columns, or over "
            "all channels, is needed"
        )
    if kinds & {"H", "W"}:
        if sums:
            raise FileError(f"{label(node)} sums all pixels, whose number depends on the size; their mean is needed")
        place = builder.add(GlobalMean(), place)
    if "C" in kinds:
        count = builder.channels[place]
        place = builder.add(ChannelMean(), place)
        if sums:
            place = builder.add(Affine(np.full(1, count, np.float32)), place)
    return place


# -- normalizations --------------------------------------------------------------------------------------------------


def _normalized(reader: NodeReader, place: int, mean: Callable[[int], int], epsilon: float) -> int:
    """Append (x - mean) / sqrt(mean of (x - mean)^2 + epsilon); return its place."""
    add = reader.builder.add
    centred = add(Sum((1.0, -1.0)), place, mean(place))
    variance = mean(add(Combination("multiply"), centred, centred))
    shifted = scaled(reader, GraphPicture(variance, ()), 1.0, epsilon)
    return add(Combination("divide"), centred, appended(reader, shifted, "sqrt").place)


def _by_group(reader: NodeReader, groups: int) -> Callable[[int], int]:
    """Return the mean over all pixels and the channels of a group, for each channel."""

    def mean(place: int) -> int:
        channels = reader.builder.channels[place]
        means = reader.builder.add(GlobalMean(), place)
        size = channels // groups
        if size == 1:
            return means
        same = np.arange(channels) // size
        return on_channels(reader, means, (same[:, None] == same) / size)

    return mean


def _instance_normalization(reader: NodeReader, node: Any) -> GraphPicture:
    """InstanceNormalization, also behind the reshape to groups by which exporters write a GroupNorm."""
    picture, builder = reader.picture(node), reader.builder
    axes = [long_atoms(axis) for axis in picture.axes]
    rest = [atom for axis in axes[2:] for atom in axis]
    whole = not any(atom.kind == "C" for atom in rest)
    channels = builder.channels[picture.place]
    scale, shift = (reader.floats(node, number).ravel() for number in (1, 2))
    groups = len(scale)
    spatial = {atom.kind for atom in rest if not atom.path}
    outer = axes[1]
    fits = all(atom.kind == "C" for atom in outer) and len(outer) <= 1 and (whole or not outer or outer[0].path == (0,))
    long = {atom.kind for axis in builder.whole(picture.place).axes for atom in long_atoms(axis)} & {"H", "W"}
    if not fits or not long <= spatial or groups < 1 or channels % groups or len(shift) != groups:
        raise FileError(
            f"{label(node)} normalizes the axes {picture.shape}; all pixels of channels or groups are needed"
        )
    place = _normalized(reader, picture.place, _by_group(reader, groups), reader.attributes(node).get("epsilon", 1e-5))
    by_channel = [np.repeat(each, channels // groups)[:, None, None] for each in (scale, shift)]
    return scaled(reader, picture._replace(place=place), *by_channel)


def _group_normalization(reader: NodeReader, node: Any) -> GraphPicture:
    place, attributes = reader.place(node), reader.attributes(node)
    groups, channels = attributes.get("num_groups", 0), reader.builder.channels[place]
    scale, shift = (reader.floats(node, number).ravel() for number in (1, 2))
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        raise FileError(f"{label(node)} has num_groups={groups}, which do not divide {channels} channels")
    scale, shift = (np.repeat(each, channels // groups) if len(each) == groups else each for each in (scale, shift))
    if not len(scale) == len(shift) == channels:
        raise FileError(f"{label(node)} has {len(scale)} scales for {channels} channels")
    place = _normalized(reader, place, _by_group(reader, groups), attributes.get("epsilon", 1e-5))
    return scaled(reader, reader.builder.whole(place), scale[:, None, None], shift[:, None, None])


def _layer_normalization(reader: NodeReader, node: Any) -> GraphPicture:
    picture, attributes = reader.picture(node), reader.attributes(node)
    rank = len(picture.axes)
    axis = attributes.get("axis", -1)
    if not -rank <= axis < rank or len(node.outputs) != 1:
        raise FileError(
            f"{label(node)} has axis={axis} and {len(node.outputs)} outputs; an axis of {rank}, and one are needed"
        )
    gone = [atom for each in picture.axes[axis % rank :] for atom in long_atoms(each)]

    def mean(place: int) -> int:
        return _mean(reader, node, picture._replace(place=place), gone)

    place = _normalized(reader, picture.place, mean, attributes.get("epsilon", 1e-5))
    numbers: list[Array | float] = [1.0, 0.0]
    for number in (1, 2):
        if reader.has(node, number):
            numbers[number - 1] = to_channels(reader, node, picture, reader.floats(node, number))
    return scaled(reader, picture._replace(place=place), *numbers)


# -- pools -----------------------------------------------------------------------------------------------------------


def _pool(reader: NodeReader, node: Any) -> GraphPicture:
    place, attributes = reader.place(node), reader.attributes(node)
    kernel = attributes.get("kernel_shape", [])
    if len(kernel) != 2 or min(kernel) < 1:
        raise FileError(f"{label(node)} has kernel_shape={kernel}; two sizes of at least 1 are needed")
    geometry = Geometry(kernel, attributes.get("strides", [1, 1]), 0, attributes.get("dilations", 1))
    if set(geometry.dilation) != {1} or len(node.outputs) != 1:
        raise FileError(
            f"{label(node)} has dilations, or the places of the largest numbers; windows of pixels are needed"
        )
    pads = pads_of(reader, node, place, geometry.kernel, geometry.stride, geometry.dilation)
    step = Pooling(
        "max" if node.op_type == "MaxPool" else "mean",
        (geometry.kernel[0], geometry.kernel[1]),
        (geometry.stride[0], geometry.stride[1]),
        pads,
        bool(attributes.get("ceil_mode", 0)),
        bool(attributes.get("count_include_pad", 0)),
    )
    return reader.builder.whole(reader.builder.add(step, place))


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": _batch_normalization,
    "GlobalAveragePool": _global_average,
    "ReduceMean": _reduced(sums=False),
    "ReduceSum": _reduced(sums=True),
    "InstanceNormalization": _instance_normalization,
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    "MaxPool": _pool,
    "AveragePool": _pool,
}
"""Operators of this family."""
