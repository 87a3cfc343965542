"""Accumulation order of the direct form: the products of each output, and the order in which they are added.

The sum of an output element runs over its taps in ascending order (slowest axis first) and over the input channels.
With more than 512 terms it is cut into parts: one per shift of the slow axes, and where channels times taps of the
fastest axis are more than 256, one per run of its shifts and range of channels, too (16 of each, or more).
Within a part the order is slow shifts, then fast shifts, then channels, each ascending, one fused multiply-add after
another. The parts are added in order, and the bias last. Nothing in this depends on tiles, threads, the batch or the
crop.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

from tconv.kernels.problem import Layer
from tconv.kernels.simd.microkernel import Rows
from tconv.kernels.simd.phase_axes import Grid

TERMS = 256
"""Terms of a part, about."""
_LEAST = 16
"""Smallest number of channels of a range, and of shifts of a run: shorter loops cost more than they gain."""
_MOST_KINDS = 4
"""Kinds of steps of a call: each is a loop of its own in the microkernel."""


class Step(NamedTuple):
    """One tap of each of some phases, for a range of input channels."""

    slow: tuple[int, ...]
    """shifts of the slow axes"""
    fast: int
    """shift of the fastest axis"""
    channels: tuple[int, int]
    kind: int
    taps: tuple[tuple[int, ...], ...]
    """for each phase that it adds to, its taps on the slow axes and on the fastest"""


class MicrokernelCall(NamedTuple):
    """One call of the microkernel, for some phases of one block of output channels."""

    phases: tuple[int, ...]
    """numbers of the phases: slow phase * fast stride + fast phase"""
    kinds: tuple[tuple[int, ...], ...]
    parts: tuple[tuple[Step, ...], ...]

    @property
    def terms(self) -> int:
        """Weights per output channel."""
        return sum(len(step.taps) * (step.channels[1] - step.channels[0]) for part in self.parts for step in part)


class Chunk(NamedTuple):
    """Phases whose sums are in memory at the same time and then written: those of the fastest axis, or some of them."""

    phases: tuple[int, ...]
    calls: tuple[MicrokernelCall, ...]


def parts(layer: Layer, grid: Grid) -> tuple[bool, list[tuple[int, int]]]:
    """Return True if all slow shifts are one part together, and the ranges of channels."""
    channels = layer.group_in
    fast = max(1, max(map(len, grid.fast.taps)))
    if channels * fast * math.prod(max(map(len, axis.taps)) for axis in grid.slow) <= 2 * TERMS:
        return True, [(0, channels)]
    count = -(-channels // max(_LEAST, TERMS // fast))
    return False, [(channels * i // count, channels * (i + 1) // count) for i in range(count)]


def microkernel_call(layer: Layer, grid: Grid, phases: tuple[int, ...]) -> MicrokernelCall | None:
    """Return one call for these phases together; None if they have too little in common."""
    together, ranges = parts(layer, grid)
    stride = grid.fast.stride
    slow_phases = grid.slow_phases
    by_shift: dict[tuple[tuple[int, ...], int], list[tuple[int, tuple[int, ...]]]] = {}  # (phase, its taps)
    for place, phase in enumerate(phases):
        slow = [axis.taps[r] for axis, r in zip(grid.slow, slow_phases[phase // stride], strict=True)]
        for shifts_and_taps in product(*slow, grid.fast.taps[phase % stride]):
            shift, taps = zip(*shifts_and_taps, strict=True)
            by_shift.setdefault((shift[:-1], shift[-1]), []).append((place, taps))
    kinds: list[tuple[int, ...]] = []
    steps: dict[tuple[int, ...], list[tuple[int, int, tuple[tuple[int, ...], ...]]]] = {}
    for (slow_shift, fast_shift), taps_of in sorted(by_shift.items()):
        kind = tuple(place for place, _ in taps_of)
        if kind not in kinds:
            kinds.append(kind)
        steps.setdefault(slow_shift, []).append((fast_shift, kinds.index(kind), tuple(taps for _, taps in taps_of)))
    if len(kinds) > _MOST_KINDS:
        return None
    order = list(steps)
    if together:
        runs = [[(shift, *step) for shift in order for step in steps[shift]]]
    else:
        length = max(_LEAST, TERMS // (ranges[0][1] - ranges[0][0]))
        if len(phases) > 1:
            if max(map(len, grid.fast.taps)) > length:
                return None  # the parts of the phases would begin at different shifts
            # all shifts of all phases may be more, but those of each phase are one part, as when it is alone
            length = len(grid.fast.shifts)
        cut = [steps[shift][i : i + length] for shift in order for i in range(0, len(steps[shift]), length)]
        places = [shift for shift in order for _ in range(0, len(steps[shift]), length)]
        runs = [[(shift, *step) for step in run] for shift, run in zip(places, cut, strict=True)]
    all_parts = [
        tuple(Step(slow, fast, channels, kind, taps) for slow, fast, kind, taps in run)
        for run in runs
        for channels in ranges
    ]
    return MicrokernelCall(phases, tuple(kinds) or (tuple(range(len(phases))),), tuple(all_parts) or ((),))


def chunks(layer: Layer, grid: Grid, most: int, rows: int) -> tuple[list[Chunk], int]:
    """Return all phases in chunks of the fastest axis, at most `most` each, and the output channels of a block.

    `rows` is the number of rows of the microkernel. With enough channels a call has one phase and `rows` channels. With
    few it has several phases, which share the vectors of x that they load.
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
        single = [[microkernel_call(layer, grid, (phase,)) for phase in row] for row in rows_of]
        return [Chunk(row, tuple(filter(None, calls))) for row, calls in zip(rows_of, single, strict=True)], rows
    if total <= rows and pieces == 1:  # all phases of all axes share the loads
        every = microkernel_call(layer, grid, tuple(range(total)))
        if every is not None:
            return [Chunk(tuple(range(total)), (every,))], max(1, rows // total)
    all_chunks = []
    largest = 1
    for row in rows_of:
        calls: list[MicrokernelCall] = []
        count = -(-len(row) // rows)
        for i in range(count):
            group = row[len(row) * i // count : len(row) * (i + 1) // count]
            joint = microkernel_call(layer, grid, group)
            alone = [] if joint else [microkernel_call(layer, grid, (phase,)) for phase in group]
            calls.extend(filter(None, [joint] if joint else alone))
        largest = max(largest, *(len(c.phases) for c in calls))
        all_chunks.append(Chunk(row, tuple(calls)))
    return all_chunks, max(1, rows // largest)


def rows_of(call: MicrokernelCall, channels: int) -> Rows:
    """Return the rows of the microkernel for a call and a block of this many channels."""
    return Rows(channels, len(call.phases), call.kinds)
