"""A problem in pairs (`pairs.py`) made ready: its tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

import ctypes
from itertools import product
from typing import Any

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd import grid as grids
from tconv.kernels.simd import micro, pairs_item, pairs_pack, pairs_tiles, write
from tconv.kernels.simd.fields import FRAME, NOWHERE
from tconv.kernels.simd.item import MOST
from tconv.kernels.simd.job import STREAM_FROM, destinations, plus, stretch_of
from tconv.kernels.simd.pairs import Pairs, pairs
from tconv.kernels.simd.pairs_frame import PLACES
from tconv.kernels.simd.pool import Team, pool
from tconv.kernels.simd.target import target


class Job:
    """A problem with the strides of its arrays, ready to run on a number of threads."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        done, cut = pairs(p), pairs_tiles.blocks(p.out_channels)
        t, _ = pairs_tiles.tiles(p, threads)
        self.asked, self.threads = threads, min(threads, t.items)
        self.items, self.stretch = t.items, stretch_of(p, t.items, self.threads)
        self._kept: list[Array] = []
        slow, fast = done.slow, done.fast
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        lanes = target().lanes
        length = t.vectors * lanes
        places = pairs_tiles.layout(p, done, cut, t)
        chunk_table, product_table, write_table = self._tables(p, done, cut, length, out_strides)
        functions = [0] * (MOST + 1)
        for size in pairs_tiles.sizes(p, done, cut, t):
            functions[size] = micro.address(micro.Rows(cut.size, 1, ((0,),)), size, spread=True)
        told = {
            "x_batch": x_strides[0], "x_channel": x_strides[1], "x_fast": x_fast, "x_length": fast.inputs,
            "out_batch": out_strides[0], "out_channel": out_strides[1], "out_fast": out_fast,
            "out_length": fast.outputs,
            "image_rows": done.lines, "last_rows": slow.positions, "positions": fast.positions, "made": fast.made,
            "table": self._keep(_sources(done, x_strides)), "stride": fast.phases,
            "splits": t.splits, "segments": t.segments, "row_tiles": t.row_tiles, "run": p.batch * done.lines,
            "rows": t.lines, "width": t.width, "width_total": fast.positions if t.whole else fast.made,
            "whole": int(t.whole), "blocks": done.blocks, "slots": places.slots, "slot_pitch": places.pitch,
            "mask_place": places.masks, "stream_place": places.streams, "stream_size": places.stream,
            "stream_channel": places.stream * done.blocks * slow.step * fast.step,
            "plane_size": places.plane, "panel_place": places.panel, "sums_place": places.sums,
            "sum_row": length, "sum_pitch": t.width,
            "channel_pitch": done.rows * length, "group_in": p.in_channels, "group_out": p.out_channels,
            "blocks_out": cut.total, "wide": cut.size, "range_blocks": places.range_blocks, "most": cut.held,
            "chunks": len(chunk_table), "chunk_table": self._keep(chunk_table),
            "call_table": self._keep(product_table), "write_table": self._keep(write_table),
            "functions": self._keep(functions), "nothing": self._keep([0] * 16),
            "pack": pairs_pack.address(done, x_fast),
            "stream": int(p.output_bytes >= STREAM_FROM),
            "write": write.address(fast.phases, out_fast, out_strides[1], activated),
        }  # fmt: skip
        self.frame = _Frame(*(told.get(name, 0) for name in PLACES))
        self.scratch, self.item = places.scratch, pairs_item.address()

    def _keep(self, table: Any) -> int:
        kept = np.ascontiguousarray(table, np.int64)
        self._kept.append(kept)
        return int(kept.ctypes.data)

    def _tables(
        self, p: Problem, done: Pairs, cut: pairs_tiles.Blocks, length: int, out_strides: tuple[int, ...]
    ) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
        chunk_rows: list[list[int]] = []
        products: list[list[int]] = []
        writes: list[list[int]] = []
        targets: dict[tuple[int, ...], int] = {}
        parts = pairs_tiles.ranges(p.in_channels)
        steps = self._keep([[begin * length, end - begin, 0, 0, 0] for begin, end in parts])
        of_product = cut.total * cut.size * p.in_channels
        outs = _output_axes(done)
        most = write.most_phases(done.fast.phases)
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
                    entries.append(entry + [0] * (micro.PART - len(entry)))
                plane = piece.block * done.planes + piece.plane
                products.append([steps, self._keep(entries), len(parts), plane, len(products) * of_product])
            for each in range(done.slow.step):
                phases = *chunk.outer, chunk.slow + done.slow.stride * each
                targets[phases] = self._keep(destinations(outs, phases, out_strides))
                for phase in range(0, done.fast.phases, most):
                    count = min(most, done.fast.phases - phase)
                    writes.append([targets[phases], phase, count, each * done.fast.phases + phase])
            chunk_rows.append([first_product, len(products), first_write, len(writes)])
        return chunk_rows, products, writes

    def run(
        self, x: int, weights: int, bias: int, out: int, slopes: int = 0, limits: int = 0, team: Team | None = None
    ) -> bool:
        """The call itself, with the addresses of its arrays; False if an input is too large, or no number."""
        told = _Frame.from_buffer_copy(self.frame)
        told[_X], told[_WEIGHTS], told[_BIAS], told[_OUT] = x, weights, bias, out
        told[_SLOPES], told[_LIMITS] = slopes, limits
        threads = pool()
        for begin in range(0, self.items, self.stretch):
            end = min(begin + self.stretch, self.items)
            threads.run(self.item, ctypes.addressof(told), self.scratch, begin, end, self.threads, team)
            if told[_SPOILED]:
                return False
        return True


_Frame = ctypes.c_int64 * len(PLACES)
_X, _WEIGHTS, _BIAS, _OUT, _SLOPES, _LIMITS = (
    FRAME[name] for name in ("x", "weights", "bias", "out", "slopes", "limits")
)
_SPOILED = PLACES["spoiled"]


def _sources(done: Pairs, strides: tuple[int, ...]) -> Array:
    """Where each line's row of x begins: [outer shifts, step of the slow axis][line of an image]."""
    spatial = [0] * (len(done.outer) + 4 - len(strides)) + [*strides[2:-1]]
    slow = done.slow
    rows = np.arange(slow.positions) * slow.step + np.arange(slow.step)[:, None]
    last = np.where(rows < slow.inputs, rows * spatial[-1], NOWHERE)
    found: list[Array] = []
    for choice in product(*(one.shifts for one in done.outer)):
        outer = np.zeros(1, np.int64)
        for one, shift, stride in zip(done.outer, choice, spatial[:-1], strict=True):
            at = np.arange(one.positions) - shift
            along = np.where((at >= 0) & (at < one.inputs), at * stride, NOWHERE)
            outer = plus(outer[:, None], along).ravel()
        found.extend(plus(outer[:, None], parity).ravel() for parity in last)
    return np.stack(found)


def _output_axes(done: Pairs) -> tuple[grids.Axis, ...]:
    """The outer axes, and the slow one as it is written: pairs are positions of twice the stride."""
    slow = done.slow
    return *done.outer, grids.Axis(slow.inputs, slow.outputs, slow.phases, slow.positions, ())
