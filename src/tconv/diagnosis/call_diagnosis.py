"""Diagnosis of two outputs with a call: the output that the call describes, and the explanation of the other.

`diagnose` runs it for every call with x and weight; it follows one diagnosis from the outputs to the report.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import ACTIVATIONS, Activation, CallModel, as_float64
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.causes.fault_effects import possible_faults
from tconv.diagnosis.explanation import Explanation
from tconv.diagnosis.finding_builder import ExplainedCall, finding_of, with_second_explanation
from tconv.diagnosis.fix_writer import NEUTRAL, FixWriter
from tconv.diagnosis.given_outputs import (
    GivenOutputs,
    agree_at_samples,
    checked_variance,
    largest_difference,
    rms_of,
    sample_of,
    why_too_few_bits,
    why_uninformative,
)
from tconv.diagnosis.output_grid import step_of
from tconv.diagnosis.output_matcher import ObservedOutput
from tconv.diagnosis.outputs_comparison import OutputsComparison
from tconv.diagnosis.outputs_diagnosis import diagnose_outputs
from tconv.diagnosis.report import Diagnosis, Finding, in_rms, joined
from tconv.diagnosis.search import Search
from tconv.diagnosis.tolerance import call_tolerance
from tconv.dialects import DataLayout, Dialect
from tconv.errors import ShapeError


class _Reading(NamedTuple):
    """An output in canonical order, and the layout that it was read in."""

    y: Array
    layout: DataLayout


def _ends_in(activation: Activation, y: Array) -> bool:
    """Return True if this activation may have cut an output off."""
    numbers = y[np.isfinite(y)]
    return bool(numbers.size and numbers.min() == 0 and numbers.max() <= activation.high)


class CallDiagnosis:
    """Diagnosis of one call and two outputs."""

    def __init__(
        self,
        outputs: GivenOutputs,
        call: CallModel,
        data_layout: DataLayout,
        weight_layout: Any,
        dialect: Dialect,
        native: dict[str, Any],
        target: str | None,
        start: float,
        variance: Array | None = None,
    ) -> None:
        self.variance = checked_variance(variance, call.out_channels)
        self.outputs, self.call, self.data_layout, self.weight_layout = outputs, call, data_layout, weight_layout
        self.given, self.assumed = call, tuple[Cause, ...]()
        self.dialect, self.native, self.target, self.start = dialect, native, target, start
        self.searches: list[Search] = []
        self.notes: list[str] = []
        self.fix_dialect = dialect.name

    def run(self) -> Diagnosis:
        """Return the diagnosis. Raises ShapeError for an output whose batch or channels are not the call's."""
        try:
            got, expected = (self._readings(name) for name in ("got", "expected"))
        except ShapeError:
            if found := self._outputs_of_another_shape():
                return found
            raise
        a, b = got[0], expected[0]
        for one, other in product(got, expected):
            if one.y.shape == other.y.shape and self._agree(one.y, other.y):
                return self._same(one, other)
        if reason := self._why_uninformative(a.y, b.y):
            self.notes.append(reason)
            return self._report("untellable", (), a, b)
        self._note_nan(a.y, b.y)
        matches = {name: self._matching(readings) for name, readings in (("got", got), ("expected", expected))}
        if matches["expected"] is not None:
            self.notes.append("the call describes expected")
            return self._explain("got", got, matches["expected"])
        if matches["got"] is not None:
            self.notes.append("the call describes got")
            return self._explain("expected", expected, matches["got"])
        return self._behind_activation(got, expected) or self._neither(got, expected)

    def _behind_activation(self, got: list[_Reading], expected: list[_Reading]) -> Diagnosis | None:
        """Return the diagnosis of outputs that both end in a ReLU; None if the call gives neither of them with one."""
        given, parts = self.call, (got[0].y, expected[0].y, self.call.x, self.call.weight)
        if any(map(np.iscomplexobj, parts)):
            return None
        for activation in ACTIVATIONS:
            if not all(_ends_in(activation, y) for y in parts[:2]):
                continue
            self.call = replace(given, activation=activation)
            for name, own, other, readings in (("expected", expected, "got", got), ("got", got, "expected", expected)):
                if (described := self._matching(own)) is not None:
                    self.notes.append(f"the call describes {name}, with a {activation.name} behind it")
                    return self._explain(other, readings, described)
        self.call = given
        return None

    def _same(self, got: _Reading, expected: _Reading) -> Diagnosis:
        """Return the diagnosis of outputs that agree, possibly in different layouts."""
        self.fix_dialect = self.target or self._usual_dialect("got")
        layout = self._layout_cause(got, expected, "got")
        if layout is None:
            return self._report("equal", (), got, expected)
        error = float(np.abs(got.y - expected.y).max(initial=0.0))
        finding = self._finding(Explanation((layout,), self.call, error), "got", got)
        return self._report("found", (finding,), got, expected)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _readings(self, name: str) -> list[_Reading]:
        """Return the output in canonical order, read in the call's layout and in others that its shape fits."""
        array = as_float64(getattr(self.outputs, name))
        ndim, wanted = self.call.geometry.ndim, (len(self.call.x), self.call.out_channels)
        layouts = [self.data_layout, *(DataLayout.of(pattern, ndim) for pattern in ("NC*", "N*C", "C*", "*C"))]
        readings = [
            _Reading(layout.canonical(array), layout)
            for layout in dict.fromkeys(layouts)
            if len(layout.axes) == array.ndim and layout.sizes(array.shape)[:2] == wanted
        ]
        if not readings:
            raise ShapeError(
                f"{name} has shape {array.shape}; the call gives "
                f"{self.data_layout.native_shape((*wanted, *(self.call.spatial or ())))}, "
                f"{self.data_layout.describe()}, and no order of axes makes batch {wanted[0]} and channels {wanted[1]} "
                f"agree. Write the {name} of this x and weight"
            )
        return readings

    def _agree(self, a: Array, b: Array) -> bool:
        """Return True if two outputs are equal to within rounding, with NaNs in the same places."""
        if not agree_at_samples(a, b, self.outputs.dtype):
            return False
        finite = np.isfinite(a) & np.isfinite(b)
        same = np.isnan(a) == np.isnan(b)
        limit = 2 * call_tolerance(self.call, b, self.outputs.dtype).at(np.where(finite, b, 0))
        return bool(
            same.all()
            and ((np.abs(a - b) <= limit) | ~finite | (a == b)).all()
            and (finite | (a == b) | np.isnan(a)).all()
        )

    def _why_uninformative(self, a: Array, b: Array) -> str:
        """Return the reason why nothing can be read off these arrays; "" if there is none."""
        for name, array in (("x", self.call.x), ("weight", self.call.weight)):
            if array.size and not array.any():
                return f"{name} is zero everywhere: only the bias is left. Write a random {name}"
        return why_uninformative(a, b)

    def _note_nan(self, a: Array, b: Array) -> None:
        for name, y in (("got", a), ("expected", b)):
            bad = int((~np.isfinite(y)).sum())
            if bad:
                self.notes.append(
                    f"{name} contains NaN or inf in {bad} of {y.size} places, which are left out of the comparison"
                )

    def _matching(self, readings: list[_Reading]) -> _Reading | None:
        """Return the reading of an output that the unchanged call gives; None if there is none."""
        for reading in readings:
            if reading.y.shape[2:] == self.call.spatial:
                error = self._search(reading).matcher.largest_error(self.call)
                if error is not None and np.isfinite(reading.y).all():
                    return reading
        return None

    def _search(self, reading: _Reading) -> Search:
        output = ObservedOutput.of(reading.y, self.outputs.dtype)
        return Search(self.call, output, self._fix_writer(), self.dialect, self.native, self.variance)

    def _fix_writer(self, dialect: str = "") -> FixWriter:
        """Return the writer for this dialect, or for that of the fix."""
        dialect = dialect or self.fix_dialect
        own = self.dialect.name == ("torch" if dialect == NEUTRAL else dialect)
        return FixWriter.of(
            dialect,
            self.call.geometry.ndim,
            self.dialect.name,
            self.call.groups,
            self.data_layout if own else None,
            self.weight_layout if own else None,
            self.native,
        )

    # -- explaining --------------------------------------------------------------------------------------------------

    def _explain(self, subject: str, readings: list[_Reading], other: _Reading) -> Diagnosis:
        """Return the diagnosis with the causes that make the call give `subject`."""
        self.fix_dialect = self.target or self._usual_dialect(subject)
        for reading in readings:
            search = self._search(reading)
            self.searches.append(search)
            both = (reading, other) if subject == "got" else (other, reading)
            explanations = search.one_cause()
            if not explanations and (findings := self._by_axes(*both)):
                return self._report("found", findings, *both)
            explanations = explanations or search.two_causes() or search.last_resort()
            if not explanations:
                continue
            if reading.layout != other.layout:
                self.notes.append(
                    f"{subject} is {reading.layout.describe()}, the other {other.layout.describe()}; they were "
                    "compared in one order"
                )
            findings = tuple(self._finding(each, subject, reading, other) for each in explanations)
            if search.too_few_bits:
                self.notes += [search.too_few_bits, *(f"it could be that {each.text}" for each in findings[:3])]
                return self._report("untellable", (), *both)
            return self._report("found", findings, *both)
        reading = readings[0]
        both = (reading, other) if subject == "got" else (other, reading)
        return self._unexplained(*both)

    def _usual_dialect(self, subject: str) -> str:
        """Return the dialect of the fix: the call's if the call is wrong, else that of the arrays."""
        neutral = self.outputs.fix_dialect == NEUTRAL
        return self.dialect.name if subject == "expected" and not neutral else self.outputs.fix_dialect

    def _layout_cause(self, reading: _Reading, other: _Reading, subject: str) -> Cause | None:
        """Return the layout as a cause if the two outputs have different ones; else None."""
        if reading.layout == other.layout or len(reading.layout.axes) != len(other.layout.axes):
            return None
        order = tuple(reading.layout.axes.index(axis) for axis in other.layout.axes)
        if subject == "expected":
            order = tuple(other.layout.axes.index(axis) for axis in reading.layout.axes)
        statement = self._fix_writer().permute("y", "y", order)
        text = f"{subject} is {reading.layout.describe()} where the other is {other.layout.describe()}"
        return Cause("data layout", "layout", text, apply=statement, undo=statement)

    def _finding(
        self, explanation: Explanation, subject: str, reading: _Reading, other: _Reading | None = None
    ) -> Finding:
        """Return the finding of an explanation of `subject`; `other` is the output that the call gives, if any."""
        explained = ExplainedCall(self.given, self.assumed, self.call, self.data_layout)
        writer = self._fix_writer()
        relayout: str | None = ""
        if other is not None and other.layout != reading.layout:
            layout = self._layout_cause(reading, other, subject)
            own = writer.data_layout == other.layout
            relayout = layout.apply if layout is not None and own else None
        return finding_of(explanation, subject, rms_of(reading.y), explained, writer, relayout)

    def _neither(self, got: list[_Reading], expected: list[_Reading]) -> Diagnosis:
        """Return the diagnosis of a call that gives neither output: each is explained by changes of the call."""
        self.fix_dialect = self.target or self._usual_dialect("expected")
        searches = {name: self._search(readings[0]) for name, readings in (("got", got), ("expected", expected))}
        self.searches += searches.values()
        found = {
            name: search.one_cause() or search.two_causes() or search.last_resort() for name, search in searches.items()
        }
        found = {name: [] if searches[name].too_few_bits else each for name, each in found.items()}
        a, b = got[0], expected[0]
        for subject, other in (("expected", "got"), ("got", "expected")):
            if not found[subject] or not self._changes_call(found[subject][0]):
                continue
            explanation = found[subject][0]
            self.notes.append(
                f"the call as it was given describes neither output; {subject} is what it gives if "
                f"{joined([cause.text for cause in explanation.causes])}"
            )
            if subject == "expected" or not found["expected"]:
                self.call, self.assumed = explanation.call, explanation.causes
                readings = got if other == "got" else expected
                diagnosis = self._explain(other, readings, a if subject == "got" else b)
                if diagnosis.findings:
                    return diagnosis
                self.call, self.assumed = self.given, ()
            if found[other]:
                findings = tuple(self._finding(each, other, a if other == "got" else b) for each in found[other])
                return self._report("found", with_second_explanation(findings, explanation, subject), a, b)
            return self._unexplained(a, b)
        for name in ("expected", "got"):
            if found[name]:
                text = joined([cause.text for cause in found[name][0].causes])
                self.notes.append(f"the call describes neither output; {name} is what it gives if {text}")
        if not self.notes or "neither" not in self.notes[-1]:
            self.notes.append("the call as it was given describes neither output, and no cause leads to one of them")
        return self._unexplained(a, b)

    @staticmethod
    def _changes_call(explanation: Explanation) -> bool:
        """Return True if all causes change the call, so that the changed call can explain the other output."""
        return all(
            cause.part != "result" and not (cause.part == "rounding" and cause.change is None)
            for cause in explanation.causes
        )

    # -- outputs alone -----------------------------------------------------------------------------------------------

    def _comparison(self, got: Array, expected: Array) -> OutputsComparison:
        writer = self._fix_writer(self.target or self.outputs.fix_dialect)
        return OutputsComparison(expected, got, self.outputs.dtype, writer, self.variance, with_call=True)

    def _by_axes(self, got: _Reading, expected: _Reading) -> tuple[Finding, ...]:
        """Return the finding that one output is the other with its axes in another order or reversed; () if not."""
        comparison = self._comparison(got.y, expected.y)
        return self._findings_alone(comparison, comparison.explain_by_axes(), got, expected)

    def _findings_alone(
        self,
        comparison: OutputsComparison,
        explained: list[tuple[tuple[Cause, ...], float]],
        got: _Reading,
        expected: _Reading,
    ) -> tuple[Finding, ...]:
        findings = []
        for causes, error in explained:
            if why_too_few_bits(expected.y, self.outputs.dtype, comparison.tried):
                continue
            undo = [cause.undo for cause in reversed(causes)]
            text = f"of the outputs alone, {joined([cause.text for cause in causes])}"
            fix = "; ".join(undo) if all(undo) else ""
            certain = all(cause.certain for cause in causes)
            residual = in_rms(error, rms_of(expected.y))
            findings.append(Finding(tuple(c.name for c in causes), text, fix, residual, certain=certain))
        return tuple(findings)

    def _unexplained(self, got: _Reading, expected: _Reading) -> Diagnosis:
        """Return the diagnosis of outputs that the call does not explain: the outputs alone may do it."""
        part = self._comparison(sample_of(got.y), sample_of(expected.y))
        explained = part.explain()
        if explained and (part.got.shape, part.expected.shape) != (got.y.shape, expected.y.shape):
            explained = self._comparison(got.y, expected.y).explain()
        if findings := self._findings_alone(part, explained, got, expected):
            return self._report("found", findings, got, expected)
        self.notes += dict.fromkeys(search.hint for search in self.searches if search.hint)
        faults = possible_faults(self.call, self.dialect, self.native)
        self.notes += [f"a listed fault applies to this call: {fault}" for fault in faults]
        return self._report("none", (), got, expected)

    def _outputs_of_another_shape(self) -> Diagnosis | None:
        """Return the diagnosis of the outputs alone, where no layout fits that of the call; None without a cause."""
        note = "in the layouts of the call, batch and channels do not agree: the outputs alone were compared"
        try:
            found = diagnose_outputs(self.outputs, self.dialect, self.target, self.start, self.variance, note)
        except ShapeError:
            return None
        return found if found.findings else None

    # -- reporting ---------------------------------------------------------------------------------------------------

    def _report(self, verdict: str, findings: tuple[Finding, ...], got: _Reading, expected: _Reading) -> Diagnosis:
        a, b = got.y, expected.y
        rms = rms_of(b)
        difference = largest_difference(a, b, rms)
        tolerance = call_tolerance(self.call, np.where(np.isfinite(b), b, 0), self.outputs.dtype)
        own = max(step_of(a), step_of(b)) / 2  # a quantized output was rounded itself
        rounding = in_rms(float(tolerance.planes.max(initial=0.0)) + own, rms)
        if verdict == "found":
            self.notes += self._invisible_causes()
            verdict = "found" if findings[0].certain else "likely"
        hypotheses = [search.hypotheses for search in self.searches]
        singles, pairs = sum(each.singles for each in hypotheses), sum(each.pairs for each in hypotheses)
        seconds = time.perf_counter() - self.start
        count = len(hypotheses[0].causes) if hypotheses else 0
        parts = ", compared on parts of a large output" if any(s.matcher.partial for s in self.searches) else ""
        tried = (
            f"{count} causes and every crop near the call's, {singles} single and {pairs} paired hypotheses"
            f"{parts}, {seconds:.2g} s"
            if count
            else f"the call itself, {seconds:.2g} s"
        )
        shapes = (self.outputs.got.shape, self.outputs.expected.shape)
        return Diagnosis(verdict, findings, difference, rounding, shapes, tuple(self.notes), tried, (a, b))

    def _invisible_causes(self) -> list[str]:
        """Return a note with the causes that change nothing here, so that they can be neither seen nor ruled out."""
        call, names = self.call, []
        for cause in self.searches[-1].hypotheses.causes if self.searches else []:
            if cause.part not in ("weight", "x") or cause.change is None:
                continue
            changed = cause.change(call)
            part = "weight" if cause.part == "weight" else "x"
            if changed is not None and np.array_equal(getattr(changed, part), getattr(call, part)):
                names.append(cause.name)
        return [f"cannot be seen with these numbers, because they change nothing: {', '.join(names)}"] if names else []
