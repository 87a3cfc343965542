"""A tile's inputs as planes (`pairs.py`): `[block][plane][channel][position]`, zeros where there is no input.

First each row of x that the tile needs is taken apart into its even and odd elements (streams, for a few channels at
a time). A plane's elements then lie at one distance from the positions they belong to, and are loaded as vectors, each
through a mask: positions run on from row to row, and the neighbour of a row's last one is no neighbour.

What a position reads is squared and summed on the way: an element that is infinite, NaN or so large that a difference
or a product might overflow where the plain sum does not, is noticed, and the call is then made without pairs. Sums are
those of one position and channel: whether a number is noticed depends on no tiling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, NOWHERE, Fields
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I32, I64, Function, Value, Var
from tconv.kernels.simd.winograd_f22.filtering import Axis, Pairs, Plane

CHANNELS = 8
"""Input channels whose streams are held at a time."""


def shifts(done: Pairs) -> list[tuple[int, int]]:
    """Distances, in lines and in positions, at which elements are taken: each has a mask."""
    return sorted({(a // done.slow.step, b // done.fast.step) for a in done.slow.places for b in done.fast.places})


def address(done: Pairs, x_fast: int, x_length: int) -> int:
    """The function `(frame, local)`, for rows of x of this length."""
    short = x_fast == 1 and x_length <= target().lanes  # no vector is whole
    kind = "strided" if x_fast != 1 else "short" if short else "long"
    name = f"planes_{_word(done.slow)}_{_word(done.fast)}_{kind}"
    return OBJECT_CACHE.address(name, lambda: _Pack(name, done, kind).written())


@lru_cache(maxsize=64)
def _word(axis: Axis) -> str:
    """An axis in a name: its step and planes."""
    planes = (f"{'xd'[plane.difference]}{plane.place}".replace("-", "m") for plane in axis.planes)
    return f"{axis.step}{''.join(planes)}"


class _Pack:
    """Builds one packer."""

    def __init__(self, name: str, done: Pairs, kind: str) -> None:
        self.f = Function(name, 2, target().lanes)
        base, self.local = self.f.arguments
        self.frame, self.mine = Fields(self.f, base, FRAME), Fields(self.f, self.local, LOCAL)
        self.slow, self.fast, self.kind = done.slow, done.fast, kind
        self.shifts = shifts(done)
        self.whole = self.frame.whole.equals(1)
        (self.up, self.down), (self.left, self.right) = done.slow.reach, done.fast.reach

    def written(self) -> str:
        """Tables of the tile, then channels."""
        f, frame = self.f, self.frame
        self._find_rows()
        self._find_masks()
        spoiled = f.var(f.zero())
        channels = frame.group_in
        with f.loop(0, channels, CHANNELS) as first:
            count = f.least(channels - first, CHANNELS)
            with f.loop(count) as number:
                self._streams(first + number, self._of_channel(number))
            with f.loop(count) as number:
                self._planes(first + number, self._of_channel(number), spoiled)
        with f.when(f.any(spoiled.value.differs(0.0))):
            frame.put("spoiled", 1)
        return f.finish()

    def _of_channel(self, number: Value) -> Value:
        frame = self.frame
        return self.local + frame.stream_place + number * frame.stream_channel * 4

    def _find_rows(self) -> None:
        """Where each row of x begins, for channel 0; 0 for a row of zeros."""
        f, frame, mine = self.f, self.frame, self.mine
        rows, run = frame.image_rows, frame.run
        start = mine.image * rows + mine.row + self.up
        with f.loop(frame.blocks * self.slow.step) as block, f.loop(mine.line_count + (self.down - self.up)) as slot:
            line = start + slot
            inside = f.both(line >= 0, line < run)
            known = f.select(inside, line, 0)
            offset = f.load(frame.table, block * rows + known % rows, I64)
            place = frame.x + (known // rows * frame.x_batch + offset) * 4
            there = f.both(inside, offset > NOWHERE)
            f.store(f.select(there, place, 0), self.local, block * frame.slots + slot + HEAD, I64)

    def _find_masks(self) -> None:
        """For each shift, -1 at positions whose neighbour at that distance is one, in lines of the same image.

        A position without an output reads nothing: tiles of whole rows have some, tiles of pieces do not.
        """
        f, frame, mine = self.f, self.frame, self.mine
        masks, length = self.local + frame.mask_place, frame.sum_row
        with f.loop(0, length * len(self.shifts), f.lanes) as place:
            f.store(f.zero(), masks, place)
        yes, no = f.value(-1, I32), f.value(0, I32)
        lines, positions, made, width = frame.last_rows, frame.positions, frame.made, mine.width
        with f.loop(mine.line_count) as line, f.loop(width) as place:
            row, column = (mine.row + line) % lines, mine.first + place
            for number, (down, right) in enumerate(self.shifts):
                rows = f.both(row + down >= 0, row + down < lines)
                columns = f.both(column + right >= 0, column + right < positions)
                inside = f.both(rows, f.both(columns, column < made))
                f.store(f.select(inside, yes, no), masks, number * length + line * width + place)

    def _streams(self, channel: Value, streams: Value) -> None:
        """The rows of a channel, taken apart."""
        f, frame, mine = self.f, self.frame, self.mine
        shift, size, pitch, slots = channel * frame.x_channel * 4, frame.stream_size, frame.slot_pitch, frame.slots
        from_place = f.select(self.whole, 0, self.left)
        start = frame.x_first + (from_place + f.select(self.whole, 0, mine.first)) * self.fast.step
        length = f.select(self.whole, mine.width, mine.width + (self.right - self.left))
        with f.loop(frame.blocks * self.slow.step) as block, f.loop(mine.line_count + (self.down - self.up)) as slot:
            source = f.load(self.local, block * slots + slot + HEAD, I64)
            to = streams + (block * self.fast.step * size + slot * pitch + from_place - self.left) * 4
            parts = [to + number * size * 4 for number in range(self.fast.step)]
            f.cases(
                source.equals(0),
                lambda: self._clear(parts, length),
                lambda: self._row(source + shift, parts, start, length),
            )

    def _clear(self, to: list[Value], length: Value) -> None:
        f = self.f
        with f.loop(0, length, f.lanes) as place:
            for part in to:
                f.store(f.zero(), part, place)

    def _row(self, source: Value, to: list[Value], start: Value, length: Value) -> None:
        """A row into its parts. Whole vectors are written: what lies beyond is written anew by the next row."""
        f, step, there = self.f, self.fast.step, self.frame.x_length
        if self.kind == "strided":
            x_fast = self.frame.x_fast
            with f.loop(length) as place:
                for number, part in enumerate(to):
                    index = start + place * step + number
                    inside = f.both(index >= 0, index < there)
                    value = f.load(source, f.select(inside, index, 0) * x_fast)
                    f.store(f.select(inside, value, f.value(0.0, value.ir.type)), part, place)
            return

        def apart(vectors: list[Value], place: Value | int) -> None:
            if step == 2:
                a, b = vectors
                vectors = [f.shuffle(a, b, range(number, 2 * f.lanes, 2)) for number in (0, 1)]
            for part, vector in zip(to, vectors, strict=True):
                f.store(vector, part, place)

        with f.loop(0, length, f.lanes) as place:
            at = [start + place * step + number * f.lanes for number in range(step)]

            def whole() -> None:
                apart([f.load(source, one, f.vector) for one in at], place)

            def cut() -> None:
                apart([f.masked_load(source, one, f.mask(0 - one, there - one)) for one in at], place)

            if self.kind == "short":
                cut()
            else:
                f.cases(f.both(at[0] >= 0, at[-1] + f.lanes <= there), whole, cut)

    def _planes(self, channel: Value, streams: Value, spoiled: Var) -> None:
        """Vectors of elements at each place, their differences along both axes, into the panel."""
        f, frame, mine = self.f, self.frame, self.mine
        size, pitch, length = frame.stream_size, frame.slot_pitch, frame.sum_row
        lanes = f.select(self.whole, mine.line_count, 1) * mine.width
        masks = self.local + frame.mask_place
        slow_planes, fast_planes = self.slow.planes, self.fast.planes
        plane_size = frame.plane_size
        with f.loop(frame.blocks) as block, f.loop(0, lanes, f.lanes) as lane:
            kept = [f.load(masks, number * length + lane, f.bits) for number in range(len(self.shifts))]
            x: dict[tuple[int, int], Value] = {}
            squares = f.zero()
            for a in self.slow.places:
                down, row = divmod(a, self.slow.step)
                for b in self.fast.places:
                    right, column = divmod(b, self.fast.step)
                    stream = (block * self.slow.step + row) * self.fast.step + column
                    place = stream * size + lane + (down - self.up) * pitch + (right - self.left)
                    x[a, b] = f.only(f.load(streams, place, f.vector), kept[self.shifts.index((down, right))])
                    squares = f.fma(x[a, b], x[a, b], squares)
            spoiled.set(f.fma(squares, f.zero(), spoiled.value))  # 0 x inf is NaN, and stays there
            for number, plane in enumerate(slow_planes):
                column_of = {b: {a: x[a, b] for a in self.slow.places} for b in self.fast.places}
                row_of = {b: _taken(plane, column.__getitem__) for b, column in column_of.items()}
                for other, fast in enumerate(fast_planes):
                    at = (block * len(slow_planes) + number) * len(fast_planes) + other
                    to = self.local + frame.panel_place + at * plane_size * 4
                    f.store(_taken(fast, row_of.__getitem__), to, channel * length + lane)


def _taken(plane: Plane, element: Callable[[int], Value]) -> Value:
    """What a plane holds, of elements by their place."""
    here = element(plane.place)
    return here - element(plane.place + 1) if plane.difference else here
