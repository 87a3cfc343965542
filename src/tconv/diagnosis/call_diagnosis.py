"""One call with two outputs: which of the two it describes, and what explains the other."""

from __future__ import annotations

import time
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting, numbers
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.causes.runtime_faults import unexplained
from tconv.diagnosis.explanation import Fit
from tconv.diagnosis.finding import beside, finding
from tconv.diagnosis.fix_writer import NEUTRAL, Hand
from tconv.diagnosis.outputs import Two, before, likely, part_of, rms_of, says_nothing
from tconv.diagnosis.outputs_comparison import Pair
from tconv.diagnosis.report import Diagnosis, Finding, joined, of_rms
from tconv.diagnosis.search import Search
from tconv.diagnosis.tolerance import tolerance
from tconv.diagnosis.tolerance_test import Target
from tconv.dialects import DataLayout, Dialect
from tconv.errors import ShapeError


class _Reading(NamedTuple):
    """An output in canonical order, and the layout that it was read in."""

    y: Array
    layout: DataLayout


class Case:
    """One call with two outputs."""

    def __init__(
        self,
        two: Two,
        setting: Setting,
        layout: DataLayout,
        weight: Any,
        speaker: Dialect,
        native: dict[str, Any],
        target: str | None,
        start: float,
    ) -> None:
        self.two, self.setting, self.layout, self.weight = two, setting, layout, weight
        self.speaker, self.native, self.target, self.start = speaker, native, target, start
        self.searches: list[Search] = []
        self.notes: list[str] = []
        self.fixer = speaker.name

    def run(self) -> Diagnosis:
        """Which of the two the call describes, and what explains the other."""
        got, expected = (self._readings(name) for name in ("got", "expected"))
        a, b = got[0], expected[0]
        for one, other in product(got, expected):
            if one.y.shape == other.y.shape and self._agree(one.y, other.y):
                return self._same(one, other)
        if said := self._says_nothing(a.y, b.y):
            self.notes.append(said)
            return self._report("untellable", (), a, b)
        self._look_for_nan(a.y, b.y)
        mine = {name: self._fits(reading) for name, reading in (("got", got), ("expected", expected))}
        if mine["expected"] is not None:
            self.notes.append("the call describes expected")
            return self._explain("got", got, mine["expected"])
        if mine["got"] is not None:
            self.notes.append("the call describes got")
            return self._explain("expected", expected, mine["got"])
        return self._neither(got, expected)

    def _same(self, got: _Reading, expected: _Reading) -> Diagnosis:
        """Outputs that agree, if need be after an exchange of axes."""
        self.fixer = self.target or self._usual("got")
        layout = self._relaid(got, expected, "got")
        if layout is None:
            return self._report("equal", (), got, expected)
        relaid = self._finding(
            Fit((layout,), self.setting, float(np.abs(got.y - expected.y).max(initial=0.0))), "got", got
        )
        return self._report("found", (relaid,), got, expected)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _readings(self, name: str) -> list[_Reading]:
        """The output in canonical order: as the call lays it out, and in other layouts that its shape fits."""
        array = numbers(getattr(self.two, name))
        ndim, wanted = self.setting.geometry.ndim, (len(self.setting.x), self.setting.out_channels)
        layouts = [self.layout, *(DataLayout.of(pattern, ndim) for pattern in ("NC*", "N*C", "C*", "*C"))]
        found = [
            _Reading(layout.canonical(array), layout)
            for layout in dict.fromkeys(layouts)
            if len(layout.axes) == array.ndim and layout.sizes(array.shape)[:2] == wanted
        ]
        if not found:
            raise ShapeError(
                f"{name} has shape {array.shape}; the call gives "
                f"{self.layout.native_shape((*wanted, *(self.setting.spatial or ())))}, "
                f"{self.layout.describe()}, and no order of axes makes batch {wanted[0]} and channels {wanted[1]} "
                f"agree. Write the {name} of this x and weight"
            )
        return found

    def _agree(self, a: Array, b: Array) -> bool:
        """Whether two outputs are equal to within rounding, NaNs in the same places."""
        if not likely(a, b, self.two.dtype):
            return False
        finite = np.isfinite(a) & np.isfinite(b)
        same = np.isnan(a) == np.isnan(b)
        limit = 2 * tolerance(self.setting, b, self.two.dtype).at(np.where(finite, b, 0))
        return bool(
            same.all()
            and ((np.abs(a - b) <= limit) | ~finite | (a == b)).all()
            and (finite | (a == b) | np.isnan(a)).all()
        )

    def _says_nothing(self, a: Array, b: Array) -> str:
        """Why these outputs can tell nothing; "" if they can."""
        for name, array in (("x", self.setting.x), ("weight", self.setting.weight)):
            if array.size and not array.any():
                return f"{name} is zero everywhere: only the bias is left. Write a random {name}"
        return says_nothing(a, b)

    def _look_for_nan(self, a: Array, b: Array) -> None:
        for name, y in (("got", a), ("expected", b)):
            bad = int((~np.isfinite(y)).sum())
            if bad:
                self.notes.append(
                    f"{name} holds NaN or inf in {bad} of {y.size} places, which are left out of the comparison"
                )

    def _fits(self, readings: list[_Reading]) -> _Reading | None:
        """The reading of an output that the call gives as it stands."""
        for reading in readings:
            if reading.y.shape[2:] == self.setting.spatial:
                search = self._search(reading)
                if search.judge.confirm(self.setting) is not None and np.isfinite(reading.y).all():
                    return reading
        return None

    def _search(self, reading: _Reading) -> Search:
        dtype = self.two.dtype
        return Search(self.setting, Target.of(reading.y, dtype), self._hand(), self.speaker, self.native)

    def _hand(self) -> Hand:
        mine = self.speaker.name == ("torch" if self.fixer == NEUTRAL else self.fixer)
        return Hand.of(
            self.fixer,
            self.setting.geometry.ndim,
            self.speaker.name,
            self.setting.groups,
            self.layout if mine else None,
            self.weight if mine else None,
            self.native,
        )

    # -- explaining --------------------------------------------------------------------------------------------------

    def _explain(self, subject: str, readings: list[_Reading], other: _Reading) -> Diagnosis:
        """What makes the call give the other output."""
        self.fixer = self.target or self._usual(subject)
        for reading in readings:
            search = self._search(reading)
            self.searches.append(search)
            fits = self._causes(search)
            if not fits:
                continue
            pair = (reading, other) if subject == "got" else (other, reading)
            if reading.layout != other.layout:
                self.notes.append(
                    f"{subject} is {reading.layout.describe()}, the other {other.layout.describe()}; they were "
                    "compared in one order"
                )
            findings = tuple(self._finding(fit, subject, reading) for fit in fits)
            if search.too_little:
                self.notes += [search.too_little, *(f"it could be that {finding.words}" for finding in findings[:3])]
                return self._report("untellable", (), *pair)
            return self._report("found", findings, *pair)
        reading = readings[0]
        pair = (reading, other) if subject == "got" else (other, reading)
        self._hints(*pair)
        return self._report("none", (), *pair)

    @staticmethod
    def _causes(search: Search) -> list[Fit]:
        for count in (1, 2):
            if fits := search.run(count):
                return fits
        return []

    def _usual(self, subject: str) -> str:
        """The dialect to write in: that of the call if it is to be mended, else that of the arrays."""
        return self.speaker.name if subject == "expected" and self.two.writer != NEUTRAL else self.two.writer

    def _relaid(self, reading: _Reading, other: _Reading, subject: str) -> Cause | None:
        """The layout as a cause, where the two outputs have different ones."""
        if reading.layout == other.layout or len(reading.layout.axes) != len(other.layout.axes):
            return None
        order = tuple(reading.layout.axes.index(axis) for axis in other.layout.axes)
        if subject == "expected":
            order = tuple(other.layout.axes.index(axis) for axis in reading.layout.axes)
        words = self._hand().permute("y", "y", order)
        text = f"{subject} is {reading.layout.describe()} where the other is {other.layout.describe()}"
        return Cause("data layout", "layout", text, apply=words, undo=words)

    def _finding(self, fit: Fit, subject: str, reading: _Reading) -> Finding:
        return finding(fit, subject, rms_of(reading.y), self.setting, self.layout, self._hand())

    def _neither(self, got: list[_Reading], expected: list[_Reading]) -> Diagnosis:
        """The call gives neither output: each is explained from it, or one of them at least."""
        self.fixer = self.target or self._usual("expected")
        searches = {name: self._search(readings[0]) for name, readings in (("got", got), ("expected", expected))}
        self.searches += searches.values()
        found = {name: self._causes(search) for name, search in searches.items()}
        found = {name: [] if searches[name].too_little else fits for name, fits in found.items()}
        a, b = got[0], expected[0]
        for subject, other in (("expected", "got"), ("got", "expected")):
            if not found[subject] or not self._is_call(found[subject][0]):
                continue
            fit = found[subject][0]
            self.notes.append(
                f"the call as it was given describes neither output; {subject} is what it gives if "
                f"{joined([cause.words for cause in fit.causes])}"
            )
            if subject == "expected" or not found["expected"]:
                given, self.setting = self.setting, fit.setting
                readings = got if other == "got" else expected
                done = self._explain(other, readings, a if subject == "got" else b)
                if done.findings:
                    return done
                self.setting = given
            if found[other]:
                both = tuple(self._finding(fit, other, a if other == "got" else b) for fit in found[other])
                return self._report("found", beside(both, fit, subject), a, b)
            return self._report("none", (), a, b)
        for name in ("expected", "got"):
            if found[name]:
                words = joined([cause.words for cause in found[name][0].causes])
                self.notes.append(f"the call describes neither output; {name} is what it gives if {words}")
        if not self.notes or "neither" not in self.notes[-1]:
            self.notes.append("the call as it was given describes neither output, and no cause leads to one of them")
        self._hints(a, b)
        return self._report("none", (), a, b)

    @staticmethod
    def _is_call(fit: Fit) -> bool:
        """Whether all causes change the call, so that it can be started from anew."""
        return all(
            cause.part != "result" and not (cause.part == "rounding" and cause.change is None) for cause in fit.causes
        )

    def _hints(self, got: _Reading, expected: _Reading) -> None:
        """What may help where nothing fits: how small the difference is, what the outputs alone say, listed faults."""
        self.notes += dict.fromkeys(search.hint for search in self.searches if search.hint)
        pair = Pair(part_of(expected.y), part_of(got.y), self.two.dtype, self._hand())
        for causes, _ in pair.explain():
            self.notes.append(f"of the outputs alone: {joined([cause.words for cause in causes])}")
        self.notes += [
            f"a listed fault meets this call: {words}" for words in unexplained(self.setting, self.speaker, self.native)
        ]

    # -- reporting ---------------------------------------------------------------------------------------------------

    def _report(self, verdict: str, findings: tuple[Finding, ...], got: _Reading, expected: _Reading) -> Diagnosis:
        a, b = got.y, expected.y
        rms = rms_of(b)
        distance = before(a, b, rms)
        allowed = tolerance(self.setting, np.where(np.isfinite(b), b, 0), self.two.dtype)
        rounding = of_rms(float(allowed.planes.max(initial=0.0)), rms)
        if verdict == "found":
            self.notes += self._unseen()
            verdict = "found" if findings[0].certain else "likely"
        tried = [search.hypotheses for search in self.searches]
        singles, pairs = sum(each.singles for each in tried), sum(each.pairs for each in tried)
        seconds = time.perf_counter() - self.start
        count = len(tried[0].causes) if tried else 0
        parts = ", compared on parts of a large output" if any(s.judge.partial for s in self.searches) else ""
        looked = (
            f"{count} causes and every crop near the call's, {singles} single and {pairs} paired hypotheses"
            f"{parts}, {seconds:.2g} s"
            if count
            else f"the call itself, {seconds:.2g} s"
        )
        shapes = (self.two.got.shape, self.two.expected.shape)
        return Diagnosis(verdict, findings, distance, rounding, shapes, tuple(self.notes), looked, (a, b))

    def _unseen(self) -> list[str]:
        """Causes that change nothing here, so that they cannot be seen or ruled out."""
        s, names = self.setting, []
        for cause in self.searches[-1].hypotheses.causes if self.searches else []:
            if cause.part not in ("weight", "x") or cause.change is None:
                continue
            changed = cause.change(s)
            part = "weight" if cause.part == "weight" else "x"
            if changed is not None and np.array_equal(getattr(changed, part), getattr(s, part)):
                names.append(cause.name)
        return [f"cannot be seen with these numbers, because they change nothing: {', '.join(names)}"] if names else []
