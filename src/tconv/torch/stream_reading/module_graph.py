"""`ModuleGraphReader`: nodes of a graph along time, made one by one from the operations of a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from tconv._arrays import Array
from tconv.errors import StreamError, TconvError
from tconv.models.layers import Node
from tconv.models.steps.arithmetic import Affine
from tconv.streaming.time_step import along_time
from tconv.torch.stream_layout import Layout
from tconv.torch.stream_recording import RecordedOperation, Stale, TimeValue, placed
from tconv.torch.stream_runs import Constant, OtherLengthError, Recording, Varying

OperationReader = Callable[["ModuleGraphReader", RecordedOperation], Any]
"""Reader of an operation: it returns the place of its result, or one for each result; None for one that is refused."""

_FLOAT32 = np.dtype(np.float32)


class ModuleGraphReader:
    """Nodes that have been read, with the place of every value: 0 is the input, j the output of the j-th node."""

    def __init__(self, recording: Recording, readers: Mapping[str, OperationReader]) -> None:
        self.recording = recording
        self.nodes: list[Node] = []
        self.modules: list[str] = []
        """Name of the module that each node comes from."""
        self.strides = {stride for each in recording.operations for stride in _strides(each)}
        """Strides and windows of convolutions and pooling: multiples to which modules pad."""
        self._readers = readers
        self._channels = [recording.layout(0).total]
        self._lengths = [recording.lengths(0)]
        self._places: dict[int, int | None] = {0: 0}
        self.output = 0
        """Number of the value that is the module's output along time."""

    def read(self) -> int:
        """Read the operations that the output depends on, and return its place. Raises StreamError."""
        for operation in self.recording.operations:
            if not operation.results:
                reason = f"{operation.name} reads numbers of a value, on which what the module does may depend"
                raise placed(operation.place, reason)
        (output,) = self._outputs()
        self.output = output
        needed = {output}
        kept = []
        for operation in reversed(self.recording.operations):
            if needed & {*operation.results}:
                kept.append(operation)
                needed |= {leaf.number for leaf in leaves_of((operation.args, operation.kwargs)) if _is_read(leaf)}
        for operation in reversed(kept):
            try:
                self._read(operation)
            except OtherLengthError as error:
                raise OtherLengthError(str(placed(operation.place, str(error)))) from None
            except StreamError as error:
                raise placed(operation.place, str(error)) from None
        place = self._places[output]
        assert place is not None
        return place

    def _outputs(self) -> list[int]:
        """Return the number of the only output along time."""
        found = []
        for number in dict.fromkeys(self.recording.runs[0].outputs):
            try:
                self.recording.layout(number)
            except StreamError:  # such as the last state of an LSTM
                continue
            found.append(number)
        if len(found) == 1 and (self.recording.layout(found[0]).sessions is None) != (
            self.recording.layout(0).sessions is None
        ):
            raise StreamError("the output has another number of sessions than the input")
        if len(found) != 1:
            count = "no tensor" if not found else f"{len(found)} tensors"
            raise StreamError(f"the module returns {count} with time; one is needed. Write a module that returns it")
        return found

    def _read(self, operation: RecordedOperation) -> None:
        if any(isinstance(leaf, Stale) for leaf in leaves_of((operation.args, operation.kwargs))):
            raise StreamError(f"{operation.name} reads a value that is changed in place, or a view of it")
        reader = self._readers.get(operation.name)
        if reader is None:
            raise StreamError(f"{operation.name} is an operation that has no form along time here")
        before = len(self.nodes)
        try:
            places = reader(self, operation)
        except StreamError:
            raise
        except TconvError as error:
            raise StreamError(f"{operation.name}: {error}") from None
        for place in [places] if isinstance(places, int) else places:
            if place is not None and self._channels[place] < 1:
                raise StreamError(f"{operation.name} has no channel")
        self.modules += [operation.place] * (len(self.nodes) - before)
        for number, place in zip(operation.results, [places] if isinstance(places, int) else places, strict=True):
            self._places[number] = place
            if place is not None:
                self._check(operation, number, place)

    def _check(self, operation: RecordedOperation, number: int, place: int) -> None:
        """Compare the channels, lengths and dtype of a node's output with those that were recorded."""
        recording = self.recording
        if recording.runs[0].dtypes[number] != torch.float32:
            kind = str(recording.runs[0].dtypes[number]).removeprefix("torch.")
            raise StreamError(f"{operation.name} computes in {kind}; float32 is needed")
        wanted = recording.layout(number).total, recording.lengths(number)
        if (self._channels[place], self._lengths[place]) != wanted:
            raise StreamError(
                f"{operation.name} gives {wanted[0]} channels of {list(wanted[1])} samples, and the step read from it "
                f"{self._channels[place]} of {list(self._lengths[place])}"
            )

    # -- for readers of operations -------------------------------------------------------------------------------

    def add(self, step: Any, *places: int) -> int:
        """Append a node that reads these places, and return its own."""
        along = along_time(step)
        self._channels.append(along.output_channels([self._channels[place] for place in places]))
        self._lengths.append(
            tuple(along.extent(sizes) for sizes in zip(*(self._lengths[place] for place in places), strict=True))
        )
        self.nodes.append(Node(step, places))
        return len(self.nodes)

    def place_of_length(self, wanted: Sequence[int]) -> tuple[int, Fraction | int]:
        """Return the first place, and a factor, whose lengths times it are these. Raises StreamError if none has them.

        A module cuts a value to the length of another one, or to a multiple of it.
        """
        for place, lengths in enumerate(self._lengths):
            factors = {Fraction(two, one) for one, two in zip(lengths, wanted, strict=True)}
            factor = min(factors)
            if len(factors) == 1 and 1 in (factor.numerator, factor.denominator):
                return place, int(factor) if factor.denominator == 1 else factor
        raise OtherLengthError(f"a slice ends at {list(wanted)}: no rule of the length that a stream knows")

    def place(self, value: Any) -> int:
        """Return the place of a value. Raises StreamError for anything else."""
        if not isinstance(value, TimeValue):
            raise StreamError("a constant stands where a value along time is needed")
        place = self._places.get(value.number)
        if place is None:
            raise StreamError("it reads a result that no step gives, such as a state")
        return place

    def channels(self, place: int) -> int:
        """Return the channels at a place."""
        return self._channels[place]

    def layout(self, value: Any) -> Layout:
        """Return the layout of a value."""
        return self.recording.layout(self._number(value))

    def lengths(self, value: Any) -> tuple[int, ...]:
        """Return the lengths of a value in all runs."""
        return self.recording.lengths(self._number(value))

    def shape(self, value: Any) -> tuple[int, ...]:
        """Return the shape of a value in the first run."""
        return self.recording.shape(self._number(value))

    def _number(self, value: Any) -> int:
        if isinstance(value, int):
            return value
        if not isinstance(value, TimeValue):
            raise StreamError("a constant stands where a value along time is needed")
        return value.number

    def axis(self, value: Any, axis: Any) -> int:
        """Return the number of an axis of a value, from 0 on."""
        count = len(self.layout(value).axes)
        if not isinstance(axis, int) or not -count <= axis < count:
            raise StreamError(f"an axis is {axis}; one number is needed")
        return axis % count

    def constant(self, constant: Any, layout: Layout) -> Array:
        """Return a number or a tensor that meets a value of this layout: [C], or [1] where all channels have it."""
        if isinstance(constant, Varying):
            raise StreamError(f"a number is {_shown(constant)}")
        if isinstance(constant, TimeValue):
            raise StreamError("a value along time stands where a number is needed")
        if not isinstance(constant, Constant):
            if not isinstance(constant, (int, float)):
                raise StreamError(f"{type(constant).__name__} stands where a number is needed")
            return np.array([constant], np.float32)
        arrays = [_by_channel(numpy_of(tensor), layout) for tensor in constant.tensors]
        if any(not np.array_equal(arrays[0], each, equal_nan=True) for each in arrays):
            raise StreamError("a tensor that does not come from the input differs between runs: random numbers?")
        return arrays[0]

    def affine(self, place: int, scale: Any = 1.0, shift: Any = 0.0) -> int:
        """Return the place of scale * x + shift, with numbers or one of each per channel."""
        arrays = [np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (scale, shift)]
        return self.add(Affine(*(each.reshape(-1) if each.size == 1 else each for each in arrays)), place)


