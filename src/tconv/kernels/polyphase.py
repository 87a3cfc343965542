"""Method "polyphase": the polyphase form on NumPy and BLAS, for every dtype.

It is one matrix product per shift. No zero is inserted, and no column buffer is built.

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

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.problem import Kernel, Problem

_BUDGET = 1 << 20
"""Bytes of sums in memory at a time, and as many of products: both stay in a core's own cache."""


class _Axis(NamedTuple):
    """One axis of the grid of positions j of full[s*j + r]. Shifted inputs x[j - q] are read from a padded window."""

    first: int  # smallest j with an output inside of the crop
    length: int  # number of j
    reach: int  # largest shift
    clip: tuple[int, int]  # the window contains the inputs x[clip[0] : clip[1]]
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
    """Shift q with, per axis, the arithmetic progression of phases that have a tap at it, and those taps."""

    q: tuple[int, ...]
    phases: tuple[Any, ...]
    taps: tuple[Any, ...]


def _shift_of(s: int, d: int, t: int) -> int:
    return d * t // s


@lru_cache(maxsize=256)
def _shifts(g: Geometry) -> list[_Shift]:
    per_axis = []
    for k, s, d in zip(g.kernel, g.stride, g.dilation, strict=True):
        of_axis = []
        for q, group in groupby(range(k), partial(_shift_of, s, d)):
            taps = list(group)
            phase = d * taps[0] - s * q
            of_axis.append((q, slice(phase, phase + d * (len(taps) - 1) + 1, d), slice(taps[0], taps[-1] + 1)))
        per_axis.append(of_axis)
    return [_Shift(*(tuple(part) for part in zip(*shifts, strict=True))) for shifts in product(*per_axis)]


class _Blocks(NamedTuple):
    """Numbers of images, groups, output channels and rows of the first axis that are summed at a time."""

    batch: int
    groups: int
    channels: int
    rows: int


