"""Compiled call of the filtered form with lanes over output channels: tables and functions of a problem."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.call_frame import new_frame
from tconv.kernels.simd.channel_lanes import microkernel as blocks_of_sums
from tconv.kernels.simd.compiled_call import STREAM_FROM, CompiledCall
from tconv.kernels.simd.direct.tiling import groups_of
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.microkernel import PART
from tconv.kernels.simd.row_offsets import axis_offsets, combine, epilogue_calls, shifted_offsets, slow_strides
from tconv.kernels.simd.winograd_channels import input_packing, microkernel, tile_loop, tiling
from tconv.kernels.simd.winograd_f22.algebra import FilteredGeometry, FilteredLengths, filtered_lengths
from tconv.kernels.simd.winograd_f22.call_tables import entries_of, row_offsets
from tconv.kernels.simd.winograd_f22.tiling import ranges


class _ProductTables:
    """Tables of a layer. A problem copies them and adds the addresses of its rows.

    Functions are built when the first tiles need them, and shared by all problems of the layer.
    """

    def __init__(self, layer: Layer) -> None:
        (geometry, blocks), self._elements = tiling.filtered_layer(layer), elements_of(layer.dtype)
        parts = ranges(layer.in_channels)
        chunks: list[list[int]] = []
        products: list[list[int]] = []
        writes: list[list[int]] = []
        entries: list[list[int]] = []
        outer_phases = list(product(*(range(axis.stride) for axis in geometry.outer)))
        for chunk in geometry.chunks:
            first_product, first_write, started = len(products), len(writes), set[int]()
            for each in chunk.products:
                plane = each.block * geometry.planes + each.plane
                products.append([len(entries) * PART * 8, plane, 0])
                entries += entries_of(each.rows, len(parts), started)
            for position in range(geometry.slow.step):
                slow = outer_phases.index(chunk.outer) * geometry.slow.phases + chunk.slow
                row = position * geometry.fast.phases
                writes.append([slow + geometry.slow.stride * position, 0, geometry.fast.phases, row])
            chunks.append([first_product, len(products), first_write, len(writes)])
        lanes = self._elements.lanes
        per_vector = geometry.product_count * layer.in_channels * lanes
        starts = np.cumsum([0, *blocks])
        self.blocks = [
            [start * per_vector, start * lanes, vectors] for start, vectors in zip(starts, blocks, strict=False)
        ]
        self.parts = [end - begin for begin, end in parts]
        self.chunks, self.writes, self.entries = (np.array(table, np.int64) for table in (chunks, writes, entries))
        self._products = np.array(products, np.int64)
        self.functions = np.zeros((max(blocks) + 1, blocks_of_sums.MOST_POSITIONS + 1), np.int64)
        for vectors in blocks:
            self.functions[vectors, 0] = blocks_of_sums.most_positions(vectors)

    def products(self, entries: int) -> Array:
        """Return the products, with the address of the entries."""
        table = self._products.copy()
        table[:, 0] += entries
        return table

    def add_functions(self, lines: set[int]) -> None:
        """Build the functions for tiles with these numbers of positions."""
        for vectors in {vectors for _, _, vectors in self.blocks}:
            for count in lines:
                for size in groups_of(count, blocks_of_sums.most_positions(vectors)):
                    if not self.functions[vectors, size]:
                        block = blocks_of_sums.Block(size, vectors)
                        self.functions[vectors, size] = microkernel.address(block, self._elements)


@lru_cache(maxsize=256)
def _tables(layer: Layer) -> _ProductTables:
    return _ProductTables(layer)


def fits(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
    """Return True if the form can run with these strides: channels are neighbours in x and in the output."""
    fast = out_strides[-1] if p.output_shape[-1] > 1 else p.out_channels
    return x_strides[1] == out_strides[1] == 1 and fast >= p.out_channels


class WinogradChannelsCall(CompiledCall):
    """Compiled call of the filtered form with lanes over output channels. Strides count elements."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        layer, sizes, tables = p.layer, filtered_lengths(p), _tables(p.layer)
        (geometry, blocks), elements = tiling.filtered_layer(layer), elements_of(p.dtype)
        t = tiling.pick_tiles(p, threads)
        places, fast = tiling.scratch_layout(layer, t), sizes.fast
        super().__init__(p, t.total, min(threads, t.total), places.scratch, threads)
        tables.add_functions(tiling.lines_of(p, t))
        rows = self.table_address(row_offsets(geometry, sizes, out_strides))
        self.frame = new_frame(**{
            "x_batch": x_strides[0], "x_fast": x_strides[-1], "x_length": fast.inputs, "x_first": geometry.fast.first,
            "out_batch": out_strides[0], "out_fast": out_strides[-1], "out_length": fast.outputs,
            "image_rows": sizes.lines, "run": p.batch * sizes.lines, "row_tiles": t.row_tiles, "rows": t.lines,
            "segments": t.segments, "width": t.width, "width_total": fast.output_positions, "splits": t.splits,
            "table": self.table_address(_input_offsets(geometry, sizes, x_strides)), "blocks": geometry.blocks,
            "pitch": places.pitch, "plane_size": places.plane, "zeros_place": places.zeros,
            "constants_place": places.constants, "constants_size": places.constants_size,
            "panel_place": places.panel, "sums_place": places.sums,
            "group_in": p.in_channels, "group_out": p.out_channels, "columns": p.out_channels,
            "blocks_out": len(blocks), "block_table": self.table_address(tables.blocks),
            "parts": self.table_address(tables.parts), "part_count": len(tables.parts),
            "chunks": len(tables.chunks), "chunk_table": self.table_address(tables.chunks),
            "call_table": self.table_address(tables.products(self.table_address(tables.entries))),
            "write_table": self.table_address(epilogue_calls(tables.writes, rows, sizes.lines)),
            "functions": self.table_address(tables.functions),
            "pack": input_packing.address(geometry, elements), "write": tile_loop.writing_address(activated, elements),
            "stream": int(p.output_bytes >= STREAM_FROM),
        })  # fmt: skip
        self.tile_function = tile_loop.address(elements)


def _input_offsets(geometry: FilteredGeometry, sizes: FilteredLengths, strides: tuple[int, ...]) -> Array:
    """Return the offset of each row of x that a line reads: [outer shifts, places of the slow axis][line of an image].

    Lines behind the last one of an image count as zeros, as in `winograd_f22`: numbers in them are not looked at.
    """
    slow, positions, steps = geometry.slow, sizes.slow.positions, slow_strides(strides, len(geometry.outer) + 1)
    lines = np.arange(positions) + np.array([place // slow.step for place in slow.places])[:, None]
    indices = slow.first + lines * slow.step + np.array([place % slow.step for place in slow.places])[:, None]
    indices[(lines < 0) | (lines >= positions)] = -1
    last = axis_offsets(indices, sizes.slow.inputs, steps[-1])
    return combine([*shifted_offsets(geometry.outer, sizes.outer, steps), last])
