"""Microkernel of a product: a plane times a sum of taps, for all input channels, added to rows of sums in memory."""

from __future__ import annotations

from functools import partial

from tconv.kernels.simd.channel_lanes.microkernel import Block, BlockOfSums
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.microkernel import PART
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value


def address(block: Block, elements: Elements) -> int:
    """Return the address of the function for blocks of this size.

    Its arguments are `(channels, entries, part count, panel, weights, pitch, sums, row, blocks)`: it computes this many
    blocks, one after another. `channels` has the number of channels of each part, `entries` for each part `PART`
    integers: 1, places, then for each place its row of sums, and 0 to store or 1 to add. Pitch and row count bytes.
    """
    name = f"spread_channels_{block.positions}x{block.vectors}{elements.sums.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, block, elements.sums))


def _write(name: str, block: Block, elements: Elements) -> str:
    f = Function(name, 9, elements)
    channels, entries, part_count, panel, weights, pitch, sums, row, blocks = f.arguments
    of_block, weight = BlockOfSums(f, block), f.var(weights)
    size = block.positions * block.vectors * f.lanes * f.size
    with f.loop(blocks) as number:
        weight.set(weights)
        x, here = f.var(panel + pitch * block.positions * number), sums + number * size
        with f.loop(part_count) as part:
            of_block.clear()
            count, entry = f.load(channels, part, I64), entries + part * (PART * 8)
            of_block.add_step(x.value, pitch, weight, count)
            x.set(x.value + count * f.size)

            def write(to: Value, add: bool) -> None:
                for place, sum_ in enumerate(of_block.sums.values()):
                    value = sum_.value
                    value = f.load(to, place * f.lanes, f.vector) + value if add else value
                    f.store(value, to, place * f.lanes)

            with f.loop(f.load(entry, 1, I64)) as place:
                to, add = here + f.load(entry, place * 2 + 2, I64) * row, f.load(entry, place * 2 + 3, I64)
                f.cases(add.equals(0), partial(write, to, False), partial(write, to, True))
    return f.finish()