def _strides(operation: RecordedOperation) -> list[int]:
    """Return the whole numbers among the first arguments of an operation that may have a stride."""
    if operation.name not in ("conv1d", "avg_pool1d", "max_pool1d"):
        return []
    found = leaves_of((operation.args[1:4], operation.kwargs))
    return [leaf for leaf in found if isinstance(leaf, int) and not isinstance(leaf, bool) and leaf > 1]


def numpy_of(tensor: torch.Tensor) -> Array:
    """Return a constant as float32. Raises StreamError for complex numbers."""
    if tensor.is_complex():
        raise StreamError("a constant is complex")
    return np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())


def weight_of(constant: Any, what: str = "weight") -> Array:
    """Return a weight or a bias, the same in all runs."""
    if not isinstance(constant, Constant):
        raise StreamError(f"its {what} depends on the input")
    first, *others = constant.tensors
    if any(each is not first and not torch.equal(each, first) for each in others):
        raise StreamError(f"its {what} differs between runs")
    return numpy_of(first)


def bias_of(constant: Any) -> Array | None:
    """Return a bias, or None."""
    return None if constant is None else weight_of(constant, "bias")


def _by_channel(array: Array, layout: Layout) -> Array:
    """Return the numbers of the channels, from an array that broadcasts to a value of this layout."""
    if array.size == 1:
        return array.reshape(1)
    if array.ndim > len(layout.axes):
        raise StreamError(f"a tensor of shape {array.shape} meets a value of {len(layout.axes)} axes")
    array = array.reshape((1,) * (len(layout.axes) - array.ndim) + array.shape)
    for axis, role in enumerate(layout.axes):
        if role == "C" or array.shape[axis] == 1:
            continue
        first = array.take([0], axis)
        if not np.array_equal(np.broadcast_to(first, array.shape), array, equal_nan=True):
            where = "along time" if role == "T" else "between sessions"
            raise StreamError(f"a tensor that does not come from the input differs {where}")
        array = first
    array = array.reshape([n for n, role in zip(array.shape, layout.axes, strict=True) if role == "C"])
    if array.size == 1:
        return array.reshape(1)
    return np.broadcast_to(array, layout.channels).reshape(-1)


