"""One problem made ready: its tiles, tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd import item, micro, pack, steps, tiles, write
from tconv.kernels.simd.fields import FRAME, HEAD, NOWHERE, frame
from tconv.kernels.simd.grid import Grid, grid
from tconv.kernels.simd.memory import aligned
from tconv.kernels.simd.target import target

_UNBOUNDED = 1 << 60
TOUCH = 1
STREAM_FROM = 16 << 20
AHEAD_FROM = 1 << 20
_ROWS = 6  # of the multiply-adds, where enough channels fill them


class Blocks(NamedTuple):
    """Output channels in blocks: `wide` of them in the first ones, one less in the others."""

    wide: int
    wide_count: int
    narrow_count: int

    @property
    def count(self) -> int:
        """All blocks of a group."""
        return self.wide_count + self.narrow_count


class Work(NamedTuple):
    """What has to be added up, whatever the tiles: the order of the sums and of the packed weight."""

    grid: Grid
    chunks: list[steps.Chunk]
    blocks: Blocks

    @property
    def calls(self) -> list[steps.Call]:
        """All calls of all chunks."""
        return [call for chunk in self.chunks for call in chunk.calls]

    @property
    def terms(self) -> int:
        """Weights per output channel of a group."""
        return sum(call.terms for call in self.calls)


@lru_cache(maxsize=64)
def work(p: Problem) -> Work:
    """The work of a problem."""
    axes = grid(p)
    stride = axes.fast.stride
    chunks, most = steps.chunks(p, axes, write.most_phases(stride), _ROWS)
    channels = p.out_channels // p.geometry.groups
    count = -(-channels // most)
    wide = -(-channels // count)
    return Work(axes, chunks, Blocks(wide, channels - (wide - 1) * count, count - (channels - (wide - 1) * count)))


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
        chip = target()
        done = work(p)
        self.work = done
        axes, blocks = done.grid, done.blocks
        G = p.geometry.groups
        fullest = max(blocks.wide * len(call.phases) for call in done.calls) if done.calls else 1
        t = tiles.choose(p, axes, chip.lanes, micro.most_vectors(fullest), done.terms * p.out_channels, threads)
        self.tiling = t
        units = G * blocks.count
        self.splits = _splits(t.count, units, threads)
        self.items = t.count * self.splits
        self.threads = threads
        fast = axes.fast
        x_fast, out_fast = x_strides[-1], out_strides[-1]
        self._kept: list[Array] = []
        table, stretch, outer_rows, starts = _sources(axes, x_strides, t)
        largest = max(len(chunk.phases) for chunk in done.chunks) * blocks.wide
        slots_end = 8 * (HEAD + t.blocks * t.slots)
        # the lines of the next tile, and as many entries that ask for nothing as a call has taps
        taps = max((_taps(call) for call in done.calls), default=1)
        large = x_fast == 1 and p.input_bytes > AHEAD_FROM and t.count > threads
        lines = t.blocks * t.slots * (4 * t.pitch // 64 + 2) if large else 0
        panel_place = (slots_end + 8 * (lines + taps) + 63) // 64 * 64
        sums_place = (panel_place + 4 * t.panel + 63) // 64 * 64
        self.scratch = sums_place + 4 * (largest * t.sum_row + 9 * chip.lanes)
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
            last_rows=axes.slow[-1].count,
            outer_rows=outer_rows,
            stretch=stretch,
            table=self._keep(table),
            stride=fast.stride,
            splits=self.splits,
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
            wrap=axes.slow[-1].count if t.crossing else _UNBOUNDED,
            panel_place=panel_place,
            sums_place=sums_place,
            channel_pitch=t.channel_pitch,
            sum_pitch=t.sum_pitch,
            sum_row=t.sum_row,
            group_in=p.in_channels // G,
            group_out=p.out_channels // G,
            units=units,
            blocks_out=blocks.count,
            wide_blocks=blocks.wide_count,
            wide=blocks.wide,
            group_weights=done.terms * (p.out_channels // G),
            chunks=len(done.chunks),
            chunk_table=self._keep(chunk_table),
            call_table=self._keep(call_table),
            write_table=self._keep(write_table),
            functions=self._keep(functions),
            pack=pack.address(x_fast == 1),
            ahead=threads if large else 0,
            ahead_place=slots_end,
            ahead_pad=max(1, taps),
            items=self.items,
            stream=int(p.output_bytes >= STREAM_FROM),
            touch=write.address_of_touch() if out_fast == 1 and TOUCH and p.output_bytes < STREAM_FROM else 0,
            write=write.address(fast.stride, out_fast == 1, activated),
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
        chunk_rows, calls, writes = [], [], []
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
                    numbers.append([_offset(axes, t, step.slow, step.fast, begin), end - begin, step.kind, tap, begin])
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
                    targets[slow] = self._keep(_destinations(axes, axes.slow_phases[slow], out_strides))
                writes.append([targets[slow], chunk.phases[places[0]] % stride, len(places), places[0]])
            chunk_rows.append([first_call, len(calls), first_write, len(writes), len(chunk.phases), *fits])
        return chunk_rows, calls, writes, functions

    @property
    def bytes(self) -> int:
        """Memory of the tables."""
        return sum(kept.nbytes for kept in self._kept)

    def filled(self, x: int, weights: int, bias: int, out: int) -> Array:
        """The frame of one call."""
        made = self.frame.copy()
        made[FRAME["x"]], made[FRAME["weights"]], made[FRAME["bias"]], made[FRAME["out"]] = x, weights, bias, out
        return made


def _taps(call: steps.Call) -> int:
    """Taps of a call: steps that differ in more than their channels."""
    return len({(step.slow, step.fast) for part in call.parts for step in part})


def _splits(tiles_: int, units: int, threads: int) -> int:
    """Into how many ranges of channels each tile is cut, so that all threads have work to the end."""
    if threads == 1 or tiles_ >= 4 * threads:
        return 1
    return min(units, -(-4 * threads // tiles_))


def _offset(axes: Grid, t: tiles.Tiling, slow: tuple[int, ...], fast: int, channel: int) -> int:
    """Where in the panel the lanes of a tap begin."""
    last = axes.slow[-1].shifts
    block = 0
    for axis, shift in zip(axes.slow[:-1], slow[:-1], strict=True):
        block = block * len(axis.shifts) + axis.shifts.index(shift)
    slot = 0
    if t.crossing:
        block = block * len(last) + last.index(slow[-1])
    else:
        slot = last[-1] - slow[-1]
    shifts = axes.fast.shifts
    copy, place = (shifts.index(fast), 0) if t.whole else (0, shifts[-1] - fast)
    return channel * t.channel_pitch + ((block * t.copies + copy) * t.slots + slot) * t.pitch + place


def _sources(axes: Grid, strides: tuple[int, ...], t: tiles.Tiling) -> tuple[Array, int, int, Array]:
    """Where each row of x that a tile may need begins: [shifts of outer axes][rows of outer axes][last axis, stretched].

    Also the length of the last axis, the number of outer rows, and where in the table the first row of each block is.
    """
    spatial = [0] * (len(axes.slow) + 3 - len(strides)) + [*strides[2:-1]]
    per_axis = []
    for axis, stride in zip(axes.slow[:-1], spatial[:-1], strict=True):
        rows = np.arange(axis.count) - np.array(axis.shifts)[:, None]
        per_axis.append(np.where((rows >= 0) & (rows < axis.inputs), rows * stride, NOWHERE))
    last = axes.slow[-1]
    shifts = last.shifts
    stretched = np.arange(-shifts[-1], last.count - shifts[0])
    along = np.where((stretched >= 0) & (stretched < last.inputs), stretched * spatial[-1], NOWHERE)
    outer_rows, found = 1, []
    for axis in axes.slow[:-1]:
        outer_rows *= axis.count
    for choice in product(*(range(len(axis.shifts)) for axis in axes.slow[:-1])):
        rows = np.zeros((1,), np.int64)
        for axis_rows, shift in zip(per_axis, choice, strict=True):
            rows = _plus(rows[:, None], axis_rows[shift]).ravel()
        found.append(_plus(rows[:, None], along))
    table = np.stack(found)
    size = outer_rows * len(along)
    if t.crossing:
        starts = [oc * size + shifts[-1] - shift for oc in range(len(found)) for shift in shifts]
    else:
        starts = [oc * size for oc in range(len(found))]
    return table, len(along), outer_rows, np.array(starts, np.int64)


def _plus(a: Array, b: Array) -> Array:
    return np.where((a == NOWHERE) | (b == NOWHERE), NOWHERE, a + b)


def _destinations(axes: Grid, phases: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Where each row of the output of these slow phases begins."""
    spatial = [0] * (len(axes.slow) + 3 - len(strides)) + [*strides[2:-1]]
    rows = np.zeros((1,), np.int64)
    for axis, phase, stride in zip(axes.slow, phases, spatial, strict=True):
        places = np.arange(axis.count) * axis.stride + phase
        rows = _plus(rows[:, None], np.where(places < axis.outputs, places * stride, NOWHERE)).ravel()
    return rows


