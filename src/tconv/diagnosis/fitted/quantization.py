"""x, weight and y in int8, each alone or together: full-integer layers, dynamic-range kernels, quantized outputs.

The weight's scales follow from the weight, those of x from its own range, as kernels that quantize at run time have
them; where they come from other data, the scale of x is searched for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, Window
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.causes.precision import QuantizedWeight, quantized_weights
from tconv.diagnosis.fitted.observation import Observation

_NUMBERS = 600  # numbers of y that every hypothesis is tried on
_WIDE = 20_000  # numbers of y that a scale is refined on
_BATCH = 32  # scales that are tried in one call
_RANGE = (0.4, 4.0)  # scales of x, in units of that of its own range
_SPACING = 0.003  # between scales: with a larger one, roundings of the largest x would be other ones
_DIP = 0.9  # most of the difference's power that the best of the first scales may leave
_LEFT = 0.25  # most of it that the final scale may leave
_CUT = 0.02  # largest share of x that may be beyond the range of int8
_TIES = 0.05  # largest share of numbers that roundings of single x, next to a tie, may move


class _Input(NamedTuple):
    """x in int8: its numbers, their step, [N, 1, ...], and the words for it."""

    x: Array
    step: Array
    text: str


def quantized(observation: Observation) -> Iterator[Cause]:
    """Yield y in int8 alone, or the operands in int8 with y or without it, if the difference is small."""
    step, whole = observation.step, observation.whole
    if step and _fits(observation, observation.predicted):
        yield _cause(observation, observation.predicted, "", "", certain=True)
        return
    if whole is None or not observation.is_small or np.iscomplexobj(observation.y):
        return
    call = whole.call
    if np.iscomplexobj(call.x) or np.iscomplexobj(call.weight) or not call.x.any() or not call.weight.any():
        return
    sample = _Sample.of(observation, call, _NUMBERS)
    weights = [QuantizedWeight("", call.weight), *quantized_weights(call)]
    inputs = [_Input(call.x, np.zeros(1), ""), *_own_ranges(call.x)]
    for each in inputs if step else inputs[1:]:
        for weight in weights:
            changed = _changed(call, each, weight, bool(step))
            unit = _unit(call, each, weight) if step else 0.0
            if not sample.fits(changed, float(np.max(unit))):
                continue
            predicted = changed.window(whole.window)
            if _fits(observation, predicted, unit):
                yield _cause(observation, predicted, each.text, weight.text, certain=True)
                return
    yield from _other_scale(observation, sample, weights)


def _fits(observation: Observation, predicted: Array, unit: Array | float = 0.0) -> bool:
    """Return True if y is the prediction to within rounding, its own included, and one `unit` of the whole sums."""
    limits = observation.limits + unit
    return bool((_distance(observation, predicted) <= limits)[observation.finite].all())


def _distance(observation: Observation, predicted: Array) -> Array:
    """Return the distance of y from the prediction, which a quantized y cannot exceed at both ends."""
    known = observation.known
    if observation.step:
        predicted = np.clip(predicted, known.min(), known.max())
    distance: Array = np.abs(predicted - known)
    return distance


def _cause(observation: Observation, predicted: Array, x: str, weight: str, certain: bool) -> Cause:
    """Return the cause with these words for x and the weight; "" for one that is not quantized."""
    known, step = observation.known, observation.step
    small = known.max() - known.min() <= 255.5 * step
    names = [name for name, text in (("x", x), ("weight", weight), ("y", "y" if step else "")) if text]
    shown = f"y in steps of {step:.6g}" + ("" if small else " (16 bits)") if step else ""
    if names == ["y"]:
        bits = "int8" if small else "int16"
        name, text = f"result rounded to {bits}", f"y is quantized to {bits}, in steps of {step:.6g}"
    else:
        joined = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
        verb = "are" if len(names) > 1 else "is"
        name, text = (
            f"int8 {joined}",
            f"{joined} {verb} quantized to int8: " + ", ".join(filter(None, [x, weight, shown])),
        )

    def transform(_: Array) -> Array:
        return np.clip(np.rint(predicted / step) * step, known.min(), known.max()) if step else predicted

    return Cause(name, "rounding", text, transform=transform, certain=certain)


def _own_ranges(x: Array) -> Iterator[_Input]:
    """Yield x in int8 with scales from its own range, of each image or of all."""
    axes = tuple(range(1, x.ndim))
    for over, label in ((axes, "per image") if len(x) > 1 else ((), "")), (None, "for all of x"):
        if not label:
            continue
        low = np.minimum(x.min(axis=over, keepdims=True), 0).astype(np.float32)
        high = np.maximum(x.max(axis=over, keepdims=True), 0).astype(np.float32)
        largest = np.maximum(high, -low)
        tflite = ", as TensorFlow Lite's dynamic-range kernels do" if over == axes or len(x) == 1 else ""
        for size, steps, words in (
            (high - low, 255, f"one scale and zero point {label}{tflite}"),
            (largest, 127, f"one scale {label}, no zero point"),
            (largest, 127.5, f"one scale {label}, no zero point, with -128"),
            (high - low, 127, f"one scale and zero point {label}, 7 bits"),
        ):
            step = np.where(size > 0, size, 1).astype(np.float32) / np.float32(steps)
            scale = step.astype(np.float64)
            whole = np.rint(x / scale)
            if steps in (127.5, 127) and size is largest:
                whole = np.clip(whole, -128, 127)
            yield _Input(whole * scale, scale, f"x with {words}")


def _unit(call: CallModel, x: _Input, weight: QuantizedWeight) -> Array:
    """Return the unit of the sums of whole numbers, [1, C, 1...]: kernels round sums and bias by up to one of it."""
    per_output = np.broadcast_to(weight.per_output, call.out_channels)
    return float(x.step.max()) * per_output.reshape(1, -1, *[1] * call.geometry.ndim)


def _changed(call: CallModel, x: _Input, weight: QuantizedWeight, full: bool) -> CallModel:
    """Return the call with these operands; a `full` one has a bias of whole numbers in steps of both scales."""
    bias = call.bias
    if full and bias is not None and x.text and weight.text:
        unit = x.step.reshape(-1)[0] * weight.per_output
        bias = np.rint(bias / unit) * unit
    return replace(call, x=x.x, weight=weight.weight, bias=bias)


class _Sample(NamedTuple):
    """A few places of y, in some channels of the first image, and the part of the call that computes them."""

    observation: Observation
    window: Window
    groups: tuple[int, ...]
    within: tuple[int, ...]
    y: Array
    limits: Array
    finite: Array

    @classmethod
    def of(cls, observation: Observation, call: CallModel, numbers: int) -> _Sample:
        """Return a sample of about this many numbers, from the middle of what is observed."""
        assert observation.whole is not None
        per, y = call.out_channels // call.groups, observation.y
        groups = tuple(range(min(call.groups, 8)))
        within = tuple(range(min(per, max(1, 8 // len(groups)))))
        side = max(4, round((numbers / (len(groups) * len(within))) ** (1 / (y.ndim - 2))))
        sizes = [min(side, L) for L in y.shape[2:]]
        starts = [(L - size) // 2 for L, size in zip(y.shape[2:], sizes, strict=True)]
        channels = [group * per + c for group in groups for c in within]
        inner: Any = (slice(0, 1), channels, *(slice(a, a + b) for a, b in zip(starts, sizes, strict=True)))
        outer = tuple(
            slice(part.start + a, part.start + a + b)
            for part, a, b in zip(observation.whole.window, starts, sizes, strict=True)
        )
        limits = np.broadcast_to(observation.limits, y.shape)[inner]
        return cls(observation, outer, groups, within, observation.known[inner], limits, observation.finite[inner])

    def predicted(self, call: CallModel) -> Array:
        """Return the sample's numbers by this call."""
        part = replace(call, x=call.x[:1]).channels(self.groups, self.within)
        return self._clipped(part.window(self.window))

    def fits(self, call: CallModel, unit: float) -> bool:
        """Return True if the call gives the sample to within rounding, and one unit of its sums."""
        return bool((np.abs(self.predicted(call) - self.y) <= self.limits + unit)[self.finite].all())

    def power(self, call: CallModel) -> float:
        """Return the mean square of the sample's distance from the call."""
        return float(((self.predicted(call) - self.y)[self.finite] ** 2).mean())

    def powers(self, call: CallModel, steps: Array) -> Array:
        """Return the same for x in each of these steps."""
        part = replace(call, x=call.x[:1]).channels(self.groups, self.within).part(self.window)
        if part is None:
            return np.full(len(steps), np.inf)
        powers = []
        for at in range(0, len(steps), _BATCH):
            scales = steps[at : at + _BATCH].reshape(-1, *[1] * (part.x.ndim - 1))
            many = replace(part, x=np.rint(part.x / scales) * scales)
            rest = self._clipped(many.window(tuple(slice(0, part.stop - part.start) for part in self.window))) - self.y
            powers.append((np.where(self.finite, rest, 0) ** 2).reshape(len(scales), -1).sum(1) / self.finite.sum())
        return np.concatenate(powers)

    def _clipped(self, predicted: Array) -> Array:
        known = self.observation.known
        return np.clip(predicted, known.min(), known.max()) if self.observation.step else predicted


