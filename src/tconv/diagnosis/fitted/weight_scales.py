"""Scales on a wrong axis of the weight, as of a BatchNorm folded onto C_in, and taps left out, by least squares.

They are tried where a call is given and its output has enough numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, Window, axis_names, flatten_places
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.part_names import channel_words, listed

_MOST_INPUTS = 64  # input channels whose scales are fitted
_MOST_TAPS = 128  # taps whose factors are fitted
_PARTLY = 0.8  # of y's mean square: largest mean square of what some taps add
_LOOSE = 1e-3  # of a fitted factor: rounding times the condition of a few dozen random columns


def wrong_axis(observation: Observation) -> Iterator[Cause]:
    """Yield scales of a BatchNorm, or of quantization, multiplied onto another axis of the weight than C_out.

    y[o] = sum over i of factor[i, o] * (x[i] through weight[i, o]) + offset[o] is solved by least squares. The
    factors are then compared with s[number[i, o]] / s[o], where a wrong reading of the weight gives the number.
    """
    if observation.whole is None or observation.step:
        return  # factors of a quantized output are not exact enough
    call, y, finite, tolerance = (
        observation.whole.call,
        observation.whole.y,
        observation.whole.finite,
        observation.tolerance,
    )
    G, per, outs = call.groups, call.in_channels // call.groups, call.weight.shape[1]
    if per > _MOST_INPUTS or call.out_channels > 256 or call.in_channels == 0:
        return
    window, images = _sample(y.shape, (per + 1) * 4)
    if window is None:
        return
    apart = replace(call, bias=None, geometry=replace(call.geometry, groups=call.in_channels))
    parts = flatten_places(apart.window(window, images)).reshape(
        -1, G, per, outs, math.prod(s.stop - s.start for s in window)
    )
    place: Any = (images, slice(None), *window)
    Y = flatten_places(y[place]).reshape(len(parts), G, outs, -1)
    counts = flatten_places(finite[place]).reshape(Y.shape)
    allowed = np.broadcast_to(flatten_places(tolerance.at(y[place], images)), (len(Y), G * outs, Y.shape[-1])).reshape(
        Y.shape
    )
    factors = np.ones((G, per, outs))
    offsets = np.zeros((G, outs))
    for g, o in np.ndindex(G, outs):
        A = np.moveaxis(parts[:, g, :, o], 1, -1).reshape(-1, per)
        target, ok = Y[:, g, o].ravel(), counts[:, g, o].ravel()
        if ok.sum() < 2 * (per + 1) or np.iscomplexobj(A):
            return
        solved, *_ = np.linalg.lstsq(np.column_stack([A, np.ones(len(A))])[ok], target[ok])
        error = np.abs(A @ solved[:-1] + solved[-1] - target)[ok]
        if not (error <= 4 * allowed[:, g, o].ravel()[ok]).all():
            return
        factors[g, :, o], offsets[g, o] = solved[:-1], solved[-1]
    if np.abs(factors - 1).max() < _LOOSE:
        return
    own = np.arange(G * outs).reshape(G, 1, outs) + np.zeros((1, per, 1), int)
    rows = (np.arange(G * per).reshape(G, per, 1) * outs + np.arange(outs)) // per
    readings = [("weight.view(C_out, -1) scales other rows than C_out", rows)]
    if G * per == G * outs:
        readings.insert(
            0, ("the scales are on the weight's input channels", np.arange(G * per).reshape(G, per, 1) + 0 * own)
        )
    for text, number in readings:
        if (number == own).all() or not _consistent(factors, number, own):
            continue
        scaled = call.weight.reshape(G, per, outs, *call.weight.shape[2:]) * factors.reshape(
            *factors.shape, *[1] * call.geometry.ndim
        )
        changed = replace(call, weight=scaled.reshape(call.weight.shape), bias=offsets.ravel())
        yield Cause(
            "BatchNorm folded on the wrong axis",
            "weight",
            f"a BatchNorm is folded on the wrong axis of the weight: {text}",
            partial(_fixed, changed),
            apply=observation.writer.fold_batchnorm(call.bias is not None),
            undo=observation.writer.fold_batchnorm(call.bias is not None),
            source="ultralytics/ultralytics#25364",
        )
        return
    common = factors.mean(axis=(0, 2) if G == 1 else 2, keepdims=True)
    if np.abs(factors - common).max() < _LOOSE * np.abs(common).max():
        scale = (factors[:, :, 0]).ravel()
        scaled = call.weight * scale.reshape(-1, *[1] * (call.weight.ndim - 1))
        changed = replace(call, weight=scaled, bias=offsets.ravel())
        name, text = "scale per input channel", "each input channel is multiplied by a number of its own"
        missing = np.flatnonzero(np.abs(scale) < _LOOSE)
        if (np.abs(scale.reshape(G, per)) < _LOOSE).all(1).any():
            return  # nothing of a group is left: its output channels are empty
        if len(missing) and (np.abs(scale - 1) < _LOOSE).sum() + len(missing) == len(scale):
            name, text = "input channels missing", f"input {channel_words(missing, len(scale), G)} "
            text += f"{'are' if 'channels' in text else 'is'} left out of the sums"
        elif 0 < len(other := np.flatnonzero(np.abs(scale - 1) > _LOOSE)) <= len(scale) // 2:
            numbers = ", ".join(f"{value:.4g}" for value in scale[other][:4]) + (", ..." if len(other) > 4 else "")
            text = f"input {channel_words(other, len(scale), G)} "
            text += f"{'are' if len(other) > 1 else 'is'} multiplied by {numbers}, all others by 1"
        yield Cause(name, "weight", text, partial(_fixed, changed))


def taps(observation: Observation) -> Iterator[Cause]:
    """Yield taps of the kernel that are left out of the sums, or added twice: sum over taps of factor[tap] * its part.

    The rest of such an output is right, so that its difference is smaller than y.
    """
    whole, known = observation.whole, observation.known
    if whole is None or observation.step or np.iscomplexobj(known):
        return
    kernel, count = whole.call.geometry.kernel, math.prod(whole.call.geometry.kernel)
    difference = known - np.where(observation.finite, observation.predicted, 0)
    if not 1 < count <= _MOST_TAPS or (difference**2).sum() > _PARTLY * (observation.predicted**2).sum():
        return
    window, images = _sample(whole.y.shape, max(8, -(-8 * count // whole.call.out_channels)))
    if window is None:
        window, images = tuple(slice(0, L) for L in whole.y.shape[2:]), slice(0, len(whole.y))
    place: Any = (images, slice(None), *window)
    ok = whole.finite[place].ravel()
    call = replace(whole.call, bias=None)
    parts = []
    for tap in np.ndindex(*kernel):
        weight = np.zeros_like(call.weight)
        weight[(..., *tap)] = call.weight[(..., *tap)]
        parts.append(replace(call, weight=weight).window(window, images).ravel()[ok])
    A = np.stack(parts, 1)
    rest = (whole.y[place] - whole.call.window(window, images)).ravel()[ok]
    if len(A) <= count or np.linalg.matrix_rank(A) < count:
        return
    factor = np.linalg.lstsq(A, rest)[0]
    wrong = np.abs(factor) > 10 * _LOOSE
    (size,) = set(np.rint(factor[wrong])) if len(set(np.rint(factor[wrong]))) == 1 else (0.0,)
    if size not in (-1.0, 1.0) or wrong.all() or np.abs(factor[wrong] - size).max() > 10 * _LOOSE:
        return
    wrong = wrong.reshape(kernel)
    steps = zip(np.indices(kernel), call.geometry.dilation, call.geometry.stride, strict=True)
    phases = [
        tuple(int(place) for place in each)
        for each in np.stack([t * d % s for t, d, s in steps], -1).reshape(-1, wrong.ndim)
    ]
    if any(all(each for each, own in zip(wrong.flat, phases, strict=True) if own == phase) for phase in phases):
        return  # nothing of a phase is left: `corrupted_parts` names the phase
    scale = 1.0 + size * wrong
    name, words = ("taps missing", "left out of the sums") if size < 0 else ("taps twice", "added twice")
    text = f"{_tap_words(wrong)} {words}"
    yield Cause(name, "weight", text, partial(_fixed, replace(whole.call, weight=whole.call.weight * scale)))


def _tap_words(wrong: Array) -> str:
    """Return the taps as text, with their verb: "tap (3, 1) of the kernel is", or "the taps in row 3 along h are"."""
    chosen, names = np.argwhere(wrong), axis_names(wrong.ndim)[2:]
    for axis, name in enumerate(names):
        rows = np.unique(chosen[:, axis])
        if wrong.ndim > 1 and len(chosen) == len(rows) * wrong.size // wrong.shape[axis]:
            return f"the kernel's taps in row{'s' * (len(rows) > 1)} {listed(rows)} along {name} are"
    shown = [str(tuple(tap.tolist()) if wrong.ndim > 1 else int(tap[0])) for tap in chosen]
    words = ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
    return f"tap{'s' * (len(shown) > 1)} {words} of the kernel {'are' if len(shown) > 1 else 'is'}"


def _fixed(changed: CallModel, _: CallModel) -> CallModel:
    return changed


def _consistent(factors: Array, number: Array, own: Array) -> bool:
    """Return True if factors == s[number] / s[own] for some s: a null vector of s[number] - factor * s[own]."""
    count = int(max(own.max(), number.max())) + 1
    system = np.zeros((factors.size, count))
    rows = np.arange(factors.size)
    np.add.at(system, (rows, number.ravel()), 1.0)
    np.add.at(system, (rows, own.ravel()), -factors.ravel())
    used = np.abs(system).max(0) > 0
    _, values, vectors = np.linalg.svd(system[:, used], full_matrices=False)
    null = vectors[values <= _LOOSE * values[0]]  # one vector for each set of channels that meet, such as a group
    if not len(null) or len(null) == used.sum():
        return False
    s = np.cos(np.arange(len(null))) @ null  # any mixture of them: none of it is zero, if some mixture has no zero
    return bool(np.abs(s).min() > _LOOSE * np.abs(s).max())


def _sample(shape: tuple[int, ...], wanted: int) -> tuple[Window | None, slice]:
    """Return a window and images with at least `wanted` places in all; None if there are not so many."""
    sizes = list(shape[2:])
    window = [min(size, max(4, round(wanted ** (1 / len(sizes))) + 1)) for size in sizes]
    while math.prod(window) < wanted and window != sizes:
        window = [min(size, 2 * w) for size, w in zip(sizes, window, strict=True)]
    images = min(shape[0], -(-wanted // math.prod(window)))
    if images * math.prod(window) < wanted:
        return None, slice(0, 0)
    return tuple(slice((size - w) // 2, (size - w) // 2 + w) for size, w in zip(sizes, window, strict=True)), slice(
        0, images
    )
