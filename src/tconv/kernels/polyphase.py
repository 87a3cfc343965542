"""The polyphase form on NumPy and BLAS: one matrix product per shift, no zero inserted, no column buffer.

Tap t feeds phase r = (d*t) mod s from x shifted by q = (d*t) div s. All phases with a tap at shift q share that shifted
x, so their rows stand in one matrix product: [phases x C_out, C_in] @ [C_in, positions]. Over a zero-padded, flattened
input a shift is one constant offset: the product reads the padded input in place, and any number of axes is one axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import groupby, product
from typing import Any, NamedTuple

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.problem import Array, Kernel, Problem

_BUDGET = 1 << 20  # bytes of sums held at a time, and as many of products: both stay in a core's own cache


class _Axis(NamedTuple):
    """One axis of the grid of positions j, where full[s*j + r]; shifted inputs x[j - q] come from a padded window."""

    first: int  # smallest j whose outputs are kept
    length: int  # number of j
    reach: int  # largest shift
    clip: tuple[int, int]  # the inputs that the window holds: x[clip[0] : clip[1]]
    lead: int  # zeros in front of them

    @property
    def pitch(self) -> int:
        """Length of the padded window."""
        return self.length + self.reach


@lru_cache(maxsize=256)
def _axes(p: Problem) -> list[_Axis]:
    axes = []
    g = p.geometry
    for n, L, e, s, (lo, _) in zip(p.input_shape, p.output_shape, g.extent, g.stride, g.crop, strict=True):
        first, stop = lo // s, (L - 1 + lo) // s + 1
        reach = (e - 1) // s
        begin, end = max(0, min(first - reach, n)), max(0, min(stop, n))
        axes.append(_Axis(first, stop - first, reach, (begin, end), begin - (first - reach)))
    return axes


class _Shift(NamedTuple):
    """One shift q: per axis, the arithmetic progression of phases that have a tap there, and those taps."""

    q: tuple[int, ...]
    phases: tuple[Any, ...]
    taps: tuple[Any, ...]


def _shift_of(s: int, d: int, t: int) -> int:
    return d * t // s


@lru_cache(maxsize=256)
def _shifts(g: Geometry) -> list[_Shift]:
    per_axis = []
    for k, s, d in zip(g.kernel, g.stride, g.dilation, strict=True):
        found = []
        for q, group in groupby(range(k), partial(_shift_of, s, d)):
            taps = list(group)
            phase = d * taps[0] - s * q
            found.append((q, slice(phase, phase + d * (len(taps) - 1) + 1, d), slice(taps[0], taps[-1] + 1)))
        per_axis.append(found)
    return [_Shift(*(tuple(part) for part in zip(*choice, strict=True))) for choice in product(*per_axis)]


class _Blocks(NamedTuple):
    """How many images, groups, output channels and rows of the first axis are summed at a time."""

    batch: int
    groups: int
    channels: int
    rows: int


def _blocks(p: Problem) -> _Blocks:
    axes = _axes(p)
    g = p.geometry
    unit = math.prod(g.stride) * math.prod(axis.pitch for axis in axes[1:]) * p.accumulate.itemsize
    room = max(1, _BUDGET // unit)
    sizes = []
    for total in (p.out_channels // g.groups, axes[0].length, g.groups, max(1, p.batch)):
        sizes.append(min(total, room))
        room = max(1, room // sizes[-1])
    channels, rows, groups, batch = sizes
    return _Blocks(batch, groups, channels, rows)


def _is_whole(p: Problem, axes: list[_Axis]) -> bool:
    """Whether the padded window of x is x itself, so that no copy is needed."""
    exact = all(axis.clip == (0, n) and axis.pitch == n for axis, n in zip(axes, p.input_shape, strict=True))
    return exact and _tail(axes) == 0


def _tail(axes: list[_Axis]) -> int:
    """Elements read behind the padded window by the last row of the most advanced shift; their sums are discarded."""
    return sum(axis.reach * math.prod(later.pitch for later in axes[a + 1 :]) for a, axis in enumerate(axes) if a > 0)


def _padded(p: Problem, axes: list[_Axis], x: Array) -> Array:
    """The input [N, G, C, *spatial] as [N, G, C, positions], zeros around it, in the dtype of the sums."""
    if _is_whole(p, axes):
        return np.ascontiguousarray(x, p.accumulate).reshape(*x.shape[:3], math.prod(x.shape[3:]))
    plane = math.prod(axis.pitch for axis in axes)
    flat = np.zeros((*x.shape[:3], plane + _tail(axes)), p.accumulate)
    window = flat[..., :plane].reshape(*x.shape[:3], *(axis.pitch for axis in axes))
    inside: Any = tuple(slice(axis.lead, axis.lead + axis.clip[1] - axis.clip[0]) for axis in axes)
    kept: Any = [slice(*axis.clip) for axis in axes]
    window[..., *inside] = x[..., *kept]
    return flat


def _ranges(total: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, total)) for start in range(0, total, step))


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array) -> None:
    """Canonical x [N, C_in, *n], w [C_in, C_out/g, *k], bias [C_out] or None; fills out [N, C_out, *L]."""
    g, G = p.geometry, p.geometry.groups
    axes, shifts = _axes(p), _shifts(g)
    blocks = _blocks(p)
    pitches = [math.prod(later.pitch for later in axes[a + 1 :]) for a in range(g.ndim)]
    x = x.reshape(p.batch, G, p.in_channels // G, *p.input_shape)
    w = w.reshape(G, p.in_channels // G, p.out_channels // G, *g.kernel).astype(p.accumulate, copy=False)
    out = _split(out, G)
    offset = None if bias is None else bias.reshape(G, p.out_channels // G).astype(p.accumulate, copy=False)
    held = np.empty((2, _block_count(p, axes, blocks)), p.accumulate)  # the sums of a block, and one shift's products
    parts = list(product(_ranges(G, blocks.groups), _ranges(p.out_channels // G, blocks.channels)))
    packed = [[_packed(w[groups, :, channels], shift) for shift in shifts] for groups, channels in parts]
    for batch in _ranges(p.batch, blocks.batch):
        flat = _padded(p, axes, x[batch])
        for ((groups, channels), matrices), block in product(
            zip(parts, packed, strict=True), _ranges(axes[0].length, blocks.rows)
        ):
            length = (block.stop - block.start) * pitches[0]
            size = (batch.stop - batch.start, groups.stop - groups.start)
            sums = _shaped(held[0], (*size, *g.stride, channels.stop - channels.start, length))
            sums[...] = 0 if offset is None else offset[groups, channels].reshape(1, size[1], *[1] * g.ndim, -1, 1)
            for shift, matrix in zip(shifts, matrices, strict=True):
                start = sum((a.reach - q) * pitch for a, q, pitch in zip(axes, shift.q, pitches, strict=True))
                start += block.start * pitches[0]
                products = _shaped(held[1], (*size, matrix.shape[1], length))
                through = np.multiply if matrix.shape[2] == 1 else np.matmul  # one channel a group: nothing to sum
                through(matrix, flat[:, groups, :, start : start + length], out=products)
                place = sums[:, :, *shift.phases]
                place += products.reshape(place.shape)
            _write(p, axes, block, sums, out[batch, groups, channels])


def _packed(w: Array, shift: _Shift) -> Array:
    """The rows of one shift's matrix product, [G, phases x C_out, C_in], from w [G, C_in, C_out, *kernel].

    Stored with C_in first: copying the taps of one input channel at a time reads w nearly in order, and BLAS takes a
    transposed matrix as it is.
    """
    taps = np.ascontiguousarray(np.moveaxis(w[..., *shift.taps], 2, -1))
    return taps.reshape(*taps.shape[:2], math.prod(taps.shape[2:])).swapaxes(1, 2)


def _block_count(p: Problem, axes: list[_Axis], blocks: _Blocks) -> int:
    """Elements of the largest block of sums."""
    return math.prod(blocks) * math.prod(p.geometry.stride) * math.prod(axis.pitch for axis in axes[1:])


def _shaped(memory: Array, shape: tuple[int, ...]) -> Array:
    """The front of a flat array, in a shape."""
    return memory[: math.prod(shape)].reshape(shape)


def _split(out: Array, groups: int) -> Array:
    """A view of out [N, C, ...] as [N, G, C/G, ...], whatever its strides: reshape would copy some of them."""
    step = out.strides[1]
    per = out.shape[1] // groups
    shape, strides = (out.shape[0], groups, per, *out.shape[2:]), (out.strides[0], step * per, step, *out.strides[2:])
    return np.lib.stride_tricks.as_strided(out, shape, strides)


def _write(p: Problem, axes: list[_Axis], block: slice, sums: Array, out: Array) -> None:
    """Interleave the phases of a block of rows into out [N, G, C, *L], dropping what the crop takes."""
    g = p.geometry
    grid = sums.reshape(*sums.shape[:-1], block.stop - block.start, *(axis.pitch for axis in axes[1:]))
    starts, stops = [block.start, *[0] * (g.ndim - 1)], [block.stop, *(axis.length for axis in axes[1:])]
    for phase in np.ndindex(*g.stride):
        source: list[Any] = []
        target: list[Any] = []
        for a, (axis, r, s, (lo, _), L) in enumerate(zip(axes, phase, g.stride, g.crop, p.output_shape, strict=True)):
            # positions j of this block with 0 <= s*j + r - lo < L
            first = max(axis.first + starts[a], -((r - lo) // s))
            stop = min(axis.first + stops[a], (L - 1 + lo - r) // s + 1)
            source.append(slice(first - axis.first - starts[a], max(first, stop) - axis.first - starts[a]))
            target.append(slice(s * first + r - lo, s * max(first, stop) + r - lo, s) if first < stop else slice(0, 0))
        out[..., *target] = grid[:, :, *phase, :, *source]


def reasons_against(p: Problem) -> list[str]:
    """Weights with inf or NaN: they would be multiplied with padded zeros, and make NaN where there is nothing."""
    return (
        [] if p.finite_weight else ["the weight holds inf or NaN, which this method would multiply with padded zeros"]
    )


def scratch_bytes(p: Problem) -> int:
    """Packed weights, padded input, sums and products."""
    axes, item = _axes(p), p.accumulate.itemsize
    blocks = _blocks(p)
    sums = _block_count(p, axes, blocks) * item
    plane = math.prod(axis.pitch for axis in axes) + _tail(axes)
    copied = 0 if _is_whole(p, axes) and p.accumulate == p.dtype else blocks.batch * p.in_channels * plane * item
    converted = p.weight_count * item if p.accumulate != p.dtype else 0
    return 2 * sums + copied + p.weight_count * item + converted


def seconds(p: Problem) -> float:
    """Rough time beside the multiply-adds: a few calls per block, shift and phase, and sums that stay in cache."""
    axes, blocks = _axes(p), _blocks(p)
    totals = (p.batch, p.geometry.groups, p.out_channels // p.geometry.groups, axes[0].length)
    count = math.prod(-(-total // size) for total, size in zip(totals, blocks, strict=True))
    phases, shifts = math.prod(p.geometry.stride), len(_shifts(p.geometry))
    products = p.batch * p.out_channels * math.prod(p.geometry.kernel) * math.prod(axis.pitch for axis in axes)
    return count * (shifts * 8e-6 + phases * 4e-6) + 3 * products * p.accumulate.itemsize / 2e10


def _summary(p: Problem) -> str:
    phases, shifts = math.prod(p.geometry.stride), len(_shifts(p.geometry))
    return f"{phases} phase{'s' * (phases > 1)}, {shifts} matrix product{'s' * (shifts > 1)} per block (NumPy and BLAS)"


KERNEL = Kernel("polyphase", _summary, reasons_against, scratch_bytes, seconds, run)