def leaves_of(value: Any) -> list[Any]:
    """Return the leaves of merged arguments."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, tuple) and not isinstance(value, (TimeValue, Stale, Constant, Varying)):
        return [leaf for each in value for leaf in leaves_of(each)]
    return [value]


def _is_read(leaf: Any) -> bool:
    return isinstance(leaf, (TimeValue, Stale))


def arguments(operation: RecordedOperation, *names: str, **defaults: Any) -> SimpleNamespace:
    """Return the arguments of an operation by name: those in `names` must be given, the others have defaults."""
    every = [*names, *defaults]
    given = dict(zip(every, operation.args, strict=False))
    unknown = [str(key) for key in operation.kwargs if key not in every]
    if len(operation.args) > len(every) or unknown:
        raise StreamError(f"{operation.name} has arguments that are not known here: {', '.join(unknown)}")
    given |= operation.kwargs
    missing = [name for name in names if name not in given]
    if missing:
        raise StreamError(f"{operation.name} is called without {missing[0]}")
    return SimpleNamespace(**(defaults | given))


def number_of(value: Any, name: str) -> int:
    """Return a whole number that does not depend on the length; of a tuple of one, that one."""
    if isinstance(value, tuple) and len(value) == 1:
        (value,) = value
    if isinstance(value, bool) or not isinstance(value, int):
        raise StreamError(f"{name} is {_shown(value)}; one whole number for all lengths is needed")
    return value


def _shown(value: Any) -> str:
    if not isinstance(value, Varying):
        return repr(value)
    if len({*value.values}) == 1:
        return f"{value.values[0]}, and another number for several sessions"
    return f"{list(value.values)}, depending on the length"
