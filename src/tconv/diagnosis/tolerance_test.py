"""The judge: whether a changed call gives the target, to within rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting, Window, whole
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.sample_patch import Patch
from tconv.diagnosis.tolerance import Tolerance, power_of, tolerance
from tconv.geometry import Geometry

_MOST = 4e9  # multiply-adds of a confirmation, above which it looks at parts


@dataclass(frozen=True, eq=False)
class Target:
    """An output to explain: [N, C, *L] in float64, and which of its numbers count."""

    y: Array
    dtype: np.dtype[Any]
    finite: Array
    power: Array
    """Mean square of each plane."""

    @classmethod
    def of(cls, y: Array, dtype: np.dtype[Any]) -> Target:
        """All finite numbers of y count."""
        return cls(y, dtype, np.isfinite(y), power_of(y))


class Judge:
    """Compares calls with one target."""

    def __init__(self, setting: Setting, target: Target) -> None:
        self.setting, self.target = setting, target
        self.partial = False  # whether parts of the output were compared, because the whole takes too long
        self._scales: dict[Geometry, Tolerance] = {}

    def confirm(self, setting: Setting, causes: Sequence[Cause] = (), loose: float = 1.0) -> float | None:
        """The largest distance from the target, if rounding (`loose` times) explains all of it; None otherwise."""
        y, finite = self.target.y, self.target.finite
        if setting.spatial is None:
            return None
        turned = any(cause.part == "result" for cause in causes)
        if not turned and (len(setting.x), setting.out_channels, *setting.spatial) != y.shape:
            return None
        allowed = self.allowed(setting)
        worst = 0.0
        for window in [None] if turned else self._bands(setting):
            found = _predict(setting, causes, window)
            if turned and found.shape != y.shape:
                return None
            part: Any = (..., *window) if window else ...
            wanted, counts = y[part], finite[part]
            distance = np.abs(found - wanted)
            if not (distance <= loose * allowed.at(wanted))[counts].all():
                return None
            worst = max(worst, float(distance[counts].max(initial=0.0)))
        return worst

    def constant(self, setting: Setting, causes: Sequence[Cause] = ()) -> Array | None:
        """[C]: what is added to each channel of this call, if nothing but a constant is, in the mean of some rows."""
        y, finite = self.target.y, self.target.finite
        for cause in causes:
            if cause.part == "result":
                assert cause.back is not None
                y, finite = cause.back(y), cause.back(finite)
        sizes = setting.spatial
        if sizes is None or (len(setting.x), setting.out_channels, *sizes) != y.shape:
            return None
        rows = max(1, min(sizes[0], 2**20 * sizes[0] // y.size))
        start = (sizes[0] - rows) // 2
        part: Any = (..., slice(start, start + rows), *whole(sizes[1:]))
        wanted, counts = y[part], finite[part]
        sure = np.where(counts, self.allowed(setting).at(np.where(counts, wanted, 0)) ** -2, 0)
        rest = np.where(counts, wanted, 0) - setting.window(part[1:])
        over = (0, *range(2, y.ndim))
        found: Array = (sure * rest).sum(over) / sure.sum(over)
        return found

    def _bands(self, setting: Setting) -> list[Window]:
        """The whole output in bands of rows; of more work than a few seconds allow, some of them."""
        sizes = setting.spatial
        assert sizes is not None
        rows = max(
            1, min(sizes[0], 2**22 * sizes[0] // max(1, math.prod((len(setting.x), setting.out_channels, *sizes))))
        )
        starts = list(range(0, sizes[0], rows))
        most = max(2, int(len(starts) * _MOST / max(1.0, setting.work)))
        if most < len(starts):
            self.partial = True
            starts = [starts[at] for at in np.linspace(0, len(starts) - 1, most).astype(int)]
        return [(slice(start, min(start + rows, sizes[0])), *whole(sizes[1:])) for start in starts]

    def allowed(self, setting: Setting) -> Tolerance:
        """What rounding explains, if the target is what this call gives."""
        return tolerance(setting, self.target.y, self.target.dtype, self.target.power)

    def loose(self, s: Setting, patch: Patch) -> Array:
        """The same on a patch, with room for what changes of the call do to it."""
        if s.geometry not in self._scales:  # the same for all weights and inputs, which are alike in size
            self._scales[s.geometry] = self.allowed(replace(self.setting, geometry=s.geometry))
        allowed = self._scales[s.geometry]
        planes = allowed.planes.reshape(len(allowed.planes), -1)[patch.image].max()
        loose: Array = 4 * (planes + allowed.relative * np.abs(patch.values))
        return loose


def _predict(setting: Setting, causes: Sequence[Cause], window: Window | None = None) -> Array:
    """The output of a changed call, result causes included; a window only where none of them moves numbers about."""
    spatial = setting.spatial
    assert spatial is not None or window is not None
    y = setting.window(window or whole(spatial or ()))
    for cause in causes:
        if cause.part == "result" and cause.turn is not None:
            y = cause.turn(y)
    return y
