"""Compiled call of the direct form: the tables and functions of a problem. A call adds the addresses of its arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import HEAD, new_frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, CompiledCall
from tconv.kernels.simd.direct import accumulation_order, input_packing, tile_loop, tiling
from tconv.kernels.simd.direct.schedule import Blocks, layer_schedule, tile_schedule
from tconv.kernels.simd.phase_axes import Grid, Lengths, lengths
from tconv.kernels.simd.row_offsets import (
    axis_offsets,
    combine,
    epilogue_calls,
    output_offsets,
    shifted_offsets,
    slow_strides,
)

_UNLIMITED = 1 << 60


class _LayerTables:
    """Tables of a layer. A problem copies them and adds the offsets and addresses of its tiles and strides.

    Functions are built when the first tiling needs them, and shared by all problems of the layer.
    """

    def __init__(self, layer: Layer) -> None:
        schedule = layer_schedule(layer)
        axes, blocks, stride = schedule.grid, schedule.blocks, schedule.grid.fast.stride
        chunks: list[list[int]] = []
        calls: list[list[int]] = []
        writes: list[list[int]] = []
        steps: list[list[int]] = []
        parts: list[int] = []
        places: list[tuple[int, ...]] = []
        kinds: dict[Any, int] = {}
        self._rows: dict[tuple[int, int, int], microkernel.Rows] = {}
        place_of = panel_places(axes)
        weights = 0  # of earlier calls
        for chunk in schedule.chunks:
            first_call, first_write = len(calls), len(writes)
            largest = max((len(call.phases) for call in chunk.calls), default=1)
            fits = [microkernel.most_vectors(max(1, largest * (blocks.wide - narrow))) for narrow in (0, 1)]
            for call in chunk.calls:
                kind = kinds.setdefault((len(call.phases), call.kinds), len(kinds))
                for narrow, count in enumerate((blocks.wide_count, blocks.narrow_count)):
                    if count:
                        rows = accumulation_order.rows_of(call, blocks.wide - narrow)
                        # narrow blocks have as many vectors as the wide ones that they are written with
                        self._rows[kind * 2 + narrow, fits[narrow], fits[0]] = rows
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
                        weights,
                        call.terms,
                        chunk.phases.index(call.phases[0]),
                        kind,
                        len(order),
                    ]
                )
                weights += call.terms * layer.group_out
            by_slow: dict[int, list[int]] = {}
            for place, phase in enumerate(chunk.phases):
                by_slow.setdefault(phase // stride, []).append(place)
            for slow, phases in by_slow.items():
                writes.append([slow, chunk.phases[phases[0]] % stride, len(phases), phases[0]])
            chunks.append([first_call, len(calls), first_write, len(writes), len(chunk.phases), *fits])
        self.chunks, self.parts = np.array(chunks, np.int64), np.array(parts, np.int64)
        # one row more: the address of a call without steps must be valid, too
        self._steps, self._places = (
            np.array([*table, [0] * width], np.int64) for table, width in ((steps, microkernel.STEP), (places, 6))
        )
        self._calls = np.array(calls, np.int64).reshape(-1, tile_loop.CALL)
        self._calls[:, 1] += self.parts.ctypes.data
        self.writes = np.array(writes, np.int64)
        self.functions = np.zeros((max(1, 2 * len(kinds)), tile_loop.MOST + 1), np.int64)
        self._built: tuple[set[int], set[int]] = (set(), set())
        self._grid, self._elements = axes, schedule.sizes.elements

    def steps(self, t: tiling.Tiling) -> Array:
        """Return the steps, with the places in the panel where their lanes begin."""
        outer, crossed, slot, copy, place, channel = self._places.T
        block = outer * len(self._grid.slow[-1].shifts) + crossed if t.crossing else outer
        row = (block * t.copies + copy if t.whole else block) * t.slots
        table = self._steps.copy()
        table[:, 0] = channel * t.channel_pitch + (row if t.crossing else row + slot) * t.pitch
        if not t.whole:
            table[:, 0] += place
        return table

    def calls(self, steps: int) -> Array:
        """Return the calls of the microkernel, whose steps are at this address."""
        table = self._calls.copy()
        table[:, 0] += steps
        return table

    def add_functions(self, t: tiling.Tiling, together: bool) -> None:
        """Build the functions that these tiles need. `together` is True if blocks are written together."""
        for vectors in t.vectors() - self._built[together]:
            for (row, *most), rows in self._rows.items():
                for size in set().union(*(tiling.groups_of(vectors, each) for each in most[: 1 + together])):
                    self.functions[row, size] = microkernel.address(rows, size, self._elements)
            self._built[together].add(vectors)  # last: from now on other threads rely on it


@lru_cache(maxsize=256)
def _tables(layer: Layer) -> _LayerTables:
    return _LayerTables(layer)


class DirectCall(CompiledCall):
    """Compiled call of the direct form. Strides count elements."""

    def __init__(
        self,
        p: Problem,
        x_strides: tuple[int, ...],
        out_strides: tuple[int, ...],
        threads: int,
        activated: bool,
    ) -> None:
        layer, sizes, tables = layer_schedule(p.layer), lengths(p), _tables(p.layer)
        fast, last = sizes.fast, sizes.slow[-1]
        # the stride of an axis with one element has no meaning
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        out_last = epilogue.writes_channels_last(out_fast, out_strides[1])
        tiles = tile_schedule(p, threads, out_last, x_fast != 1 and x_strides[1] == 1)
        axes, blocks, t, elements = layer.grid, layer.blocks, tiles.tiling, layer.sizes.elements
        super().__init__(p, tiles.tiles, tiles.threads, tiles.scratch, threads)
        groups = tiles.groups  # of a panel; it is one group to the machine code
        group_in, group_out = groups * p.layer.group_in, groups * p.layer.group_out
        group_weights = layer.terms * p.layer.group_out
        group_panel = layer.sizes.group_in * t.channel_pitch
        stream = p.output_bytes >= STREAM_FROM
        table, stretch, outer_rows, starts = sources(axes, sizes, x_strides, t.crossing)
        slow_axes = zip((axis.stride for axis in axes.slow), sizes.slow, strict=True)
        rows = output_offsets(
            ((stride, length.positions, length.outputs) for stride, length in slow_axes),
            slow_strides(out_strides, len(axes.slow)),
        )
        tables.add_functions(t, tiles.together > 1)
        self.table_address(tables.parts)
        self.frame = new_frame(
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
            table=self.table_address(table),
            stride=axes.fast.stride,
            splits=tiles.splits,
            segments=t.segments,
            row_tiles=t.row_tiles,
            run=t.run,
            rows=t.rows,
            width=t.width,
            width_total=t.width_total,
            whole=int(t.whole),
            blocks=t.blocks,
            block_table=self.table_address(starts),
            copies=t.copies,
            copy_table=self.table_address(axes.fast.shifts if t.whole else axes.fast.shifts[-1:]),
            slots=t.slots,
            slot_pitch=t.pitch,
            pack_width=t.pitch,
            extra=t.slots - t.rows,
            wrap=last.positions if t.crossing else _UNLIMITED,
            panel_place=tiles.panel_place,
            sums_place=tiles.sums_place,
            channel_pitch=t.channel_pitch,
            sum_pitch=t.sum_pitch,
            sum_row=t.sum_row,
            group_in=group_in,
            group_out=group_out,
            units=layer.sizes.units if groups == 1 else p.geometry.groups // groups,
            blocks_out=blocks.total if groups == 1 else 1,
            unit_blocks=1 if groups == 1 else groups * blocks.total,
            block_places=self.table_address(_block_places(p.layer, blocks, groups, group_panel, group_weights)),
            range_blocks=tiles.together,
            wide=blocks.wide,
            group_weights=groups * group_weights,
            chunks=len(layer.chunks),
            chunk_table=self.table_address(tables.chunks),
            call_table=self.table_address(tables.calls(self.table_address(tables.steps(t)))),
            write_table=self.table_address(epilogue_calls(tables.writes, self.table_address(rows), sizes.rows)),
            functions=self.table_address(tables.functions),
            pack=input_packing.address(x_fast, x_strides[1], group_in, t.pitch, elements),
            # an entry is a cache line of each channel; with channels last as many lines that are neighbours
            ahead=tiles.threads if tiles.ahead_place and x_fast in (1, group_in) else 0,
            ahead_step=x_strides[1] * elements.stored_size * (2 if elements.dot else 1) if x_fast == 1 else 64,
            ahead_entry=64 if x_fast == 1 else 64 * groups * layer.sizes.group_in,
            ahead_place=tiles.ahead_place or 8 * (HEAD + t.blocks * t.slots),
            ahead_pad=layer.taps,
            tiles=tiles.tiles,
            stream=int(stream),
            prefetch=epilogue.address_of_prefetch(elements) if out_fast == 1 and not stream else 0,
            write=epilogue.address(
                axes.fast.stride,
                out_fast,
                out_strides[1],
                group_out,
                tiles.whole_positions,
                activated,
                elements,
            ),
        )
        self.tile_function = tile_loop.address(elements)


def _block_places(layer: Layer, blocks: Blocks, groups: int, group_panel: int, group_weights: int) -> list[list[int]]:
    """Return the table of the blocks of a panel's groups (`tile_loop.PLACE`), and an entry behind the last."""
    places = []
    for group in range(groups):
        for block in range(blocks.total):
            # the wide blocks come first, each with one channel more than the others
            narrow = int(block >= blocks.wide_count)
            channel = block * (blocks.wide - narrow) + narrow * blocks.wide_count
            places.append(
                [narrow, group * layer.group_out + channel, channel, group * group_panel, group * group_weights]
            )
    return [*places, [0, groups * layer.group_out, 0, 0, 0]]