def _blocks(p: Problem) -> _Blocks:
    axes = _axes(p)
    g = p.geometry
    unit = math.prod(g.stride) * math.prod(axis.pitch for axis in axes[1:]) * p.accumulate.itemsize
    left = max(1, _BUDGET // unit)  # of the budget, in units
    sizes = []
    for total in (p.out_channels // g.groups, axes[0].length, g.groups, max(1, p.batch)):
        sizes.append(min(total, left))
        left = max(1, left // sizes[-1])
    channels, rows, groups, batch = sizes
    return _Blocks(batch, groups, channels, rows)


def _is_whole(p: Problem, axes: list[_Axis]) -> bool:
    """Return True if the padded window of x is x itself, so that no copy is needed."""
    exact = all(axis.clip == (0, n) and axis.pitch == n for axis, n in zip(axes, p.input_shape, strict=True))
    return exact and _tail(axes) == 0


def _tail(axes: list[_Axis]) -> int:
    """Return how many elements behind the padded window the products read: the sums of these are never written."""
    return sum(axis.reach * math.prod(later.pitch for later in axes[a + 1 :]) for a, axis in enumerate(axes) if a > 0)


def _padded(p: Problem, axes: list[_Axis], x: Array) -> Array:
    """Return the input [N, G, C, *spatial] as [N, G, C, positions], padded with zeros, in the dtype of the sums."""
    if _is_whole(p, axes):
        return np.ascontiguousarray(x, p.accumulate).reshape(*x.shape[:3], math.prod(x.shape[3:]))
    plane = math.prod(axis.pitch for axis in axes)
    flat = np.zeros((*x.shape[:3], plane + _tail(axes)), p.accumulate)
    window = flat[..., :plane].reshape(*x.shape[:3], *(axis.pitch for axis in axes))
    inside: Any = tuple(slice(axis.lead, axis.lead + axis.clip[1] - axis.clip[0]) for axis in axes)
    clipped: Any = [slice(*axis.clip) for axis in axes]
    window[..., *inside] = x[..., *clipped]
    return flat


def _ranges(total: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, total)) for start in range(0, total, step))


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array) -> None:
    """Fill out [N, C_out, *L] from canonical x [N, C_in, *n], w [C_in, C_out/g, *k] and bias [C_out] or None."""
    g, G = p.geometry, p.geometry.groups
    axes, shifts = _axes(p), _shifts(g)
    blocks = _blocks(p)
    pitches = [math.prod(later.pitch for later in axes[a + 1 :]) for a in range(g.ndim)]
    x = x.reshape(p.batch, G, p.in_channels // G, *p.input_shape)
    w = w.reshape(G, p.in_channels // G, p.out_channels // G, *g.kernel).astype(p.accumulate, copy=False)
    out = _split(out, G)
    offset = None if bias is None else bias.reshape(G, p.out_channels // G).astype(p.accumulate, copy=False)
    buffers = np.empty((2, _block_count(p, axes, blocks)), p.accumulate)  # sums of a block, products of one shift
    parts = list(product(_ranges(G, blocks.groups), _ranges(p.out_channels // G, blocks.channels)))
    packed = [[_packed(w[groups, :, channels], shift) for shift in shifts] for groups, channels in parts]
    for batch in _ranges(p.batch, blocks.batch):
        flat = _padded(p, axes, x[batch])
        for ((groups, channels), matrices), block in product(
            zip(parts, packed, strict=True), _ranges(axes[0].length, blocks.rows)
        ):
            length = (block.stop - block.start) * pitches[0]
            size = (batch.stop - batch.start, groups.stop - groups.start)
            sums = _shaped(buffers[0], (*size, *g.stride, channels.stop - channels.start, length))
            sums[...] = 0 if offset is None else offset[groups, channels].reshape(1, size[1], *[1] * g.ndim, -1, 1)
            for shift, matrix in zip(shifts, matrices, strict=True):
                start = sum((a.reach - q) * pitch for a, q, pitch in zip(axes, shift.q, pitches, strict=True))
                start += block.start * pitches[0]
                products = _shaped(buffers[1], (*size, matrix.shape[1], length))
                multiply = np.multiply if matrix.shape[2] == 1 else np.matmul  # one channel per group: nothing to sum
                multiply(matrix, flat[:, groups, :, start : start + length], out=products)
                place = sums[:, :, *shift.phases]
                place += products.reshape(place.shape)
            _write(p, axes, block, sums, out[batch, groups, channels])


def _packed(w: Array, shift: _Shift) -> Array:
    """Return the matrix of one shift, [G, phases x C_out, C_in], from w [G, C_in, C_out, *kernel].

    It is stored with C_in first. So the taps of one input channel at a time are copied, which reads w nearly in order,
    and BLAS reads a transposed matrix without a copy.
    """
    taps = np.ascontiguousarray(np.moveaxis(w[..., *shift.taps], 2, -1))
    return taps.reshape(*taps.shape[:2], math.prod(taps.shape[2:])).swapaxes(1, 2)


def _block_count(p: Problem, axes: list[_Axis], blocks: _Blocks) -> int:
    """Return the number of elements of the largest block of sums."""
    return math.prod(blocks) * math.prod(p.geometry.stride) * math.prod(axis.pitch for axis in axes[1:])


def _shaped(memory: Array, shape: tuple[int, ...]) -> Array:
    """Return a view of the first elements of a flat array in this shape."""
    return memory[: math.prod(shape)].reshape(shape)


def _split(out: Array, groups: int) -> Array:
    """Return a view of out [N, C, ...] as [N, G, C/G, ...], for any strides: reshape would copy for some of them."""
    step = out.strides[1]
    per = out.shape[1] // groups
    shape, strides = (out.shape[0], groups, per, *out.shape[2:]), (out.strides[0], step * per, step, *out.strides[2:])
    return np.lib.stride_tricks.as_strided(out, shape, strides)


def _write(p: Problem, axes: list[_Axis], block: slice, sums: Array, out: Array) -> None:
    """Interleave the phases of a block of rows into out [N, G, C, *L], without the elements that the crop removes."""
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
    """Return a reason if the weight has inf or NaN: times a padded zero they give NaN where there is no product."""
    if p.finite_weight:
        return []
    return ["the weight contains inf or NaN, which this method would multiply with padded zeros"]


def scratch_bytes(p: Problem) -> int:
    """Return the bytes of packed weights, padded input, sums and products."""
    axes, itemsize = _axes(p), p.accumulate.itemsize
    blocks = _blocks(p)
    sums = _block_count(p, axes, blocks) * itemsize
    plane = math.prod(axis.pitch for axis in axes) + _tail(axes)
    copied = 0 if _is_whole(p, axes) and p.accumulate == p.dtype else blocks.batch * p.in_channels * plane * itemsize
    converted = p.weight_count * itemsize if p.converts_weight else 0
    return 2 * sums + copied + p.weight_count * itemsize + converted


def seconds(p: Problem) -> float:
    """Estimate the time beside the multiply-adds: a few calls per block, shift and phase, and sums read from cache."""
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
