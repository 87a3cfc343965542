"""Operations that move or rename axes: what they give is the value itself, in another layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tconv.errors import StreamError
from tconv.geometry import Geometry
from tconv.models.layers import Convolution
from tconv.torch.stream_layout import Layout
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, arguments, number_of
from tconv.torch.stream_recording import RecordedOperation, TimeValue

Segments = tuple[tuple[str, ...], tuple[int, ...]]


def identity(reader: ModuleGraphReader, operation: RecordedOperation) -> list[int | None]:
    """Read an operation whose result is its input."""
    value = next((each for each in operation.args if isinstance(each, TimeValue)), operation.kwargs.get("input"))
    if len(operation.results) != 1 or reader.layout(value) != reader.layout(operation.results[0]):
        raise StreamError(f"{operation.name} changes the layout of a value")
    return [reader.place(value)]


def dropout(reader: ModuleGraphReader, operation: RecordedOperation) -> list[int | None]:
    """Read dropout in evaluation mode."""
    a = arguments(operation, "input", p=0.5, training=True, inplace=False)
    if a.training:
        raise StreamError("dropout is active in evaluation mode")
    return [reader.place(a.input)]


def permuted(order_of: Callable[[ModuleGraphReader, RecordedOperation, int], Sequence[int]]) -> Callable[..., int]:
    """Return the reader of an operation that takes the axes in another order."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
        value = operation.args[0] if operation.args else operation.kwargs.get("input")
        layout = reader.layout(value)
        order = [axis % len(layout.axes) for axis in order_of(reader, operation, len(layout.axes))]
        wide = [axis for axis in order if (layout.size(axis) or 1) > 1]
        if wide != sorted(wide):
            raise StreamError(f"{operation.name} changes the order of channels of {layout}")
        return reader.place(value)

    return read


def _axes(value: Any) -> list[int]:
    if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], tuple):
        (value,) = value
    return [number_of(each, "an axis") for each in (value if isinstance(value, tuple) else (value,))]


def permute_order(reader: ModuleGraphReader, operation: RecordedOperation, count: int) -> Sequence[int]:
    """Return the order of axes of `permute`."""
    if "dims" in operation.kwargs:
        return _axes(operation.kwargs["dims"])
    return _axes(operation.args[1:])


def transpose_order(reader: ModuleGraphReader, operation: RecordedOperation, count: int) -> Sequence[int]:
    """Return the order of axes of `transpose` and `swapaxes`."""
    a = [*operation.args[1:], *(each for name, each in operation.kwargs.items() if name != "input")]
    one, two = (number_of(each, "an axis") % count for each in a)
    order = list(range(count))
    order[one], order[two] = two, one
    return order


def last_two(reader: ModuleGraphReader, operation: RecordedOperation, count: int) -> Sequence[int]:
    """Return the order of axes of `mT`."""
    return [*range(count - 2), count - 1, count - 2]


def reversed_order(reader: ModuleGraphReader, operation: RecordedOperation, count: int) -> Sequence[int]:
    """Return the order of axes of `T`."""
    return [*reversed(range(count))]


def movedim_order(reader: ModuleGraphReader, operation: RecordedOperation, count: int) -> Sequence[int]:
    """Return the order of axes of `movedim`."""
    a = arguments(operation, "input", "source", "destination")
    sources, targets = ([axis % count for axis in _axes(each)] for each in (a.source, a.destination))
    order = [-1] * count
    for source, target in zip(sources, targets, strict=True):
        order[target] = source
    left = iter(axis for axis in range(count) if axis not in sources)
    return [next(left) if axis < 0 else axis for axis in order]


# -- shapes ------------------------------------------------------------------------------------------------------


def reshaped(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read an operation that splits, merges, adds or drops axes without moving a number."""
    value = operation.args[0] if operation.args else operation.kwargs.get("input")
    (result,) = operation.results
    before, after = reader.layout(value), reader.layout(result)
    if _segments(before) == _segments(after):
        return reader.place(value)
    factor = _merged_behind_time(before, after)
    if factor is not None:
        return _interleaved(reader, reader.place(value), factor)
    raise StreamError(f"{operation.name} makes {after} of {before}: it merges time with another axis")


def _segments(layout: Layout) -> list[tuple[str, int]]:
    """Return the axes in their order, with those of channels between them merged."""
    merged: list[tuple[str, int]] = []
    for axis, role in enumerate(layout.axes):
        size = layout.size(axis) or 0
        if role == "C" and size == 1:
            continue
        if role == "C" and merged and merged[-1][0] == "C":
            merged[-1] = "C", merged[-1][1] * size
        else:
            merged.append((role, size))
    return merged


def _merged_behind_time(before: Layout, after: Layout) -> int | None:
    """Return r if [..., T, r] becomes [..., T r], and nothing else changes."""
    parts = _segments(before)
    if len(parts) < 2 or parts[-2][0] != "T" or parts[-1][0] != "C":
        return None
    return parts[-1][1] if parts[:-1] == _segments(after) else None


def _interleaved(reader: ModuleGraphReader, place: int, factor: int) -> int:
    """Return the place of a value whose groups of so many channels are samples that follow each other."""
    channels = reader.channels(place) // factor
    weight = np.zeros((channels * factor, 1, 1, factor), np.float32)
    for index in range(channels * factor):
        weight[index, 0, 0, index % factor] = 1
    return reader.add(Convolution(weight, Geometry((1, factor), (1, factor), 0, 1, channels)), place)


def channels_inside(reader: ModuleGraphReader, value: Any, axis: int) -> tuple[int, int]:
    """Return the channels for each step along an axis of channels, and its size.

    Raises StreamError for time and sessions, and if other channels are around it.
    """
    layout = reader.layout(value)
    size = layout.size(axis)
    if size is None:
        raise StreamError("it works along time, or between sessions")
    number = layout.axes[:axis].count("C")
    if size > 1 and math.prod(layout.channels[:number]) > 1:
        raise StreamError(f"it takes parts of an axis of channels that is inside of another: {layout}")
    return math.prod(layout.channels[number + 1 :]), size


def expand(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a copy of one channel for several."""
    value = operation.args[0] if operation.args else operation.kwargs.get("input")
    (result,) = operation.results
    before, after = reader.layout(value), reader.layout(result)
    place = reader.place(value)
    if before.total == after.total:
        return place
    if before.total != 1:
        raise StreamError(f"{operation.name} makes {after} of {before}")
    return reader.affine(place, np.ones(after.total, np.float32))