def panel_places(axes: Grid) -> Callable[[tuple[int, ...], int], tuple[int, ...]]:
    """Return the function of a tap's slow shifts and fast shift that returns the place of its lanes in a panel.

    The numbers do not depend on the sizes of the panel: the number of the outer shifts, the last slow shift as a block
    and as a slot, the fast shift as a copy and as a position.
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


def sources(axes: Grid, sizes: Lengths, strides: tuple[int, ...], crossing: bool) -> tuple[Array, int, int, list[int]]:
    """Return the offsets of the rows of x, [outer shifts][outer rows][last slow axis, extended by its shifts].

    Then the length of that axis, the number of outer rows, and the place in the table of each block's first row.
    """
    slow_steps, last = slow_strides(strides, len(axes.slow)), sizes.slow[-1]
    shifts = axes.slow[-1].shifts
    stretched = axis_offsets(np.arange(-shifts[-1], last.positions - shifts[0]), last.inputs, slow_steps[-1])
    table = combine([*shifted_offsets(axes.slow[:-1], sizes.slow, slow_steps), stretched[None]])
    size, length = table.shape[1], len(stretched)
    if crossing:
        starts = [block * size + shifts[-1] - shift for block in range(len(table)) for shift in shifts]
    else:
        starts = [block * size for block in range(len(table))]
    return table, length, size // length, starts
