"""Parts of channels and of time, put together and taken apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import StreamError
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.padding import Padding
from tconv.torch.stream_reading.convolutions import ordinary
from tconv.torch.stream_reading.layouts import channels_inside, reshaped
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, arguments, number_of
from tconv.torch.stream_recording import RecordedOperation, TimeValue
from tconv.torch.stream_runs import Constant, OtherLengthError, Varying

_NO_END = 1 << 31
"""Ends of slices from here on stand for the end of time."""


def getitem(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read an index of slices, whole numbers, None and an ellipsis."""
    a = arguments(operation, "input", "index")
    layout, place = reader.layout(a.input), reader.place(a.input)
    index = a.index if isinstance(a.index, tuple) else (a.index,)
    taken = sum(each is not None and each is not Ellipsis for each in index)
    axis, rest = 0, len(layout.axes) - taken
    if Ellipsis not in index:
        index = (*index, Ellipsis)
    for entry in index:
        if entry is None:
            continue
        if entry is Ellipsis:
            axis += rest
            continue
        if isinstance(entry, slice):
            place = _sliced(reader, a.input, place, axis, entry)
        elif isinstance(entry, int) and not isinstance(entry, bool):
            place = _selected(reader, a.input, place, axis, entry)
        else:
            raise StreamError("an index is a tensor, or depends on the length")
        axis += 1
    return place


def _selected(reader: ModuleGraphReader, value: Any, place: int, axis: int, index: int) -> int:
    layout = reader.layout(value)
    if layout.axes[axis] != "C":
        raise StreamError("an index takes a single sample of time, or a single session")
    inside, size = channels_inside(reader, value, axis)
    start = index % size * inside
    return place if size == 1 else _channels(reader, place, start, start + inside)


def _sliced(reader: ModuleGraphReader, value: Any, place: int, axis: int, part: slice) -> int:
    """Return the place of a slice along one axis; other axes may have been cut already."""
    if part == slice(None):
        return place
    layout = reader.layout(value)
    role = layout.axes[axis]
    if role == "B":
        raise StreamError("a slice takes some of the sessions")
    if role == "T":
        return _cropped(reader, value, place, part)
    size = layout.size(axis)
    assert size is not None
    if any(isinstance(each, Varying) for each in (part.start, part.stop, part.step)):
        raise StreamError("a slice of channels depends on the length")
    start, stop, step = part.indices(size)
    if (start, stop, step) == (0, size, 1):
        return place
    if step != 1:
        raise StreamError(f"a slice takes one channel of {step}")
    inside, _ = channels_inside(reader, value, axis)
    return _channels(reader, place, start * inside, stop * inside)


def _channels(reader: ModuleGraphReader, place: int, start: int, stop: int) -> int:
    if (start, stop) == (0, reader.channels(place)):
        return place
    return reader.add(ChannelRange(start, stop), place)


def _cropped(reader: ModuleGraphReader, value: Any, place: int, part: slice) -> int:
    """Return the place of the samples from a number on to one counted from the end."""
    lengths = reader.lengths(value)
    if part.step not in (None, 1):
        raise StreamError(f"a slice takes one sample of {part.step}")
    if isinstance(part.start, int) and part.start < 0:
        raise StreamError(f"a slice begins {-part.start} samples before the end, where no stream begins")
    if isinstance(part.stop, int) and 0 <= part.stop < _NO_END:  # shorter inputs hide it
        raise StreamError(f"a slice ends at sample {part.stop}, however long the input is")
    ends = []
    for run, length in enumerate(lengths):
        of_run = slice(*(_at(each, run) for each in (part.start, part.stop)))
        ends.append(of_run.indices(length)[:2])
    starts = {start for start, _ in ends}
    if len(starts) > 1:
        raise OtherLengthError("a slice begins at a place that depends on the length, or behind the end")
    lo, stops = starts.pop(), [stop for _, stop in ends]
    if len({stop - length for stop, length in zip(stops, lengths, strict=True)}) == 1:
        return padded(reader, place, -lo, stops[0] - lengths[0])
    like, factor = reader.place_of_length(stops)
    return padded(reader, reader.add(CropLike((1, factor)), place, like), -lo, 0)


def _at(value: Any, run: int) -> Any:
    return value.values[run] if isinstance(value, Varying) else value


def padded(reader: ModuleGraphReader, place: int, lo: int, hi: int, value: float = 0.0) -> int:
    """Return the place of a value with samples of a number before and behind it; negative numbers crop."""
    if (lo, hi) == (0, 0):
        return place
    return reader.add(Padding(((0, 0), (lo, hi)), "constant", value), place)


