"""Comparison of two outputs without a call: axes exchanged or reversed, another order, shifts, scales, wrong parts.

It is used where no call was given, and for a hint where the call explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, permutations
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.diagnosis.call_model import axis_names
from tconv.diagnosis.causes import array_layout
from tconv.diagnosis.causes.axis_orders import changes_of_axes
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted import FAMILIES, LAST
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.given_outputs import agree_at_samples
from tconv.diagnosis.output_grid import step_of
from tconv.diagnosis.outputs_shift import shifted
from tconv.diagnosis.tolerance import outputs_tolerance
from tconv.geometry import Geometry


@dataclass(eq=False)
class OutputsComparison:
    """Two outputs [N, C, *spatial] in float64, of which `got` is explained as a change of `expected`."""

    expected: Array
    got: Array
    dtype: np.dtype[Any]
    writer: FixWriter
    variance: Array | None = None
    """Variance of the BatchNorm behind the layer, [C], if it was given."""
    tried: int = field(default=0)
    """Number of hypotheses tried so far."""
    with_call: bool = field(default=False)
    """True if a call explains rounding better than two outputs do."""

    def explain(self) -> list[tuple[tuple[Cause, ...], float]]:
        """Return [(causes, largest error)] of the first explanation, with the fewest causes; [] if there is none."""
        for reordering in (None, *self._reorderings()):
            explained = self._explain_after(reordering)
            if explained is not None:
                return [explained]
        if by_axes := self.explain_by_axes():
            return by_axes
        if self.expected.shape == self.got.shape:
            observation = self._observation(self.expected)
            for cause in chain.from_iterable(family(observation) for family in LAST):
                return [((cause,), 0.0)]
        return []

    def explain_by_axes(self) -> list[tuple[tuple[Cause, ...], float]]:
        """Return [(causes, largest error)] if only the spatial axes are in another order or reversed; else []."""
        for change in changes_of_axes(self.expected.shape[2:]):
            self.tried += 1
            base = change.transform(self.expected)
            if base.shape != self.got.shape or not agree_at_samples(base, self.got, self.dtype):
                continue
            error = self._error(base)
            if error is not None:
                name, text, undo = change.name("y"), change.text("y"), change.undo(self.writer, "y")
                return [((Cause(name, "result", text, transform=change.transform, undo=undo),), error)]
        return []

    def _error(self, base: Array) -> float | None:
        """Return the largest distance of `got` from an array; None if rounding does not explain it."""
        finite = np.isfinite(base) & np.isfinite(self.got)
        tolerance = outputs_tolerance(np.where(finite, base, 0), self.dtype)
        distance = np.abs(base - self.got)[finite]
        limits = tolerance.at(np.where(finite, self.got, 0))[finite]
        return float(distance.max()) if finite.any() and (distance <= limits).all() else None

    def _explain_after(self, reordering: Cause | None) -> tuple[tuple[Cause, ...], float] | None:
        """Return the explanation with this reordering first, alone or followed by a fitted cause or a shift."""
        base, first = self.expected, () if reordering is None else (reordering,)
        if reordering is not None and reordering.transform is not None:
            base = reordering.transform(self.expected)
        if base.shape[:2] != self.got.shape[:2] or base.ndim != self.got.ndim:
            return None
        self.tried += 1
        fits = reordering is None or reordering.part == "axes"  # a fitted cause or a shift may follow
        if base.shape == self.got.shape and (fits or agree_at_samples(base, self.got, self.dtype)):
            observation = self._observation(base)
            finite = observation.finite
            distance = np.abs(base - observation.known)[finite]
            if reordering is not None and finite.any() and (distance <= observation.limits[finite]).all():
                return first, float(distance.max())
            if fits:
                fitted = self._fitted(observation)
                if fitted is not None:
                    return (*first, fitted[0]), fitted[1]
        shift, tried = shifted(base, self.got, self.dtype)
        self.tried += tried
        return None if shift is None else ((*first, shift[0]), shift[1])

    def _observation(self, base: Array) -> Observation:
        finite = np.isfinite(base) & np.isfinite(self.got)
        tolerance = outputs_tolerance(np.where(finite, base, 0), self.dtype)
        if self._step:
            tolerance = replace(tolerance, planes=tolerance.planes + self._step / 2)
        return Observation(base, self.got, finite, tolerance, self.writer, None, self.variance, self._step)

    @cached_property
    def _step(self) -> float:
        """Step of a quantized output; 0 if it was not quantized, or both were alike."""
        step = step_of(self.got)
        return 0.0 if not step or step_of(self.expected) else step

    def _fitted(self, observation: Observation) -> tuple[Cause, float] | None:
        """Return the first fitted cause that explains the output, and the largest error with it."""
        finite = observation.finite
        for family in FAMILIES:
            for cause in family(observation):
                self.tried += 1
                if cause.part == "rounding" and self.with_call:
                    continue
                assert cause.transform is not None
                distance = np.abs(cause.transform(observation.predicted) - observation.known)[finite]
                factor = 8.0 if cause.part == "scale" else 1.0
                if cause.part == "rounding" or (distance <= factor * observation.limits[finite]).all():
                    return cause, float(distance.max(initial=0.0))
        return None

    def _reorderings(self) -> Iterator[Cause]:
        """Yield exchanged axes, reversed axes, and memory read in another layout."""
        nd = self.expected.ndim - 2
        names = axis_names(nd)
        for order in permutations(range(nd + 2)):
            if order == tuple(range(nd + 2)):
                continue
            shape = tuple(self.expected.shape[axis] for axis in order)
            if shape[:2] == self.got.shape[:2] and (shape == self.got.shape or sorted(order[:2]) == [0, 1]):
                actual = ", ".join(names[axis] for axis in order)
                yield Cause(
                    "axes exchanged",
                    "axes",
                    f"the axes are in another order: [{actual}] where [{', '.join(names)}] was expected",
                    transform=partial(np.transpose, axes=order),
                    undo=self.writer.permute("y", "y", np.argsort(order).tolist()),
                )
        y = self.got
        for cause in array_layout.result_causes(Geometry((1,) * nd), y.shape, self.writer):
            if cause.name != "y axes exchanged":  # tried above
                yield cause
        spatial = [axis for axis in range(2, y.ndim) if y.shape[axis] > 1]
        if len(spatial) > 1:
            yield Cause(
                "y flipped",
                "result",
                "y is reversed along all spatial axes",
                transform=partial(np.flip, axis=tuple(spatial)),
                undo=self.writer.flip("y", [axis - 2 for axis in spatial]),
            )
