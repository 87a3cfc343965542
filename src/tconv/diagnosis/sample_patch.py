"""A few places of an output, on which hypotheses are tried before the whole is looked at; every crop near at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting
from tconv.diagnosis.patch_alignment import shifts

_PATCH = {1: 24, 2: 5, 3: 3}  # output places per axis that a hypothesis is first tried on
_REACH = {1: 4096, 2: 40, 3: 8}  # how far a crop is looked for, at most


class Patch(NamedTuple):
    """A few places of a target, in up to two channels of one image."""

    values: Array
    """[channels, *patch]"""
    finite: Array
    image: int
    groups: tuple[int, ...]
    within: tuple[int, ...]
    place: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, y: Array, finite: Array, s: Setting) -> Patch | None:
        """Where the numbers differ most, among a few places."""
        per = s.out_channels // s.groups
        groups = (0,) if s.groups == 1 else (0, s.groups - 1)
        within = tuple(sorted({0, per - 1})) if s.groups == 1 else (per - 1,)
        channels = [group * per + c for group in groups for c in within]
        size = tuple(min(L, _PATCH.get(s.geometry.ndim, 2)) for L in y.shape[2:])
        best: tuple[float, Any] = (-1.0, None)
        for image in sorted({0, len(y) - 1}):
            for part in (2, 3, 5, 1):  # the middle first
                place = tuple((at := (L - p) // part, at + p) for L, p in zip(y.shape[2:], size, strict=True))
                window: Any = (image, channels, *(slice(a, b) for a, b in place))
                counted = np.where(finite[window], np.abs(y[window] - y[window].ravel()[0]), 0)
                content = float(finite[window].mean()) * (1 + (counted > 0).mean())
                if content > best[0]:
                    best = (content, (image, place, window))
        image, place, window = best[1]
        return cls(y[window], finite[window], image, groups, within, place, y.shape[2:])

    def reach(self, s: Setting) -> tuple[tuple[int, int], ...]:
        """How many elements earlier and later than the call's own the crop is looked for, per axis."""
        g = s.geometry
        most = _REACH.get(g.ndim, 2)
        found = []
        for (lo, hi), e, st in zip(g.crop, g.extent, g.stride, strict=True):
            far = min(most, max(e, 2 * st, st * (max(lo, hi, 0) + 1)) + 1)
            found.append((-far, far))
        return tuple(found)

    def predicted(self, settings: list[Setting], reach: tuple[tuple[int, int], ...]) -> Array:
        """[settings, channels, *places]: the patch and what is around it, without bias."""
        images = slice(self.image, self.image + 1)
        parts = [replace(s, x=s.x[images], bias=None).channels(self.groups, self.within) for s in settings]
        first = parts[0]
        weight = np.concatenate([part.weight for part in parts], 1)
        stacked = replace(first, weight=weight)
        window = tuple(slice(a + lo, b + hi) for (a, b), (lo, hi) in zip(self.place, reach, strict=True))
        y = stacked.window(window)[0]
        y = y.reshape(len(self.groups), len(settings), len(self.within), *y.shape[1:])
        moved: Array = np.moveaxis(y, 0, 1)
        return moved.reshape(len(settings), len(self.groups) * len(self.within), *y.shape[3:])

    def of_channels(self, values: Array) -> Array:
        """A number per output channel, for the channels of this patch."""
        grouped = values.reshape(max(self.groups) + 1 if len(self.groups) > 1 else 1, -1)
        return grouped[np.ix_(self.groups, self.within)].reshape(-1, *[1] * (self.values.ndim - 1))

    def hits(self, predicted: Array, allowed: Array, level: bool = False) -> Array:
        """[settings, *shifts]: where every number of the patch agrees; with `level`, but for a constant per channel."""
        if not level:
            return shifts(predicted, self.values, allowed, self.finite)
        # what no constant changes is the difference of neighbours
        axis = max(range(1, self.values.ndim), key=lambda axis: self.values.shape[axis])
        first, second = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        return shifts(
            np.diff(predicted, axis=axis + 1),
            np.diff(self.values, axis=axis),
            allowed[first] + allowed[second],
            self.finite[first] & self.finite[second],
        )
