"""What two outputs tell by themselves: shift, crop, exchanged axes, order, scale, spoiled rows, rounding."""

from __future__ import annotations

import time

import numpy as np

from tconv.diagnosis.canonical_call import Array, numbers
from tconv.diagnosis.fitted import small_difference
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.outputs import Two, before, rms_of, says_nothing, says_too_little
from tconv.diagnosis.outputs_comparison import Pair
from tconv.diagnosis.report import Diagnosis, Finding, joined, of_rms
from tconv.diagnosis.tolerance import spacing, tolerance_alone
from tconv.dialects import DataLayout, Dialect
from tconv.errors import ShapeError


def diagnose_alone(two: Two, speaker: Dialect, target: str | None, start: float) -> Diagnosis:
    """Without a call: what the outputs alone tell."""
    a, b = numbers(two.got), numbers(two.expected)
    while a.ndim > b.ndim and a.shape[0] == 1:
        a = a[0]
    while b.ndim > a.ndim and b.shape[0] == 1:
        b = b[0]
    if a.ndim != b.ndim or a.ndim == 0:
        raise ShapeError(
            f"got has shape {two.got.shape} and expected {two.expected.shape}; they need as many axes. "
            "Write got[None] to add a batch axis"
        )
    added = max(0, 3 - a.ndim)
    a, b = (y.reshape(*[1] * added, *y.shape) for y in (a, b))
    ndim = a.ndim - 2
    layout = speaker.data_layout(ndim, ndim + 2)
    if "N" not in layout.axes or len(layout.axes) != a.ndim:
        layout = DataLayout.of("NC*", ndim)
    first, second = layout.canonical(a), layout.canonical(b)
    if first.shape[:2] != second.shape[:2] and sorted(a.shape) != sorted(b.shape):
        raise ShapeError(
            f"got has shape {two.got.shape} and expected {two.expected.shape}; read as {layout.describe()} their "
            "batch or channels differ, and no order of axes makes them agree. Write outputs of the same layer and batch"
        )
    hand = Hand.of(target or two.writer, ndim, speaker.name)
    allowed = tolerance_alone(np.where(np.isfinite(second), second, 0), two.dtype)
    rms = rms_of(second)
    finding: tuple[Finding, ...] = ()
    notes = ["outputs alone: with x=, weight= and the call's arguments the cause can be named"]
    verdict = "none"
    pair = Pair(second, first, two.dtype, hand)
    distance = before(first, second, rms)
    if first.shape == second.shape and _equal(first, second, allowed.at(np.where(np.isfinite(second), second, 0))):
        verdict, notes = "equal", []
    elif constant := says_nothing(first, second):
        verdict, notes = "untellable", [constant]
    else:
        for name, y in (("got", first), ("expected", second)):
            if bad := int((~np.isfinite(y)).sum()):
                notes.insert(0, f"{name} holds NaN or inf in {bad} of {y.size} places")
        for causes, error in pair.explain():
            words = joined([cause.words for cause in causes])
            if little := says_too_little(second, two.dtype, pair.tried):
                verdict = "untellable"
                notes += [little, f"it could be that {words}"]
                break
            verdict = "found"
            undone = [cause.undo for cause in reversed(causes)]
            fix = "; ".join(undone) if all(undone) else ""  # what mends a part of it is no fix
            finding = (Finding(tuple(c.name for c in causes), words, fix, of_rms(error, rms)),)
        if verdict == "none" and first.shape == second.shape:
            finite = np.isfinite(first) & np.isfinite(second)
            if size := small_difference.size(second, first, finite, max(spacing(two.dtype), 2.0**-23)):
                notes.append(f"{size}; whether it is one can be told with x= and weight= alone")
    tried = f"{pair.tried} hypotheses about the outputs alone, {time.perf_counter() - start:.2g} s"
    rounding = of_rms(float(allowed.planes.max(initial=0.0)), rms)
    return Diagnosis(
        verdict, finding, distance, rounding, (two.got.shape, two.expected.shape), tuple(notes), tried, (first, second)
    )


def _equal(a: Array, b: Array, limit: Array) -> bool:
    return bool(((np.abs(a - b) <= limit) | (a == b) | (np.isnan(a) & np.isnan(b))).all())
