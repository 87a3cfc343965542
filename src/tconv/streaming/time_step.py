"""Interface of a layer of a stream: samples that its outputs read, and a part of its output, along time.

A step of a network (`tconv.models.steps`) is one by `along_time`: its pictures have one row, and time is their columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.layers import Convolution
from tconv.models.steps.padding import Padding
from tconv.models.steps.step import NetworkStep, Region
from tconv.streaming.network_steps import refuse, with_time_as_rows

ENDLESS = 1 << 40
"""Length of a stream whose end is not known yet."""

_ROW = slice(0, 1)


class TimeSpan(NamedTuple):
    """Samples of a value from time `start` on: [sessions, C, 1, T]."""

    values: Array
    start: int

    @property
    def rows(self) -> Array:
        """View with channels last, [sessions, T, C]: in a program the numbers of a session lie in this order."""
        return self.values[:, :, 0].transpose(0, 2, 1)

    @classmethod
    def of_rows(cls, rows: Array, start: int) -> TimeSpan:
        """Return the span of rows [sessions, T, C]."""
        return cls(rows.transpose(0, 2, 1)[:, :, None], start)


class TimeStep(Protocol):
    """Layer of a stream with one input or more.

    It may also have `period`, inputs after which all happens again, if that is not the denominator of its rate;
    `in_pieces`, False if chunks must not be cut for it; and `bound(given, sizes, out)`, which returns `compute` as a
    function of the numbers that are in these arrays when it is called, or None.
    """

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the output for those of the inputs. Raises ShapeError if they do not fit."""
        ...

    def extent(self, sizes: Sequence[int]) -> int:
        """Return the length of the output for those of the inputs. Raises ShapeError."""
        ...

    def source(self, number: int, outputs: slice, sizes: Sequence[int]) -> slice:
        """Return the samples of an input that these outputs read; at least one, inside the input.

        `sizes` are the lengths of all inputs, ENDLESS as long as the end is not known.
        """
        ...

    def first(self, output: int) -> int:
        """Return the first sample of an unbounded input that this output or a later one may read, the end's too."""
        ...

    def new_memory(self) -> tuple[Array, ...]:
        """Return the recurrent state of one session before its first sample; () for steps that have none."""
        ...

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out from spans of the inputs, which have the samples that `source` states, or more.

        `memory` are arrays [sessions, ...] of recurrent state, which it advances in place.
        """
        ...


class NetworkTimeStep:
    """TimeStep of a step of a network: values [sessions, C, 1, T] are pictures of one row."""

    def __init__(self, step: NetworkStep) -> None:
        self.step = step
        self._swapped = with_time_as_rows(step)
        self._far = self._look_back()

    def _look_back(self) -> int:
        """Return how many samples before the end it reads again: reflected, repeated, or any one."""
        if not isinstance(self.step, Padding):
            return 0
        hi = self.step.sides[1][1] + self.step.multiple[1] - 1
        return (hi if self.step.mode == "reflect" else 0) + 1 if hi > 0 else 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the output. Raises ShapeError if they do not fit, or if there would be more rows."""
        rows = self.step.output_extent([1] * len(given), 0)
        if rows != 1:
            raise ShapeError(f"a row becomes {rows} rows; streams have one. Write a step along time alone")
        return self.step.output_channels(given)

    def extent(self, sizes: Sequence[int]) -> int:
        """Return the length of the output."""
        return self.step.output_extent(sizes, 1)

    def source(self, number: int, outputs: slice, sizes: Sequence[int]) -> slice:
        """Return the samples of an input that these outputs read."""
        return self.step.source(number, outputs, sizes, 1)

    def first(self, output: int) -> int:
        """Return the first sample that this output, a later one or the end reads."""
        return self.step.first(output, 1) - self._far

    def new_memory(self) -> tuple[Array, ...]:
        """Return no state."""
        return ()

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out. Convolutions are direct sums, whose bits depend on no length."""
        step, turned = (self.step, False) if self._swapped is None else (self._swapped, True)
        outputs = slice(out.start, out.start + out.values.shape[-1])
        held = [_held(span, self.source(turn, outputs, sizes)) for turn, span in enumerate(given)]
        target, regions = _region(out, turned), [_region(span, turned) for span in held]
        shapes = [(size, 1) if turned else (1, size) for size in sizes]
        if not isinstance(step, Convolution):
            step.compute(regions, shapes, target)
            return
        for number, values in enumerate(target.values):  # it takes one picture at a time
            pictures = [region._replace(values=region.values[number]) for region in regions]
            step.compute(pictures, shapes, target._replace(values=values))


def _held(span: TimeSpan, needed: slice) -> TimeSpan:
    """Return the span, or zeros in place of samples that stand for none: outputs behind the last tap read nothing."""
    if needed.start >= span.start:
        return span
    return TimeSpan(np.zeros((*span.values.shape[:-1], needed.stop - needed.start), span.values.dtype), needed.start)


def _region(span: TimeSpan, turned: bool = False) -> Region:
    """Return values [sessions, C, 1, T] as pictures of one row; `turned`, of one column."""
    time = slice(span.start, span.start + span.values.shape[-1])
    return Region(span.values.swapaxes(2, 3), time, _ROW) if turned else Region(span.values, _ROW, time)


def along_time(step: Any) -> TimeStep:
    """Return a step along time: itself, or a step of a network with one row.

    Raises ShapeError for a step whose first outputs depend on the whole input.
    """
    refuse(step)
    return step if hasattr(step, "new_memory") else NetworkTimeStep(step)
