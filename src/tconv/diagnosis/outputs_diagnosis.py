"""Diagnosis of two outputs without a call: shift, crop, exchanged axes, order, scale, wrong parts, rounding.

`diagnose` runs it if x and weight are not given.
"""

from __future__ import annotations

import time

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import as_float64
from tconv.diagnosis.fitted import rounding
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.given_outputs import (
    GivenOutputs,
    checked_variance,
    largest_difference,
    rms_of,
    why_too_few_bits,
    why_uninformative,
)
from tconv.diagnosis.output_grid import step_of
from tconv.diagnosis.outputs_comparison import OutputsComparison
from tconv.diagnosis.report import Diagnosis, Finding, in_rms, joined
from tconv.diagnosis.tolerance import outputs_tolerance, spacing
from tconv.dialects import DataLayout, Dialect
from tconv.errors import ShapeError

_NO_CALL = "outputs alone: with x=, weight= and the call's arguments the cause can be named"


def diagnose_outputs(
    outputs: GivenOutputs,
    dialect: Dialect,
    target: str | None,
    start: float,
    variance: Array | None = None,
    note: str = _NO_CALL,
) -> Diagnosis:
    """Return the diagnosis of outputs alone, in the dialect's data layout.

    `target` is the dialect of the fix, `start` the time.perf_counter() at which the diagnosis began, `variance` that of
    the BatchNorm behind the layer, if it is known, `note` the note that every cause has. Raises ShapeError if no order
    of axes makes batch and channels agree.
    """
    a, b, layout = _read(outputs, dialect)
    finite_b = np.where(np.isfinite(b), b, 0)
    tolerance = outputs_tolerance(finite_b, outputs.dtype)
    rms = rms_of(b)
    findings: tuple[Finding, ...] = ()
    notes = [note]
    verdict = "none"
    writer = FixWriter.of(target or outputs.fix_dialect, len(layout.axes) - 2, dialect.name)
    comparison = OutputsComparison(b, a, outputs.dtype, writer, checked_variance(variance, b.shape[1]))
    difference = largest_difference(a, b, rms)
    if a.shape == b.shape and _equal(a, b, tolerance.at(finite_b)):
        verdict, notes = "equal", []
    elif reason := why_uninformative(a, b):
        verdict, notes = "untellable", [reason]
    else:
        for name, y in (("got", a), ("expected", b)):
            if bad := int((~np.isfinite(y)).sum()):
                notes.insert(0, f"{name} contains NaN or inf in {bad} of {y.size} places")
        for causes, error in comparison.explain():
            text = joined([cause.text for cause in causes])
            if too_few := why_too_few_bits(b, outputs.dtype, comparison.tried):
                verdict = "untellable"
                notes += [too_few, f"it could be that {text}"]
                break
            certain = all(cause.certain for cause in causes)
            verdict = "found" if certain else "likely"
            undo = [cause.undo for cause in reversed(causes)]
            fix = "; ".join(undo) if all(undo) else ""  # a line that fixes some of the causes only would mislead
            findings = (Finding(tuple(c.name for c in causes), text, fix, in_rms(error, rms), certain=certain),)
        if verdict == "none" and a.shape == b.shape:
            finite = np.isfinite(a) & np.isfinite(b)
            if size := rounding.size_of_difference(b, a, finite, max(spacing(outputs.dtype), 2.0**-23)):
                notes.append(f"{size}; only x= and weight= can show whether it is rounding")
    tried = f"{comparison.tried} hypotheses about the outputs alone, {time.perf_counter() - start:.2g} s"
    own = max(step_of(a), step_of(b)) / 2  # a quantized output was rounded itself
    limit = in_rms(float(tolerance.planes.max(initial=0.0)) + own, rms)
    shapes = (outputs.got.shape, outputs.expected.shape)
    return Diagnosis(verdict, findings, difference, limit, shapes, tuple(notes), tried, (a, b))


def _read(outputs: GivenOutputs, dialect: Dialect) -> tuple[Array, Array, DataLayout]:
    """Return got and expected as [N, C, *spatial] in float64, and the layout that they were read in."""
    a, b = as_float64(outputs.got), as_float64(outputs.expected)
    while a.ndim > b.ndim and a.shape[0] == 1:
        a = a[0]
    while b.ndim > a.ndim and b.shape[0] == 1:
        b = b[0]
    if a.ndim != b.ndim or a.ndim == 0:
        raise ShapeError(
            f"got has shape {outputs.got.shape} and expected {outputs.expected.shape}; they need the same number of "
            "axes. Write got[None] to add a batch axis"
        )
    added = max(0, 3 - a.ndim)
    a, b = (y.reshape(*[1] * added, *y.shape) for y in (a, b))
    ndim = a.ndim - 2
    layout = dialect.data_layout(ndim, ndim + 2)
    if "N" not in layout.axes or len(layout.axes) != a.ndim:
        layout = DataLayout.of("NC*", ndim)
    first, second = layout.canonical(a), layout.canonical(b)
    if first.shape[:2] != second.shape[:2] and sorted(a.shape) != sorted(b.shape):
        raise ShapeError(
            f"got has shape {outputs.got.shape} and expected {outputs.expected.shape}; read as {layout.describe()} "
            "their batch or channels differ, and no order of axes makes them agree. Write outputs of the same layer "
            "and batch"
        )
    return first, second, layout


def _equal(a: Array, b: Array, limit: Array) -> bool:
    return bool(((np.abs(a - b) <= limit) | (a == b) | (np.isnan(a) & np.isnan(b))).all())
