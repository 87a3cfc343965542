"""Packing of a tile's inputs into its panel, channels last, with zeros where there is no input.

Nothing outside of x is ever read.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.pair_ir import PairReader, Reader, copy_halves
from tconv.kernels.simd.vector_ir import I64, Function, Value


def address(x_fast: int, x_channel: int, as_they_are: bool, elements: Elements) -> int:
    """Return the address of the function `(frame, local, slot pitch)` for an x with these strides.

    `as_they_are` is True if positions have the same distance in x and in the panel. The pitch of slots counts numbers
    of the panel, like all others: with dot products, pairs of channels.
    """
    kinds: dict[str, type[_Rows]] = {"lines": _Lines, "positions": _Positions, "across": _Across, "strided": _Strided}
    kind = ("lines" if as_they_are else "positions") if x_channel == 1 else "across" if x_fast == 1 else "strided"
    name = f"pack_channels_{kind}{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: kinds[kind](name, elements).build())


class _Rows:
    """Builder of a packing function: a method copies the positions of a row that exist, the others are zeros."""

    def __init__(self, name: str, elements: Elements) -> None:
        self.f = f = Function(name, 3, elements)
        base, self.local, self.slot_pitch = f.arguments
        self.frame, self.mine = Fields(f, base, FRAME), Fields(f, self.local, LOCAL)

    def build(self) -> str:
        """Return the LLVM text."""
        f, frame, mine = self.f, self.frame, self.mine
        self.channels, self.pitch, self.step, self.channel_step = (
            frame.group_in, frame.pitch, frame.x_fast, frame.x_channel
        )  # fmt: skip
        together = 2 if f.elements.dot else 1  # channels of an entry of the panel
        self.entries = (self.channels + (together - 1)) // together
        shift = mine.group * self.channels * self.channel_step * f.stored_size
        start = mine.first - frame.x_first
        count = mine.width + frame.halo
        begin = f.least(f.most(0 - start, 0), count)
        end = f.most(f.least(frame.x_length - start, count), begin)
        filled, slots = mine.line_count + frame.extra, frame.slots
        with f.loop(frame.blocks) as block, f.loop(filled) as slot:
            row = f.load(self.local, block * slots + slot + HEAD, I64)
            to = self.local + frame.panel_place + (block * slots + slot) * self.slot_pitch * f.size

            def copy() -> None:
                self._clear(to, f.value(0), begin)
                with f.when(begin < end):
                    source = row + shift + (start + begin) * self.step * f.stored_size
                    self.copy(source, to + begin * self.pitch * f.size, end - begin)
                self._clear(to, end, count)

            f.cases(row.equals(0), lambda: self._clear(to, f.value(0), count), copy)
        return f.finish()

    def _clear(self, to: Value, begin: Value, end: Value) -> None:
        """Write zeros to some positions, as whole vectors: what is beyond them is written later."""
        with self.f.loop(begin * self.pitch, end * self.pitch, self.f.lanes) as place:
            self.f.store(self.f.zero(), to, place)

    def copy(self, source: Value, to: Value, count: Value) -> None:
        """Copy so many positions from there on. What is beyond them in the panel may be overwritten, x not be read."""
        raise NotImplementedError

    def _copy_numbers(self, source: Value, to: Value, count: Value) -> None:
        """Copy neighbouring numbers."""
        f = self.f
        if f.elements.dot:
            copy_halves(f, source, to, count)
            return
        whole = count // f.lanes * f.lanes
        with f.loop(0, whole, f.lanes) as place:
            f.store(f.load_stored(source, place), to, place)
        with f.when(whole < count):
            f.store(f.load_stored(source, whole, f.mask(0, count - whole)), to, whole)

    def _row(self, source: Value, entry: Value) -> tuple[Value, Reader]:
        """Return the address of an entry's first channel at a position, and the reader of its entries."""
        f, size = self.f, self.channel_step * self.f.stored_size
        if not f.elements.dot:
            return source + entry * size, f
        return source + entry * 2 * size, PairReader(f, size, entry * 2 + 1 < self.channels)


class _Lines(_Rows):
    """Copies of channels last, where positions have the same distance in the panel."""

    def copy(self, source: Value, to: Value, count: Value) -> None:
        self._copy_numbers(source, to, (count - 1) * self.step + self.channels)


class _Positions(_Rows):
    """Copies of channels last, position by position."""

    def copy(self, source: Value, to: Value, count: Value) -> None:
        f = self.f
        with f.loop(count) as number:
            self._copy_numbers(
                source + number * self.step * f.stored_size, to + number * self.pitch * f.size, self.channels
            )


class _Across(_Rows):
    """Copies of channels first, which are transposed in blocks of vectors."""

    def copy(self, source: Value, to: Value, count: Value) -> None:
        f = self.f
        with f.loop(0, self.entries, f.lanes) as first, f.loop(0, count, f.lanes) as place:
            rows = [self._row(source, f.least(first + lane, self.entries - 1)) for lane in range(f.lanes)]

            def block(mask: Value | None) -> None:
                vectors = [reader.load_stored(start, place, mask) for start, reader in rows]
                for lane, vector in enumerate(interleave_lanes(f, vectors)):
                    f.store(vector, to, (place + lane) * self.pitch + first)

            mask = f.mask(0, count - place)
            f.cases(place + f.lanes <= count, lambda: block(None), lambda: block(mask))


class _Strided(_Rows):
    """Copies of any other layout, number by number."""

    def copy(self, source: Value, to: Value, count: Value) -> None:
        f = self.f
        with f.loop(self.entries) as entry:
            start, reader = self._row(source, entry)
            with f.loop(count) as place:
                f.store(reader.load_stored_number(start, place * self.step), to, place * self.pitch + entry)
