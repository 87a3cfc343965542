"""Microkernel of the form with lanes over output channels: multiply-adds of some positions, and their writing.

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
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import apply_activation
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.pair_ir import adder
from tconv.kernels.simd.vector_ir import I64, Function, Value, Var

STEP = 2
"""Integers of a step in its table: offset of its first input in the panel, channels."""
PLACE = 2
"""Integers of a position in its table: address of its first output, and the columns that exist from there on."""
MOST_POSITIONS = 14
"""Largest number of positions of a block: more only make the code longer."""


class Block(NamedTuple):
    """Sums in registers."""

    positions: int
    vectors: int


def most_vectors() -> int:
    """Return the largest number of vectors of a block."""
    return 4 if target().registers >= 32 else 3


def most_positions(vectors: int) -> int:
    """Return how many positions fit the registers: their sums, the vectors of a weight, one input, and a product."""
    others = vectors + (1 if target().fuses else 2)
    return max(1, min(MOST_POSITIONS, (target().registers - others) // vectors))


def address(block: Block, activated: bool, elements: Elements) -> int:
    """Return the address of the function for blocks of this size.

    Its arguments are `(steps, parts, part count, panel, weights, pitch, sums, places, column, columns, biases,
    slopes, limits, stream, blocks)`: it computes this many blocks, one after another. `pitch` is the number of bytes
    from one position of the panel to the next, `column` the place of the first column in the outputs of a position,
    and `columns` the number of columns that exist from there on. `biases` and `slopes` have a number for each column.
    `sums` is memory for the sums of earlier parts.
    """
    name = f"channel_lanes_{block.positions}x{block.vectors}{'_activated' if activated else ''}{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _Microkernel(name, block, activated, elements).build())


class BlockOfSums:
    """Sums of a block in registers, in a function that is being written, and the multiply-adds that add to them."""

    def __init__(self, f: Function, block: Block) -> None:
        self.f, self.block = f, block
        self.sums = {(m, v): f.var(f.zero()) for m in range(block.positions) for v in range(block.vectors)}

    def clear(self) -> None:
        """Set all sums to 0."""
        for sum_ in self.sums.values():
            sum_.set(self.f.zero())

    def add_step(self, x: Value, pitch: Value, weight: Var, count: Value) -> None:
        """Add the products of so many channels, and move `weight` behind the weights that were used."""
        f, positions, vectors = self.f, self.block.positions, self.block.vectors
        add_products = adder(f)
        # three positions share a base; their distance from it is part of the load's address
        bases = [f.var(x + pitch * m) for m in range(0, positions, 3)]
        with f.loop(count, at_least_once=True):
            here = [base.value for base in bases]
            w = weight.value
            columns = [f.load(w, v * f.lanes, f.vector) for v in range(vectors)]
            for m in range(positions):
                factor = f.splat(f.load(here[m // 3] + pitch * (m % 3)))
                for v, column in enumerate(columns):
                    sum_ = self.sums[m, v]
                    sum_.set(add_products(factor, column, sum_.value))
            for base in bases:
                base.set(base.value + f.size)
            weight.set(w + f.size * f.lanes * vectors)


class _Microkernel:
    """Builder of the function for blocks of one size."""

    def __init__(self, name: str, block: Block, activated: bool, elements: Elements) -> None:
        self.f = f = Function(name, 15, elements)
        self.block, self.activated = block, activated
        self.steps, self.parts, self.part_count, self.panel, self.weights, self.pitch, self.sums, *rest = f.arguments
        self.places, self.column, self.columns, self.biases, self.slopes, self.limits, self.stream, self.blocks = rest
        self.of_block = BlockOfSums(f, block)
        self.step, self.weight = f.var(self.steps), f.var(self.weights)

    def build(self) -> str:
        """Return the LLVM text."""
        f, positions = self.f, self.block.positions
        with f.loop(self.blocks) as number:
            self.step.set(self.steps)
            self.weight.set(self.weights)
            x = self.panel + self.pitch * positions * number
            with f.loop(self.part_count) as part:
                self._add_part(part, x)
            place = self.places + number * (positions * PLACE * 8)
            for m in range(positions):
                self._write(m, f.load(place, m * PLACE, I64), f.load(place, m * PLACE + 1, I64))
        return f.finish()

    def _add_part(self, part: Value, x: Value) -> None:
        """Compute the sums of a part, and add those of the parts before it; they are stored, but for the last part."""
        f, step, lanes = self.f, self.step, self.f.lanes
        self.of_block.clear()
        with f.loop(f.load(self.parts, part, I64)):
            offset, count = f.load(step.value, 0, I64), f.load(step.value, 1, I64)
            self.of_block.add_step(x + offset * f.size, self.pitch, self.weight, count)
            step.set(step.value + STEP * 8)
        with f.when(part > 0):
            for place, sum_ in enumerate(self.of_block.sums.values()):
                sum_.set(f.load(self.sums, place * lanes, f.vector) + sum_.value)
        with f.when(part < self.part_count - 1):
            for place, sum_ in enumerate(self.of_block.sums.values()):
                f.store(sum_.value, self.sums, place * lanes)

    def _write(self, m: int, address: Value, end: Value) -> None:
        """Write the outputs of a position: whole vectors, or as many columns as there are."""
        f, lanes = self.f, self.f.lanes
        to, left = address + self.column * f.stored_size, f.least(end - self.column, self.columns)
        outputs = [self._output(m, v) for v in range(self.block.vectors)]

        def write(store: Callable[[Value, Value, int], None]) -> Callable[[], None]:
            def all_vectors() -> None:
                for v, vector in enumerate(outputs):
                    store(vector, to, v * lanes)

            return all_vectors

        whole, streamed, masked = (
            write(f.store_stored),
            write(f.stream_stored),
            write(lambda vector, to, place: f.store_stored(vector, to, place, f.mask(0, left - place))),
        )
        aligned = (to & (f.stored_size * lanes - 1)).equals(0)
        f.cases(
            left >= self.block.vectors * lanes,
            lambda: f.cases(f.both(aligned, self.stream > 0), streamed, whole),
            masked,
        )

    def _output(self, m: int, v: int) -> Value:
        """Return a vector of outputs: bias, then activation."""
        f, place = self.f, v * self.f.lanes
        total = self.of_block.sums[m, v].value + f.load(self.biases, place, f.vector)
        if not self.activated:
            return total
        low, high = (f.splat(f.load(self.limits, at)) for at in (0, 1))
        return apply_activation(f, total, f.load(self.slopes, place, f.vector), low, high)
