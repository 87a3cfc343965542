"""Concatenation, ranges and choices of channels; crops of rows and columns are in `extents`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.axes import picked, settled
from tconv.models.readers.onnx_network.builder import Picture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.channels import ChannelRange, Concat


def _channel_axis(reader: NodeReader, node: Any, picture: Picture, usual: int | None = None) -> int:
    axis: int | None = reader.attributes(node).get("axis", usual)
    rank = len(picture.axes)
    if axis is None or not -rank <= axis < rank:
        raise FileError(f"{label(node)} has axis={axis}; an axis from {-rank} to {rank - 1} is needed")
    if not picture.labels or picture.labels[axis] != "C":
        raise FileError(
            f"{label(node)} works along axis {axis} of {picture.shape}; the whole axis of the channels is needed"
        )
    return axis % rank


def _concat(reader: NodeReader, node: Any) -> Picture:
    if not all(reader.is_picture(node, number) for number in range(len(node.inputs))):
        raise FileError(f"{label(node)} puts a constant beside the picture; pictures are needed")
    pictures = [reader.picture(node, number) for number in range(len(node.inputs))]
    _channel_axis(reader, node, pictures[0])
    labels = {each.labels for each in pictures}
    if len(labels) != 1:
        raise FileError(
            f"{label(node)} has inputs of the axes {', '.join(each.shape for each in pictures)}; the same are needed"
        )
    if len(pictures) == 1:
        return pictures[0]
    place = reader.builder.add(Concat(), *(each.place for each in pictures))
    return reader.builder.whole(place, pictures[0].labels)


def _split(reader: NodeReader, node: Any) -> list[Any]:
    picture = reader.picture(node)
    _channel_axis(reader, node, picture, 0)
    channels, parts = reader.builder.channels[picture.place], len(node.outputs)
    lengths = reader.integers(node, 1, "split")
    if lengths is None:
        each = -(-channels // parts)
        lengths = [min(each, channels - start) for start in range(0, channels, each)]
    if sum(lengths) != channels or len(lengths) != parts or min(lengths) < 1:
        raise FileError(
            f"{label(node)} splits {channels} channels into {lengths} for {parts} outputs, which do not fit"
        )
    stops = np.cumsum(lengths).tolist()
    return [
        reader.builder.whole(reader.builder.add(ChannelRange(stop - length, stop), picture.place), picture.labels)
        for length, stop in zip(lengths, stops, strict=True)
    ]


def _gather(reader: NodeReader, node: Any) -> Picture:
    picture, chosen = reader.picture(node), reader.constant(node, 1)
    axis = _channel_axis(reader, node, picture, 0)
    if chosen.dtype.kind not in "iu" or chosen.ndim > 1:
        raise FileError(f"{label(node)} has indices of {chosen.dtype} {chosen.shape}; a vector of integers is needed")
    count = reader.builder.channels[picture.place]
    numbers = chosen.ravel().astype(np.int64)
    if ((numbers < -count) | (numbers >= count)).any():
        raise FileError(f"{label(node)} takes the channels {numbers[:8].tolist()} of {count}")
    place = picked(reader.builder, picture.place, numbers % count)
    result = reader.builder.whole(place, picture.labels)
    if chosen.ndim == 1:
        return result
    axes = tuple(each for number, each in enumerate(result.axes) if number != axis)
    return settled(reader.builder, Picture(place, axes))


OPERATORS: dict[str, Callable[[NodeReader, Any], Any]] = {"Concat": _concat, "Split": _split, "Gather": _gather}
"""Operators of this family."""
