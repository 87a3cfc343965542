"""Test of a changed call against an output: the call matches if rounding explains every number.

The search confirms each hypothesis with it on the whole output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, Window, whole
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.output_grid import step_of
from tconv.diagnosis.sample_patch import Patch
from tconv.diagnosis.tolerance import Tolerance, call_tolerance, power_of
from tconv.geometry import Geometry

_MOST_MACS = 4e9  # multiply-adds of one test; of larger calls only parts are compared


@dataclass(frozen=True, eq=False)
class ObservedOutput:
    """An output to explain: [N, C, *L] in float64, the dtype it was computed in, and its finite numbers."""

    y: Array
    dtype: np.dtype[Any]
    finite: Array
    power: Array
    """Mean square of each plane."""
    step: float = 0.0
    """Step of a quantized output; 0 if it was not quantized."""

    @classmethod
    def of(cls, y: Array, dtype: np.dtype[Any]) -> ObservedOutput:
        """Return the output with all its finite numbers to be compared."""
        return cls(y, dtype, np.isfinite(y), power_of(y), step_of(y))


class OutputMatcher:
    """Test of calls that are changes of `call` against one output."""

    def __init__(self, call: CallModel, output: ObservedOutput) -> None:
        self.call, self.output = call, output
        self.partial = False
        """True once only parts of the output were compared, because the whole takes too long."""
        self._tolerances: dict[Geometry, Tolerance] = {}

    def largest_error(self, call: CallModel, causes: Sequence[Cause] = (), factor: float = 1.0) -> float | None:
        """Return the largest distance from the output; None if rounding, times `factor`, does not explain it.

        `causes` are those of the call; the ones in the result are applied to its output.
        """
        y, finite = self.output.y, self.output.finite
        if call.spatial is None:
            return None
        transformed = any(cause.part == "result" for cause in causes)
        if not transformed and (len(call.x), call.out_channels, *call.spatial) != y.shape:
            return None
        tolerance = self.tolerance(call)
        worst = 0.0
        for window in [None] if transformed else self._bands(call):
            predicted = _predict(call, causes, window)
            if transformed and predicted.shape != y.shape:
                return None
            part: Any = (..., *window) if window else ...
            wanted, compared = y[part], finite[part]
            distance = np.abs(predicted - wanted)
            if not (distance <= factor * tolerance.at(wanted))[compared].all():
                return None
            worst = max(worst, float(distance[compared].max(initial=0.0)))
        return worst

    def constants(self, call: CallModel, causes: Sequence[Cause] = ()) -> Array | None:
        """Return the mean difference of each channel over some rows, [C]; None if the shapes differ."""
        y, finite = self.output.y, self.output.finite
        for cause in causes:
            if cause.part == "result":
                assert cause.inverse is not None
                y, finite = cause.inverse(y), cause.inverse(finite)
        sizes = call.spatial
        if sizes is None or (len(call.x), call.out_channels, *sizes) != y.shape:
            return None
        rows = max(1, min(sizes[0], 2**20 * sizes[0] // y.size))
        start = (sizes[0] - rows) // 2
        part: Any = (..., slice(start, start + rows), *whole(sizes[1:]))
        wanted, compared = y[part], finite[part]
        weights = np.where(compared, self.tolerance(call).at(np.where(compared, wanted, 0)) ** -2, 0)
        rest = np.where(compared, wanted, 0) - call.window(part[1:])
        axes = (0, *range(2, y.ndim))
        means: Array = (weights * rest).sum(axes) / weights.sum(axes)
        return means

    def _bands(self, call: CallModel) -> list[Window]:
        """Return the whole output in bands of rows; only some of them if all would take more than a few seconds."""
        sizes = call.spatial
        assert sizes is not None
        numbers = max(1, math.prod((len(call.x), call.out_channels, *sizes)))
        rows = max(1, min(sizes[0], 2**22 * sizes[0] // numbers))
        starts = list(range(0, sizes[0], rows))
        most = max(2, int(len(starts) * _MOST_MACS / max(1.0, call.macs)))
        if most < len(starts):
            self.partial = True
            starts = [starts[at] for at in np.linspace(0, len(starts) - 1, most).astype(int)]
        return [(slice(start, min(start + rows, sizes[0])), *whole(sizes[1:])) for start in starts]

    def tolerance(self, call: CallModel) -> Tolerance:
        """Return the tolerance of the output as the result of this call."""
        tolerance = call_tolerance(call, self.output.y, self.output.dtype, self.output.power)
        return replace(tolerance, planes=tolerance.planes + self.output.step / 2) if self.output.step else tolerance

    def patch_limits(self, call: CallModel, patch: Patch) -> Array:
        """Return the limits on a patch, 4 times the tolerance: changes of the call change the size of its sums."""
        if call.geometry not in self._tolerances:  # one for all weights and inputs, which are alike in size
            self._tolerances[call.geometry] = self.tolerance(replace(self.call, geometry=call.geometry))
        tolerance = self._tolerances[call.geometry]
        planes = tolerance.planes.reshape(len(tolerance.planes), -1)[patch.image].max()
        limits: Array = 4 * (planes + tolerance.relative * np.abs(patch.values))
        return limits


def _predict(call: CallModel, causes: Sequence[Cause], window: Window | None = None) -> Array:
    """Return the output of a changed call with causes in the result applied; a window only where there are none."""
    spatial = call.spatial
    assert spatial is not None or window is not None
    y = call.window(window or whole(spatial or ()))
    for cause in causes:
        if cause.part == "result" and cause.transform is not None:
            y = cause.transform(y)
    return y
