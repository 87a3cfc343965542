"""Causes in the precision: x, weight or both rounded to a format of fewer bits before they are multiplied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting
from tconv.diagnosis.causes.cause import Cause, Change
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.tolerance import FORMATS, Format

_SAID = {"TF32": "10 fraction bits: TF32 (NVIDIA GPUs) or float16", "bfloat16": "bfloat16"}
_SOURCES = {"TF32": "pytorch/functorch#1050"}


def causes(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """Each format that changes x or weight."""
    for form in FORMATS:
        if _changes(form, setting.x) or _changes(form, setting.weight):
            cut = ", towards zero" if form.rule == "zero" else ""
            yield Cause(
                form.name,
                "rounding",
                f"x and weight are rounded to {_SAID[form.name]}{cut}",
                _rounded(form),
                undo=hand.exact(form.name),
                source=_SOURCES.get(form.name, ""),
            )


def _changes(form: Format, array: Array) -> bool:
    few = array.ravel()[:4096]
    return bool((form.round(few) != few).any())


def _rounded(form: Format) -> Change:
    kept: dict[int, tuple[Array, Array]] = {}  # x is the same in many hypotheses

    def rounded(array: Array) -> Array:
        if id(array) not in kept:
            kept.clear()
            kept[id(array)] = array, form.round(array)
        return kept[id(array)][1]

    return lambda s: replace(s, x=rounded(s.x), weight=form.round(s.weight))


def one_of_them(setting: Setting) -> Iterator[Cause]:
    """One of x and weight rounded, as a file or a cast does it; the weight quantized to 8 bits."""
    for form in FORMATS:
        if form.rule != "even":
            continue
        said = "float16 (or TF32)" if form.name == "TF32" else form.name
        for part in ("weight", "x"):
            if _changes(form, getattr(setting, part)):
                yield Cause(
                    f"{part} in {said.split()[0]}", "rounding", f"{part} is rounded to {said}", _part(part, form.round)
                )
    yield from _quantized(setting)


def _part(part: str, turn: Callable[[Array], Array]) -> Change:
    return lambda s: replace(s, x=turn(s.x)) if part == "x" else replace(s, weight=turn(s.weight))


def _quantized(setting: Setting) -> Iterator[Cause]:
    """The weight in int8, symmetric: the largest magnitude is 127 steps, or 127.5 where -128 is one of them, too."""
    w, G = setting.weight, setting.groups
    if np.iscomplexobj(w) or not w.any():
        return
    grouped = (G, len(w) // G, *w.shape[1:])
    taps = tuple(range(3, len(grouped)))
    for over, axes in (("tensor", None), ("output channel", (1, *taps)), ("input channel", (2, *taps))):
        largest = np.abs(w.reshape(grouped)).max(axis=axes, keepdims=True)
        for steps in (127.0, 127.5):
            scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(steps)

            def turn(w: Array, scale: Array = scale) -> Array:
                taken = np.clip(np.rint(w.reshape(grouped).astype(np.float32) / scale), -128, 127)
                made: Array = (taken * scale).reshape(w.shape).astype(w.dtype)
                return made

            words = (
                f"the weight is quantized to int8, symmetric, one scale per {over} (the largest magnitude is {steps:g})"
            )
            yield Cause(f"int8 weight per {over}", "rounding", words, _part("weight", turn))
