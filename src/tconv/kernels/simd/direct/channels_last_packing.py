"""Packing of channels-last inputs: blocks of positions x channels are transposed on their way into the panel.

Where a block is partly outside of a row, its positions are replaced by the nearest inside, and the lanes are cleared.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.pair_ir import load_halves, load_pairs
from tconv.kernels.simd.transpose import columns, load_stored_piece, piece_length, split
from tconv.kernels.simd.vector_ir import I64, Function, Value

_LEAST_OF_PAIRS = 8
"""Least number of channels of which pairs fill a piece."""


def kind_of(x_fast: int, channels: int, elements: Elements) -> str:
    """Return the kind of the function that packs this many channels; an empty text if there is none.

    `x_fast` is the distance between positions. Few channels have to lie without gaps.
    """
    if elements.dot:
        return "channels_last" if channels >= _LEAST_OF_PAIRS else ""
    if channels >= 16 // elements.summed_size:
        return "channels_last"
    return f"{channels}_channels_last" if x_fast == channels else ""


def write(name: str, kind: str, channels: int, elements: Elements) -> str:
    """Write the function `(frame, local)` of this kind."""
    f = Function(name, 2, elements)
    base, local = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    slots, pitch, width = frame.slots, frame.slot_pitch, frame.pack_width
    packer = (_Block if kind == "channels_last" else _FewChannels)(f, frame, channels)
    panel, filled = local + frame.panel_place, mine.line_count + frame.extra
    shift = mine.group * frame.group_in * f.stored_size
    with f.loop(frame.blocks) as block, f.loop(frame.copies) as copy:
        start = mine.first - f.load(frame.copy_table, copy, I64)
        to_block = panel + (block * frame.copies + copy) * slots * pitch * f.size
        with f.loop(filled) as slot:
            row = f.load(local, block * slots + slot + HEAD, I64)
            to_row = to_block + slot * pitch * f.size
            with f.loop(0, width, f.lanes) as place:
                at, to = start + place, to_row + place * f.size
                f.cases(row.equals(0), lambda: packer.clear(to), lambda: packer.copy(row + shift, at, to))
    return f.finish()


class _Block:
    """Packer of a vector of positions: pieces of their channels are transposed."""

    def __init__(self, f: Function, frame: Fields, channels: int) -> None:
        self.f, self.channels, self.pitch = f, frame.group_in, frame.channel_pitch
        self.step, self.length = frame.x_fast, frame.x_length
        together = 2 if f.elements.dot else 1  # channels of an entry of the panel
        self.entry_size, self.whole = together * f.stored_size, self.channels // together
        self.entries = (self.channels + (together - 1)) // together

    def clear(self, to: Value) -> None:
        """Write zeros for all channels."""
        with self.f.loop(self.entries) as entry:
            self.f.store(self.f.zero(), to, entry * self.pitch)

    def copy(self, row: Value, at: Value, to: Value) -> None:
        """Copy the positions from `at` on."""
        f, step, last = self.f, self.step, self.length - 1
        inside = f.both(at >= 0, at + f.lanes <= self.length)

        def edge() -> None:
            places = [f.least(f.most(at + lane, 0), last) * step for lane in range(f.lanes)]
            self._copy(row, places, to, f.mask(0 - at, self.length - at))

        f.cases(
            inside, lambda: self._copy(row + at * step * f.stored_size, [step * n for n in range(f.lanes)], to), edge
        )

    def _copy(self, source: Value, places: list[Value], to: Value, mask: Value | None = None) -> None:
        f, length = self.f, piece_length(self.f)

        def store(vector: Value, entry: Value) -> None:
            f.store(vector if mask is None else f.select(mask, vector, f.zero()), to, entry * self.pitch)

        load = load_pairs if f.elements.dot else load_stored_piece
        with f.loop(0, self.whole, length, at_least_once=True) as some:
            entry = f.least(some, self.whole - length)  # the last piece may overlap the one before
            here = source + entry * self.entry_size
            for number, vector in enumerate(columns(f, lambda lane: load(f, here, places[lane]))):
                store(vector, entry + number)
        if f.elements.dot:
            with f.when(self.whole < self.entries):
                last = source + self.whole * self.entry_size
                store(load_halves(f, last, places), self.whole)


class _FewChannels:
    """Packer of a vector of positions whose channels, fewer than a piece, lie without gaps."""

    def __init__(self, f: Function, frame: Fields, channels: int) -> None:
        self.f, self.channels, self.pitch, self.length = f, channels, frame.channel_pitch, frame.x_length

    def clear(self, to: Value) -> None:
        """Write zeros for all channels."""
        for channel in range(self.channels):
            self.f.store(self.f.zero(), to, self.pitch * channel)

    def copy(self, row: Value, at: Value, to: Value) -> None:
        """Copy the positions from `at` on."""
        f, first, end = self.f, at * self.channels, self.length * self.channels
        vectors = []
        for number in range(self.channels):
            start = first + number * f.lanes
            vectors.append(f.load_stored(row, start, f.mask(0 - start, end - start)))
        for number, vector in enumerate(split(f, vectors)):
            f.store(vector, to, self.pitch * number)