def _other_scale(observation: Observation, sample: _Sample, weights: list[QuantizedWeight]) -> Iterator[Cause]:
    """Yield x in int8 in steps that do not follow from its range, as those of a calibration on other data."""
    whole, step = observation.whole, observation.step
    assert whole is not None
    call = whole.call
    if (~sample.finite).any() or sample.y.size < _NUMBERS / 4:
        return
    weight = min(weights, key=lambda each: sample.power(replace(call, weight=each.weight)))
    call = replace(call, weight=weight.weight)
    unit = (max(call.x.max(), 0) - min(call.x.min(), 0)) / 255
    before = sample.power(call)
    floor = step**2 / 12
    steps = unit * np.exp(np.arange(math.log(_RANGE[0]), math.log(_RANGE[1]), _SPACING))
    powers = sample.powers(call, steps)
    best = float(steps[int(np.argmin(powers))])
    if powers.min() - floor > _DIP * (before - floor):
        return
    wide = _Sample.of(observation, call, _WIDE)
    for reach in (0.003, 0.0004, 0.00005):
        near = best * (1 + np.linspace(-reach, reach, 33))
        best = float(near[int(np.argmin(wide.powers(call, near)))])
    if not step:  # every number of y has all its digits, and so has the scale
        integers = np.rint(call.x / best)
        plain = replace(call, x=integers, bias=None).window(whole.window)
        offset = 0 if call.bias is None else call.bias.reshape(-1, *[1] * (plain.ndim - 2))
        rest = np.where(observation.finite, observation.known - offset, 0)
        best = float((plain * rest).sum() / (plain**2).sum())
    whole_numbers = np.rint(call.x / best)
    power = float((np.abs(observation.predicted - observation.known)[observation.finite] ** 2).mean())
    one = best * np.abs(call.weight).max()  # of one x that is next to a tie, and is rounded the other way
    best_fit: tuple[float, Cause | None] = (_LEFT * (power - floor), None)
    for integers, cut in ((whole_numbers, ""), *_cut_off(whole_numbers)):
        text = f"x in steps of {best:.6g}, which do not follow from its range{cut}"
        given = _Input(integers * best, np.full((1,) * call.x.ndim, best), text)
        predicted = _changed(call, given, weight, bool(step)).window(whole.window)
        distance = _distance(observation, predicted)[observation.finite]
        one_unit = _unit(call, given, weight) if step else 0.0
        limits = np.broadcast_to(observation.limits + one_unit, observation.y.shape)[observation.finite]
        left = float((distance**2).mean()) - floor
        if left < best_fit[0] and (distance > limits).mean() <= _TIES and (distance <= limits + one).all():
            best_fit = left, _cause(observation, predicted, text, weight.text, bool((distance <= limits).all()))
        if not cut and best_fit[1] is not None:
            break  # nothing is cut off
    if best_fit[1] is not None:
        yield best_fit[1]


def _cut_off(integers: Array) -> Iterator[tuple[Array, str]]:
    """Yield x in whole numbers that int8 cuts off at an end, by every zero point that leaves almost all as they are."""
    for zero in range(-128, 128):
        low, high = -128 - zero, 127 - zero
        share = ((integers < low) | (integers > high)).mean()
        if 0 < share <= _CUT:
            yield np.clip(integers, low, high), f", cut off at {low} and {high} of them"
