"""One problem made ready: its tiles, tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import HEAD, frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, Ready
from tconv.kernels.simd.direct import accumulation_order, pack, tile_loop, tiling
from tconv.kernels.simd.direct.schedule import Work, shape, work
from tconv.kernels.simd.phase_axes import Grid
from tconv.kernels.simd.row_offsets import along, destinations, outer, plus, slow_strides

_UNBOUNDED = 1 << 60


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
        done, made = work(p), shape(p, threads)
        axes, blocks, t = done.grid, done.blocks, made.tiling
        G = p.geometry.groups
        super().__init__(p, made.items, made.threads, made.scratch, threads)
        fast = axes.fast
        # the stride of an axis with one element says nothing
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        stream = p.output_bytes >= STREAM_FROM
        table, stretch, outer_rows, starts = _sources(axes, x_strides, t)
        chunk_table, call_table, write_table, functions = self._tables(p, done, t, out_strides)
        self.frame = frame(
            x_batch=x_strides[0],
            x_channel=x_strides[1],
            x_fast=x_fast,
            x_length=fast.inputs,
            out_batch=out_strides[0],
            out_channel=out_strides[1],
            out_fast=out_fast,
            out_length=fast.outputs,
            image_rows=axes.rows,
            last_rows=axes.slow[-1].positions,
            outer_rows=outer_rows,
            stretch=stretch,
            table=self.keep(table),
            stride=fast.stride,
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
            copy_table=self.keep(np.array(fast.shifts if t.whole else [fast.shifts[-1]], np.int64)),
            slots=t.slots,
            slot_pitch=t.pitch,
            pack_width=t.pitch,
            extra=t.slots - t.rows,
            wrap=axes.slow[-1].positions if t.crossing else _UNBOUNDED,
            panel_place=made.panel_place,
            sums_place=made.sums_place,
            channel_pitch=t.channel_pitch,
            sum_pitch=t.sum_pitch,
            sum_row=t.sum_row,
            group_in=p.in_channels // G,
            group_out=p.out_channels // G,
            units=G * blocks.total,
            blocks_out=blocks.total,
            wide_blocks=blocks.wide_count,
            wide=blocks.wide,
            group_weights=done.terms * (p.out_channels // G),
            chunks=len(done.chunks),
            chunk_table=self.keep(chunk_table),
            call_table=self.keep(call_table),
            write_table=self.keep(write_table),
            functions=self.keep(functions),
            pack=pack.address(x_fast, x_strides[1], t.pitch),
            ahead=made.threads if made.ahead_place and x_fast == 1 else 0,
            ahead_place=made.ahead_place or 8 * (HEAD + t.blocks * t.slots),
            ahead_pad=made.taps,
            items=made.items,
            stream=int(stream),
            touch=epilogue.address_of_touch() if out_fast == 1 and not stream else 0,
            write=epilogue.address(fast.stride, out_fast, out_strides[1], activated),
        )
        self.item = tile_loop.address()

    def _tables(
        self, p: Problem, done: Work, t: tiling.Tiling, out_strides: tuple[int, ...]
    ) -> tuple[Any, Any, Any, Any]:
        axes, blocks, stride = done.grid, done.blocks, done.grid.fast.stride
        offset = _offsets(axes, t)
        chunk_rows: list[list[int]] = []
        calls: list[list[int]] = []
        writes: list[list[int]] = []
        functions: list[list[int]] = []
        kinds: dict[Any, int] = {}
        targets: dict[int, int] = {}
        started = 0
        channels = p.out_channels // p.geometry.groups
        for chunk in done.chunks:
            first_call, first_write = len(calls), len(writes)
            largest = max((len(call.phases) for call in chunk.calls), default=1)
            fits = [microkernel.most_vectors(max(1, largest * (blocks.wide - narrow))) for narrow in (0, 1)]
            for call in chunk.calls:
                key = (len(call.phases), call.kinds)
                if key not in kinds:
                    kinds[key] = len(kinds)
                    functions.extend([0] * (tile_loop.MOST + 1) for _ in (0, 1))
                for narrow, used in enumerate((blocks.wide_count, blocks.narrow_count)):
                    for vectors in t.vectors() if used else ():
                        for size in tiling.groups_of(vectors, fits[narrow]):
                            rows = accumulation_order.rows_of(call, blocks.wide - narrow)
                            functions[kinds[key] * 2 + narrow][size] = microkernel.address(rows, size)
                order: dict[Any, int] = {}
                numbers = []
                for step in (step for part in call.parts for step in part):
                    begin, end = step.channels
                    tap = order.setdefault((step.slow, step.fast), len(order))
                    numbers.append([offset(step.slow, step.fast, begin), end - begin, step.kind, tap, begin])
                place = chunk.phases.index(call.phases[0])
                calls.append(
                    [
                        self.keep(numbers or [[0] * microkernel.STEP]),
                        self.keep([len(part) for part in call.parts]),
                        len(call.parts),
                        started,
                        call.terms,
                        place,
                        kinds[key],
                        len(order),
                    ]
                )
                started += call.terms * channels
            by_slow: dict[int, list[int]] = {}
            for place, phase in enumerate(chunk.phases):
                by_slow.setdefault(phase // stride, []).append(place)
            for slow, places in by_slow.items():
                if slow not in targets:
                    targets[slow] = self.keep(destinations(axes.slow, axes.slow_phases[slow], out_strides))
                writes.append([targets[slow], chunk.phases[places[0]] % stride, len(places), places[0]])
            chunk_rows.append([first_call, len(calls), first_write, len(writes), len(chunk.phases), *fits])
        return chunk_rows, calls, writes, functions


def _offsets(axes: Grid, t: tiling.Tiling) -> Callable[[tuple[int, ...], int, int], int]:
    """Where in the panel the lanes of a tap begin: a function of its slow shifts, its fast shift, and a channel."""
    fast, last = axes.fast.shifts, axes.slow[-1].shifts
    outer = [{shift: place for place, shift in enumerate(axis.shifts)} for axis in axes.slow[:-1]]
    copies = {shift: place for place, shift in enumerate(fast)}
    crossed = {shift: place for place, shift in enumerate(last)}

    def offset(slow: tuple[int, ...], shift: int, channel: int) -> int:
        block = 0
        for places, part in zip(outer, slow[:-1], strict=True):
            block = block * len(places) + places[part]
        slot = 0
        if t.crossing:
            block = block * len(last) + crossed[slow[-1]]
        else:
            slot = last[-1] - slow[-1]
        copy, place = (copies[shift], 0) if t.whole else (0, fast[-1] - shift)
        return channel * t.channel_pitch + ((block * t.copies + copy) * t.slots + slot) * t.pitch + place

    return offset


def _sources(axes: Grid, strides: tuple[int, ...], t: tiling.Tiling) -> tuple[Array, int, int, Array]:
    """Where each row of x begins that a tile may need: [outer shifts][outer rows][last axis, stretched by its shifts].

    Then the length of the last axis, the number of outer rows, and where in the table the first row of each block is.
    """
    slow_steps = slow_strides(strides, len(axes.slow))
    last = axes.slow[-1]
    shifts = last.shifts
    stretched = along(np.arange(-shifts[-1], last.positions - shifts[0]), last.inputs, slow_steps[-1])
    found = outer(axes.slow[:-1], slow_steps[:-1])
    table = np.stack([plus(rows[:, None], stretched) for rows in found])
    outer_rows, length = len(found[0]), len(stretched)
    size = outer_rows * length
    if t.crossing:
        starts = [oc * size + shifts[-1] - shift for oc in range(len(found)) for shift in shifts]
    else:
        starts = [oc * size for oc in range(len(found))]
    return table, length, outer_rows, np.array(starts, np.int64)
