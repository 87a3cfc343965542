"""The multiply-adds: for a few rows (output channel x phase) and a few vectors of positions, all taps and channels.

    sums[row, lane] = sum over steps, channels c of  w[step, c, row] * panel[offset(step) + c * pitch + lane]

The sums live in registers. A step is one tap for a range of channels; steps come in parts, and the sum of a part is
added to what earlier parts left in memory: a chain of at most about 256 terms keeps the error of float32 near that of
a matrix product in blocks. Which terms make a part, and their order, is the same for every tile and every thread, so
that results are, too (`steps.py`).

Rows are channels x phases of the fastest axis. Not every phase has a tap at every shift: a step has a kind, which
says which phases it feeds, and no zero is ever multiplied in place of a missing tap.
"""

from __future__ import annotations

from typing import NamedTuple

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.object_cache import LIBRARY
from tconv.kernels.simd.vector_ir import I64, Function, Value

STEP = 5
SPREAD = 4
"""Places to which a part can be added, at most, where it is added to several."""
PART = 2 + 2 * SPREAD
_AHEAD = 1024
"""Bytes between the weight in use and the one that is asked for."""


class Rows(NamedTuple):
    """The rows of one call: channels x phases, and for each kind of step the phases that it feeds."""

    channels: int
    phases: int
    kinds: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> int:
        """How many rows."""
        return self.channels * self.phases


def most_vectors(rows: int) -> int:
    """How many vectors of positions fit beside this many rows: sums, the vectors of x and one weight are in registers.

    More than 8 only make the code longer.
    """
    return max(1, min(8, (target().registers - 2) // (rows + 1)))


def address(rows: Rows, vectors: int, spread: bool = False) -> int:
    """The function `(steps, parts, part count, panel, weights, pitch, sums, channel and phase pitch, ahead, stride)`.

    `steps` holds `STEP` integers each: (offset, channels, kind, number of the tap, first channel); `parts` the number
    of steps in each; pitches count floats. `ahead` has an address for each tap: it and what follows at a stride of
    bytes, one per channel, is asked for on the way (a piece of the next tile's inputs).

    `spread` makes another function: what a part leaves goes to several places. Then `parts` holds `PART` integers each:
    (steps, places, distance of a place from `sums` in floats, whether there is something to add to, the next ...).
    """
    kinds = "_".join("".join(map(str, kind)) for kind in rows.kinds)
    name = f"{'spread' if spread else 'accumulate'}_{rows.channels}x{rows.phases}_{kinds}_{vectors}"
    return LIBRARY.address(name, lambda: _write(name, rows, vectors, spread))


def _write(name: str, rows: Rows, vectors: int, spread: bool = False) -> str:
    f = Function(name, 11, target().lanes)
    steps, parts, part_count, panel, weights, pitch, sums, channel_pitch, phase_pitch, ahead, stride = f.arguments
    step, weight = f.var(steps), f.var(weights)
    held = {
        (channel, phase, v): f.var(f.zero())
        for channel in range(rows.channels)
        for phase in range(rows.phases)
        for v in range(vectors)
    }

    def channels(kind: tuple[int, ...], x: Value, count: Value, later: Value) -> None:
        """All channels of a step."""
        place, w, soon = f.var(x), f.var(weight.value), f.var(later)
        with f.loop(count, at_least_once=True):
            here = place.value
            columns = [f.load(here, v * f.lanes, f.vector) for v in range(vectors)]
            f.prefetch(w.value + _AHEAD)
            f.prefetch(soon.value, level=2)
            soon.set(soon.value + stride)
            active = [(channel, phase) for channel in range(rows.channels) for phase in kind]
            for number, row in enumerate(active):
                factor = f.splat(f.load(w.value, number))
                for v, column in enumerate(columns):
                    sum_ = held[*row, v]
                    sum_.set(f.fma(factor, column, sum_.value))
            place.set(here + pitch * 4)
            w.set(w.value + 4 * len(active))
        weight.set(w.value)

    def dispatch(numbers: list[int], kind: Value, *given: Value) -> None:
        """The loop for the kind of this step."""
        if len(numbers) == 1:
            channels(rows.kinds[numbers[0]], *given)
        else:
            f.cases(
                kind.equals(numbers[0]),
                lambda: channels(rows.kinds[numbers[0]], *given),
                lambda: dispatch(numbers[1:], kind, *given),
            )

    with f.loop(part_count) as part:
        for sum_ in held.values():
            sum_.set(f.zero())
        entry = parts + part * (PART * 8 if spread else 8)
        with f.loop(f.load(entry, 0, I64)):
            here = step.value
            x = panel + f.load(here, 0, I64) * 4
            later = f.load(ahead, f.load(here, 3, I64), I64) + f.load(here, 4, I64) * stride
            dispatch(list(range(len(rows.kinds))), f.load(here, 2, I64), x, f.load(here, 1, I64), later)
            step.set(here + STEP * 8)

        def write(to: Value, add: bool) -> None:
            for (channel, phase, v), sum_ in held.items():
                place = channel_pitch * channel + phase_pitch * phase + v * f.lanes
                value = sum_.value
                f.store(f.load(to, place, f.vector) + value if add else value, to, place)

        def leave(to: Value, first: Value) -> None:
            f.cases(first, lambda: write(to, False), lambda: write(to, True))

        if spread:
            with f.loop(f.load(entry, 1, I64)) as number:
                distance, add = (f.load(entry, number * 2 + at, I64) for at in (2, 3))
                leave(sums + distance * 4, add.equals(0))
        else:
            leave(sums, part.equals(0))
    return f.finish()
