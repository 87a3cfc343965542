"""What two outputs tell by themselves: shift, crop, exchanged axes, order, scale, spoiled rows, rounding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from tconv.diagnosis import data, fitted
from tconv.diagnosis.cause import Cause
from tconv.diagnosis.hand import Hand
from tconv.diagnosis.outputs import SPEAKERS, Two, before, rms_of, says_nothing, says_too_little
from tconv.diagnosis.report import Diagnosis, Finding, joined, of_rms
from tconv.diagnosis.rounding import spacing, tolerance_alone
from tconv.diagnosis.setting import Array, Setting, numbers
from tconv.dialects import DataLayout, Dialect
from tconv.errors import ShapeError
from tconv.geometry import Geometry

_PATCH = {1: 24, 2: 6, 3: 4}
_REACH = {1: 4096, 2: 64, 3: 12}
_LEAST = 0.25  # of an output, that must agree when it is moved


@dataclass(eq=False)
class Pair:
    """Two outputs [N, C, *spatial] in float64: `got` is to be made from `expected`."""

    expected: Array
    got: Array
    dtype: np.dtype[Any]
    hand: Hand
    tried: int = field(default=0)

    def explain(self) -> list[tuple[tuple[Cause, ...], float]]:
        """The causes that make got of expected, and what remains; the fewest first. [] if none do."""
        turns = list(self._turns())
        for turn in (None, *turns):
            found = self._with(turn)
            if found is not None:
                return [found]
        return []

    def _with(self, turn: Cause | None) -> tuple[tuple[Cause, ...], float] | None:
        """Expected turned, and then moved, scaled or in another order."""
        base = self.expected if turn is None else turn.turn(self.expected) if turn.turn else self.expected
        first = () if turn is None else (turn,)
        if base.shape[:2] != self.got.shape[:2] or base.ndim != self.got.ndim:
            return None
        self.tried += 1
        if base.shape == self.got.shape and (turn is None or turn.part == "axes" or likely(base, self.got, self.dtype)):
            finite = np.isfinite(base) & np.isfinite(self.got)
            y = np.where(finite, self.got, 0)
            allowed = tolerance_alone(np.where(finite, base, 0), self.dtype)
            limits = allowed.at(y)
            if turn is not None and finite.any() and (np.abs(base - y) <= limits)[finite].all():
                return first, float(np.abs(base - y)[finite].max())
            if turn is None or turn.part == "axes":
                found = self._measured(base, y, finite, limits, allowed)
                if found is not None:
                    return (*first, found[0]), found[1]
        moved = self._moved(base)
        return None if moved is None else ((*first, moved[0]), moved[1])

    def _measured(
        self, base: Array, y: Array, finite: Array, limits: Array, allowed: Any
    ) -> tuple[Cause, float] | None:
        unit = max(spacing(self.dtype), 2.0**-23)
        trials: tuple[Callable[[], Iterator[Cause]], ...] = (
            lambda: fitted.reordered(base, y, finite, limits, self.hand),
            lambda: fitted.scaled(base, y, finite, allowed, self.hand),
            lambda: fitted.spoiled(base, self.got, np.isfinite(self.got), limits, alone=True),
            lambda: fitted.coarse(base, y, finite, allowed, unit),
        )
        for trial in trials:
            for cause in trial():
                self.tried += 1
                assert cause.turn is not None
                distance = np.abs(cause.turn(base) - y)[finite]
                wide = 8.0 if cause.part == "scale" else 1.0
                if cause.part == "rounding" or (distance <= wide * limits[finite]).all():
                    return cause, float(distance.max(initial=0.0))
        return None

    def _turns(self) -> Iterator[Cause]:
        """Exchanged axes, reversed axes, memory read in another order."""
        nd = self.expected.ndim - 2
        names = fitted.axis_names(nd)
        for order in permutations(range(nd + 2)):
            if order == tuple(range(nd + 2)):
                continue
            shape = tuple(self.expected.shape[axis] for axis in order)
            if shape[:2] == self.got.shape[:2] and (shape == self.got.shape or sorted(order[:2]) == [0, 1]):
                said = ", ".join(names[axis] for axis in order)
                yield Cause(
                    "axes exchanged",
                    "axes",
                    f"the axes stand in another order: [{said}] where [{', '.join(names)}] was expected",
                    turn=partial(np.transpose, axes=order),
                    undo=f"y = numpy.transpose(y, {tuple(int(i) for i in np.argsort(order))})",
                )
        y = self.got
        blank = Setting(
            np.zeros((len(y), 1, *[1] * nd)), np.zeros((1, y.shape[1], *[1] * nd)), None, Geometry((1,) * nd)
        )
        yield from data.result_causes(blank, y.shape, self.hand)
        spatial = [axis for axis in range(2, y.ndim) if y.shape[axis] > 1]
        if len(spatial) > 1:
            words = self.hand.flip("y", [axis - 2 for axis in spatial])
            yield Cause(
                "y flipped",
                "result",
                "y is reversed along all spatial axes",
                turn=partial(np.flip, axis=tuple(spatial)),
                undo=words,
            )

    # -- moved -------------------------------------------------------------------------------------------------------

    def _moved(self, base: Array) -> tuple[Cause, float] | None:
        """got[i] == expected[i + shift] wherever both have it."""
        y, nd = self.got, self.got.ndim - 2
        if not np.isfinite(base).all() or min(y.shape) == 0 or min(base.shape) == 0:
            return None
        size = tuple(min(_PATCH.get(nd, 2), a, b) for a, b in zip(base.shape[2:], y.shape[2:], strict=True))
        place = tuple((L - p) // 2 for L, p in zip(y.shape[2:], size, strict=True))
        channels = sorted({0, y.shape[1] - 1})
        window: Any = (0, channels, *(slice(at, at + p) for at, p in zip(place, size, strict=True)))
        patch = y[window]
        if not np.isfinite(patch).all() or len(np.unique(patch)) < min(8, patch.size):
            return None
        reach = [
            (max(0, at - _REACH.get(nd, 4)), min(L - p, at + _REACH.get(nd, 4)))
            for at, L, p in zip(place, base.shape[2:], size, strict=True)
        ]
        if any(lo > hi for lo, hi in reach):
            return None
        around: Any = (0, channels, *(slice(lo, hi + p) for (lo, hi), p in zip(reach, size, strict=True)))
        views = np.lib.stride_tricks.sliding_window_view(base[around], size, tuple(range(1, nd + 1)))
        limits = 4 * tolerance_alone(base[:1, channels], self.dtype).at(patch[None])[0]
        last = tuple(range(nd + 1, 2 * nd + 1))
        ones = (1,) * nd
        probe: Any = (..., *[slice(0, 1)] * nd)
        wanted, limit = (
            array.reshape(len(channels), *ones, *size) for array in (patch, np.broadcast_to(limits, patch.shape))
        )
        close = (np.abs(views[probe] - wanted[probe]) <= limit[probe]).all(axis=(0, *last))
        self.tried += close.size
        for found in np.argwhere(close):
            part: Any = (slice(None), *found)
            if not (np.abs(views[part] - patch) <= limits).all():
                continue
            shift = tuple(int(f) + lo - at for f, (lo, _), at in zip(found, reach, place, strict=True))
            error = self._agrees(base, shift)
            if error is not None and (any(shift) or base.shape != y.shape):
                return self._cause(base.shape[2:], shift), error
        return None

    def _agrees(self, base: Array, shift: tuple[int, ...]) -> float | None:
        y = self.got
        ours, theirs = [], []
        for step, L, M in zip(shift, y.shape[2:], base.shape[2:], strict=True):
            first, stop = max(0, -step), min(L, M - step)
            if stop - first < _LEAST * min(L, M):
                return None
            ours.append(slice(first, stop))
            theirs.append(slice(first + step, stop + step))
        left: Any = (..., *ours)
        right: Any = (..., *theirs)
        a, b = y[left], base[right]
        if a.size < _LEAST * y.size or not fitted.informative(a):
            return None
        finite = np.isfinite(a)
        distance = np.abs(a - b)
        if not (distance <= tolerance_alone(base, self.dtype).at(np.where(finite, a, 0)))[finite].all():
            return None
        return float(distance[finite].max(initial=0.0))

    def _cause(self, expected: tuple[int, ...], shift: tuple[int, ...]) -> Cause:
        got = self.got.shape[2:]
        axes = list(zip(shift, got, expected, strict=True))
        inside = all(step >= 0 and step + L <= M for step, L, M in axes)
        outside = all(step <= 0 and M - step <= L for step, L, M in axes)
        names = fitted.axis_names(len(got))[2:]
        steps = ", ".join(f"{step:+d} along {name}" for step, name in zip(shift, names, strict=True) if step)
        slices = ", ".join(f"{-step}:{M - step}" for step, _, M in axes)
        if inside:
            parts = ", ".join(f"{step}:{step + L} of {M}" for step, L, M in axes)
            return Cause("cropped", "crop", f"got is a part of expected, {parts}: more is cropped", turn=None)
        if outside:
            parts = ", ".join(f"{-step}:{M - step} of {L}" for step, L, M in axes)
            return Cause(
                "not cropped",
                "crop",
                f"expected is a part of got, {parts}: less is cropped",
                undo=f"y = y[..., {slices}]",
            )
        words = (
            f"got starts elsewhere: got[i] is expected[i + shift], shift {steps or '0, the sizes differ at the end'}"
        )
        return Cause(
            "shifted", "crop", f"{words}; the crop (padding) is on the other side, or output_padding is", turn=None
        )


def likely(a: Array, b: Array, dtype: np.dtype[Any]) -> bool:
    """Whether two arrays agree at a few places: a look that costs nothing before all are compared."""
    at = np.linspace(0, a.size - 1, min(a.size, 512)).astype(int)
    one, two = a.flat[at], b.flat[at]
    finite = np.isfinite(one) & np.isfinite(two)
    limit = 16 * max(spacing(dtype), 2.0**-17) * (np.abs(two) + np.abs(two[finite]).max(initial=0.0))
    return bool((np.abs(one - two) <= limit)[finite].all())


def part_of(y: Array, most: int = 2**21) -> Array:
    """The first image of a large output, and so many of its channels and rows that it is quick to look at."""
    if y.size <= most:
        return y
    part = y[:1, : max(2, most * y.shape[1] // (y.size // len(y)))]
    rows = max(16, most * part.shape[2] // part.size)
    return part[:, :, :rows]


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
    hand = Hand.of(target or SPEAKERS.get(two.library, speaker.name), ndim, speaker.name)
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
            fix = "; ".join(cause.undo for cause in reversed(causes) if cause.undo)
            certain = all(cause.certain for cause in causes)
            finding = (Finding(tuple(c.name for c in causes), words, fix, of_rms(error, rms), certain=certain),)
    tried = f"{pair.tried} hypotheses about the outputs alone, {time.perf_counter() - start:.2g} s"
    rounding = of_rms(float(allowed.planes.max(initial=0.0)), rms)
    return Diagnosis(
        verdict, finding, distance, rounding, (two.got.shape, two.expected.shape), tuple(notes), tried, (first, second)
    )


def _equal(a: Array, b: Array, limit: Array) -> bool:
    return bool(((np.abs(a - b) <= limit) | (a == b) | (np.isnan(a) & np.isnan(b))).all())
