"""Packing of a tile's inputs as planes (`winograd_f22/algebra.py`): `[block][plane][position][channel]`.

The elements of each position are squared and added on the way, to detect those that only the direct form can compute
with, as `winograd_f22/input_packing.py` says. Elements outside of x are read from a row of zeros.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value, Var
from tconv.kernels.simd.winograd_f22.algebra import FilteredGeometry
from tconv.kernels.simd.winograd_f22.input_packing import axis_name, plane_value


def address(geometry: FilteredGeometry, elements: Elements) -> int:
    """Return the address of the function `(frame, local)`, for x with channels last."""
    name = f"planes_{axis_name(geometry.slow)}_{axis_name(geometry.fast)}_channels{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _Packer(name, geometry, elements).build())


class _Packer:
    """Builder of a packing function."""

    def __init__(self, name: str, geometry: FilteredGeometry, elements: Elements) -> None:
        self.f = f = Function(name, 2, elements)
        base, self.local = f.arguments
        self.frame, self.mine = Fields(f, base, FRAME), Fields(f, self.local, LOCAL)
        self.slow, self.fast = geometry.slow, geometry.fast
        self.zeros = self.local + self.frame.zeros_place

    def build(self) -> str:
        """Return the LLVM text."""
        f, frame, mine = self.f, self.frame, self.mine
        with f.loop(0, frame.group_in, f.lanes) as channel:  # of x: not wider than numbers of the panel
            f.store(f.zero(), self.zeros, channel)
        not_finite = f.var(f.zero())
        lines, places = frame.image_rows, len(self.slow.places)
        with f.loop(frame.blocks) as block, f.loop(mine.line_count) as line:
            row = mine.row + line
            image = mine.image + row // lines
            offsets = [
                f.load(frame.table, (block * places + number) * lines + row % lines, I64) for number in range(places)
            ]
            x = frame.x + image * frame.x_batch * f.stored_size
            rows = [f.select(offset > NO_ROW, x + offset * f.stored_size, 0) for offset in offsets]
            to = self.local + frame.panel_place
            to = to + (block * (len(self.slow.planes) * len(self.fast.planes)) * frame.plane_size) * f.size
            with f.loop(mine.width) as number:
                first = frame.x_first + (mine.first + number) * self.fast.step
                elements = {(a, b): self._element(row, first + b) for a, row in zip(self.slow.places, rows, strict=True)
                            for b in self.fast.places}  # fmt: skip
                self._write_position(elements, to + (line * mine.width + number) * frame.pitch * f.size, not_finite)
        with f.when(f.any(not_finite.value.differs(0.0))):
            frame.put("not_finite", 1)
        return f.finish()

    def _element(self, row: Value, index: Value) -> Value:
        """Return the address of the channels of an element of a row, or that of zeros."""
        f, frame = self.f, self.frame
        inside = f.both(row.differs(0), f.both(index >= 0, index < frame.x_length))
        return f.select(inside, row + index * frame.x_fast * f.stored_size, self.zeros)

    def _write_position(self, elements: dict[tuple[int, int], Value], to: Value, not_finite: Var) -> None:
        """Write the planes of a position: vectors of channels, and their differences along both axes."""
        f, channels = self.f, self.frame.group_in
        whole = channels // f.lanes * f.lanes
        with f.loop(0, whole, f.lanes) as channel:
            self._write_channels(elements, to, channel, None, not_finite)
        with f.when(whole < channels):
            self._write_channels(elements, to, whole, f.mask(0, channels - whole), not_finite)

    def _write_channels(
        self, elements: dict[tuple[int, int], Value], to: Value, channel: Value, mask: Value | None, not_finite: Var
    ) -> None:
        f, slow, fast, plane_size = self.f, self.slow, self.fast, self.frame.plane_size
        x = {at: f.load_stored(place, channel, mask) for at, place in elements.items()}
        squares = f.zero()
        for element in x.values():
            squares = f.fma(element, element, squares)
        not_finite.set(f.fma(squares, f.zero(), not_finite.value))  # 0 x inf is NaN
        for number, plane in enumerate(slow.planes):
            column_of = {b: {a: x[a, b] for a in slow.places} for b in fast.places}
            row_of = {b: plane_value(plane, column.__getitem__) for b, column in column_of.items()}
            for other, across in enumerate(fast.planes):
                at = (number * len(fast.planes) + other) * plane_size
                f.store(plane_value(across, row_of.__getitem__), to, at + channel)
