"""Compiled call of the filtered form: tables and functions of a problem. A call adds the addresses of its arrays."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import new_frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, CompiledCall
from tconv.kernels.simd.direct.tile_loop import MOST
from tconv.kernels.simd.direct.tiling import groups_of
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.row_offsets import (
    axis_offsets,
    combine,
    epilogue_calls,
    output_offsets,
    shifted_offsets,
    slow_strides,
)
from tconv.kernels.simd.winograd_f22 import input_packing, tile_loop, tiling
from tconv.kernels.simd.winograd_f22.algebra import FilteredGeometry, FilteredLengths, filtered_lengths

_ZEROS = np.zeros(16, np.int64)
"""Memory that the microkernel prefetches where there is no next tile."""


class _LayerTables:
    """Tables of a layer. A problem copies them and adds the places and addresses of its tiles and strides.

    Functions are built when the first tiles need them, and shared by all problems of the layer.
    """

    def __init__(self, layer: Layer) -> None:
        (geometry, blocks, _) = tiling.filtered_layer(layer)
        self.chunks, self._products, self.writes, self._entries, self._steps = self._of(layer, geometry, blocks)
        self.functions = np.zeros(MOST + 1, np.int64)
        self._rows, self._vectors = microkernel.Rows(blocks.size, 1, ((0,),)), blocks.vectors
        self._built: set[int] = set()
        self._elements = elements_of(layer.dtype)

    @staticmethod
    def _of(layer: Layer, geometry: FilteredGeometry, blocks: tiling.ChannelBlocks) -> list[Array]:
        chunks: list[list[int]] = []
        products: list[list[int]] = []
        writes: list[list[int]] = []
        entries: list[list[int]] = []
        parts = tiling.ranges(layer.in_channels)
        per_product = blocks.total * blocks.size * layer.in_channels
        most = epilogue.most_phases(geometry.fast.phases, elements_of(layer.dtype))
        outer_phases = list(product(*(range(axis.stride) for axis in geometry.outer)))
        for chunk in geometry.chunks:
            first_product, first_write = len(products), len(writes)
            started: set[int] = set()  # rows with a sum
            for each in chunk.products:
                at = len(entries) * microkernel.PART * 8
                entries += entries_of(each.rows, len(parts), started)
                plane = each.block * geometry.planes + each.plane
                products.append([0, at, len(parts), plane, len(products) * per_product])
            for position in range(geometry.slow.step):
                slow = outer_phases.index(chunk.outer) * geometry.slow.phases + chunk.slow
                slow += geometry.slow.stride * position
                for phase in range(0, geometry.fast.phases, most):
                    count = min(most, geometry.fast.phases - phase)
                    writes.append([slow, phase, count, position * geometry.fast.phases + phase])
            chunks.append([first_product, len(products), first_write, len(writes)])
        steps = [[begin, end - begin, 0, 0, 0] for begin, end in parts]
        return [np.array(table, np.int64) for table in (chunks, products, writes, entries, steps)]

    def steps(self, length: int) -> Array:
        """Return the ranges of input channels, each with this many positions."""
        table = self._steps.copy()
        table[:, 0] *= length
        return table

    def entries(self, length: int) -> Array:
        """Return, for each part of a product, the rows of sums that it is added to; rows have this many positions."""
        table = self._entries.copy()
        table[:, 2::2] *= length
        return table

    def products(self, steps: int, entries: int) -> Array:
        """Return the products, with the addresses of steps and entries."""
        table = self._products.copy()
        table[:, 0] = steps
        table[:, 1] += entries
        return table

    def add_functions(self, vectors: set[int]) -> None:
        """Build the functions for tiles with these numbers of vectors."""
        for count in vectors - self._built:
            for size in groups_of(count, self._vectors):
                self.functions[size] = microkernel.address(self._rows, size, self._elements, spread=True)
            self._built.add(count)  # last: from now on other threads rely on it


def entries_of(rows: tuple[int, ...], parts: int, started: set[int]) -> list[list[int]]:
    """Return the entries of a product's parts for the microkernel; rows of sums in `started` have a sum already."""
    entries = []
    for _ in range(parts):
        entry = [1, len(rows)]
        for row in rows:
            entry += [row, int(row in started)]
        started.update(rows)
        entries.append(entry + [0] * (microkernel.PART - len(entry)))
    return entries


