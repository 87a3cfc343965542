"""One problem made ready: its tiles, tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd import item, micro, pack, steps, tiles, write
from tconv.kernels.simd.fields import FRAME, HEAD, NOWHERE, frame
from tconv.kernels.simd.grid import Axis, Grid
from tconv.kernels.simd.pool import Team, pool
from tconv.kernels.simd.work import Work, shape, work

_UNBOUNDED = 1 << 60
STREAM_FROM = 8 << 20
"""Bytes of output from which on it is written past the caches: they could not hold it for the next reader."""
_STRETCH = 2e10
"""Operations after which Python may look whether it is to stop: a fraction of a second."""


def stretch_of(p: Problem, items: int, threads: int) -> int:
    """Between two stretches of this many items Python may be interrupted."""
    return max(threads, round(_STRETCH * items / max(1, 2 * p.macs.border_free)))


class Job:
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
        self.asked = threads
        self.items, self.threads, self.scratch = made.items, made.threads, made.scratch
        self.stretch = stretch_of(p, made.items, made.threads)
        fast = axes.fast
        # the stride of an axis with one element says nothing
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        stream = p.output_bytes >= STREAM_FROM
        self._kept: list[Array] = []
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
            table=self._keep(table),
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
            block_table=self._keep(starts),
            copies=t.copies,
            copy_table=self._keep(np.array(fast.shifts if t.whole else [fast.shifts[-1]], np.int64)),
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
            chunk_table=self._keep(chunk_table),
            call_table=self._keep(call_table),
            write_table=self._keep(write_table),
            functions=self._keep(functions),
            pack=pack.address(x_fast, x_strides[1], t.pitch),
            ahead=made.threads if made.ahead_place and x_fast == 1 else 0,
            ahead_place=made.ahead_place or 8 * (HEAD + t.blocks * t.slots),
            ahead_pad=made.taps,
            items=made.items,
            stream=int(stream),
            touch=write.address_of_touch() if out_fast == 1 and not stream else 0,
            write=write.address(fast.stride, out_fast, out_strides[1], activated),
        )
        self.item = item.address()

    def _keep(self, table: Any) -> int:
        kept = np.ascontiguousarray(table, np.int64)
        self._kept.append(kept)
        return int(kept.ctypes.data)

    def _tables(
        self, p: Problem, done: Work, t: tiles.Tiling, out_strides: tuple[int, ...]
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
            fits = [micro.most_vectors(max(1, largest * (blocks.wide - narrow))) for narrow in (0, 1)]
            for call in chunk.calls:
                key = (len(call.phases), call.kinds)
                if key not in kinds:
                    kinds[key] = len(kinds)
                    functions.extend([0] * (item.MOST + 1) for _ in (0, 1))
                for narrow, used in enumerate((blocks.wide_count, blocks.narrow_count)):
                    for vectors in t.vectors() if used else ():
                        for size in tiles.groups_of(vectors, fits[narrow]):
                            rows = steps.rows_of(call, blocks.wide - narrow)
                            functions[kinds[key] * 2 + narrow][size] = micro.address(rows, size)
                order: dict[Any, int] = {}
                numbers = []
                for step in (step for part in call.parts for step in part):
                    begin, end = step.channels
                    tap = order.setdefault((step.slow, step.fast), len(order))
                    numbers.append([offset(step.slow, step.fast, begin), end - begin, step.kind, tap, begin])
                place = chunk.phases.index(call.phases[0])
                calls.append(
                    [
                        self._keep(numbers or [[0] * micro.STEP]),
                        self._keep([len(part) for part in call.parts]),
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
                    targets[slow] = self._keep(destinations(axes.slow, axes.slow_phases[slow], out_strides))
                writes.append([targets[slow], chunk.phases[places[0]] % stride, len(places), places[0]])
            chunk_rows.append([first_call, len(calls), first_write, len(writes), len(chunk.phases), *fits])
        return chunk_rows, calls, writes, functions

    def run(
        self, x: int, weights: int, bias: int, out: int, slopes: int = 0, limits: int = 0, team: Team | None = None
    ) -> bool:
        """The call itself, with the addresses of its arrays; `limits` holds a lowest and a highest output. True."""
        told = _Frame.from_buffer_copy(self.frame.data)
        told[_X], told[_WEIGHTS], told[_BIAS], told[_OUT] = x, weights, bias, out
        told[_SLOPES], told[_LIMITS] = slopes, limits
        threads = pool()
        for begin in range(0, self.items, self.stretch):
            end = min(begin + self.stretch, self.items)
            threads.run(self.item, ctypes.addressof(told), self.scratch, begin, end, self.threads, team)
        return True


_Frame = ctypes.c_int64 * len(FRAME)
_X, _WEIGHTS, _BIAS, _OUT, _SLOPES, _LIMITS = (
    FRAME[name] for name in ("x", "weights", "bias", "out", "slopes", "limits")
)


def _offsets(axes: Grid, t: tiles.Tiling) -> Callable[[tuple[int, ...], int, int], int]:
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


def _sources(axes: Grid, strides: tuple[int, ...], t: tiles.Tiling) -> tuple[Array, int, int, Array]:
    """Where each row of x begins that a tile may need: [outer shifts][outer rows][last axis, stretched by its shifts].

    Then the length of the last axis, the number of outer rows, and where in the table the first row of each block is.
    """
    spatial = [0] * (len(axes.slow) + 3 - len(strides)) + [*strides[2:-1]]
    per_axis = []
    for axis, stride in zip(axes.slow[:-1], spatial[:-1], strict=True):
        rows = np.arange(axis.positions) - np.array(axis.shifts)[:, None]
        per_axis.append(np.where((rows >= 0) & (rows < axis.inputs), rows * stride, NOWHERE))
    last = axes.slow[-1]
    shifts = last.shifts
    stretched = np.arange(-shifts[-1], last.positions - shifts[0])
    along = np.where((stretched >= 0) & (stretched < last.inputs), stretched * spatial[-1], NOWHERE)
    outer_rows, found = 1, []
    for axis in axes.slow[:-1]:
        outer_rows *= axis.positions
    for choice in product(*(range(len(axis.shifts)) for axis in axes.slow[:-1])):
        rows = np.zeros((1,), np.int64)
        for axis_rows, shift in zip(per_axis, choice, strict=True):
            rows = plus(rows[:, None], axis_rows[shift]).ravel()
        found.append(plus(rows[:, None], along))
    table = np.stack(found)
    size = outer_rows * len(along)
    if t.crossing:
        starts = [oc * size + shifts[-1] - shift for oc in range(len(found)) for shift in shifts]
    else:
        starts = [oc * size for oc in range(len(found))]
    return table, len(along), outer_rows, np.array(starts, np.int64)


def plus(a: Array, b: Array) -> Array:
    return np.where((a == NOWHERE) | (b == NOWHERE), NOWHERE, a + b)


def destinations(slow: tuple[Axis, ...], phases: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Where each row of the output of these slow phases begins."""
    spatial = [0] * (len(slow) + 3 - len(strides)) + [*strides[2:-1]]
    rows = np.zeros((1,), np.int64)
    for axis, phase, stride in zip(slow, phases, spatial, strict=True):
        places = np.arange(axis.positions) * axis.stride + phase
        rows = plus(rows[:, None], np.where(places < axis.outputs, places * stride, NOWHERE)).ravel()
    return rows
