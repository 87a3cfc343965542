"""A problem in pairs (`pairs.py`) made ready: its tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd import phase_axes as grids
from tconv.kernels.simd.call_frame import frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, Ready
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.tile_loop import MOST
from tconv.kernels.simd.row_offsets import along, destinations, outer, plus, slow_strides
from tconv.kernels.simd.winograd_f22 import pack, tile_loop, tiling
from tconv.kernels.simd.winograd_f22.filtering import Pairs, pairs


class Job(Ready):
    """A problem with the strides of its arrays, ready to run on a number of threads."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        done, cut = pairs(p), tiling.blocks(p.out_channels)
        t, _ = tiling.tiles(p, threads)
        slow, fast = done.slow, done.fast
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        lanes = target().lanes
        length = t.vectors * lanes
        places = tiling.layout(p, done, cut, t)
        super().__init__(p, t.items, min(threads, t.items), places.scratch, threads)
        chunk_table, product_table, write_table = self._tables(p, done, cut, length, out_strides)
        functions = [0] * (MOST + 1)
        for size in tiling.sizes(p, done, cut, t):
            functions[size] = microkernel.address(microkernel.Rows(cut.size, 1, ((0,),)), size, spread=True)
        self.frame = frame(**{
            "x_batch": x_strides[0], "x_channel": x_strides[1], "x_fast": x_fast, "x_length": fast.inputs,
            "out_batch": out_strides[0], "out_channel": out_strides[1], "out_fast": out_fast,
            "out_length": fast.outputs,
            "image_rows": done.lines, "last_rows": slow.positions, "positions": fast.positions, "made": fast.made,
            "x_first": fast.first,
            "table": self.keep(_sources(done, x_strides)), "stride": fast.phases,
            "splits": t.splits, "segments": t.segments, "row_tiles": t.row_tiles, "run": p.batch * done.lines,
            "rows": t.lines, "width": t.width, "width_total": fast.positions if t.whole else fast.made,
            "whole": int(t.whole), "blocks": done.blocks, "slots": places.slots, "slot_pitch": places.pitch,
            "mask_place": places.masks, "stream_place": places.streams, "stream_size": places.stream,
            "stream_channel": places.stream * done.blocks * slow.step * fast.step,
            "plane_size": places.plane, "panel_place": places.panel, "sums_place": places.sums,
            "sum_row": length, "sum_pitch": t.width,
            "channel_pitch": done.rows * length, "group_in": p.in_channels, "group_out": p.out_channels,
            "blocks_out": cut.total, "wide": cut.size, "range_blocks": places.range_blocks, "most": cut.held,
            "chunks": len(chunk_table), "chunk_table": self.keep(chunk_table),
            "call_table": self.keep(product_table), "write_table": self.keep(write_table),
            "functions": self.keep(functions), "nothing": self.keep([0] * 16),
            "pack": pack.address(done, x_fast),
            "stream": int(p.output_bytes >= STREAM_FROM),
            "write": epilogue.address(fast.phases, out_fast, out_strides[1], activated),
        })  # fmt: skip
        self.item = tile_loop.address()

    def _tables(
        self, p: Problem, done: Pairs, cut: tiling.Blocks, length: int, out_strides: tuple[int, ...]
    ) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
        chunk_rows: list[list[int]] = []
        products: list[list[int]] = []
        writes: list[list[int]] = []
        targets: dict[tuple[int, ...], int] = {}
        parts = tiling.ranges(p.in_channels)
        steps = self.keep([[begin * length, end - begin, 0, 0, 0] for begin, end in parts])
        of_product = cut.total * cut.size * p.in_channels
        outs = _output_axes(done)
        most = epilogue.most_phases(done.fast.phases)
        for chunk in done.chunks():
            first_product, first_write = len(products), len(writes)
            there: set[int] = set()
            for piece in chunk.pieces:
                entries = []
                for _ in parts:
                    entry = [1, len(piece.rows)]
                    for row in piece.rows:
                        entry += [row * length, int(row in there)]
                    there.update(piece.rows)
                    entries.append(entry + [0] * (microkernel.PART - len(entry)))
                plane = piece.block * done.planes + piece.plane
                products.append([steps, self.keep(entries), len(parts), plane, len(products) * of_product])
            for each in range(done.slow.step):
                phases = *chunk.outer, chunk.slow + done.slow.stride * each
                targets[phases] = self.keep(destinations(outs, phases, out_strides))
                for phase in range(0, done.fast.phases, most):
                    count = min(most, done.fast.phases - phase)
                    writes.append([targets[phases], phase, count, each * done.fast.phases + phase])
            chunk_rows.append([first_product, len(products), first_write, len(writes)])
        return chunk_rows, products, writes


def _sources(done: Pairs, strides: tuple[int, ...]) -> Array:
    """Where each line's row of x begins: [outer shifts, step of the slow axis][line of an image]."""
    slow, slow_steps = done.slow, slow_strides(strides, len(done.outer) + 1)
    places = slow.first + np.arange(slow.positions) * slow.step + np.arange(slow.step)[:, None]
    last = along(places, slow.inputs, slow_steps[-1])
    found = outer(done.outer, slow_steps[:-1])
    return np.stack([plus(rows[:, None], each).ravel() for rows in found for each in last])


def _output_axes(done: Pairs) -> tuple[grids.Axis, ...]:
    """The outer axes, and the slow one as it is written: pairs are positions of twice the stride."""
    slow = done.slow
    return *done.outer, grids.Axis(slow.inputs, slow.outputs, slow.phases, slow.positions, ())
