"""Packing of a tile's inputs into its panel, with zeros where there is no input, before its multiply-adds.

Nothing outside of x is ever read.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, Fields
from tconv.kernels.simd.direct import channels_last_packing
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.pair_ir import PairReader, Reader
from tconv.kernels.simd.vector_ir import I64, Function, Value

SHORT = 4
"""Largest number of vectors of a line that is copied without loops."""


def address(x_fast: int, x_channel: int, channels: int, width: int, elements: Elements) -> int:
    """Return the address of the function `(frame, local)` for an x with these strides of fastest axis and channels.

    `channels` are those of a group, and `width` is the number of positions of a line in the panel.
    """
    if x_fast != 1:
        kind = channels_last_packing.kind_of(x_fast, channels, elements) if x_channel == 1 else ""
        name = f"pack_{kind or 'strided'}{elements.suffix}"
        if kind:
            return OBJECT_CACHE.address(name, lambda: channels_last_packing.write(name, kind, channels, elements))
        return OBJECT_CACHE.address(name, lambda: _write(name, elements, True))
    vectors = -(-width // elements.lanes)
    short = vectors if vectors <= SHORT else None
    name = f"pack_{short}{elements.suffix}" if short else f"pack{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements, False, short))


def _write(name: str, elements: Elements, strided: bool, vectors: int | None = None) -> str:
    """Write the function that packs channel after channel, so that it reads neighbouring rows of x in order."""
    f = Function(name, 2, elements)
    base, local = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    panel = local + frame.panel_place
    first, channels = mine.first, frame.group_in
    slots, pitch, width, length = frame.slots, frame.slot_pitch, frame.pack_width, frame.x_length
    filled = mine.line_count + frame.extra
    together = 2 if elements.dot else 1  # channels of an entry of the panel
    with f.loop((channels + (together - 1)) // together) as entry:
        channel = entry * together
        shift = (mine.group * channels + channel) * frame.x_channel * f.stored_size
        reader: Reader = f
        if elements.dot:
            reader = PairReader(f, frame.x_channel * f.stored_size, channel + 1 < channels)
        to_entry = panel + entry * frame.channel_pitch * f.size
        with f.loop(frame.blocks) as block, f.loop(frame.copies) as copy:
            start = first - f.load(frame.copy_table, copy, I64)
            step = frame.x_fast if strided else None
            lines = _ShortLine(f, reader, start, length, vectors) if vectors else None
            line = lines or _Line(f, reader, start, width, length, step)
            to_block = to_entry + (block * frame.copies + copy) * slots * pitch * f.size
            with f.loop(filled) as slot:
                source = f.load(local, block * slots + slot + HEAD, I64)
                to = to_block + slot * pitch * f.size
                f.cases(source.equals(0), lambda: line.clear(to), lambda: line.copy(source + shift, to))
    return f.finish()


class _Line:
    """Copier of the lines of a block: to[place] = source[start + place] if that is in [0, length), else 0.

    Whole vectors are written; the next line overwrites the elements beyond `width`.
    """

    def __init__(
        self, f: Function, reader: Reader, start: Value, width: Value, length: Value, step: Value | None
    ) -> None:
        self.f, self.reader, self.start, self.width, self.step = f, reader, start, width, step
        lanes = f.lanes
        first = f.most(0 - start, 0)  # may be beyond the width of a line
        lead = f.least(first, width)
        # vectors in [inner, outer) are inside of the row; the one before and the one after are partly outside
        self.inner = (lead + (lanes - 1)) // lanes * lanes
        self.outer = f.most(f.least(width, length - start) - self.inner, 0) // lanes * lanes + self.inner
        before = self.inner - lanes
        self.left = first - before, length - start - before
        self.right = f.value(0), length - start - self.outer
        self.masks = f.mask(*self.left), f.mask(*self.right)

    def clear(self, to: Value) -> None:
        """Write a line of zeros."""
        with self.f.loop(0, self.width, self.f.lanes) as place:
            self.f.store(self.f.zero(), to, place)

    def copy(self, source: Value, to: Value) -> None:
        """Copy a line of the row that begins at source."""
        f, lanes = self.f, self.f.lanes
        with f.when(self.inner > 0):
            with f.loop(0, self.inner - lanes, lanes) as place:
                f.store(f.zero(), to, place)
            self._copy_partial(source, to, self.inner - lanes, self.left, self.masks[0])
        with f.loop(self.inner, self.outer, lanes) as place:
            if self.step is None:
                f.store(self.reader.load_stored(source, self.start + place), to, place)
            else:
                for lane in range(lanes):
                    self._copy_number(source, self.start + place + lane, to, place + lane)
        with f.when(self.outer < self.width):
            self._copy_partial(source, to, self.outer, self.right, self.masks[1])
            with f.loop(self.outer + lanes, self.width, lanes) as place:
                f.store(f.zero(), to, place)

    def _copy_partial(self, source: Value, to: Value, place: Value, limits: tuple[Value, Value], mask: Value) -> None:
        """Copy a vector of which only the lanes in limits are inside of the row."""
        f, first = self.f, self.start + place
        if self.step is None:
            f.store(self.reader.load_stored(source, first, mask), to, place)
            return
        f.store(f.zero(), to, place)
        with f.loop(f.most(limits[0], 0), f.least(limits[1], f.lanes)) as lane:
            self._copy_number(source, first + lane, to, place + lane)

    def _copy_number(self, source: Value, position: Value, to: Value, place: Value) -> None:
        assert self.step is not None
        self.f.store(self.reader.load_stored_number(source, position * self.step), to, place)


class _ShortLine:
    """Copier of contiguous lines of this many vectors, without loops: each vector is loaded with a mask."""

    def __init__(self, f: Function, reader: Reader, start: Value, length: Value, vectors: int) -> None:
        self.f, self.reader, self.start = f, reader, start
        starts = [start + v * f.lanes for v in range(vectors)]
        self.masks = [f.mask(0 - place, length - place) for place in starts]

    def clear(self, to: Value) -> None:
        """Write a line of zeros."""
        for v in range(len(self.masks)):
            self.f.store(self.f.zero(), to, v * self.f.lanes)

    def copy(self, source: Value, to: Value) -> None:
        """Copy a line of the row that begins at source."""
        for v, mask in enumerate(self.masks):
            place = v * self.f.lanes
            self.f.store(self.reader.load_stored(source, self.start + place, mask), to, place)
