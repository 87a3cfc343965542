"""Machine code of a block: sums of some channels of a, some of b and some taps of a row, in registers."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from tconv.kernels.simd.call_frame import NO_ROW
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value
from tconv.kernels.simd.weight_gradient.places import ENTRY, FRAME, fields

_MOST_TAPS = 6


class SumBlock(NamedTuple):
    """Channels of a and b, and taps along the last axis with the distance between them."""

    a: int
    b: int
    taps: int
    dilation: int


def pieces(kernel: int) -> list[tuple[int, int]]:
    """Return the first tap and the number of taps of each block along the last axis.

    >>> pieces(3), pieces(9)
    ([(0, 3)], [(0, 5), (5, 4)])
    """
    count = -(-kernel // _MOST_TAPS)
    sizes = [kernel // count + (number < kernel % count) for number in range(count)]
    return [(sum(sizes[:number]), size) for number, size in enumerate(sizes)]


def channels_of(taps: int, most_a: int, most_b: int) -> tuple[int, int]:
    """Return the channels of a and of b in a block that loads least for a multiply-add, and fits into the registers."""
    registers = target().registers - (0 if target().fuses else 1)

    def loads(pair: tuple[int, int]) -> tuple[float, int]:
        a, b = pair
        return (a + b * taps) / (a * b * taps), -a * b

    # the sums, the numbers of b at all taps, and one of a
    fitting = [
        (a, b) for a in range(1, 9) for b in range(1, 9) if a <= most_a and b <= most_b and fits(a, b, taps, registers)
    ]
    return min(fitting, key=loads, default=(1, 1))


def fits(a: int, b: int, taps: int, registers: int) -> bool:
    """Return True if the sums of a block, and the numbers that they are made of, fit into the registers."""
    return a * b * taps + min(a + 1, taps + 1) + min(a, taps) <= registers


def address(block: SumBlock, elements: Elements) -> int:
    """Return the address of the function `(frame, entry, a, b, rows of b, first row, last row, sums)`.

    It adds to the sums, vectors in the order of taps, channels of a and channels of b, the fastest last.
    """
    name = f"weight_gradient_{'x'.join(map(str, block))}{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, block, elements))


def _write(name: str, block: SumBlock, elements: Elements) -> str:
    f = Function(name, 8, elements)
    base, entry_base, a_base, b_base, b_rows, first, last, memory = f.arguments
    frame, entry = fields(f, base, FRAME), fields(f, entry_base, ENTRY)
    order = list(product(range(block.taps), range(block.a), range(block.b)))
    sums = {key: f.var(f.load(memory, at * f.lanes, f.vector)) for at, key in enumerate(order)}
    size = f.stored_size
    a_channel, b_channel = frame.a_channel * size, frame.b_channel * size
    masks, begin, end, vectors, a_rows = entry.masks, entry.fast_begin, entry.fast_end, frame.vectors, frame.a_rows
    with f.loop(first, last) as row:
        b_row = f.load(b_rows, row, I64)
        with f.when(b_row.differs(NO_ROW)):
            a_first = a_base + f.load(a_rows, row, I64) * size
            b_first = b_base + b_row * size
            a_lines = [a_first + a_channel * i for i in range(block.a)]
            b_lines = [b_first + b_channel * j for j in range(block.b)]

            def multiply(place: Value, mask_base: Value | None, a_lines: list[Value], b_lines: list[Value]) -> None:
                def mask(number: int) -> Value | None:
                    return None if mask_base is None else f.mask_of(f.load(mask_base, number, I64))

                a_mask, b_masks = mask(0), [mask(1 + t) for t in range(block.taps)]
                a_numbers = [f.load_stored(line, place, a_mask) for line in a_lines]
                for j, line in enumerate(b_lines):
                    for t in range(block.taps):
                        b_numbers = f.load_stored(line, place + t * block.dilation, b_masks[t])
                        for i, number in enumerate(a_numbers):
                            total, inside = sums[t, i, j], b_masks[t]
                            added = f.fma(number, b_numbers, total.value)
                            # outside of b nothing is added: 0 times inf or NaN is NaN
                            total.set(added if inside is None else f.select(inside, added, total.value))

            with f.loop(vectors, at_least_once=True) as vector:
                place = vector * f.lanes
                f.cases(
                    f.both(vector >= begin, vector < end),
                    lambda: multiply(place, None, a_lines, b_lines),
                    lambda: multiply(place, masks + vector * (8 * (1 + block.taps)), a_lines, b_lines),
                )
    for at, total in enumerate(sums.values()):
        f.store(total.value, memory, at * f.lanes, f.vector)
    return f.finish()
