"""Compiled call of the form with lanes over output channels: tables and functions of a problem."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.call_frame import new_frame
from tconv.kernels.simd.channel_lanes import input_packing, microkernel, tile_loop, tiling
from tconv.kernels.simd.channel_lanes.schedule import conflicts, layer_schedule, tile_schedule
from tconv.kernels.simd.compiled_call import STREAM_FROM, CompiledCall
from tconv.kernels.simd.direct.call_tables import panel_places, sources
from tconv.kernels.simd.direct.tiling import groups_of
from tconv.kernels.simd.phase_axes import lengths
from tconv.kernels.simd.row_offsets import output_offsets, slow_strides

_UNLIMITED = 1 << 60


class _ColumnTables:
    """Tables of the columns of a layer. A problem copies them and adds the offsets of its tiles and strides.

    Functions are built when the first tiling needs them, and shared by all problems of the layer.
    """

    def __init__(self, layer: Layer) -> None:
        schedule = layer_schedule(layer)
        place_of = panel_places(schedule.grid)
        self._elements = schedule.sizes.elements
        lanes = self._elements.lanes
        blocks: list[tuple[int, ...]] = []
        steps: list[int] = []
        places: list[tuple[int, ...]] = []
        parts: list[int] = []
        weights = 0
        for run in schedule.runs:
            first_step, first_part, column = len(steps), len(parts), 0
            for part in run.parts[0]:
                parts.append(len(part))
                for step in part:
                    begin, end = step.channels
                    steps.append(end - begin)
                    places.append((*place_of(step.slow, step.fast), begin))
            for vectors in run.vectors:
                columns = min(vectors * lanes, run.columns - column)
                where = first_step * microkernel.STEP * 8, first_part * 8, len(run.parts[0]), weights
                blocks.append((*where, run.slow, run.first, columns, column, vectors))
                column += vectors * lanes
                weights += run.terms * vectors * lanes
        self.blocks, self._parts = np.array(blocks, np.int64), np.array(parts, np.int64)
        # one row more: the address of a run without steps must be valid, too
        self._channels, self._places = np.array([*steps, 0], np.int64), np.array([*places, [0] * 6], np.int64)
        self._last = len(schedule.grid.slow[-1].shifts)
        self._vectors = {vectors for run in schedule.runs for vectors in run.vectors}
        most = max(self._vectors)
        self.functions = np.zeros((most + 1, microkernel.MOST_POSITIONS + 1), np.int64)
        self.activated_functions = self.functions.copy()
        for vectors in self._vectors:
            self.functions[vectors, 0] = self.activated_functions[vectors, 0] = microkernel.most_positions(vectors)

    def steps(self, t: tiling.Tiling) -> Array:
        """Return the steps, with the places in the panel of their first inputs."""
        outer, crossed, slot, _, place, channel = self._places.T
        block = outer * self._last + crossed if t.crossing else outer
        row = block * t.slots + (0 if t.crossing else slot)
        offsets = (row * (t.width + t.halo) + place) * t.pitch + channel
        return np.stack([channel if t.flat else offsets, self._channels], 1)

    def block_table(self, steps: int, parts: int, out_fast: int) -> Array:
        """Return the blocks of columns, with these addresses of the steps and parts of all."""
        table = self.blocks.copy()
        table[:, 0] += steps
        table[:, 1] += parts
        table[:, 5] = table[:, 5] * out_fast + table[:, 7]
        return table

    def parts(self) -> Array:
        """Return the number of steps of each part."""
        return self._parts

    def functions_for(self, t: tiling.Tiling, activated: bool) -> Array:
        """Return the table of functions, with those that these tiles need."""
        table = self.activated_functions if activated else self.functions
        for vectors in self._vectors:
            for line in t.lines():
                for size in groups_of(line, microkernel.most_positions(vectors)):
                    if not table[vectors, size]:
                        table[vectors, size] = microkernel.address(
                            microkernel.Block(size, vectors), activated, self._elements
                        )
        return table


@lru_cache(maxsize=256)
def _tables(layer: Layer) -> _ColumnTables:
    return _ColumnTables(layer)


def fits(p: Problem, out_strides: tuple[int, ...]) -> bool:
    """Return True if the form can write an output with these strides: the columns of each run are neighbours."""
    fast = out_strides[-1] if p.output_shape[-1] > 1 else p.out_channels
    if fast < p.out_channels or (out_strides[1] != 1 and p.out_channels > 1):
        return False
    return fast == p.out_channels or layer_schedule(p.layer).columns == p.layer.group_out


class ChannelLanesCall(CompiledCall):
    """Compiled call of the form with lanes over output channels. Strides count elements."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        layer, tiles, sizes, tables = layer_schedule(p.layer), tile_schedule(p, threads), lengths(p), _tables(p.layer)
        axes, t, elements = layer.grid, tiles.tiling, layer.sizes.elements
        super().__init__(p, tiles.tiles, tiles.threads, tiles.scratch, threads)
        fast, last = sizes.fast, sizes.slow[-1]
        # the stride of an axis with one element has no meaning
        x_channel = x_strides[1] if p.in_channels > 1 else 1
        x_fast = x_strides[-1] if fast.inputs > 1 else 1 if x_channel != 1 else p.in_channels
        out_fast = out_strides[-1] if fast.outputs > 1 else p.out_channels
        entries, odd = divmod(x_fast, 2) if elements.dot else (x_fast, 0)
        as_they_are = x_channel == 1 and x_fast == p.layer.group_in and not odd and not conflicts(entries, elements)
        if as_they_are:
            t = t._replace(pitch=entries)  # lines of x can be copied as they are
        table, stretch, outer_rows, starts = sources(axes, sizes, x_strides, t.crossing)
        slow_axes = zip((axis.stride for axis in axes.slow), sizes.slow, strict=True)
        rows = output_offsets(
            ((stride, length.positions, length.outputs) for stride, length in slow_axes),
            slow_strides(out_strides, len(axes.slow)),
        )
        steps, parts = self.table_address(tables.steps(t)), self.table_address(tables.parts())
        self.frame = new_frame(
            x_batch=x_strides[0],
            x_channel=x_channel,
            x_fast=x_fast,
            x_first=axes.fast.shifts[-1],
            x_length=fast.inputs,
            out_batch=out_strides[0],
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
            flat=int(t.flat),
            blocks=t.blocks,
            block_table=self.table_address(starts),
            slots=t.slots,
            slot_pitch=(t.width + t.halo) * t.pitch,
            extra=t.slots - t.rows,
            halo=t.halo,
            wrap=last.positions if t.crossing else _UNLIMITED,
            pitch=t.pitch,
            places_place=tiles.places,
            constants_place=tiles.constants,
            constants_size=tiles.constants_size,
            sums_place=tiles.sums,
            panel_place=tiles.panel,
            group_in=p.layer.group_in,
            group_out=p.layer.group_out,
            columns=layer.columns,
            units=layer.sizes.units,
            blocks_out=len(tables.blocks),
            group_weights=layer.group_weights,
            slow_phases=len(axes.slow_phases),
            output_table=self.table_address(rows),
            call_table=self.table_address(tables.block_table(steps, parts, out_fast)),
            functions=self.table_address(tables.functions_for(t, activated)),
            pack=input_packing.address(x_fast, x_channel, as_they_are, elements),
            stream=int(p.output_bytes >= STREAM_FROM),
        )
        self.tile_function = tile_loop.address(elements)
