"""Packing of a tile's inputs as planes (`algebra.py`): `[block][plane][channel][position]`, zero outside of x.

First each row of x that the tile needs is split into its even and odd elements (streams, for a few channels at a time).
The elements of a plane are then at one distance from their positions, and are loaded as vectors with a mask: positions
continue from row to row, so the position after the last one of a row belongs to the next row.

The elements of each position are squared and added on the way. An element that is infinite, NaN or so large that a
difference or a product might overflow where the direct sum does not, is detected, and the call is then computed by the
direct form. The sums are of one position and channel, so the detection does not depend on the tiling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.transpose import columns, load_stored_piece, piece_length
from tconv.kernels.simd.vector_ir import I64, Function, Value, Var
from tconv.kernels.simd.winograd_f22.algebra import FilteredAxis, FilteredGeometry, Plane

CHANNELS = 8
"""Input channels whose streams are in memory at a time."""


def mask_distances(geometry: FilteredGeometry) -> list[tuple[int, int]]:
    """Return the distances, in lines and in positions, at which elements are read: each has a mask."""
    slow, fast = geometry.slow, geometry.fast
    return sorted({(a // slow.step, b // fast.step) for a in slow.places for b in fast.places})


def address(
    geometry: FilteredGeometry, x_fast: int, x_channel: int, x_length: int, channels: int, elements: Elements
) -> int:
    """Return the address of the function `(frame, local)`, for rows of x of this length and these strides."""
    if x_fast == 1:
        kind = "short" if x_length <= elements.lanes else "long"  # short: no vector is full
    else:
        kind = "channels_last" if x_channel == 1 and channels * elements.summed_size >= 16 else "strided"
    name = f"planes_{axis_name(geometry.slow)}_{axis_name(geometry.fast)}_{kind}{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _Packer(name, geometry, kind, elements).build())


@lru_cache(maxsize=64)
def axis_name(axis: FilteredAxis) -> str:
    """Return an axis as a part of a function's name: its step and planes."""
    planes = (f"{'xd'[plane.difference]}{plane.place}".replace("-", "m") for plane in axis.planes)
    return f"{axis.step}{''.join(planes)}"


