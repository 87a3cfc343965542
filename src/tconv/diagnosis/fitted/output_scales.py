"""Scales and offsets of y, one for all or one per channel, which are fitted by least squares.

They are tried with a call and on outputs alone; a bias that a call lacks is written by `affine`, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, flatten_places
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted import batchnorm_eps, bias_values
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.part_names import channel_words
from tconv.diagnosis.fix_writer import FixWriter

_WIDE = 2.0  # times the limit of rounding: largest error with fitted factors


def scaled(observation: Observation) -> Iterator[Cause]:
    """Yield one factor, a factor per channel, an offset per channel, or both: y = a * predicted + b."""
    y, tolerance = observation.y, observation.tolerance
    places = _samples(y, observation.finite)
    if len(places) * len(y) < 6:
        return
    P, Y = (
        np.moveaxis(flatten_places(array)[..., places], 1, 0).reshape(array.shape[1], -1)
        for array in (observation.predicted, y)
    )
    allowed = np.moveaxis(flatten_places(tolerance.at(y))[..., places], 1, 0).reshape(y.shape[1], -1)
    weights = allowed**-2 / (allowed**-2).sum(1, keepdims=True)  # small numbers of a 2-byte float are more accurate
    p, q = ((weights * values).sum(1, keepdims=True) for values in (P, Y))
    before = np.max(np.abs(P - Y) / allowed, initial=0.0)
    if before <= _WIDE:
        return  # the difference is in other places
    spread = (weights * np.abs(P - p) ** 2).sum(1)
    if not (spread > 0).all() or not (np.abs(Y - q).max(1) > 4 * allowed.max(1)).all():
        return  # a constant has no factor
    free = (weights * (P - p).conj() * (Y - q)).sum(1) / spread
    products, squares = (weights * P.conj() * Y).sum(1), (weights * np.abs(P) ** 2).sum(1)
    through = products / squares
    one = np.full_like(free, products.sum() / squares.sum())
    zero = np.zeros_like(q[:, 0])
    offset = (q - p)[:, 0]
    candidates = (
        ("scaled", one, zero),
        ("offset per channel", np.ones_like(free), offset),
        ("scale per channel", through, zero),
        ("scale and offset per channel", free, (q - free[:, None] * p)[:, 0]),
    )
    for name, a, b in candidates:
        rest = np.abs(a[:, None] * P + b[:, None] - Y) / allowed
        if (rest > _WIDE * np.maximum(1, np.abs(a[:, None]))).any() or min(np.abs(a)) < 1e-6:
            continue
        if rest.max() > before / _WIDE:
            return  # noise: factors of almost 1 do not make it smaller
        if name == "offset per channel":
            limit = tolerance.planes.max(0).reshape(-1)
            b = np.where(np.abs(b) > limit, b, 0)
        cause = affine(name, a, b, y.ndim - 2, observation.writer, tolerance.relative)
        if name == "offset per channel":
            call = None if observation.whole is None else observation.whole.call
            cause = bias_values.with_reason(cause, b, limit, call, observation.writer)
        elif name == "scale per channel":
            cause = _scales_in_some(cause, a)
        if name != "offset per channel" and (len(a) > 1 or observation.variance is not None):
            errors = _WIDE * allowed.max(1) / np.sqrt(spread) + 2.0**-22
            cause = batchnorm_eps.with_eps(cause, a, errors, observation.variance)
        yield cause
        return


def offset_before_activation(observation: Observation) -> Iterator[Cause]:
    """Yield an offset per channel in front of the activation that both outputs end in: another bias.

    It is read off the places where neither output is cut off; a channel without such places shows none.
    """
    whole, y, p, limits = observation.whole, observation.y, observation.predicted, observation.limits
    if whole is None or whole.call.activation is None:
        return
    high = whole.call.activation.high
    inside = observation.finite & (np.minimum(y, p) > limits) & (np.maximum(y, p) < high - limits)
    means = [
        float((b - a)[ok].mean()) if ok.any() else 0.0
        for a, b, ok in zip(*map(_by_channel, (p, y, inside)), strict=True)
    ]
    limit = observation.tolerance.planes.max(0).reshape(-1)
    offset = np.where(np.abs(means) > limit, means, 0.0)
    if offset.any():
        ones, unit = np.ones_like(offset), observation.tolerance.relative
        cause = affine("offset per channel", ones, offset, y.ndim - 2, observation.writer, unit)
        yield bias_values.with_reason(cause, offset, limit, whole.call, observation.writer)


def _by_channel(array: Array) -> Array:
    """Return [N, C, *spatial] as [C, numbers]."""
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)


def _samples(y: Array, finite: Array, most: int = 4096) -> Any:
    """Return an index [places] of up to `most` places, spread out, at which every image and channel is finite."""
    ok = np.flatnonzero(finite.all(axis=(0, 1)).ravel())
    return ok if len(ok) <= most else ok[np.linspace(0, len(ok) - 1, most).astype(int)]


def _scales_in_some(cause: Cause, a: Array) -> Cause:
    """Return the cause of a factor per channel with the channels named, if half of them or fewer are scaled."""
    rows = np.flatnonzero(np.abs(a - 1) > 1e-5)
    if not 0 < len(rows) <= len(a) // 2:
        return cause
    numbers = ", ".join(f"{value:.6g}" for value in a[rows][:4]) + (", ..." if len(rows) > 4 else "")
    verb = "is" if len(rows) == 1 else "are"
    return replace(cause, text=f"{channel_words(rows, len(a))} {verb} multiplied by {numbers}, all others by 1")


def affine(name: str, a: Array, b: Array, ndim: int, writer: FixWriter, unit: float) -> Cause:
    """Return the cause of this name: y becomes a * y + b, both [C].

    `unit` is the spacing of the output's numbers around 1; the fix has as many digits.
    """

    def shown(values: Array) -> str:
        numbers = ", ".join(f"{value:.6g}" for value in values[:4])
        return f"[{numbers}{', ...' if len(values) > 4 else ''}]"

    text = {
        "scaled": f"y is multiplied by {a[0]:.6g}",
        "offset per channel": f"a constant is added to each channel, {shown(b)}: another bias, or none",
        "scale per channel": f"each output channel is multiplied by a number of its own, {shown(a)}: a scale per "
        "channel (of quantization, or of a BatchNorm) that is in only one of the two",
        "scale and offset per channel": f"each output channel has a scale {shown(a)} and an offset {shown(b)}: a "
        "BatchNorm that is in only one of the two (tconv.fold_batchnorm puts it into weight and bias)",
    }[name]
    shape = (-1, *[1] * ndim)
    factor, offset = (_rounded(values, unit) for values in (a, b))
    if name == "scaled":
        apply, undo = f"y = y * {factor[0]}", f"y = y / {factor[0]}"
    else:
        times, plus = writer.column(factor), writer.column(offset)
        apply, undo = {
            "offset per channel": (f"y = y + {plus}", f"y = y - {plus}"),
            "scale per channel": (f"y = y * {times}", f"y = y / {times}"),
            "scale and offset per channel": (f"y = y * {times} + {plus}", f"y = (y - {plus}) / {times}"),
        }[name]
        if not times:
            apply = undo = ""

    def change(s: CallModel) -> CallModel:
        per = s.weight.shape[1]
        factor = np.repeat(a.reshape(s.groups, 1, per), s.in_channels // s.groups, 1).reshape(
            s.in_channels, per, *[1] * ndim
        )
        bias = b if s.bias is None else a * s.bias + b
        return replace(s, weight=s.weight * factor, bias=bias)

    return Cause(
        name,
        "scale",
        text,
        change=change,
        transform=lambda y: a.reshape(shape) * y + b.reshape(shape),
        apply=apply,
        undo=undo,
    )


def _rounded(values: Array, unit: float) -> list[float | complex]:
    """Return numbers with the digits of a format whose spacing around 1 is `unit`."""
    if np.iscomplexobj(values):
        return [complex(value) for value in values]
    return [float(str(np.float32(value))) if unit >= 2.0**-23 else float(value) for value in values]
