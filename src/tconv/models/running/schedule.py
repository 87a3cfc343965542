"""Rows of every place that each strip of a run computes, and the first row that is read in it or later.

A strip begins with rows of the targets. From the last task to the first, each asks its inputs for the rows that its new
rows read and that are not computed yet. So a layer is only as far ahead of the next one as it must be. The first strip
would compute all these rows ahead at once; instead, the layers begin one after the other, in steps of one strip each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd.winograd_f43.interface import GROUP
from tconv.models.running.spans import group_end

_NEVER = 1 << 30


class Reading(NamedTuple):
    """A task as the schedule sees it: the rows of its inputs that it reads, and where groups of its rows begin."""

    number: int
    anchor: int | None
    height: int
    source: Callable[[int, slice, Sequence[int], int], slice]
    heights: Sequence[int]
    inputs: Sequence[tuple[int, ...]]
    added: Sequence[tuple[int, ...]]


class Schedule:
    """Schedule of tasks for some rows of targets, `strip` at a time of the target with the most rows.

    `delivered` has the places that the caller reads after each strip. `stops` are [strips + 1, places]: the row up to
    which each is computed before a strip and after it; `keeps` are the first rows that are still read.
    """

    def __init__(
        self,
        tasks: Sequence[Reading],
        targets: Mapping[int, slice],
        delivered: Mapping[int, tuple[int, ...]],
        first_rows: Sequence[int],
        strip: int,
    ) -> None:
        self._backward, self._targets, self._delivered = tasks[::-1], targets, delivered
        self._longest = max(rows.stop - rows.start for rows in targets.values())
        self._count, self._strip = -(-self._longest // strip), strip
        stop, stops, lows = list(first_rows), [list(first_rows)], []
        for aims in [*self._beginnings(list(first_rows)), *({} for _ in range(self._count))]:
            number = 0 if aims else len(stops) - self._ahead
            before = list(stop)
            low = self._advance(stop, -1 if aims else number, aims)
            # new rows have room until the strip is done, even those of a group that nothing reads
            lows.append([min(at, a) if b > a else at for at, a, b in zip(low, before, stop, strict=True)])
            stops.append(list(stop))
        self.stops: Array = np.array(stops, np.int32)
        self.keeps: Array = np.minimum.accumulate(np.array(lows, np.int32)[::-1], 0)[::-1]

    def _beginnings(self, first: list[int]) -> list[dict[int, int]]:
        """Return the rows up to which places are computed in steps before the first strip."""
        self._ahead = 1
        if self._count < 3:
            return []
        stop, found = list(first), []
        for number in range(3):
            self._advance(stop, number, {})
            found.append(list(stop))
        places = [task.number for task in self._backward] + [0]
        rates = {place: -(-(found[2][place] - found[0][place]) // 2) for place in places}
        steps = [-(-(found[0][place] - first[place]) // rate) for place, rate in rates.items() if rate and place]
        self._ahead = max(steps, default=1) or 1
        return [
            {place: found[0][place] - rates[place] * (self._ahead - step) for place in places if rates[place]} | {-1: 0}
            for step in range(1, self._ahead)
        ]

    def _end(self, place: int, number: int) -> int:
        """Return the row at which a strip of a target ends."""
        rows = self._targets[place]
        length = rows.stop - rows.start
        done = self._strip * (number + 1) if length == self._longest else -(-length * (number + 1) // self._count)
        end: int = rows.start + min(done, length)
        return end

    def _advance(self, stop: list[int], number: int, aims: Mapping[int, int]) -> list[int]:
        """Move `stop` to the end of a strip, -1 for a step before the first; return the first rows that are read."""
        low, before = [_NEVER] * len(stop), list(stop)
        for place, aim in aims.items():
            if place >= 0 and place not in self._targets:
                stop[place] = max(stop[place], aim)
        for place in self._targets if number >= 0 else ():
            end = self._end(place, number)
            stop[place] = max(stop[place], end)
            for other in self._delivered.get(place, ()):
                stop[other] = max(stop[other], end)
                low[other] = min(low[other], before[place])
        for task in self._backward:
            place = task.number
            end = stop[place]
            if end == before[place]:
                continue
            if task.anchor is not None:
                end = stop[place] = group_end(end, task.anchor, GROUP, task.height)
            rows = slice(before[place], end)
            for turn, places in enumerate(task.inputs):
                span = task.source(turn, rows, task.heights, 0)
                for other in places:
                    if span.stop > stop[other]:
                        stop[other] = span.stop
                    if span.start < low[other]:
                        low[other] = span.start
            for places in task.added:
                for other in places:
                    if end > stop[other]:
                        stop[other] = end
                    if rows.start < low[other]:
                        low[other] = rows.start
        return low
