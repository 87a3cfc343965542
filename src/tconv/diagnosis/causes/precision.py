"""Causes in the precision: x, weight or both are rounded to fewer bits before they are multiplied.

`causes` are tried on every call; `one_operand_rounded` only where the outputs differ by little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.cause import Cause, CauseContext, Change
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.float_formats import FORMATS, NARROW, FloatFormat

_DESCRIPTIONS = {"TF32": "10 fraction bits: TF32 (NVIDIA GPUs) or float16", "bfloat16": "bfloat16"}
_SOURCES = {"TF32": "pytorch/functorch#1050"}


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the formats that x and weight together may have been rounded to."""
    return both_operands_rounded(context.call, context.writer, context.narrow)


def both_operands_rounded(call: CallModel, writer: FixWriter, narrow: str) -> Iterator[Cause]:
    """Yield each format whose rounding changes x or weight; with a `narrow` output that of the whole layer."""
    for form in FORMATS:
        if not (_changes(form, call.x) or _changes(form, call.weight)):
            continue
        if form is NARROW.get(narrow):
            yield layer_in(narrow, call, writer)
        else:
            cut = ", towards zero" if form.rule == "zero" else ""
            yield Cause(
                form.name,
                "rounding",
                f"x and weight are rounded to {_DESCRIPTIONS[form.name]}{cut}",
                _rounded(form),
                undo=writer.full_precision(form.name),
                source=_SOURCES.get(form.name, ""),
            )


def layer_in(narrow: str, call: CallModel, writer: FixWriter) -> Cause:
    """Return the cause of a layer in float16 or bfloat16 whose sums have more bits."""
    return Cause(
        f"computed in {narrow}",
        "rounding",
        f"the layer is in {narrow}: its numbers and its result are rounded, and its sums are not",
        lambda call: in_format(NARROW[narrow], call),
        undo=writer.as_float32(call.bias is not None),
    )


def in_format(form: FloatFormat, call: CallModel) -> CallModel:
    """Return the call with x, weight and bias rounded to a format."""
    bias = None if call.bias is None else form.round(call.bias)
    return replace(call, x=form.round(call.x), weight=form.round(call.weight), bias=bias)


def _changes(form: FloatFormat, array: Array) -> bool:
    few = array.ravel()[:4096]
    return bool((form.round(few) != few).any())


def _rounded(form: FloatFormat) -> Change:
    cached: dict[int, tuple[Array, Array]] = {}  # x is the same in many hypotheses

    def rounded(array: Array) -> Array:
        if id(array) not in cached:
            cached.clear()
            cached[id(array)] = array, form.round(array)
        return cached[id(array)][1]

    return lambda call: replace(call, x=rounded(call.x), weight=form.round(call.weight))


def one_operand_rounded(call: CallModel) -> Iterator[Cause]:
    """Yield x or weight rounded alone, as a file or a cast does it, and the weight quantized to 8 bits."""
    parts: tuple[Literal["weight", "x"], ...] = ("weight", "x")
    for form in FORMATS:
        if form.rule != "even":
            continue
        label = "float16 (or TF32)" if form.name == "TF32" else form.name
        for part in parts:
            if _changes(form, getattr(call, part)):
                yield Cause(
                    f"{part} in {label.split()[0]}",
                    "rounding",
                    f"{part} is rounded to {label}",
                    _change_of(part, form.round),
                )
    yield from _quantized(call)


def _change_of(part: Literal["weight", "x"], transform: Callable[[Array], Array]) -> Change:
    if part == "x":
        return lambda call: replace(call, x=transform(call.x))
    return lambda call: replace(call, weight=transform(call.weight))


class QuantizedWeight(NamedTuple):
    """A weight rounded to int8, and the words for it."""

    text: str
    weight: Array
    per_output: Array | float = 0.0
    """Scale of each output channel."""
    name: str = ""


def quantized_weights(call: CallModel) -> Iterator[QuantizedWeight]:
    """Yield the weight in symmetric int8. The largest magnitude is 127 steps, or 127.5 where -128 is used too."""
    w, G = call.weight, call.groups
    if np.iscomplexobj(w) or not w.any():
        return
    grouped = (G, len(w) // G, *w.shape[1:])
    taps = tuple(range(3, len(grouped)))
    for over, axes in (("output channel", (1, *taps)), ("tensor", None), ("input channel", (2, *taps))):
        largest = np.abs(w.reshape(grouped)).max(axis=axes, keepdims=True)
        for steps in (127.0, 127.5):
            scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(steps)
            integers = np.clip(np.rint(w.reshape(grouped).astype(np.float32) / scale), -128, 127)
            quantized = (integers * scale).reshape(w.shape).astype(w.dtype)
            per_output = scale.max(axis=1).reshape(-1)
            if len(per_output) != call.out_channels:
                per_output = np.repeat(per_output, call.out_channels // len(per_output))
            text = f"the weight symmetric, one scale per {over} (the largest magnitude is {steps:g})"
            yield QuantizedWeight(text, quantized, per_output.astype(np.float64), f"int8 weight per {over}")


def _quantized(call: CallModel) -> Iterator[Cause]:
    """Yield the weight in symmetric int8."""
    for each in quantized_weights(call):

        def change(_: CallModel, each: QuantizedWeight = each) -> CallModel:
            return replace(call, weight=each.weight)

        text = each.text.replace("the weight symmetric", "the weight is quantized to int8, symmetric")
        yield Cause(each.name, "rounding", text, change)