@lru_cache(maxsize=256)
def _tables(layer: Layer) -> _LayerTables:
    return _LayerTables(layer)


class WinogradCall(CompiledCall):
    """Compiled call of the filtered form. Strides count elements."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        layer, sizes, tables = p.layer, filtered_lengths(p), _tables(p.layer)
        geometry, blocks, _ = tiling.filtered_layer(layer)
        slow, fast, elements = sizes.slow, sizes.fast, elements_of(p.dtype)
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        t = tiling.pick_tiles(p, threads, epilogue.writes_channels_last(out_fast, out_strides[1]))
        length, lines = t.vectors * elements.lanes, sizes.lines
        places = tiling.scratch_layout(layer, t)
        super().__init__(p, t.total, min(threads, t.total), places.scratch, threads)
        tables.add_functions(tiling.vectors_of(p, t))
        steps, entries = self.table_address(tables.steps(length)), self.table_address(tables.entries(length))
        rows = self.table_address(row_offsets(geometry, sizes, out_strides))
        self.frame = new_frame(**{
            "x_batch": x_strides[0], "x_channel": x_strides[1], "x_fast": x_fast, "x_length": fast.inputs,
            "out_batch": out_strides[0], "out_channel": out_strides[1], "out_fast": out_fast,
            "out_length": fast.outputs,
            "image_rows": lines, "last_rows": slow.positions, "positions": fast.positions,
            "output_positions": fast.output_positions,
            "x_first": geometry.fast.first,
            "table": self.table_address(_input_offsets(geometry, sizes, x_strides)), "stride": geometry.fast.phases,
            "splits": t.splits, "segments": t.segments, "row_tiles": t.row_tiles, "run": p.batch * lines,
            "rows": t.lines, "width": t.width, "width_total": fast.positions if t.whole else fast.output_positions,
            "whole": int(t.whole), "blocks": geometry.blocks, "slots": places.slots, "slot_pitch": places.pitch,
            "mask_place": places.masks, "stream_place": places.streams, "stream_size": places.stream,
            "stream_channel": places.stream * geometry.blocks * geometry.slow.step * geometry.fast.step,
            "plane_size": places.plane, "panel_place": places.panel, "sums_place": places.sums,
            "sum_row": length, "sum_pitch": t.width,
            "channel_pitch": geometry.rows * length, "group_in": p.in_channels, "group_out": p.out_channels,
            "blocks_out": blocks.total, "wide": blocks.size, "range_blocks": places.range_blocks,
            "most": blocks.vectors,
            "chunks": len(tables.chunks), "chunk_table": self.table_address(tables.chunks),
            "call_table": self.table_address(tables.products(steps, entries)),
            "write_table": self.table_address(epilogue_calls(tables.writes, rows, lines)),
            "functions": self.table_address(tables.functions), "zeros": self.table_address(_ZEROS),
            "pack": input_packing.address(geometry, x_fast, x_strides[1], fast.inputs, p.in_channels, elements),
            "stream": int(p.output_bytes >= STREAM_FROM),
            "write": epilogue.address(
                geometry.fast.phases, out_fast, out_strides[1], p.out_channels, places.range_blocks == blocks.total,
                activated, elements,
            ),
        })  # fmt: skip
        self.tile_function = tile_loop.address(elements)


def _input_offsets(geometry: FilteredGeometry, sizes: FilteredLengths, strides: tuple[int, ...]) -> Array:
    """Return the offset of each line's row of x: [outer shifts, step of the slow axis][line of an image]."""
    slow, slow_steps = geometry.slow, slow_strides(strides, len(geometry.outer) + 1)
    indices = slow.first + np.arange(sizes.slow.positions) * slow.step + np.arange(slow.step)[:, None]
    last = axis_offsets(indices, sizes.slow.inputs, slow_steps[-1])
    return combine([*shifted_offsets(geometry.outer, sizes.outer, slow_steps), last])


def row_offsets(geometry: FilteredGeometry, sizes: FilteredLengths, strides: tuple[int, ...]) -> Array:
    """Return the offset of each line's row of the output: [outer phases, slow phases of a group][line]."""
    outer_axes = zip((axis.stride for axis in geometry.outer), sizes.outer, strict=True)
    axes = [(stride, length.positions, length.outputs) for stride, length in outer_axes]
    axes.append((geometry.slow.phases, sizes.slow.positions, sizes.slow.outputs))
    return output_offsets(axes, slow_strides(strides, len(axes)))
