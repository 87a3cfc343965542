"""A few places of an output, on which every hypothesis is tried first, together with every crop near the call's.

Most hypotheses fail here, so that few are computed on the whole output.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.patch_alignment import matching_shifts

_PATCH = {1: 24, 2: 5, 3: 3}  # output places per axis
_REACH = {1: 4096, 2: 40, 3: 8}  # largest shift of the crop


class Patch(NamedTuple):
    """A few places of an output, in up to two channels of one image."""

    values: Array
    """Numbers of the output, [channels, *patch]."""
    finite: Array
    image: int
    groups: tuple[int, ...]
    within: tuple[int, ...]
    """Channels of the patch, numbered within their groups."""
    place: tuple[tuple[int, int], ...]
    """First and last place plus one, per axis."""
    sizes: tuple[int, ...]
    """Spatial shape of the whole output."""

    @classmethod
    def of(cls, y: Array, finite: Array, call: CallModel) -> Patch | None:
        """Return the patch with the most different and finite numbers, among a few places of the output."""
        per = call.out_channels // call.groups
        groups = (0,) if call.groups == 1 else (0, call.groups - 1)
        within = tuple(sorted({0, per - 1})) if call.groups == 1 else (per - 1,)
        channels = [group * per + c for group in groups for c in within]
        size = tuple(min(L, _PATCH.get(call.geometry.ndim, 2)) for L in y.shape[2:])
        best: tuple[float, Any] = (-1.0, None)
        for image in sorted({0, len(y) - 1}):
            for part in (2, 3, 5, 1):  # the middle first
                place = tuple((at := (L - p) // part, at + p) for L, p in zip(y.shape[2:], size, strict=True))
                window: Any = (image, channels, *(slice(a, b) for a, b in place))
                compared = np.where(finite[window], np.abs(y[window] - y[window].ravel()[0]), 0)
                content = float(finite[window].mean()) * (1 + (compared > 0).mean())
                if content > best[0]:
                    best = (content, (image, place, window))
        image, place, window = best[1]
        return cls(y[window], finite[window], image, groups, within, place, y.shape[2:])

    def reach(self, call: CallModel) -> tuple[tuple[int, int], ...]:
        """Return, per axis, the range of shifts of the crop that are tried: (first, last)."""
        g = call.geometry
        most = _REACH.get(g.ndim, 2)
        ranges = []
        for (lo, hi), e, st in zip(g.crop, g.extent, g.stride, strict=True):
            far = min(most, max(e, 2 * st, st * (max(lo, hi, 0) + 1)) + 1)
            ranges.append((-far, far))
        return tuple(ranges)

    def predicted(self, calls: list[CallModel], reach: tuple[tuple[int, int], ...]) -> Array:
        """Return the outputs of calls on the patch and its surroundings, without bias: [calls, channels, *places].

        The calls differ only in their weights, so that one call computes them all.
        """
        images = slice(self.image, self.image + 1)
        parts = [replace(call, x=call.x[images], bias=None).channels(self.groups, self.within) for call in calls]
        stacked = replace(parts[0], weight=np.concatenate([part.weight for part in parts], 1))
        window = tuple(slice(a + lo, b + hi) for (a, b), (lo, hi) in zip(self.place, reach, strict=True))
        y = stacked.window(window)[0]
        y = y.reshape(len(self.groups), len(calls), len(self.within), *y.shape[1:])
        by_call: Array = np.moveaxis(y, 0, 1)
        return by_call.reshape(len(calls), len(self.groups) * len(self.within), *y.shape[3:])

    def of_channels(self, values: Array) -> Array:
        """Return the entries of the patch's channels, from one number per output channel."""
        grouped = values.reshape(max(self.groups) + 1 if len(self.groups) > 1 else 1, -1)
        return grouped[np.ix_(self.groups, self.within)].reshape(-1, *[1] * (self.values.ndim - 1))

    def matches(self, predicted: Array, limits: Array, up_to_constant: bool = False) -> Array:
        """Return [calls, *shifts]: True where every number agrees, or does up to one constant per channel."""
        if not up_to_constant:
            return matching_shifts(predicted, self.values, limits, self.finite)
        # differences of neighbours do not depend on the constant
        axis = max(range(1, self.values.ndim), key=lambda axis: self.values.shape[axis])
        first, second = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        return matching_shifts(
            np.diff(predicted, axis=axis + 1),
            np.diff(self.values, axis=axis),
            limits[first] + limits[second],
            self.finite[first] & self.finite[second],
        )
