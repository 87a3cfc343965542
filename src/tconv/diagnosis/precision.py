"""Causes in the precision: x and weight rounded to a format of fewer bits before they are multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tconv.diagnosis.cause import Cause, Change
from tconv.diagnosis.rounding import FORMATS, Format
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
