"""Machine code of passes over planes: a tile is a channel, or a row of one where there are few."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from tconv._arrays import Array
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.elements import FLOAT32
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.vector_ir import Function, Value

KINDS = "sum", "product", "scaled", "copy", "blocks"

_NAMES = """
    x x_channel x_row z z_channel z_row out out_channel out_row
    parts part odd rows columns per_channel x_scale z_scale
"""
_PLACES = {name: place for place, name in enumerate(_NAMES.split())}
_Frame = ctypes.c_int64 * len(_PLACES)


def run(kind: str, arrays: Sequence[Array], blocks: Array | None, scales: tuple[float, float]) -> None:
    """Run a pass: `arrays` are the inputs and the output, [C, h, w]; `blocks` is [C, r, 2, h, w], for "blocks"."""
    x, out = arrays[0], arrays[-1]
    z = arrays[1] if len(arrays) > 2 else x
    channels, rows, columns = out.shape
    threads = get_num_threads()
    per_channel = 1 if channels >= 4 * threads else rows
    places = [place for array in (x, z, out) for place in (array.ctypes.data, *array.strides[:2])]
    parts, part, other = (1, 0, 0) if blocks is None else (blocks.shape[1], *blocks.strides[1:3])
    sizes = parts, part, other, parts * rows // per_channel, columns, per_channel
    frame = _Frame(*places, *sizes, *map(_bits, scales))
    pool().run(_address(kind), ctypes.addressof(frame), 0, 0, channels * per_channel, threads)


def _address(kind: str) -> int:
    """Return the address of the function `(frame, scratch, number of the tile)`."""
    name = f"planes_{kind}"
    return OBJECT_CACHE.address(name, lambda: _write(name, kind))


def warm_up() -> None:
    """Build all machine code of passes."""
    for kind in KINDS:
        _address(kind)


def _write(name: str, kind: str) -> str:
    f = Function(name, 3, FLOAT32)
    base, _, tile = f.arguments
    frame = Fields(f, base, _PLACES)
    channel, first = tile // frame.per_channel, tile % frame.per_channel
    columns, lanes = frame.columns, f.lanes
    inside = columns // lanes * lanes
    scales = [f.splat(f.load(base, 2 * _PLACES[place])) for place in ("x_scale", "z_scale")]
    with f.loop(first * frame.rows, (first + 1) * frame.rows) as row:
        x, z, out = (
            start + channel * of_channel + row * of_row
            for start, of_channel, of_row in (
                (frame.x, frame.x_channel, frame.x_row),
                (frame.z, frame.z_channel, frame.z_row),
                (frame.out, frame.out_channel, frame.out_row),
            )
        )
        if kind == "blocks":
            out = frame.out + channel * frame.out_channel + row // frame.parts * frame.out_row
            out = out + row % frame.parts * frame.part

        def step(column: Value, mask: Value | None) -> None:
            def loaded(start: Value, place: Value, of: Value | None) -> Value:
                return f.load(start, place, f.vector) if of is None else f.masked_load(start, place, of)

            def stored(value: Value, start: Value) -> None:
                if mask is None:
                    f.store(value, start, column, f.vector)
                else:
                    f.masked_store(value, start, column, mask)

            if kind == "blocks":
                left = columns * 2 - column * 2
                masks = [None, None] if mask is None else [f.mask(0, left), f.mask(0, left - lanes)]
                pair = [loaded(x, column * 2 + at, of) for at, of in zip((0, lanes), masks, strict=True)]
                for odd, start in enumerate((out, out + frame.odd)):
                    stored(f.shuffle(pair[0], pair[1], [*range(odd, 2 * lanes, 2)]), start)
                return
            value = loaded(x, column, mask)
            if kind == "sum":
                value = value * scales[0] + loaded(z, column, mask) * scales[1]
            elif kind == "product":
                value = value * loaded(z, column, mask)
            elif kind == "scaled":
                value = value * f.splat(f.load(z))
            stored(value, out)

        with f.loop(0, inside, lanes) as column:
            step(column, None)
        with f.when(inside < columns):
            step(inside, f.mask(0, columns - inside))
    return f.finish()


def _bits(number: float) -> int:
    """Return the bits of a float32 as an integer."""
    return int(np.float32(number).view(np.uint32))
