"""Concatenation, ranges and choices of channels; crops of rows and columns are in `extents`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.axes import picked, settled
from tconv.models.readers.onnx_network.builder import GraphPicture, Pictures
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.pointwise import Pointwise


def _channel_axis(reader: NodeReader, node: Any, picture: GraphPicture, usual: int | None = None) -> int:
    axis: int | None = reader.attributes(node).get("axis", usual)
    rank = len(picture.axes)
    if axis is None or not -rank <= axis < rank:
        raise FileError(f"{label(node)} has axis={axis}; an axis from {-rank} to {rank - 1} is needed")
    if not picture.labels or picture.labels[axis] != "C":
        raise FileError(
            f"{label(node)} works along axis {axis} of {picture.shape}; the whole axis of the channels is needed"
        )
    return axis % rank


def _concat(reader: NodeReader, node: Any) -> GraphPicture:
    known = {
        number: reader.picture(node, number) for number in range(len(node.inputs)) if reader.is_picture(node, number)
    }
    first = next(iter(known.values()))
    _channel_axis(reader, node, first)
    pictures = [
        known[number] if number in known else _filled(reader, node, number, first) for number in range(len(node.inputs))
    ]
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


def _gather(reader: NodeReader, node: Any) -> GraphPicture:
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
    return settled(reader.builder, GraphPicture(place, axes))


def _split_to_sequence(reader: NodeReader, node: Any) -> Pictures:
    """Return the parts of the channels: each of a length, or of the lengths that are given."""
    picture = reader.picture(node)
    _channel_axis(reader, node, picture, 0)
    channels = reader.builder.channels[picture.place]
    given = reader.integers(node, 1, "split") or [1]
    if reader.has(node, 1) and reader.constant(node, 1).ndim == 0:
        given = [min(given[0], channels - start) for start in range(0, channels, max(given[0], 1))]
    elif not reader.has(node, 1):
        given = [1] * channels
    if sum(given) != channels or min(given) < 1 or not reader.attributes(node).get("keepdims", 1):
        raise FileError(f"{label(node)} splits {channels} channels into {given[:8]}, which do not fit")
    stops = np.cumsum(given).tolist()
    parts = [
        reader.builder.whole(reader.builder.add(ChannelRange(stop - length, stop), picture.place), picture.labels)
        for length, stop in zip(given, stops, strict=True)
    ]
    return Pictures(tuple(parts))


def _sequence_at(reader: NodeReader, node: Any) -> GraphPicture:
    parts, place = reader.values.get(reader.required(node, 0)), reader.integers(node, 1, "position") or []
    if not isinstance(parts, Pictures) or len(place) != 1 or not -len(parts.parts) <= place[0] < len(parts.parts):
        raise FileError(f"{label(node)} takes part {place} of a sequence that does not have it")
    return parts.parts[place[0]]


def _gather_nd(reader: NodeReader, node: Any) -> GraphPicture:
    """Return some channels: the choice along the first axis, to which exporters move that of the channels."""
    picture, chosen = reader.picture(node), reader.constant(node, 1)
    if picture.labels[:1] != "C" or chosen.ndim != 2 or chosen.shape[1] != 1 or chosen.dtype.kind not in "iu":
        raise FileError(
            f"{label(node)} takes pixels of {picture.shape} by {chosen.shape} indices; whole channels are needed"
        )
    if reader.attributes(node).get("batch_dims", 0):
        raise FileError(f"{label(node)} has batch_dims; a choice along the first axis is needed")
    count = reader.builder.channels[picture.place]
    numbers = chosen.ravel().astype(np.int64)
    if ((numbers < -count) | (numbers >= count)).any():
        raise FileError(f"{label(node)} takes the channels {numbers[:8].tolist()} of {count}")
    return reader.builder.whole(picked(reader.builder, picture.place, numbers % count), picture.labels)


def _filled(reader: NodeReader, node: Any, number: int, like: GraphPicture) -> GraphPicture:
    """Return a picture of constants, one number per channel, of the size of another one; such as a map of the noise."""
    builder = reader.builder
    stored = reader.numbers(node, number).arrays
    at = [0] if reader.sized and builder.alive[0] else [place for place, alive in enumerate(builder.alive) if alive]
    arrays = [array for place in at if (array := stored[place]) is not None]
    if len(arrays) != len(at):
        raise FileError(f"{label(node)} puts numbers beside the picture that are not known")
    first = arrays[0].astype(np.float32)
    axis = like.axis("C")
    if first.ndim != 4:
        raise FileError(f"{label(node)} puts a constant of {first.shape} beside the picture; four axes are needed")
    by_channel = np.moveaxis(first, axis, 0).reshape(first.shape[axis], -1)[:, 0]
    whole = by_channel.reshape([-1 if place == axis else 1 for place in range(4)])
    for array, sample in zip(arrays, at, strict=True):
        sizes = [each[0].sizes[sample] for each in like.axes]
        sizes[axis] = len(by_channel)
        if array.shape != tuple(sizes) or not (array.astype(np.float32) == whole).all():
            raise FileError(
                f"{label(node)} puts a constant of {array.shape} beside the picture; one number for all pixels of a "
                "channel is needed"
            )
    place = builder.add(ChannelRange(0, 1), like.place)
    level = float(by_channel[0])
    place = builder.add(Pointwise(("clamp", level, level)), place)
    if not (by_channel == level).all():
        shift = (by_channel - by_channel[0])[:, None, None]
        place = builder.add(Affine(np.ones_like(shift), shift), place)
    elif len(by_channel) > 1:
        place = builder.add(Affine(np.ones((len(by_channel), 1, 1), np.float32)), place)
    return builder.whole(place, like.labels)


OPERATORS: dict[str, Callable[[NodeReader, Any], Any]] = {
    "Concat": _concat,
    "Split": _split,
    "SplitToSequence": _split_to_sequence,
    "SequenceAt": _sequence_at,
    "Gather": _gather,
    "GatherND": _gather_nd,
}
"""Operators of this family."""
