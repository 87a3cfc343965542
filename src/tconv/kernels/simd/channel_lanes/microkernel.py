"""Microkernel of the form with lanes over output channels: all taps and input channels of some positions, and the writing.

    out[position, column] = sum over steps, channels c of  w[step, c, column] * panel[offset(step) + position, c]

A vector has neighbouring columns: the output channels of a phase or, where phases have the same inputs, of several.
Every number of the panel is broadcast to all lanes. The sums of a block, positions x vectors of columns, stay in
registers; bias and activation are applied to them there, and they are stored as they are: columns are neighbours in
the output, too. The order of the terms is that of `direct/accumulation_order.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.epilogue import apply_activation
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value

STEP = 2
"""Integers of a step in its table: offset of its first input in the panel, channels."""
PLACE = 2
"""Integers of a position in its table: address of its first output, and how many columns may be written from there on."""
MOST_POSITIONS = 14
"""Largest number of positions of a block: more only make the code longer."""
_AHEAD = 2048
"""Bytes between the weight in use and the one that is prefetched."""


class Block(NamedTuple):
    """Sums in registers."""

    positions: int
    vectors: int


def most_vectors() -> int:
    """Return the largest number of vectors of a block."""
    return 4 if target().registers >= 32 else 3


def most_positions(vectors: int) -> int:
    """Return how many positions fit the registers: their sums, the vectors of a weight, and one input."""
    return max(1, min(MOST_POSITIONS, (target().registers - 1 - vectors) // vectors))


def address(block: Block, activated: bool) -> int:
    """Return the address of the function for blocks of this size.

    Its arguments are `(steps, parts, part count, panel, weights, pitch, sums, places, column, columns, biases,
    slopes, limits, stream, blocks)`: it computes this many blocks, one after another. `pitch` is the number of bytes
    from one position of the panel to the next, `column` the place of the first column in the outputs of a position,
    and `columns` the number of columns that exist from there on. `biases` and `slopes` have a number for each column.
    `sums` is memory for the sums of earlier parts.
    """
    name = f"channel_lanes_{block.positions}x{block.vectors}{'_activated' if activated else ''}"
    return OBJECT_CACHE.address(name, lambda: _write(name, block, activated))


def _write(name: str, block: Block, activated: bool) -> str:
    f = Function(name, 15, target().lanes)
    size = f.size
    (steps, parts, part_count, panel, weights, pitch, sums, places, column, columns, biases, slopes, limits, stream,
     blocks) = f.arguments
    grid = [(m, v) for m in range(block.positions) for v in range(block.vectors)]
    accumulators = {at: f.var(f.zero()) for at in grid}
    step, weight = f.var(steps), f.var(weights)

    def channels(x: Value, count: Value) -> None:
        """Write the loop over the channels of a step."""
        w = f.var(weight.value)
        # three positions share a base, and their distance from it is in the address of the load
        bases = [f.var(x + pitch * m) for m in range(0, block.positions, 3)]
        with f.loop(count, at_least_once=True):
            here = [base.value for base in bases]
            vectors = [f.load(w.value, v * f.lanes, f.vector) for v in range(block.vectors)]
            f.prefetch(w.value + _AHEAD)
            for m in range(block.positions):
                factor = f.splat(f.load(here[m // 3] + pitch * (m % 3)))
                for v, vector in enumerate(vectors):
                    sum_ = accumulators[m, v]
                    sum_.set(f.fma(factor, vector, sum_.value))
            for base, value in zip(bases, here):
                base.set(value + size)
            w.set(w.value + size * f.lanes * block.vectors)
        weight.set(w.value)

    def each(body: Callable[[tuple[int, int], Value], None]) -> None:
        for at in grid:
            body(at, f.value((at[0] * block.vectors + at[1]) * f.lanes))

    with f.loop(blocks) as number:
        x = panel + pitch * block.positions * number
        place = places + number * (block.positions * PLACE * 8)
        step.set(steps)
        weight.set(weights)
        with f.loop(part_count) as part:
            for sum_ in accumulators.values():
                sum_.set(f.zero())
            with f.loop(f.load(parts, part, I64)):
                channels(x + f.load(step.value, 0, I64) * size, f.load(step.value, 1, I64))
                step.set(step.value + STEP * 8)

            def add(at: tuple[int, int], index: Value) -> None:
                accumulators[at].set(f.load(sums, index, f.vector) + accumulators[at].value)

            with f.when(part > 0):
                each(add)
            with f.when(part < part_count - 1):
                each(lambda at, index: f.store(accumulators[at].value, sums, index))
        low, high = ((f.splat(f.load(limits, at)) for at in (0, 1)) if activated else (None, None))
        for m in range(block.positions):
            to = f.load(place, m * PLACE, I64) + column * size
            left = f.least(f.load(place, m * PLACE + 1, I64) - column, columns)
            values = []
            for v in range(block.vectors):
                value = accumulators[m, v].value + f.load(biases, v * f.lanes, f.vector)
                if activated:
                    slope = f.load(slopes, v * f.lanes, f.vector)
                    value = apply_activation(f, value, slope, low, high)
                values.append(value)

            def plain() -> None:
                for v, value in enumerate(values):
                    f.store(value, to, v * f.lanes)

            def streamed() -> None:
                for v, value in enumerate(values):
                    f.stream(value, to, v * f.lanes)

            def masked() -> None:
                for v, value in enumerate(values):
                    f.masked_store(value, to, v * f.lanes, f.mask(0, left - v * f.lanes))

            aligned = (to & (size * f.lanes - 1)).equals(0)
            f.cases(
                left >= block.vectors * f.lanes,
                lambda: f.cases(f.both(aligned, stream > 0), streamed, plain),
                masked,
            )
    return f.finish()
