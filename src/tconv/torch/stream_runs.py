"""Runs of a module at several lengths and with two sessions, merged: which axis of every value is time.

The operations have to be the same in all runs. The axis of time is the one whose size follows the length of the input,
that of sessions the one whose size follows their number; all others are channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tconv.errors import StreamError
from tconv.torch.stream_layout import Layout
from tconv.torch.stream_recording import RecordedOperation, RecordedRun, Stale, TimeValue, placed


class OtherLengthError(StreamError):
    """An operation that differs between lengths: longer ones may agree."""


class Varying(NamedTuple):
    """Argument that depends on the length or on the number of sessions: its values in the runs of one session."""

    values: tuple[Any, ...]


class Constant(NamedTuple):
    """Tensor that does not depend on the input: its values in all runs; those of two sessions are the last."""

    tensors: tuple[torch.Tensor, ...]


class Recording:
    """Operations with merged arguments, and shapes and layouts of values.

    `runs` are those of one session, of different lengths; `pair` is the run of the first length with two sessions, None
    for a module that has no axis for them.
    """

    def __init__(self, runs: Sequence[RecordedRun], pair: RecordedRun | None) -> None:
        self.runs, self.pair = tuple(runs), pair
        self._every = [*runs, *([] if pair is None else [pair])]
        self._layouts: dict[int, Layout] = {}
        self.operations = [self._merged(group) for group in zip(*self._same_operations(), strict=True)]

    def _same_operations(self) -> list[list[RecordedOperation]]:
        every = [run.operations for run in self._every]
        for group in zip(*every, strict=False):
            if len({operation.name for operation in group}) > 1:
                names = " or ".join(dict.fromkeys(each.name for each in group))
                raise OtherLengthError(f"{group[0].place or 'it'}: the operation is {names}, depending on the length")
            if len({operation.results for operation in group}) > 1:
                raise placed(group[0].place, f"{group[0].name} reads other values at other lengths")
        counts = {len(each) for each in every}
        if len(counts) > 1:
            raise OtherLengthError(f"the number of operations depends on the length: {sorted(counts)}")
        if len({run.outputs for run in self._every}) > 1:
            raise StreamError("the outputs are other values at other lengths")
        return every

    def _merged(self, group: Sequence[RecordedOperation]) -> RecordedOperation:
        first = group[0]
        try:
            args = self._argument([each.args for each in group])
            kwargs = self._argument([each.kwargs for each in group])
        except _DifferentError:
            raise placed(first.place, f"the arguments of {first.name} depend on the length of the input") from None
        return first._replace(args=args, kwargs=kwargs)

    def _argument(self, group: Sequence[Any]) -> Any:
        first = group[0]
        if isinstance(first, (TimeValue, Stale)):
            if any(each != first for each in group):
                raise _DifferentError
            return first
        if isinstance(first, dict):
            if any(not isinstance(each, dict) or each.keys() != first.keys() for each in group):
                raise _DifferentError
            return {key: self._argument([each[key] for each in group]) for key in first}
        if isinstance(first, tuple):
            if any(not isinstance(each, tuple) or len(each) != len(first) for each in group):
                raise _DifferentError
            return tuple(self._argument(each) for each in zip(*group, strict=True))
        if isinstance(first, slice):
            ends = [self._argument([getattr(each, end) for each in group]) for end in ("start", "stop", "step")]
            return slice(*ends)
        return self._leaf(group)

    def _leaf(self, group: Sequence[Any]) -> Any:
        if all(isinstance(each, torch.Tensor) and each.ndim == 0 and not each.is_floating_point() for each in group):
            group = [each.item() for each in group]  # a size that the module computes with tensors
        if isinstance(group[0], torch.Tensor):
            if not all(isinstance(each, torch.Tensor) for each in group):
                raise _DifferentError
            return Constant(tuple(group))
        if all(_is_equal(each, group[0]) for each in group):
            return group[0]
        return Varying(tuple(group[: len(self.runs)]))

    # -- shapes --------------------------------------------------------------------------------------------------

    def shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of a value in the first run."""
        return self.runs[0].shapes[number]

    def lengths(self, number: int) -> tuple[int, ...]:
        """Return the sizes along time of a value, in the runs of one session."""
        axis = self.layout(number).time
        return tuple(run.shapes[number][axis] for run in self.runs)

    def layout(self, number: int) -> Layout:
        """Return the axes of a value. Raises StreamError for one without time, or with two axes of it."""
        if number not in self._layouts:
            self._layouts[number] = self._found(number)
        return self._layouts[number]

    def _found(self, number: int) -> Layout:
        pair = None if self.pair is None else self.pair.shapes[number]
        return layout_of([run.shapes[number] for run in self.runs], pair)


def layout_of(shapes: Sequence[tuple[int, ...]], pair: tuple[int, ...] | None) -> Layout:
    """Return the layout of a value of these shapes at several lengths, and with two sessions. Raises StreamError."""
    every = [*shapes, *([] if pair is None else [pair])]
    if len({len(shape) for shape in every}) > 1:
        raise OtherLengthError("a value has another number of axes at another length")
    axes: list[str] = []
    for sizes in zip(*every, strict=True):
        in_time, in_sessions = len({*sizes[: len(shapes)]}) > 1, sizes[-1] != sizes[0] and pair is not None
        if in_time and in_sessions:
            raise StreamError("time and sessions are one axis")
        axes.append("T" if in_time else "B" if in_sessions else "C")
    if axes.count("T") != 1 or axes.count("B") > 1:
        kind = "no axis" if axes.count("T") == 0 else "two axes"
        raise OtherLengthError(f"a value of shape {tuple(shapes[0])} has {kind} of time")
    return Layout(tuple(axes), tuple(n for n, role in zip(shapes[0], axes, strict=True) if role == "C"))


def _is_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # some objects of PyTorch cannot be compared
        return False


class _DifferentError(Exception):
    pass


def resized(x: torch.Tensor, axis: int, length: int) -> torch.Tensor:
    """Return a tensor cut to a length, or repeated to it."""
    times = -(-length // x.shape[axis])
    return torch.cat([x] * times, axis).narrow(axis, 0, length).contiguous()
