"""Function of one phase of the slow axes, for some rows of the output: what both layouts share.

Its arguments are `(frame, local, outer, last, first row, end row, x, weights, out)`. `outer` and `last` are tables of
offsets: of the output, then of x for each shift. A row that is outside of x is read as zeros, so its terms are the same
as those of any other row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.depthwise.schedule import MOST_TAPS, Columns
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import Constants, read_constants
from tconv.kernels.simd.vector_ir import I64, Function, Value

OUTER_HEAD = 2
"""Integers in front of the offsets of x in the outer table: offset of the output, and phase."""
_MISSING = NO_ROW // 2
"""A sum of offsets is below it if one of them is `NO_ROW`."""


class Rows(NamedTuple):
    """Rows of x that each row of the output needs: shifts of the outer slow axes, and of the last."""

    outer: int
    last: int

    @property
    def total(self) -> int:
        """Rows of x."""
        return self.outer * self.last


class RowPass:
    """Builder of the function: the rows, and the sums of the columns."""

    def __init__(self, name: str, columns: Columns, rows: Rows, activated: bool, elements: Elements) -> None:
        self.f = f = Function(name, 9, elements)
        base, self.local, self._outer, self._last, self._begin, self._end, self.x, self.weights, self._out = f.arguments
        self.frame, self.mine = Fields(f, base, FRAME), Fields(f, self.local, LOCAL)
        self.columns, self.row_counts, self._activated = columns, rows, activated
        # read once, here: LLVM cannot know that the outputs do not overwrite the frame
        frame = self.frame
        self.length, self.out_length, self.stream = frame.x_length, frame.out_length, frame.stream
        self.zeros = frame.zeros
        self.unrolled = rows.total * columns.taps <= MOST_TAPS

    @contextmanager
    def rows(self) -> Iterator[tuple[list[tuple[Value, Value]], Value]]:
        """Write the loop over the rows. Yields (address, condition that it is a row of x) per row, and the output's.

        If the rows are not unrolled, their addresses are in the local array instead.
        """
        f = self.f
        with f.loop(self._begin, self._end) as row:
            entry = self._last + row * (8 * (1 + self.row_counts.last))
            offset = f.load(self._outer, 0, I64) + f.load(entry, 0, I64)
            with f.when(offset > _MISSING):
                yield self._sources(entry), self._out + offset * f.stored_size

    def _sources(self, entry: Value) -> list[tuple[Value, Value]]:
        f, last = self.f, self.row_counts.last
        sources = []
        for number in range(self.row_counts.total):
            outer, shift = divmod(number, last)
            offset = f.load(self._outer, OUTER_HEAD + outer, I64) + f.load(entry, 1 + shift, I64)
            there = offset > _MISSING
            address = f.select(there, self.x + offset * f.stored_size, self.zeros)
            if self.unrolled:
                sources.append((address, there))
            else:
                f.store(address, self.local, HEAD + 2 * number, I64)
                f.store(f.select(there, 1, 0), self.local, HEAD + 2 * number + 1, I64)
        return sources

    def sums(
        self,
        sources: list[tuple[Value, Value]],
        multiplier: int,
        column: Callable[[int | Value, Value, Value, int], Value],
        weight: Callable[[int | Value], Value],
    ) -> list[list[Value]]:
        """Return the sums per phase and output channel of an input channel: all rows, and in each all columns.

        `column(row, address, condition, number)` returns the vector of x of a column, `weight(number)` that of a
        weight; weights of a tap follow each other by output channel.
        """
        f, columns = self.f, self.columns
        totals = [[f.var(f.zero()) for _ in range(multiplier)] for _ in range(columns.stride)]

        def add(row: int | Value, address: Value, there: Value) -> None:
            number = 0
            for place, phases in enumerate(columns.phases):
                x = column(row, address, there, place)
                for phase in phases:
                    for total in totals[phase]:
                        factor = weight(row * (columns.taps * multiplier) + number)
                        total.set(f.fma(factor, x, total.value))
                        number += 1

        if self.unrolled:
            for number, source in enumerate(sources):
                add(number, *source)
        else:
            with f.loop(self.row_counts.total) as row:
                place = self.local + row * 16
                add(row, f.load(place, HEAD, I64), f.load(place, HEAD + 1, I64).differs(0))
        return [[total.value for total in of_phase] for of_phase in totals]

    def constants(self, load: Callable[[Value], Value]) -> Constants:
        """Return bias and activation. `load` returns a vector from a table with one number per output channel."""
        return read_constants(self.f, self.frame, self._activated, load)
