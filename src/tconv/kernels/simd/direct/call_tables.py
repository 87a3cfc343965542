"""One problem made ready: its tiles, tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tconv.kernels.problem import Array, Layer, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import HEAD, frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, Ready
from tconv.kernels.simd.direct import accumulation_order, pack, tile_loop, tiling
from tconv.kernels.simd.direct.schedule import shape, work
from tconv.kernels.simd.phase_axes import Grid, Lengths, lengths
from tconv.kernels.simd.row_offsets import along, destinations, outer, slow_strides, together

_UNBOUNDED = 1 << 60


class _LayerTables:
    """The tables of a layer, in which a problem fills in what depends on its tiles and strides: offsets and addresses.

    Functions are added when the first tile needs them; all problems of the layer share them.
    """

    def __init__(self, layer: Layer) -> None:
        done = work(layer)
        axes, blocks, stride = done.grid, done.blocks, done.grid.fast.stride
        chunks: list[list[int]] = []
        calls: list[list[int]] = []
        writes: list[list[int]] = []
        steps: list[list[int]] = []
        parts: list[int] = []
        places: list[tuple[int, ...]] = []
        kinds: dict[Any, int] = {}
        self._rows: dict[tuple[int, int], microkernel.Rows] = {}
        place_of = _places(axes)
        started = 0
        for chunk in done.chunks:
            first_call, first_write = len(calls), len(writes)
            largest = max((len(call.phases) for call in chunk.calls), default=1)
            fits = [microkernel.most_vectors(max(1, largest * (blocks.wide - narrow))) for narrow in (0, 1)]
            for call in chunk.calls:
                kind = kinds.setdefault((len(call.phases), call.kinds), len(kinds))
                for narrow, used in enumerate((blocks.wide_count, blocks.narrow_count)):
                    if used:
                        rows = accumulation_order.rows_of(call, blocks.wide - narrow)
                        self._rows[kind * 2 + narrow, fits[narrow]] = rows
                first_step, first_part = len(steps), len(parts)
                order: dict[Any, int] = {}
                for step in (step for part in call.parts for step in part):
                    begin, end = step.channels
                    tap = order.setdefault((step.slow, step.fast), len(order))
                    steps.append([0, end - begin, step.kind, tap, begin])
                    places.append((*place_of(step.slow, step.fast), begin))
                parts += [len(part) for part in call.parts]
                calls.append(
                    [
                        first_step * microkernel.STEP * 8,
                        first_part * 8,
                        len(call.parts),
                        started,
                        call.terms,
                        chunk.phases.index(call.phases[0]),
                        kind,
                        len(order),
                    ]
                )
                started += call.terms * layer.group_out
            by_slow: dict[int, list[int]] = {}
            for place, phase in enumerate(chunk.phases):
                by_slow.setdefault(phase // stride, []).append(place)
            for slow, phases in by_slow.items():
                writes.append([slow, chunk.phases[phases[0]] % stride, len(phases), phases[0]])
            chunks.append([first_call, len(calls), first_write, len(writes), len(chunk.phases), *fits])
        self.chunks, self.parts = np.array(chunks, np.int64), np.array(parts, np.int64)
        # a row more: a call without a step has an address, too
        self._steps, self._places = (
            np.array([*table, [0] * width], np.int64) for table, width in ((steps, microkernel.STEP), (places, 6))
        )
        self._calls = np.array(calls, np.int64).reshape(-1, tile_loop.CALL)
        self._calls[:, 1] += self.parts.ctypes.data
        self._writes = np.array(writes, np.int64)
        self.functions = np.zeros((max(1, 2 * len(kinds)), tile_loop.MOST + 1), np.int64)
        self._made: set[int] = set()
        self._grid = axes

    def steps(self, t: tiling.Tiling) -> Array:
        """All steps, with the places in the panel where their lanes begin."""
        outer, crossed, slot, copy, place, channel = self._places.T
        block = outer * len(self._grid.slow[-1].shifts) + crossed if t.crossing else outer
        row = (block * t.copies + copy if t.whole else block) * t.slots
        made = self._steps.copy()
        made[:, 0] = channel * t.channel_pitch + (row if t.crossing else row + slot) * t.pitch
        if not t.whole:
            made[:, 0] += place
        return made

    def calls(self, steps: int) -> Array:
        """All calls, of steps at this address."""
        made = self._calls.copy()
        made[:, 0] += steps
        return made

    def writes(self, destinations: int, rows: int) -> Array:
        """All writes, to so many rows of each slow phase that are tabled at this address."""
        made = self._writes.copy()
        made[:, 0] = made[:, 0] * (8 * rows) + destinations
        return made

    def add_functions(self, t: tiling.Tiling) -> None:
        """Have the functions that these tiles need."""
        for vectors in t.vectors() - self._made:
            for (row, most), rows in self._rows.items():
                for size in tiling.groups_of(vectors, most):
                    self.functions[row, size] = microkernel.address(rows, size)
            self._made.add(vectors)  # last: another thread may look at it now


@lru_cache(maxsize=64)
def _tables(layer: Layer) -> _LayerTables:
    return _LayerTables(layer)


class Job(Ready):
    """A problem with the strides of its arrays, ready to run on a number of threads."""

    def __init__(
        self,
        p: Problem,
        x_strides: tuple[int, ...],
        out_strides: tuple[int, ...],
        threads: int,
        activated: bool,
    ) -> None:
        done, made, sizes, tables = work(p.layer), shape(p, threads), lengths(p), _tables(p.layer)
        axes, blocks, t = done.grid, done.blocks, made.tiling
        super().__init__(p, made.items, made.threads, made.scratch, threads)
        fast, last = sizes.fast, sizes.slow[-1]
        # the stride of an axis with one element says nothing
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        stream = p.output_bytes >= STREAM_FROM
        table, stretch, outer_rows, starts = _sources(axes, sizes, x_strides, t)
        outs = zip((axis.stride for axis in axes.slow), sizes.slow, strict=True)
        rows = destinations(
            ((stride, length.positions, length.outputs) for stride, length in outs),
            slow_strides(out_strides, len(axes.slow)),
        )
        tables.add_functions(t)
        self.keep(tables.parts)
        self.frame = frame(
            x_batch=x_strides[0],
            x_channel=x_strides[1],
            x_fast=x_fast,
            x_length=fast.inputs,
            out_batch=out_strides[0],
            out_channel=out_strides[1],
            out_fast=out_fast,
            out_length=fast.outputs,
            image_rows=sizes.rows,
            last_rows=last.positions,
            outer_rows=outer_rows,
            stretch=stretch,
            table=self.keep(table),
            stride=axes.fast.stride,
            splits=made.splits,
            segments=t.segments,
            row_tiles=t.row_tiles,
            run=t.run,
            rows=t.rows,
            width=t.width,
            width_total=t.width_total,
            whole=int(t.whole),
            blocks=t.blocks,
            block_table=self.keep(starts),
            copies=t.copies,
            copy_table=self.keep(axes.fast.shifts if t.whole else axes.fast.shifts[-1:]),
            slots=t.slots,
            slot_pitch=t.pitch,
            pack_width=t.pitch,
            extra=t.slots - t.rows,
            wrap=last.positions if t.crossing else _UNBOUNDED,
            panel_place=made.panel_place,
            sums_place=made.sums_place,
            channel_pitch=t.channel_pitch,
            sum_pitch=t.sum_pitch,
            sum_row=t.sum_row,
            group_in=p.layer.group_in,
            group_out=p.layer.group_out,
            units=done.layered.units,
            blocks_out=blocks.total,
            wide_blocks=blocks.wide_count,
            wide=blocks.wide,
            group_weights=done.terms * p.layer.group_out,
            chunks=len(done.chunks),
            chunk_table=self.keep(tables.chunks),
            call_table=self.keep(tables.calls(self.keep(tables.steps(t)))),
            write_table=self.keep(tables.writes(self.keep(rows), sizes.rows)),
            functions=self.keep(tables.functions),
            pack=pack.address(x_fast, x_strides[1], t.pitch),
            ahead=made.threads if made.ahead_place and x_fast == 1 else 0,
            ahead_place=made.ahead_place or 8 * (HEAD + t.blocks * t.slots),
            ahead_pad=done.taps,
            items=made.items,
            stream=int(stream),
            touch=epilogue.address_of_touch() if out_fast == 1 and not stream else 0,
            write=epilogue.address(axes.fast.stride, out_fast, out_strides[1], activated),
        )
        self.item = tile_loop.address()


def _places(axes: Grid) -> Callable[[tuple[int, ...], int], tuple[int, ...]]:
    """Return where in a panel the lanes of a tap begin, in numbers that do not depend on its sizes.

    A function of its slow shifts and its fast shift: the choice of the outer shifts, the last slow shift as a block and
    as a slot, the fast shift as a copy and as a place.
    """
    fast, last = axes.fast.shifts, axes.slow[-1].shifts
    outer = [{shift: place for place, shift in enumerate(axis.shifts)} for axis in axes.slow[:-1]]
    copies = {shift: place for place, shift in enumerate(fast)}
    crossed = {shift: place for place, shift in enumerate(last)}

    def place_of(slow: tuple[int, ...], shift: int) -> tuple[int, ...]:
        block = 0
        for places, part in zip(outer, slow[:-1], strict=True):
            block = block * len(places) + places[part]
        return block, crossed[slow[-1]], last[-1] - slow[-1], copies[shift], fast[-1] - shift

    return place_of


def _sources(
    axes: Grid, sizes: Lengths, strides: tuple[int, ...], t: tiling.Tiling
) -> tuple[Array, int, int, list[int]]:
    """Return where rows of x begin that a tile may need: [outer shifts][outer rows][last axis, stretched by its shifts].

    Then the length of the last axis, the number of outer rows, and where in the table the first row of each block is.
    """
    slow_steps, last = slow_strides(strides, len(axes.slow)), sizes.slow[-1]
    shifts = axes.slow[-1].shifts
    stretched = along(np.arange(-shifts[-1], last.positions - shifts[0]), last.inputs, slow_steps[-1])
    table = together([*outer(axes.slow[:-1], sizes.slow, slow_steps), stretched[None]])
    size, length = table.shape[1], len(stretched)
    if t.crossing:
        starts = [choice * size + shifts[-1] - shift for choice in range(len(table)) for shift in shifts]
    else:
        starts = [choice * size for choice in range(len(table))]
    return table, length, size // length, starts
