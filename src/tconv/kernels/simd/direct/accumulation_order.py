"""What is added up, and in which order: the one accumulation order of this method.

The sum of an output element runs over its taps in ascending order (slowest axis first) and over the input channels.
If it has more than 512 terms it is cut into parts: one per shift of the slow axes, and where channels times taps of the
fastest axis are more than 256, one per run of its shifts and range of channels, too (16 of each, or more).
Within a part: slow shifts, then fast shifts, then channels, each ascending, one fused multiply-add after another. The
parts are added in order, and the bias last.
Nothing in this depends on tiles, threads, the batch or the crop.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

from tconv.kernels.problem import Layer
from tconv.kernels.simd.microkernel import Rows
from tconv.kernels.simd.phase_axes import Grid

TERMS = 256
_LEAST = 16
"""Channels of a range, and shifts of a run, where there are that many: shorter loops cost more than they gain."""
_MOST_KINDS = 4


class Step(NamedTuple):
    """One tap of each of some phases, for a range of channels."""

    slow: tuple[int, ...]
    """shifts of the slow axes"""
    fast: int
    """shift of the fastest axis"""
    channels: tuple[int, int]
    kind: int
    taps: tuple[tuple[int, ...], ...]
    """for each phase that it feeds, its taps on the slow axes and on the fastest"""


class Call(NamedTuple):
    """One run of the multiply-adds for some phases of one block of channels."""

    phases: tuple[int, ...]
    """numbers of the phases: slow phase * fast stride + fast phase"""
    kinds: tuple[tuple[int, ...], ...]
    parts: tuple[tuple[Step, ...], ...]

    @property
    def terms(self) -> int:
        """Weights per output channel."""
        return sum(len(step.taps) * (step.channels[1] - step.channels[0]) for part in self.parts for step in part)


class Chunk(NamedTuple):
    """Phases whose sums are held at a time and then written: a whole row of phases of the fastest axis, or a piece."""

    phases: tuple[int, ...]
    calls: tuple[Call, ...]


def parts(layer: Layer, grid: Grid) -> tuple[bool, list[tuple[int, int]]]:
    """Whether all slow shifts make one part together, and the ranges of channels."""
    channels = layer.group_in
    fast = max(1, max(map(len, grid.fast.taps)))
    if channels * fast * math.prod(max(map(len, axis.taps)) for axis in grid.slow) <= 2 * TERMS:
        return True, [(0, channels)]
    count = -(-channels // max(_LEAST, TERMS // fast))
    return False, [(channels * i // count, channels * (i + 1) // count) for i in range(count)]


def call(layer: Layer, grid: Grid, phases: tuple[int, ...]) -> Call | None:
    """The steps for these phases together; None if they have too little in common."""
    together, ranges = parts(layer, grid)
    stride = grid.fast.stride
    slow_phases = grid.slow_phases
    feeds: dict[tuple[tuple[int, ...], int], list[tuple[int, tuple[int, ...]]]] = {}
    for place, phase in enumerate(phases):
        slow = [axis.taps[r] for axis, r in zip(grid.slow, slow_phases[phase // stride], strict=True)]
        for choice in product(*slow, grid.fast.taps[phase % stride]):
            shift, taps = zip(*choice, strict=True)
            feeds.setdefault((shift[:-1], shift[-1]), []).append((place, taps))
    kinds: list[tuple[int, ...]] = []
    steps: dict[tuple[int, ...], list[tuple[int, int, tuple[tuple[int, ...], ...]]]] = {}
    for (slow_shift, fast_shift), fed in sorted(feeds.items()):
        kind = tuple(place for place, _ in fed)
        if kind not in kinds:
            kinds.append(kind)
        steps.setdefault(slow_shift, []).append((fast_shift, kinds.index(kind), tuple(taps for _, taps in fed)))
    if len(kinds) > _MOST_KINDS:
        return None
    order = list(steps)
    if together:
        runs = [[(shift, *step) for shift in order for step in steps[shift]]]
    else:
        length = max(_LEAST, TERMS // (ranges[0][1] - ranges[0][0]))
        if len(phases) > 1 and max(map(len, grid.fast.taps)) > length:
            return None  # phases cut their taps at different shifts
        cut = [steps[shift][i : i + length] for shift in order for i in range(0, len(steps[shift]), length)]
        places = [shift for shift in order for _ in range(0, len(steps[shift]), length)]
        runs = [[(shift, *step) for step in run] for shift, run in zip(places, cut, strict=True)]
    found = [
        tuple(Step(slow, fast, channels, kind, taps) for slow, fast, kind, taps in run)
        for run in runs
        for channels in ranges
    ]
    return Call(phases, tuple(kinds) or (tuple(range(len(phases))),), tuple(found) or ((),))


def chunks(layer: Layer, grid: Grid, most: int, rows: int) -> tuple[list[Chunk], int]:
    """All phases in chunks of the fastest axis, at most `most` each, and the output channels of a block.

    `rows` is what the multiply-adds hold at a time. With enough channels, a call has one phase and `rows` channels;
    with few, it has several phases that share what they load of x.
    """
    channels, stride = layer.group_out, grid.fast.stride
    slow = math.prod(axis.stride for axis in grid.slow)
    total = slow * stride
    pieces = -(-stride // most)
    rows_of = [
        tuple(s * stride + r for r in range(stride * i // pieces, stride * (i + 1) // pieces))
        for s in range(slow)
        for i in range(pieces)
    ]
    if channels >= rows or (channels >= 4 and stride == 1):
        single = [[call(layer, grid, (phase,)) for phase in row] for row in rows_of]
        return [Chunk(row, tuple(filter(None, calls))) for row, calls in zip(rows_of, single, strict=True)], rows
    if total <= rows and pieces == 1:  # all phases of all axes share the loads
        every = call(layer, grid, tuple(range(total)))
        if every is not None:
            return [Chunk(tuple(range(total)), (every,))], max(1, rows // total)
    found = []
    largest = 1
    for row in rows_of:
        calls: list[Call] = []
        count = -(-len(row) // rows)
        for i in range(count):
            group = row[len(row) * i // count : len(row) * (i + 1) // count]
            joint = call(layer, grid, group)
            alone = [] if joint else [call(layer, grid, (phase,)) for phase in group]
            calls.extend(filter(None, [joint] if joint else alone))
        largest = max(largest, *(len(c.phases) for c in calls))
        found.append(Chunk(row, tuple(calls)))
    return found, max(1, rows // largest)


def rows_of(call: Call, channels: int) -> Rows:
    """What the multiply-adds are built for."""
    return Rows(channels, len(call.phases), call.kinds)
