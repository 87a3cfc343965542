"""A problem in pairs (`pairs.py`) made ready: its tables and functions. What is left to a call is four addresses."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from tconv.kernels.problem import Array, Layer, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, Ready
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.tile_loop import MOST
from tconv.kernels.simd.direct.tiling import groups_of
from tconv.kernels.simd.row_offsets import along, destinations, outer, slow_strides, together
from tconv.kernels.simd.winograd_f22 import pack, tile_loop, tiling
from tconv.kernels.simd.winograd_f22.filtering import Lengths, Pairs, lengths

_NOTHING = np.zeros(16, np.int64)
"""Addresses for functions that are to ask for nothing ahead."""


class _LayerTables:
    """The tables of a layer, in which a problem fills in what depends on its tiles and strides: places and addresses.

    Functions are added when the first tile needs them; all problems of the layer share them.
    """

    def __init__(self, layer: Layer) -> None:
        (done, cut, _) = tiling.layered(layer)
        self.chunks, self._products, self._writes, self._entries, self._steps = self._of(layer, done, cut)
        self.functions = np.zeros(MOST + 1, np.int64)
        self._rows, self._held = microkernel.Rows(cut.size, 1, ((0,),)), cut.held
        self._made: set[int] = set()

    @staticmethod
    def _of(layer: Layer, done: Pairs, cut: tiling.Blocks) -> list[Array]:
        chunks: list[list[int]] = []
        products: list[list[int]] = []
        writes: list[list[int]] = []
        entries: list[list[int]] = []
        parts = tiling.ranges(layer.in_channels)
        of_product = cut.total * cut.size * layer.in_channels
        most = epilogue.most_phases(done.fast.phases)
        outers = list(product(*(range(one.stride) for one in done.outer)))
        for chunk in done.chunks:
            first_product, first_write = len(products), len(writes)
            there: set[int] = set()
            for piece in chunk.pieces:
                at = len(entries) * microkernel.PART * 8
                for _ in parts:
                    entry = [1, len(piece.rows)]
                    for row in piece.rows:
                        entry += [row, int(row in there)]
                    there.update(piece.rows)
                    entries.append(entry + [0] * (microkernel.PART - len(entry)))
                plane = piece.block * done.planes + piece.plane
                products.append([0, at, len(parts), plane, len(products) * of_product])
            for each in range(done.slow.step):
                slow = outers.index(chunk.outer) * done.slow.phases + chunk.slow + done.slow.stride * each
                for phase in range(0, done.fast.phases, most):
                    count = min(most, done.fast.phases - phase)
                    writes.append([slow, phase, count, each * done.fast.phases + phase])
            chunks.append([first_product, len(products), first_write, len(writes)])
        steps = [[begin, end - begin, 0, 0, 0] for begin, end in parts]
        return [np.array(table, np.int64) for table in (chunks, products, writes, entries, steps)]

    def steps(self, length: int) -> Array:
        """The ranges of input channels, of so many positions each."""
        made = self._steps.copy()
        made[:, 0] *= length
        return made

    def entries(self, length: int) -> Array:
        """To which rows of sums a part of a product is added, rows of so many positions."""
        made = self._entries.copy()
        made[:, 2::2] *= length
        return made

    def products(self, steps: int, entries: int) -> Array:
        """All products, with the addresses of these."""
        made = self._products.copy()
        made[:, 0] = steps
        made[:, 1] += entries
        return made

    def writes(self, destinations: int, rows: int) -> Array:
        """All writes, to so many rows of each slow phase that are tabled at this address."""
        made = self._writes.copy()
        made[:, 0] = made[:, 0] * (8 * rows) + destinations
        return made

    def add_functions(self, vectors: set[int]) -> None:
        """Have the functions for tiles of so many vectors."""
        for each in vectors - self._made:
            for size in groups_of(each, self._held):
                self.functions[size] = microkernel.address(self._rows, size, spread=True)
            self._made.add(each)  # last: another thread may look at it now


@lru_cache(maxsize=64)
def _tables(layer: Layer) -> _LayerTables:
    return _LayerTables(layer)


class Job(Ready):
    """A problem with the strides of its arrays, ready to run on a number of threads."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        layer, sizes, tables = p.layer, lengths(p), _tables(p.layer)
        (done, cut, _), t = tiling.layered(layer), tiling.tiles(p, threads)
        slow, fast = sizes.slow, sizes.fast
        x_fast, out_fast = x_strides[-1] if fast.inputs > 1 else 1, out_strides[-1] if fast.outputs > 1 else 1
        length, lines = t.vectors * target().lanes, sizes.lines
        places = tiling.layout(layer, t)
        super().__init__(p, t.items, min(threads, t.items), places.scratch, threads)
        tables.add_functions(tiling.vectors_of(p, t))
        steps, entries = self.keep(tables.steps(length)), self.keep(tables.entries(length))
        rows = self.keep(_destinations(done, sizes, out_strides))
        self.frame = frame(**{
            "x_batch": x_strides[0], "x_channel": x_strides[1], "x_fast": x_fast, "x_length": fast.inputs,
            "out_batch": out_strides[0], "out_channel": out_strides[1], "out_fast": out_fast,
            "out_length": fast.outputs,
            "image_rows": lines, "last_rows": slow.positions, "positions": fast.positions, "made": fast.made,
            "x_first": done.fast.first,
            "table": self.keep(_sources(done, sizes, x_strides)), "stride": done.fast.phases,
            "splits": t.splits, "segments": t.segments, "row_tiles": t.row_tiles, "run": p.batch * lines,
            "rows": t.lines, "width": t.width, "width_total": fast.positions if t.whole else fast.made,
            "whole": int(t.whole), "blocks": done.blocks, "slots": places.slots, "slot_pitch": places.pitch,
            "mask_place": places.masks, "stream_place": places.streams, "stream_size": places.stream,
            "stream_channel": places.stream * done.blocks * done.slow.step * done.fast.step,
            "plane_size": places.plane, "panel_place": places.panel, "sums_place": places.sums,
            "sum_row": length, "sum_pitch": t.width,
            "channel_pitch": done.rows * length, "group_in": p.in_channels, "group_out": p.out_channels,
            "blocks_out": cut.total, "wide": cut.size, "range_blocks": places.range_blocks, "most": cut.held,
            "chunks": len(tables.chunks), "chunk_table": self.keep(tables.chunks),
            "call_table": self.keep(tables.products(steps, entries)),
            "write_table": self.keep(tables.writes(rows, lines)),
            "functions": self.keep(tables.functions), "nothing": self.keep(_NOTHING),
            "pack": pack.address(done, x_fast, fast.inputs),
            "stream": int(p.output_bytes >= STREAM_FROM),
            "write": epilogue.address(done.fast.phases, out_fast, out_strides[1], activated),
        })  # fmt: skip
        self.item = tile_loop.address()


def _sources(done: Pairs, sizes: Lengths, strides: tuple[int, ...]) -> Array:
    """Return where each line's row of x begins: [outer shifts, step of the slow axis][line of an image]."""
    slow, slow_steps = done.slow, slow_strides(strides, len(done.outer) + 1)
    places = slow.first + np.arange(sizes.slow.positions) * slow.step + np.arange(slow.step)[:, None]
    last = along(places, sizes.slow.inputs, slow_steps[-1])
    return together([*outer(done.outer, sizes.outer, slow_steps), last])


def _destinations(done: Pairs, sizes: Lengths, strides: tuple[int, ...]) -> Array:
    """Return where each line of the output begins: [outer phases, phases of the slow axis and its pairs][line]."""
    outs = zip((one.stride for one in done.outer), sizes.outer, strict=True)
    axes = [(stride, length.positions, length.outputs) for stride, length in outs]
    axes.append((done.slow.phases, sizes.slow.positions, sizes.slow.outputs))
    return destinations(axes, slow_strides(strides, len(axes)))
