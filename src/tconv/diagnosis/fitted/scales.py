"""Scales and offsets, of all or per channel, which are read off the output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting, flat
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.tolerance import Tolerance

_WIDE = 2.0  # times what rounding explains, which numbers may be off with factors that were found


def scaled(expected: Array, y: Array, finite: Array, tolerance: Tolerance, hand: Hand) -> Iterator[Cause]:
    """One factor, a factor per channel, an offset per channel, or both: y = a * expected + b."""
    places = _samples(y, finite)
    if len(places) * len(y) < 6:
        return
    P, Y = (np.moveaxis(flat(array)[..., places], 1, 0).reshape(array.shape[1], -1) for array in (expected, y))
    allowed = np.moveaxis(flat(tolerance.at(y))[..., places], 1, 0).reshape(y.shape[1], -1)
    sure = allowed**-2 / (allowed**-2).sum(1, keepdims=True)  # small numbers of a 2-byte float are known better
    p, q = ((sure * values).sum(1, keepdims=True) for values in (P, Y))
    before = np.max(np.abs(P - Y) / allowed, initial=0.0)
    if before <= _WIDE:
        return  # what differs lies elsewhere
    spread = (sure * np.abs(P - p) ** 2).sum(1)
    if not (spread > 0).all() or not (np.abs(Y - q).max(1) > 4 * allowed.max(1)).all():
        return  # a constant has no factor
    free = (sure * (P - p).conj() * (Y - q)).sum(1) / spread
    products, squares = (sure * P.conj() * Y).sum(1), (sure * np.abs(P) ** 2).sum(1)
    through = products / squares
    one = np.full_like(free, products.sum() / squares.sum())
    zero = np.zeros_like(q[:, 0])
    offset = (q - p)[:, 0]
    settled = (
        ("scaled", one, zero),
        ("offset per channel", np.ones_like(free), offset),
        ("scale per channel", through, zero),
        ("scale and offset per channel", free, (q - free[:, None] * p)[:, 0]),
    )
    for name, a, b in settled:
        rest = np.abs(a[:, None] * P + b[:, None] - Y) / allowed
        if (rest > _WIDE * np.maximum(1, np.abs(a[:, None]))).any() or min(np.abs(a)) < 1e-6:
            continue
        if rest.max() > before / _WIDE:
            return  # noise, which factors of almost 1 do not make smaller
        yield affine(name, a, b, y.ndim - 2, hand, tolerance.relative)
        return


def _samples(y: Array, finite: Array, most: int = 4096) -> Any:
    """Places of one image and all channels, spread out, where every channel is finite: an index [places]."""
    ok = np.flatnonzero(finite.all(axis=(0, 1)).ravel())
    return ok if len(ok) <= most else ok[np.linspace(0, len(ok) - 1, most).astype(int)]


def affine(name: str, a: Array, b: Array, ndim: int, hand: Hand, unit: float) -> Cause:
    """The cause of this name: y is a * y + b, both [C], in numbers whose spacing around 1 is `unit`."""

    def numbers(values: Array) -> str:
        said = ", ".join(f"{value:.6g}" for value in values[:4])
        return f"[{said}{', ...' if len(values) > 4 else ''}]"

    words = {
        "scaled": f"y is multiplied by {a[0]:.6g}",
        "offset per channel": f"a constant is added to each channel, {numbers(b)}: another bias, or none",
        "scale per channel": f"each output channel is multiplied by a number of its own, {numbers(a)}: a scale per "
        "channel (of quantization, or of a BatchNorm) that is in one of them and not in the other",
        "scale and offset per channel": f"each output channel has a scale {numbers(a)} and an offset {numbers(b)}: a "
        "BatchNorm that is in one of them and not in the other (tconv.fold_batchnorm puts it into weight and bias)",
    }[name]
    shape = (-1, *[1] * ndim)
    factor, offset = (_written(values, unit) for values in (a, b))
    if name == "scaled":
        apply, undo = f"y = y * {factor[0]}", f"y = y / {factor[0]}"
    else:
        times, plus = hand.column(factor), hand.column(offset)
        apply, undo = {
            "offset per channel": (f"y = y + {plus}", f"y = y - {plus}"),
            "scale per channel": (f"y = y * {times}", f"y = y / {times}"),
            "scale and offset per channel": (f"y = y * {times} + {plus}", f"y = (y - {plus}) / {times}"),
        }[name]
        if not times:
            apply = undo = ""

    def change(s: Setting) -> Setting:
        per = s.weight.shape[1]
        factor = np.repeat(a.reshape(s.groups, 1, per), s.in_channels // s.groups, 1).reshape(
            s.in_channels, per, *[1] * ndim
        )
        bias = b if s.bias is None else a * s.bias + b
        return replace(s, weight=s.weight * factor, bias=bias)

    return Cause(
        name,
        "scale",
        words,
        change=change,
        turn=lambda y: a.reshape(shape) * y + b.reshape(shape),
        apply=apply,
        undo=undo,
    )


def _written(values: Array, unit: float) -> list[float | complex]:
    """With as many digits as numbers with this spacing around 1 have."""
    if np.iscomplexobj(values):
        return [complex(value) for value in values]
    return [float(str(np.float32(value))) if unit >= 2.0**-23 else float(value) for value in values]
