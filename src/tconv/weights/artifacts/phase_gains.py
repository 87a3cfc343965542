"""What a constant input becomes, phase by phase, and how much of it is a pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._memory import physical_memory, si
from tconv.errors import TooLargeError
from tconv.geometry import Geometry
from tconv.operator.functional import conv_transpose
from tconv.weights.artifacts.arguments import Array, Layer

_AT_ONCE = 1 << 21
"""Numbers that are worked on at a time: large responses are looked at in parts, not copied whole."""


def phase_of_taps(g: Geometry) -> Any:
    """The index of gains [..., *stride] that gives each tap its phase's: a gather to [..., *kernel]."""
    return (
        ...,
        *np.ix_(*(np.arange(k) * d % s for k, d, s in zip(g.kernel, g.dilation, g.stride, strict=True))),
    )


def gains_of(w: Array, g: Geometry) -> Array:
    """DC gain of each phase, [C_in, C_out/groups, *stride]: the sum of its taps."""
    for axis, (k, d, s) in enumerate(zip(g.kernel, g.dilation, g.stride, strict=True), 2):
        taps = np.moveaxis(w, axis, 0)
        summed = np.zeros((s, *taps.shape[1:]), w.dtype)
        for t in range(k):
            summed[d * t % s] += taps[t]
        w = np.moveaxis(summed, 0, axis)
    return w


def response(stack: Sequence[Layer]) -> Array:
    """[C_in, C_out, *period]: what a constant 1 in each input channel becomes, far from any border.

    Raises TooLargeError if that does not fit into memory.
    """
    (first, _), (last, end) = stack[0], stack[-1]
    strides = zip(*(g.stride for _, g in stack), strict=True)
    shape = (len(first), last.shape[1] * end.groups, *map(math.prod, strides))
    dtype = np.result_type(*(w.dtype for w, _ in stack))
    _refuse_too_large(shape, dtype)
    made = np.zeros(shape, dtype)
    if len(stack) > 1:
        _run(stack, made)
        return made
    gains, inner, outer = gains_of(first, end), len(first) // end.groups, first.shape[1]
    for group in range(end.groups):
        rows, columns = (slice(group * size, (group + 1) * size) for size in (inner, outer))
        made[rows, columns] = gains[rows]
    return made


def _refuse_too_large(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    needed, there = 2 * math.prod(shape) * dtype.itemsize, physical_memory()  # a layer's gains stand beside it
    if there is not None and needed > there:
        raise TooLargeError(
            f"the response to a constant has shape {shape}, [C_in, C_out, *period], and needs {si(needed, 'B')}; this "
            f"machine has {si(there, 'B')}. Write fewer layers, or fewer input channels: weight[:8]"
        )


def _run(stack: Sequence[Layer], made: Array) -> None:
    """The layers one after the other, a few input channels at a time: one period of the last output into `made`."""
    ndim = stack[0][1].ndim
    plain = [(w, replace(g, crop=((0, 0),) * ndim)) for w, g in stack]
    windows = [tuple(slice(0, size) for size in made.shape[2:])]
    for _, g in reversed(plain):
        needed = g.input_window(windows[-1])
        # a phase without a tap needs no input, and a window needs one
        windows.append(tuple(part if part.start < part.stop else slice(0, 1) for part in needed))
    windows.reverse()
    sizes = [tuple(part.stop - part.start for part in window) for window in windows]
    calls = []
    for (w, g), inner, outer, size in zip(plain, windows, windows[1:], sizes, strict=False):
        front = [part.start - s * first.start for part, first, s in zip(outer, inner, g.stride, strict=True)]
        wanted = [part.stop - part.start for part in outer]
        full = g.full_shape(size)
        crop = tuple((lo, F - lo - L) for lo, F, L in zip(front, full, wanted, strict=True))
        calls.append((w.astype(made.dtype, copy=False), replace(g, crop=crop)))
    channels = len(made)
    largest = max(len(w) * math.prod(size) for (w, _), size in zip(plain, sizes, strict=False))
    step = max(1, _AT_ONCE // largest)
    for start in range(0, channels, step):
        part = slice(start, min(start + step, channels))
        x = np.zeros((part.stop - part.start, channels, *sizes[0]), made.dtype)
        x[np.arange(len(x)), np.arange(part.start, part.stop)] = 1
        for w, g in calls:
            x = np.asarray(conv_transpose(x, w, geometry=g))
        made[part] = x


def score(made: Array) -> tuple[float, Array]:
    """sqrt(sum |G - mean over phases|^2 / sum |G|^2) of a response, of all channels and of each output channel."""
    rows = made.reshape(made.shape[0] * made.shape[1], -1)
    step = max(1, _AT_ONCE // rows.shape[1])
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    largest = max(float(np.abs(part).max()) for part in parts) or 1.0
    pattern, whole = [], []
    for part in parts:
        part = part / largest  # squares of very large and very small numbers are none
        whole.append((np.abs(part) ** 2).sum(1))
        part -= part.mean(1, keepdims=True)
        pattern.append((np.abs(part) ** 2).sum(1))
    each, all_of = (np.concatenate(sums).reshape(made.shape[:2]).sum(0) for sums in (pattern, whole))
    with np.errstate(invalid="ignore", divide="ignore"):
        channels: Array = np.sqrt(np.where(all_of > 0, each / all_of, 0.0))
    total = float(all_of.sum())
    return (math.sqrt(float(each.sum()) / total) if total > 0 else 0.0), channels