def narrow(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a slice from a start on, of a length."""
    a = arguments(operation, "input", "dim", "start", "length")
    axis = reader.axis(a.input, number_of(a.dim, "dim"))
    runs = range(len(reader.lengths(a.input)))
    stops = tuple(_at(a.start, run) + _at(a.length, run) for run in runs)
    stop = stops[0] if len(set(stops)) == 1 else Varying(stops)
    return _sliced(reader, a.input, reader.place(a.input), axis, slice(a.start, stop))


def select(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read one step of an axis."""
    a = arguments(operation, "input", "dim", "index")
    axis = reader.axis(a.input, number_of(a.dim, "dim"))
    return _selected(reader, a.input, reader.place(a.input), axis, number_of(a.index, "the index"))


def parts(reader: ModuleGraphReader, operation: RecordedOperation) -> list[int]:
    """Read `chunk`, `split`, `tensor_split` and `unbind` of an axis of channels: the sizes are those of the results."""
    names = {"chunk": ("chunks", 0), "unbind": (None, 0)}.get(operation.name, ("split_size", 0))
    value = operation.args[0] if operation.args else operation.kwargs.get("input")
    given = dict(operation.kwargs)
    dim = given.get("dim", operation.args[-1] if len(operation.args) > (1 if names[0] is None else 2) else 0)
    axis = reader.axis(value, number_of(dim, "dim"))
    inside, size = channels_inside(reader, value, axis)
    place, start, places = reader.place(value), 0, []
    for number in operation.results:
        count = inside if operation.name == "unbind" else reader.recording.shape(number)[axis] * inside
        places.append(_channels(reader, place, start, start + count))
        start += count
    if start != size * inside:
        raise StreamError(f"{operation.name} gives {start} of {size * inside} channels")
    return places


# -- together ----------------------------------------------------------------------------------------------------


def cat(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a concatenation of channels, or of time with constant samples."""
    a = arguments(operation, "tensors", dim=0, out=None)
    (result,) = operation.results
    layout = reader.layout(result)
    axis = number_of(a.dim, "dim") % len(layout.axes)
    if layout.axes[axis] == "T":
        return _extended(reader, a.tensors)
    if layout.axes[axis] == "B":
        raise StreamError("cat puts sessions together")
    channels_inside(reader, result, axis)
    some = next(each for each in a.tensors if isinstance(each, TimeValue))
    places = []
    for each in a.tensors:
        if isinstance(each, TimeValue):
            if reader.layout(each).axes != layout.axes:
                raise StreamError(f"cat puts {reader.layout(each)} beside {layout}")
            places.append(reader.place(each))
        else:
            places.append(_constant_channels(reader, each, axis, result, reader.place(some)))
    return reader.add(Concat(), *places)


def _constant_channels(reader: ModuleGraphReader, constant: Constant, axis: int, result: int, some: int) -> int:
    """Return the place of channels with constant numbers, of the length of another value."""
    layout = reader.layout(result)
    sizes = list(layout.channels)
    sizes[layout.axes[:axis].count("C")] = constant.tensors[0].shape[axis]
    values = reader.constant(constant, layout._replace(channels=tuple(sizes)))
    count = int(np.prod(sizes))
    one = reader.add(ChannelRange(0, 1), some) if reader.channels(some) > 1 else some
    return reader.affine(one, np.zeros(count, np.float32), np.broadcast_to(values, count))


def _extended(reader: ModuleGraphReader, tensors: Any) -> int:
    """Return the place of a value with constant samples before and behind it."""
    values = [number for number, each in enumerate(tensors) if isinstance(each, TimeValue)]
    if len(values) != 1:
        raise StreamError("cat puts values behind each other in time")
    value = tensors[values[0]]
    layout, place = reader.layout(value), reader.place(value)
    before, behind = range(values[0] - 1, -1, -1), range(values[0] + 1, len(tensors))  # from the inside out
    for number in (*before, *behind):
        each = tensors[number]
        counts = {tensor.shape[layout.time] for tensor in each.tensors}
        if len(counts) > 1:
            raise StreamError("cat adds samples whose number depends on the length")
        count = counts.pop()
        if count == 0:
            continue
        numbers: Array = reader.constant(each, layout)
        if not np.all(numbers == numbers[0]):
            raise StreamError("cat adds samples that differ between channels")
        lo, hi = (count, 0) if number < values[0] else (0, count)
        place = padded(reader, place, lo, hi, float(numbers[0]))
    return place


def stack(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read values that become steps of a new axis, behind sessions and before all channels."""
    a = arguments(operation, "tensors", dim=0, out=None)
    (result,) = operation.results
    axis = number_of(a.dim, "dim") % len(reader.layout(result).axes)
    channels_inside(reader, result, axis)
    return reader.add(Concat(), *(reader.place(each) for each in a.tensors))


def repeat(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read copies of all channels behind each other."""
    value = operation.args[0]
    (result,) = operation.results
    before, after = reader.layout(value), reader.layout(result)
    if before.axes != after.axes[-len(before.axes) :]:
        return reshaped(reader, operation)
    new = len(after.channels) - len(before.channels)
    times = [b // a for a, b in zip(before.channels, after.channels[new:], strict=True)]
    wide = [number for number, count in enumerate(times) if count > 1]
    if not wide:
        return reader.place(value)
    if len(wide) > 1 or np.prod(before.channels[: wide[0]]) > 1:
        raise StreamError(f"repeat makes {after} of {before}")
    return reader.add(Concat(), *[reader.place(value)] * times[wide[0]])


def flip(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read the channels in reverse order."""
    a = arguments(operation, "input", "dims")
    dims = a.dims if isinstance(a.dims, tuple) else (a.dims,)
    for dim in dims:
        axis = reader.axis(a.input, dim)
        if reader.layout(a.input).axes[axis] != "C":
            raise StreamError("flip reverses time, of which a stream has not got the end yet")
        inside, size = channels_inside(reader, a.input, axis)
        if inside > 1 or len(dims) > 1:
            raise StreamError("flip reverses several axes of channels")
    weight = np.eye(size, dtype=np.float32)[::-1, :, None]
    return reader.add(ordinary(np.ascontiguousarray(weight), None, 1, (0, 0), 1, 1), reader.place(a.input))