def packed(p: Problem, w: Array) -> Array:
    """The weight [C_in, C_out/g, *kernel] in the order in which the multiply-adds read it."""
    done = work(p)
    blocks = done.blocks
    g = p.geometry
    G, channels = g.groups, p.out_channels // g.groups
    kernel = g.kernel if g.ndim > 1 else (1, *g.kernel)
    # taps first: each step takes [C_in, C_out] of one tap
    by_tap = np.ascontiguousarray(
        np.moveaxis(w.reshape(G, p.in_channels // G, channels, *kernel), (1, 2), (-2, -1)), np.float32
    )
    total = aligned(4 * G * done.terms * channels).view(np.float32)
    for group in range(G):
        mine = total[group * done.terms * channels :]
        started = 0
        for call in done.calls:
            for width, count, first in (
                (blocks.wide, blocks.wide_count, 0),
                (blocks.wide - 1, blocks.narrow_count, blocks.wide * blocks.wide_count),
            ):
                if not count or not width:
                    continue
                size = call.terms * width
                here = mine[started + first * call.terms :][: count * size].reshape(count, size)
                place = 0
                for step in (step for part in call.parts for step in part):
                    begin, end = step.channels
                    taps = np.stack([by_tap[group, *tap, begin:end, first : first + count * width] for tap in step.taps])
                    length = (end - begin) * width * len(step.taps)
                    here[:, place : place + length] = (
                        taps.reshape(len(step.taps), end - begin, count, width).transpose(2, 1, 3, 0).reshape(count, length)
                    )
                    place += length
            started += call.terms * channels
    return total
