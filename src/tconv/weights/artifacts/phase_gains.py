"""Response of layers to a constant input, phase by phase, and the share of it that is a pattern.

`checkerboard` measures it, and `equalise` makes the gains equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import physical_memory, si
from tconv.errors import TooLargeError
from tconv.geometry import Geometry
from tconv.operator.functional import conv_transpose
from tconv.weights.artifacts.arguments import LayerWeight

_AT_ONCE = 1 << 21
"""Numbers processed at a time: large responses are processed in parts, so that they are not copied whole."""


def phase_of_taps(g: Geometry) -> Any:
    """Return an index into gains [..., *stride]: it gives each tap the gain of its phase, [..., *kernel]."""
    return (
        ...,
        *np.ix_(*(np.arange(k) * d % s for k, d, s in zip(g.kernel, g.dilation, g.stride, strict=True))),
    )


def gains_of(w: Array, g: Geometry) -> Array:
    """Return the DC gain of each phase, [C_in, C_out/groups, *stride]: the sum of its taps."""
    for axis, (k, d, s) in enumerate(zip(g.kernel, g.dilation, g.stride, strict=True), 2):
        taps = np.moveaxis(w, axis, 0)
        summed = np.zeros((s, *taps.shape[1:]), w.dtype)
        for t in range(k):
            summed[d * t % s] += taps[t]
        w = np.moveaxis(summed, 0, axis)
    return w


def response(stack: Sequence[LayerWeight]) -> Array:
    """Return the output for a constant 1 in each input channel, far from any border: [C_in, C_out, *period].

    Raises TooLargeError if it does not fit into memory.
    """
    first, last, end = stack[0].weight, stack[-1].weight, stack[-1].geometry
    strides = zip(*(layer.geometry.stride for layer in stack), strict=True)
    shape = (len(first), last.shape[1] * end.groups, *map(math.prod, strides))
    dtype = np.result_type(*(layer.weight.dtype for layer in stack))
    _refuse_too_large(shape, dtype)
    result = np.zeros(shape, dtype)
    if len(stack) > 1:
        _run(stack, result)
        return result
    gains, inner, outer = gains_of(first, end), len(first) // end.groups, first.shape[1]
    for group in range(end.groups):
        rows, columns = (slice(group * size, (group + 1) * size) for size in (inner, outer))
        result[rows, columns] = gains[rows]
    return result


def _refuse_too_large(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    needed, memory = 2 * math.prod(shape) * dtype.itemsize, physical_memory()  # with the gains of a layer beside it
    if memory is not None and needed > memory:
        raise TooLargeError(
            f"the response to a constant has shape {shape}, [C_in, C_out, *period], and needs {si(needed, 'B')}; this "
            f"machine has {si(memory, 'B')}. Write fewer layers, or fewer input channels: weight[:8]"
        )


def _run(stack: Sequence[LayerWeight], result: Array) -> None:
    """Run the layers one after the other and write one period of the last output into `result`.

    A few input channels are run at a time.
    """
    ndim = stack[0].geometry.ndim
    plain = [(layer.weight, replace(layer.geometry, crop=((0, 0),) * ndim)) for layer in stack]
    windows = [tuple(slice(0, size) for size in result.shape[2:])]
    for _, g in reversed(plain):
        needed = g.input_window(windows[-1])
        # a phase without a tap needs no input, but a window is never empty
        windows.append(tuple(part if part.start < part.stop else slice(0, 1) for part in needed))
    windows.reverse()
    sizes = [tuple(part.stop - part.start for part in window) for window in windows]
    calls = []
    for (w, g), inner, outer, size in zip(plain, windows, windows[1:], sizes, strict=False):
        front = [part.start - s * first.start for part, first, s in zip(outer, inner, g.stride, strict=True)]
        wanted = [part.stop - part.start for part in outer]
        full = g.full_shape(size)
        crop = tuple((lo, F - lo - L) for lo, F, L in zip(front, full, wanted, strict=True))
        calls.append((w.astype(result.dtype, copy=False), replace(g, crop=crop)))
    channels = len(result)
    largest = max(len(w) * math.prod(size) for (w, _), size in zip(plain, sizes, strict=False))
    step = max(1, _AT_ONCE // largest)
    for start in range(0, channels, step):
        part = slice(start, min(start + step, channels))
        x = np.zeros((part.stop - part.start, channels, *sizes[0]), result.dtype)
        x[np.arange(len(x)), np.arange(part.start, part.stop)] = 1
        for w, g in calls:
            x = np.asarray(conv_transpose(x, w, geometry=g))
        result[part] = x


def pattern_share(response: Array) -> tuple[float, Array]:
    """Return sqrt(sum |G - mean over phases|^2 / sum |G|^2) of a response, in all and for each output channel."""
    rows = response.reshape(response.shape[0] * response.shape[1], -1)
    step = max(1, _AT_ONCE // rows.shape[1])
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    largest = max(float(np.abs(part).max()) for part in parts) or 1.0
    pattern, whole = [], []
    for part in parts:
        part = part / largest  # squares of very large numbers overflow, those of very small ones are 0
        whole.append((np.abs(part) ** 2).sum(1))
        part -= part[:, :1]  # equal gains then differ by exactly 0, in spite of the rounding of the mean
        part -= part.mean(1, keepdims=True)
        pattern.append((np.abs(part) ** 2).sum(1))
    each, all_of = (np.concatenate(sums).reshape(response.shape[:2]).sum(0) for sums in (pattern, whole))
    with np.errstate(invalid="ignore", divide="ignore"):
        channels: Array = np.sqrt(np.where(all_of > 0, each / all_of, 0.0))
    total = float(all_of.sum())
    return (math.sqrt(float(each.sum()) / total) if total > 0 else 0.0), channels
