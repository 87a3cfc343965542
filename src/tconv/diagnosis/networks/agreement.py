"""Agreement of tensors of two networks: the same numbers up to rounding, in any order of the axes.

The limit has two parts, each per channel: the limit of one sum of 4096 products, 4 * 2**-23 * (sqrt(4096) + 4) of the
root mean square, and 32 times the change of this tensor when the last bits of the network's input change. The second
shows how this network amplifies rounding, because nearly every rounding in it falls anew. A Sigmoid, Softmax or Tanh is
computed to within a few last bits of 1, which is added for its result.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.tolerance import spacing

_ONE_SUM = 4 * (math.sqrt(4096) + 4)
_AMPLIFIED = 32
BOUNDED_ROUNDING = 4  # last bits of 1, for functions that are at most 1
_FEWEST = 32  # numbers of a channel from which its size is taken


class Reference(NamedTuple):
    """A tensor of the first network and the largest difference at each place that rounding explains."""

    values: Array
    limit: Array
    informative: bool
    """False for a tensor of one number everywhere, or of rounding alone, from which nothing can be told."""


def reference(values: Array, nudged: Array | None, unit: float, *, bounded: bool = False) -> Reference:
    """Return a tensor with its limit. `nudged` is the same tensor for the input with other last bits.

    `bounded` is for the result of a function that is at most 1, a Sigmoid for example.
    """
    if values.dtype.kind not in "fc":
        return Reference(values, np.zeros(()), bool(values.size and (values != values.flat[0]).any()))
    wide = values.astype(np.float64)
    change = np.zeros_like(wide) if nudged is None or nudged.shape != wide.shape else np.abs(wide - nudged)
    change[~np.isfinite(change)] = 0
    finite = np.where(np.isfinite(wide), wide, 0)
    limits = []
    channels = [axis for axis in (1, wide.ndim - 1) if wide.ndim > 2 and wide.size >= _FEWEST * wide.shape[axis]]
    for axis in dict.fromkeys(channels) if channels else (None,):
        others = tuple(each for each in range(wide.ndim) if each != axis)
        power = np.sqrt((finite**2).mean(others, keepdims=True))
        limits.append(_ONE_SUM * unit * power + _AMPLIFIED * change.max(others, keepdims=True, initial=0))
    limit = limits[0] if len(limits) == 1 else np.minimum(*limits)
    rms = float(np.sqrt((finite**2).mean())) if wide.size else 0.0
    spread = float(np.ptp(finite)) if wide.size else 0.0
    scale = max(rms, 1.0) if bounded else rms
    least = 4 * unit * rms + (BOUNDED_ROUNDING * unit if bounded else 0.0)
    return Reference(wide, limit + least, spread > 64 * unit * scale)


def coarsest(arrays: list[Array]) -> float:
    """Return the spacing at 1 of the coarsest float dtype, at least that of float32."""
    return max([2.0**-23, *(spacing(each.dtype) for each in arrays)])


def arrangements(values: Array, shape: tuple[int, ...]) -> list[Array]:
    """Return views of an array in another order of axes, or with axes of 1 added or dropped, that have this shape."""
    if values.size != math.prod(shape):
        return []
    squeezed = values.reshape([size for size in values.shape if size != 1])
    wanted = tuple(size for size in shape if size != 1)
    rank = squeezed.ndim
    orders = [tuple(range(rank))]
    if rank > 1:
        last, first = rank - 1, 0
        orders += [
            (last, *range(last)),
            (*range(1, rank), first),
            *([(0, last, *range(1, last)), (0, *range(2, rank), 1)] if rank > 2 else []),
        ]
    found = [
        squeezed.transpose(order).reshape(shape)
        for order in dict.fromkeys(orders)
        if tuple(squeezed.shape[axis] for axis in order) == wanted
    ]
    if not found and sorted(squeezed.shape) != sorted(wanted):
        found = [values.reshape(shape)]
    return found


def distance(one: Reference, other: Array) -> tuple[float, float]:
    """Return the least (excess over the limit, largest difference) over the arrangements; inf if there are none.

    The excess is at most 0 if the tensors agree.
    """
    best = (math.inf, math.inf)
    for arranged in arrangements(other, one.values.shape):
        same = (one.values == arranged) | (np.isnan(one.values) & np.isnan(arranged))
        gap = np.where(same, 0.0, np.abs(one.values.astype(np.float64) - arranged))
        gap[np.isnan(gap)] = math.inf
        best = min(best, (float((gap - one.limit).max(initial=-math.inf)), float(gap.max(initial=0))))
    return best


def worst(one: Reference, other: Array) -> tuple[float, float]:
    """Return the difference and its limit at the place that is farthest beyond it, for tensors of one shape."""
    gap = np.nan_to_num(np.abs(one.values.astype(np.float64) - other), nan=math.inf)
    limit = np.broadcast_to(one.limit, gap.shape)
    place = np.unravel_index(int(np.argmax(gap - limit)), gap.shape)
    return float(gap[place]), float(limit[place])


def agree(one: Reference, other: Array) -> bool:
    """Return True if rounding explains every difference."""
    if other.size != one.values.size or (other.dtype.kind == "b") != (one.values.dtype.kind == "b"):
        return False
    if one.values.size > 4096 and other.dtype.kind == "f":  # quick: the mean is the same in any order
        ends = [float(np.nanmean(np.where(np.isfinite(each), each, 0))) for each in (one.values, other)]
        if abs(ends[0] - ends[1]) > float(one.limit.max()):
            return False
    return distance(one, other)[0] <= 0


def matches(first: dict[int, Reference], second: dict[int, Array]) -> dict[int, list[int]]:
    """Return, for each informative tensor of the first network, the tensors of the second that agree with it."""
    by_size: dict[int, list[int]] = {}
    for number, tensor in second.items():
        by_size.setdefault(tensor.size, []).append(number)
    return {
        number: [other for other in by_size.get(one.values.size, []) if agree(one, second[other])]
        for number, one in first.items()
        if one.informative
    }


def in_pairs(count: int, other: int) -> list[tuple[int, int]]:
    """Return pairs of outputs by their order."""
    return list(itertools.islice(zip(range(count), range(other), strict=False), min(count, other)))
