"""Microkernel, the multiply-adds: for some rows (output channel x phase) and vectors, all taps and input channels.

    sums[row, lane] = sum over steps, channels c of  w[step, c, row] * panel[offset(step) + c * pitch + lane]

The sums are in registers. A step is one tap for a range of channels. Steps are grouped into parts, and the sum of a
part is added to that of earlier parts in memory: with at most about 256 terms in a part, the rounding error
stays near that of a matrix product in blocks. Parts and the order of their terms are the same for every tile and
thread, so results are, too (`direct/accumulation_order.py`).

Rows are channels x phases of the fastest axis. Not every phase has a tap at every shift: the kind of a step lists the
phases that it adds to, and no zero is ever multiplied in place of a missing tap.
"""

from __future__ import annotations

from typing import NamedTuple

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.pair_ir import adder
from tconv.kernels.simd.vector_ir import I64, Function, Value

STEP = 5
"""Integers of a step in its table."""
SPREAD = 4
"""Largest number of places in memory to which a part can be added, where it is added to several."""
PART = 2 + 2 * SPREAD
"""Integers of such a part in its table."""
_AHEAD = 1024
"""Bytes between the weight in use and the one that is prefetched."""


class Rows(NamedTuple):
    """Rows of one call: channels x phases, and for each kind of step the phases that it adds to."""

    channels: int
    phases: int
    kinds: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.channels * self.phases


def most_vectors(rows: int) -> int:
    """Return how many vectors of positions fit the registers with this many rows: sums, vectors of x and one weight.

    At most 8: more only make the code longer.
    """
    return max(1, min(8, (target().registers - 2) // (rows + 1)))


def address(rows: Rows, vectors: int, elements: Elements, spread: bool = False) -> int:
    """Return the address of the function for these rows and this many vectors of positions.

    Its arguments are `(steps, parts, part count, panel, weights, pitch, sums, channel pitch, phase pitch, ahead,
    stride)`; pitches count numbers. `steps` has `STEP` integers per step: (offset, channels, kind, number of the tap,
    first channel). `parts` has the number of steps of each part. `ahead` has an address for each tap: the cache lines
    from it on, one per channel at this stride in bytes, are prefetched on the way (inputs of the next tile).

    With `spread` the sum of a part is added in several places, and `parts` has `PART` integers per part: (steps,
    places, numbers from `sums` to the first place, 0 to store or 1 to add, these two of the next place ...).
    """
    kinds = "_".join("".join(map(str, kind)) for kind in rows.kinds)
    sums = elements.sums  # x and the output are not touched here
    name = f"{'spread' if spread else 'accumulate'}_{rows.channels}x{rows.phases}_{kinds}_{vectors}{sums.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, rows, vectors, sums, spread))


def _write(name: str, rows: Rows, vectors: int, elements: Elements, spread: bool = False) -> str:
    f = Function(name, 11, elements)
    steps, parts, part_count, panel, weights, pitch, sums, channel_pitch, phase_pitch, ahead, stride = f.arguments
    step, weight = f.var(steps), f.var(weights)
    add_products = adder(f)
    accumulators = {
        (channel, phase, v): f.var(f.zero())
        for channel in range(rows.channels)
        for phase in range(rows.phases)
        for v in range(vectors)
    }

    def channels(kind: tuple[int, ...], x: Value, count: Value, next_inputs: Value) -> None:
        """Write the loop over the channels of a step."""
        place, w, prefetched = f.var(x), f.var(weight.value), f.var(next_inputs)
        with f.loop(count, at_least_once=True):
            here = place.value
            columns = [f.load(here, v * f.lanes, f.vector) for v in range(vectors)]
            f.prefetch(w.value + _AHEAD)
            f.prefetch(prefetched.value, level=2)
            if elements.dot:  # a pair is two channels
                f.prefetch(prefetched.value + (stride >> 1), level=2)
            prefetched.set(prefetched.value + stride)
            active = [(channel, phase) for channel in range(rows.channels) for phase in kind]
            for number, row in enumerate(active):
                factor = f.splat(f.load(w.value, number))
                for v, column in enumerate(columns):
                    sum_ = accumulators[*row, v]
                    sum_.set(add_products(factor, column, sum_.value))
            place.set(here + pitch * f.size)
            w.set(w.value + f.size * len(active))
        weight.set(w.value)

    def dispatch(numbers: list[int], kind: Value, *arguments: Value) -> None:
        """Write the loops for these kinds, and the jump to the one of this step."""
        if len(numbers) == 1:
            channels(rows.kinds[numbers[0]], *arguments)
        else:
            f.cases(
                kind.equals(numbers[0]),
                lambda: channels(rows.kinds[numbers[0]], *arguments),
                lambda: dispatch(numbers[1:], kind, *arguments),
            )

    with f.loop(part_count) as part:
        for sum_ in accumulators.values():
            sum_.set(f.zero())
        entry = parts + part * (PART * 8 if spread else 8)
        with f.loop(f.load(entry, 0, I64)):
            here = step.value
            x = panel + f.load(here, 0, I64) * f.size
            next_inputs = f.load(ahead, f.load(here, 3, I64), I64) + f.load(here, 4, I64) * stride
            dispatch(list(range(len(rows.kinds))), f.load(here, 2, I64), x, f.load(here, 1, I64), next_inputs)
            step.set(here + STEP * 8)

        def write(to: Value, add: bool) -> None:
            for (channel, phase, v), sum_ in accumulators.items():
                place = channel_pitch * channel + phase_pitch * phase + v * f.lanes
                value = sum_.value
                f.store(f.load(to, place, f.vector) + value if add else value, to, place)

        def add_or_store(to: Value, first: Value) -> None:
            f.cases(first, lambda: write(to, False), lambda: write(to, True))

        if spread:
            with f.loop(f.load(entry, 1, I64)) as number:
                distance, add = (f.load(entry, number * 2 + at, I64) for at in (2, 3))
                add_or_store(sums + distance * f.size, add.equals(0))
        else:
            add_or_store(sums, part.equals(0))
    return f.finish()
