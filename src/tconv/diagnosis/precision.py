"""Causes in the precision: x and weight rounded to a format of fewer bits before they are multiplied, or the result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tconv.diagnosis.cause import Cause, Change
from tconv.diagnosis.rounding import FORMATS, Format, Tolerance
from tconv.diagnosis.setting import Array, Setting

WORDS = {
    "TF32": (
        "x and weight are rounded to 10 fraction bits: TF32 (NVIDIA GPUs) or float16",
        "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False",
        "pytorch/functorch#1050",
    ),
    "bfloat16": ("x and weight are rounded to bfloat16", "torch.set_float32_matmul_precision('highest')", ""),
}


def causes(setting: Setting) -> Iterator[Cause]:
    """Each format that changes x or weight."""
    for form in FORMATS:
        if any((form.round(few) != few).any() for few in (a.ravel()[:4096] for a in (setting.x, setting.weight))):
            words, fix, source = WORDS[form.name]
            cut = ", towards zero" if form.rule == "zero" else ""
            yield Cause(form.name, "rounding", words + cut, _rounded(form), undo=fix, source=source)


def _rounded(form: Format) -> Change:
    kept: dict[int, tuple[Array, Array]] = {}  # x is the same in many hypotheses

    def rounded(array: Array) -> Array:
        if id(array) not in kept:
            kept.clear()
            kept[id(array)] = array, form.round(array)
        return kept[id(array)][1]

    return lambda s: replace(s, x=rounded(s.x), weight=form.round(s.weight))


def coarse(expected: Array, y: Array, finite: Array, tolerance: Tolerance, unit: float) -> Iterator[Cause]:
    """A result that was rounded itself, or a difference of the size that rounding makes."""
    distance = np.where(finite, np.abs(expected - y), 0)
    power = math.sqrt((np.abs(y[finite]) ** 2).mean()) if finite.any() else 0.0
    if not power > 0:
        return
    known = np.where(finite, y, 0)
    if (distance <= tolerance.at(known)).all():
        if not finite.all():
            words = f"NaN or inf stand in {int((~finite).sum())} of {finite.size} places; all else is right"
            yield Cause("NaN or inf", "result", words, turn=lambda p: p)
        return
    for form in FORMATS:
        few = known.ravel()[:4096]
        if not (form.round(few) == few).all() or not (form.round(known) == known).all():
            continue
        steps = 1.0 if form.rule == "zero" else 0.51
        if (distance <= steps * form.spacing * np.abs(known) + tolerance.at(known)).all():
            cut = ", towards zero" if form.rule == "zero" else ""
            words = f"y is rounded to {form.bits} fraction bits ({form.name}){cut}"
            yield Cause(f"result rounded to {form.name}", "rounding", words, turn=form.round)
            return
    for name, step in (("float32", 2.0**-20), ("TF32 or float16", 2.0**-10), ("bfloat16", 2.0**-7)):
        if step > unit and distance.max() <= 8 * step * power:
            words = (
                f"the difference is of the size that {name} products leave ({distance.max() / power:.1e} of "
                "y's root mean square)"
            )
            fixed = y

            def turn(p: Array, fixed: Array = fixed) -> Array:
                return fixed

            yield Cause(
                f"rounding of {name}",
                "rounding",
                words,
                turn=turn,
                certain=False,
                undo="torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False"
                if "TF32" in name
                else "",
            )
            return