class _Packer:
    """Builder of a packing function."""

    def __init__(self, name: str, geometry: FilteredGeometry, kind: str, elements: Elements) -> None:
        self.f = Function(name, 2, elements)
        base, self.local = self.f.arguments
        self.frame, self.mine = Fields(self.f, base, FRAME), Fields(self.f, self.local, LOCAL)
        self.slow, self.fast, self.kind = geometry.slow, geometry.fast, kind
        self.distances = mask_distances(geometry)
        self.whole = self.frame.whole.equals(1)
        (self.up, self.down), (self.left, self.right) = geometry.slow.reach, geometry.fast.reach

    def build(self) -> str:
        """Return the LLVM text: first tables of the tile, then a loop over channels."""
        f, frame = self.f, self.frame
        self._find_rows()
        self._write_masks()
        not_finite = f.var(f.zero())
        channels = frame.group_in
        with f.loop(0, channels, CHANNELS) as first:
            count = f.least(channels, CHANNELS) if self.kind == "channels_last" else f.least(channels - first, CHANNELS)
            begin = f.least(first, channels - count)  # of channels last, the last group may overlap the one before
            if self.kind == "channels_last":
                self._for_each_row(partial(self._transpose_row, begin, count))
            else:
                with f.loop(count) as number:
                    shift = (begin + number) * frame.x_channel * f.stored_size
                    self._for_each_row(partial(self._split_row, shift, self._streams_of(number)))
            with f.loop(count) as number:
                self._write_planes(begin + number, self._streams_of(number), not_finite)
        with f.when(f.any(not_finite.value.differs(0.0))):
            frame.put("not_finite", 1)
        return f.finish()

    def _streams_of(self, number: Value) -> Value:
        """Return the address of the streams of a channel."""
        frame = self.frame
        return self.local + frame.stream_place + number * frame.stream_channel * self.f.size

    def _find_rows(self) -> None:
        """Store the address of each row of x, for channel 0; 0 for a row of zeros."""
        f, frame, mine = self.f, self.frame, self.mine
        rows, run = frame.image_rows, frame.run
        start = mine.image * rows + mine.row + self.up
        with f.loop(frame.blocks * self.slow.step) as block, f.loop(mine.line_count + (self.down - self.up)) as slot:
            line = start + slot
            inside = f.both(line >= 0, line < run)
            clipped = f.select(inside, line, 0)
            offset = f.load(frame.table, block * rows + clipped % rows, I64)
            place = frame.x + (clipped // rows * frame.x_batch + offset) * f.stored_size
            exists = f.both(inside, offset > NO_ROW)
            f.store(f.select(exists, place, 0), self.local, block * frame.slots + slot + HEAD, I64)

    def _write_masks(self) -> None:
        """Store a mask for each distance: -1 at positions that have a neighbour at it in the same image, else 0.

        A position without an output has none: tiles of whole rows have such positions, tiles of pieces do not.
        """
        f, frame, mine = self.f, self.frame, self.mine
        masks, length = self.local + frame.mask_place, frame.sum_row
        with f.loop(0, length * len(self.distances), f.lanes) as place:
            f.store(f.zero(), masks, place)
        yes, no = f.value(-1, f.integer), f.value(0, f.integer)
        lines, positions = frame.last_rows, frame.positions
        output_positions, width = frame.output_positions, mine.width
        with f.loop(mine.line_count) as line, f.loop(width) as place:
            row, column = (mine.row + line) % lines, mine.first + place
            for number, (down, right) in enumerate(self.distances):
                rows = f.both(row + down >= 0, row + down < lines)
                columns = f.both(column + right >= 0, column + right < positions)
                inside = f.both(rows, f.both(columns, column < output_positions))
                f.store(f.select(inside, yes, no), masks, number * length + line * width + place)

    def _for_each_row(self, copy: Callable[[Value, Value, Value, Value], None]) -> None:
        """Call `copy` with each row: its address, the place in each stream, its first element and its length."""
        f, frame, mine = self.f, self.frame, self.mine
        size, pitch, slots = frame.stream_size, frame.slot_pitch, frame.slots
        from_place = f.select(self.whole, 0, self.left)
        start = frame.x_first + (from_place + f.select(self.whole, 0, mine.first)) * self.fast.step
        length = f.select(self.whole, mine.width, mine.width + (self.right - self.left))
        with f.loop(frame.blocks * self.slow.step) as block, f.loop(mine.line_count + (self.down - self.up)) as slot:
            source = f.load(self.local, block * slots + slot + HEAD, I64)
            place = block * self.fast.step * size + slot * pitch + from_place - self.left
            copy(source, place * f.size, start, length)

    def _streams(self, streams: Value, place: Value) -> list[Value]:
        """Return the address of a row in the streams of a channel: one for each element of a group of positions."""
        return [streams + place + number * self.frame.stream_size * self.f.size for number in range(self.fast.step)]

    def _clear(self, to: list[Value], length: Value) -> None:
        """Write zeros into all parts."""
        f = self.f
        with f.loop(0, length, f.lanes) as place:
            for part in to:
                f.store(f.zero(), part, place)

    def _split_row(
        self, shift: Value, streams: Value, source: Value, place_of: Value, start: Value, length: Value
    ) -> None:
        """Split a row of a channel. Whole vectors are written; the next row overwrites what is beyond its end."""
        f, to = self.f, self._streams(streams, place_of)
        copy = self._split_strided if self.kind == "strided" else self._split_contiguous
        f.cases(source.equals(0), lambda: self._clear(to, length), lambda: copy(source + shift, to, start, length))

    def _split_strided(self, source: Value, to: list[Value], start: Value, length: Value) -> None:
        """Split a row element by element."""
        f, step, x_length, x_fast = self.f, self.fast.step, self.frame.x_length, self.frame.x_fast
        with f.loop(length) as place:
            for number, part in enumerate(to):
                index = start + place * step + number
                inside = f.both(index >= 0, index < x_length)
                value = f.load_stored_number(source, f.select(inside, index, 0) * x_fast)
                f.store(f.select(inside, value, f.value(0.0, value.ir.type)), part, place)

    def _split_contiguous(self, source: Value, to: list[Value], start: Value, length: Value) -> None:
        """Split a row whose elements are neighbours."""
        f, step, x_length = self.f, self.fast.step, self.frame.x_length

        def store_parts(vectors: list[Value], place: Value | int) -> None:
            if step == 2:
                a, b = vectors
                vectors = [f.shuffle(a, b, range(number, 2 * f.lanes, 2)) for number in (0, 1)]
            for part, vector in zip(to, vectors, strict=True):
                f.store(vector, part, place)

        with f.loop(0, length, f.lanes) as place:
            at = [start + place * step + number * f.lanes for number in range(step)]

            def whole() -> None:
                store_parts([f.load_stored(source, one) for one in at], place)

            def masked() -> None:
                store_parts([f.load_stored(source, one, f.mask(0 - one, x_length - one)) for one in at], place)

            if self.kind == "short":
                masked()
            else:
                f.cases(f.both(at[0] >= 0, at[-1] + f.lanes <= x_length), whole, masked)

    def _transpose_row(
        self, channel: Value, count: Value, source: Value, place_of: Value, start: Value, length: Value
    ) -> None:
        """Split a row of channels last, for `count` channels from one on."""
        f, step = self.f, self.fast.step
        first = source + channel * f.stored_size

        def clear() -> None:
            with f.loop(count) as number:
                self._clear(self._streams(self._streams_of(number), place_of), length)

        def copy() -> None:
            with f.loop(0, length, f.lanes) as place:
                for number in range(step):
                    self._transpose_positions(first, count, number, place_of + place * f.size, start + place * step)

        f.cases(source.equals(0), clear, copy)

    def _transpose_positions(self, source: Value, count: Value, number: int, place_of: Value, at: Value) -> None:
        """Split off an element of each group of a vector of positions, the first of which begins at element `at`."""
        f, step, x_fast, x_length = self.f, self.fast.step, self.frame.x_fast, self.frame.x_length
        first = at + number
        inside = f.both(first >= 0, first + (f.lanes - 1) * step < x_length)

        def whole() -> None:
            places = [x_fast * (lane * step) for lane in range(f.lanes)]
            self._transpose(source + first * x_fast * f.stored_size, count, number, place_of, places, None)

        def edge() -> None:
            """Read the nearest positions inside of the row instead of those outside, and clear their lanes."""
            begin, end = (f.most(limit + (step - 1), 0) // step for limit in (0 - first, x_length - first))
            places = [f.least(f.most(first + lane * step, 0), x_length - 1) * x_fast for lane in range(f.lanes)]
            self._transpose(source, count, number, place_of, places, f.mask(begin, end))

        f.cases(inside, whole, edge)

    def _transpose(
        self, source: Value, count: Value, number: int, place_of: Value, places: list[Value], mask: Value | None
    ) -> None:
        """Store the channels of positions, whose distances from the source are `places`, in their streams."""
        f, piece = self.f, piece_length(self.f)
        with f.loop(0, count, piece, at_least_once=True) as some:
            channel = f.least(some, count - piece)  # the last piece may overlap the one before
            here = source + channel * f.stored_size
            for more, vector in enumerate(columns(f, lambda lane: load_stored_piece(f, here, places[lane]))):
                to = self._streams(self._streams_of(channel + more), place_of)[number]
                f.store(vector if mask is None else f.select(mask, vector, f.zero()), to)

    def _write_planes(self, channel: Value, streams: Value, not_finite: Var) -> None:
        """Write the planes of a channel into the panel: vectors of elements, and their differences along both axes."""
        f, frame, mine = self.f, self.frame, self.mine
        size, pitch, length = frame.stream_size, frame.slot_pitch, frame.sum_row
        lanes = f.select(self.whole, mine.line_count, 1) * mine.width
        masks = self.local + frame.mask_place
        slow_planes, fast_planes = self.slow.planes, self.fast.planes
        plane_size = frame.plane_size
        with f.loop(frame.blocks) as block, f.loop(0, lanes, f.lanes) as lane:
            lane_masks = [f.load(masks, number * length + lane, f.bits) for number in range(len(self.distances))]
            x: dict[tuple[int, int], Value] = {}
            squares = f.zero()
            for a in self.slow.places:
                down, row = divmod(a, self.slow.step)
                for b in self.fast.places:
                    right, column = divmod(b, self.fast.step)
                    stream = (block * self.slow.step + row) * self.fast.step + column
                    place = stream * size + lane + (down - self.up) * pitch + (right - self.left)
                    x[a, b] = f.zero_unless(
                        f.load(streams, place, f.vector), lane_masks[self.distances.index((down, right))]
                    )
                    squares = f.fma(x[a, b], x[a, b], squares)
            not_finite.set(f.fma(squares, f.zero(), not_finite.value))  # 0 x inf is NaN
            for number, plane in enumerate(slow_planes):
                column_of = {b: {a: x[a, b] for a in self.slow.places} for b in self.fast.places}
                row_of = {b: plane_value(plane, column.__getitem__) for b, column in column_of.items()}
                for other, fast in enumerate(fast_planes):
                    at = (block * len(slow_planes) + number) * len(fast_planes) + other
                    to = self.local + frame.panel_place + at * plane_size * f.size
                    f.store(plane_value(fast, row_of.__getitem__), to, channel * length + lane)


def plane_value(plane: Plane, element: Callable[[int], Value]) -> Value:
    """Return a plane's vector, from the function that returns the elements at a place."""
    here = element(plane.place)
    return here - element(plane.place + 1) if plane.difference else here
