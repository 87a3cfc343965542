"""A few places of an output, on which every hypothesis is tried first, together with every crop near the call's.

Most hypotheses fail here, so that few are computed on the whole output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.patch_alignment import matching_shifts
from tconv.geometry import Geometry

_PATCH = {1: 24, 2: 5, 3: 3}  # output places per axis
_REACH = {1: 4096, 2: 40, 3: 8}  # largest shift of the crop
_FAR = {1: 4096, 2: 80, 3: 20}  # the same for the call itself
_GATHERED = 2**16  # most numbers of x, repeated for every tap, that are multiplied in one product


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

    def reach(self, call: CallModel, *, far: bool) -> tuple[tuple[int, int], ...]:
        """Return, per axis, the range of shifts of the crop that are tried: (first, last).

        With `far` it includes an input padded by the whole kernel, and an output cut to size at one end.
        """
        g = call.geometry
        most = (_FAR if far else _REACH).get(g.ndim, 2)
        ranges = []
        for (lo, hi), e, st in zip(g.crop, g.extent, g.stride, strict=True):
            pads = max(lo, hi, 0)
            last = max(e, 2 * st, st * (pads + 1)) + 1
            if far:
                last = max(last, st * max(pads, e - 1) + pads)
            last = min(most, last)
            ranges.append((-last, last))
        return tuple(ranges)

    def predicted(self, calls: list[CallModel], reach: tuple[tuple[int, int], ...]) -> Array:
        """Return the outputs of calls on the patch and its surroundings, without bias: [calls, channels, *places].

        The calls differ only in their weights, so that one call computes them all.
        """
        call = calls[0]
        g, G, per = call.geometry, call.groups, call.in_channels // call.groups
        window = [slice(a + lo, b + hi) for (a, b), (lo, hi) in zip(self.place, reach, strict=True)]
        places = math.prod(part.stop - part.start for part in window)
        x = call.x[self.image].reshape(G, per, *call.x.shape[2:])
        chosen = np.ix_(self.groups, range(per), self.within)
        weights = [each.weight.reshape(G, per, -1, *g.kernel)[chosen] for each in calls]
        if places * per * math.prod(g.kernel) <= _GATHERED:
            groups = zip(x[list(self.groups)], zip(*weights, strict=True), strict=True)
            y = np.stack([_gathered(inputs, np.concatenate(each, 1), g, window) for inputs, each in groups])
        else:
            stacked = np.concatenate(weights, 2).reshape(len(self.groups) * per, -1, *g.kernel)
            few = x[list(self.groups)].reshape(1, -1, *call.x.shape[2:])
            y = CallModel(few, stacked, None, replace(g, groups=len(self.groups))).window(window)[0]
        sizes = [part.stop - part.start for part in window]
        by_call: Array = np.moveaxis(y.reshape(len(self.groups), len(calls), len(self.within), *sizes), 0, 1)
        return by_call.reshape(len(calls), len(self.groups) * len(self.within), *sizes)

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


def _gathered(x: Array, weight: Array, g: Geometry, window: Sequence[slice]) -> Array:
    """Return the output of x [C_in, *n] and a weight [C_in, C_out, *kernel] on a window: [C_out, places].

    The inputs that the taps read are gathered for each place, and one product of matrices sums them: for a few places
    that is quicker than a call.
    """
    index: list[Array] = []
    for axis, (part, s, d, k, (lo, _), n) in enumerate(
        zip(window, g.stride, g.dilation, g.kernel, g.crop, x.shape[1:], strict=True)
    ):
        full = np.arange(part.start + lo, part.stop + lo) - d * np.arange(k)[:, None]  # [taps, places]
        inputs = full // s
        read = (full % s == 0) & (inputs >= 0) & (inputs < n)
        first, last = (int(inputs[read].min()), int(inputs[read].max())) if read.any() else (0, 0)
        x = x[(slice(None),) * (axis + 1) + (slice(first, last + 1),)]
        spread = [1] * 2 * g.ndim  # all taps, then all places
        spread[axis], spread[g.ndim + axis] = full.shape
        index.append(np.where(read, inputs - first, last + 1 - first).reshape(spread))  # what none reads is a 0 behind
    x = np.pad(x, ((0, 0), *[(0, 1)] * g.ndim))
    read_by: Any = (slice(None), *index)
    columns = x[read_by].reshape(x.shape[0] * math.prod(g.kernel), -1)
    rows: Array = np.moveaxis(weight, 0, 1).reshape(weight.shape[1], -1)
    product: Array = rows @ columns
    return product
