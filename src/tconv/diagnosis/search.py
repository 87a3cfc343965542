"""The search: single causes, then pairs, each first on a patch of the output and then on the whole.

Hypotheses that share an input and a grid are computed in one call, their weights side by side; a crop that is another
one is a shift of the same numbers, so every crop is tried at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis import biases, crops, data, faults, fitted, grids, precision, weights
from tconv.diagnosis.cause import Cause
from tconv.diagnosis.hand import Hand
from tconv.diagnosis.outputs import says_too_little
from tconv.diagnosis.patch import Patch
from tconv.diagnosis.rounding import Tolerance, power_of, spacing, tolerance
from tconv.diagnosis.setting import Array, Setting, Window, whole
from tconv.dialects import Dialect
from tconv.geometry import Geometry

_MOST = 4e9  # multiply-adds of a confirmation, above which it looks at parts
_FITTED = 2**22  # numbers that scales, orders and spoiled rows are read off
_CONFIRMED = 12  # hypotheses of one count of causes that are compared on the whole output


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


@dataclass(frozen=True, eq=False)
class Fit:
    """Causes that together make a call give the target."""

    causes: tuple[Cause, ...]
    setting: Setting
    """The call with the causes that change it."""
    error: float
    """Largest distance from the target."""
    rules: tuple[crops.Rule, ...] = ()
    """Names of the crop, where that is one of the causes."""
    base: crops.Pairs = ()
    """The crop before that."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the causes."""
        return tuple(cause.name for cause in self.causes)

    def words(self, rule: crops.Rule) -> str:
        """The crop that was found, by the name of this rule."""
        return f"the crop is {_shown(rule.crop)} instead of {_shown(self.base)}: {rule.words}"


class _Row(NamedTuple):
    """One weight of a batch: the causes that made it."""

    causes: tuple[Cause, ...]
    setting: Setting


def predict(setting: Setting, causes: Sequence[Cause], window: Window | None = None) -> Array:
    """The output of a changed call, result causes included; a window only where none of them moves numbers about."""
    spatial = setting.spatial
    assert spatial is not None or window is not None
    y = setting.window(window or whole(spatial or ()))
    for cause in causes:
        if cause.part == "result" and cause.turn is not None:
            y = cause.turn(y)
    return y


def _changed(setting: Setting | None, causes: Sequence[Cause]) -> Setting | None:
    """The call with these causes, one after the other; None where one of them cannot be."""
    for cause in causes:
        if setting is None or cause.change is None:
            return None
        setting = cause.change(setting)
    return setting


class Search:
    """All hypotheses about one call and one target."""

    def __init__(self, setting: Setting, target: Target, hand: Hand, speaker: Dialect, native: dict[str, Any]) -> None:
        self.setting, self.target, self.hand, self.speaker, self.native = setting, target, hand, speaker, native
        self.singles = self.pairs = 0
        self.partial = False  # whether parts of the output were compared, because the whole takes too long
        shape = target.y.shape
        self._scales: dict[Geometry, Tolerance] = {}
        self._patches: dict[Any, Patch | None] = {}
        self._grids = list(grids.causes(setting, hand))
        self._inputs = list(data.input_causes(setting, hand))
        self._weights = list(weights.causes(setting, hand))
        self._biases = list(biases.causes(setting, hand))
        self._results = list(data.result_causes(setting, shape, hand))
        self._rounding = list(precision.causes(setting))
        self._faults = list(faults.causes(setting, speaker, native))

    @property
    def causes(self) -> list[Cause]:
        """Every cause that does not depend on what is found, the crop apart."""
        return [
            *self._weights,
            *self._grids,
            *self._biases,
            *self._inputs,
            *self._results,
            *self._rounding,
            *self._faults,
        ]

    @property
    def too_little(self) -> str:
        """Why a fit may be chance: the target says fewer bits than it takes to choose between all hypotheses; or ""."""
        return says_too_little(self.target.y, self.target.dtype, self.singles + self.pairs)

    # -- judging -----------------------------------------------------------------------------------------------------

    def confirm(self, setting: Setting, causes: Sequence[Cause] = (), loose: float = 1.0) -> float | None:
        """The largest distance from the target, if rounding (`loose` times) explains all of it; None otherwise."""
        y, finite = self.target.y, self.target.finite
        if setting.spatial is None:
            return None
        turned = any(cause.part == "result" for cause in causes)
        if not turned and (len(setting.x), setting.out_channels, *setting.spatial) != y.shape:
            return None
        allowed = self._allowed(setting)
        worst = 0.0
        for window in [None] if turned else self._bands(setting):
            found = predict(setting, causes, window)
            if turned and found.shape != y.shape:
                return None
            part: Any = (..., *window) if window else ...
            wanted, counts = y[part], finite[part]
            distance = np.abs(found - wanted)
            if not (distance <= loose * allowed.at(wanted))[counts].all():
                return None
            worst = max(worst, float(distance[counts].max(initial=0.0)))
        return worst

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

    # -- hypotheses --------------------------------------------------------------------------------------------------

    def run(self, count: int) -> list[Fit]:
        """The fits of this many causes, the likeliest first; [] if there are none."""
        found = sorted(self._confirmed(self._candidates(count)), key=_rank)
        if count > 1:
            return found
        # plain words for what happened come first, then a listed fault that does it, then numbers without a name
        listed = [fit for cause in self._faults if (fit := self._direct(cause)) is not None]
        named = [fit for fit in found if not _unnamed(fit) and not fit.names[-1].startswith("off by")]
        return [*named, *listed, *(fit for fit in found if fit not in named)] or self.fitted()

    def fitted(self) -> list[Fit]:
        """The first of the causes whose numbers are read off the target, that explains it."""
        spatial = self.setting.spatial
        if spatial is None:
            return []
        if spatial != self.target.y.shape[2:]:
            return self._longer(spatial)
        rows = max(1, _FITTED // max(1, self.target.y.size // spatial[0]))
        self.partial = self.partial or rows < spatial[0]
        window = (slice(max(0, spatial[0] - rows), spatial[0]), *whole(spatial[1:]))
        part: Any = (..., *window)
        y, finite = self.target.y[part], self.target.finite[part]
        expected = self.setting.window(window)
        allowed = self._allowed(self.setting)
        limits = allowed.at(np.where(finite, y, 0))
        unit = max(spacing(self.target.dtype), 2.0**-23)
        trials: tuple[Callable[[], Iterator[Cause]], ...] = (
            lambda: fitted.reordered(expected, y, finite, limits, self.hand),
            lambda: fitted.scaled(expected, y, finite, allowed, self.hand),
            lambda: fitted.wrong_axis(self.setting, self.target.y, self.target.finite, allowed),
            lambda: fitted.spoiled(expected, y, finite, limits),
            lambda: fitted.coarse(expected, y, finite, allowed, unit),
        )
        for trial in trials:
            for cause in trial():
                self.singles += 1
                fit = self._fitted(cause, expected, y, finite, limits)
                if fit is not None:
                    return [fit]
        return []

    def _longer(self, spatial: tuple[int, ...]) -> list[Fit]:
        """The result, and behind it rows that do not belong to it."""
        y, sizes = self.target.y, self.target.y.shape[2:]
        if any(L > M for L, M in zip(spatial, sizes, strict=True)):
            return []
        part: Any = (..., *whole(spatial))
        front = Search(self.setting, Target.of(y[part], self.target.dtype), self.hand, self.speaker, self.native)
        error = front.confirm(self.setting)
        if error is None or front.too_little:
            return []
        more = " and ".join(
            f"{M - L} along spatial axis {a}" for a, (L, M) in enumerate(zip(spatial, sizes, strict=True)) if M > L
        )
        kept = ", ".join(f":{L}" for L in spatial)
        cause = Cause(
            "rows appended",
            "result",
            f"rows that are no part of the result follow it: {more}",
            undo=f"y = y[..., {kept}]",
        )
        return [Fit((cause,), self.setting, error)]

    def _fitted(self, cause: Cause, expected: Array, y: Array, finite: Array, limits: Array) -> Fit | None:
        if cause.change is not None:
            changed = cause.change(self.setting)
            error = None if changed is None else self.confirm(changed, loose=4.0)
            return None if changed is None or error is None else Fit((cause,), changed, error)
        assert cause.turn is not None
        distance = np.abs(cause.turn(expected) - y)
        if cause.part != "rounding" and not (distance <= limits)[finite].all():
            return None
        return Fit((cause,), self.setting, float(distance[finite].max(initial=0.0)))

    def _direct(self, cause: Cause) -> Fit | None:
        self.singles += 1
        assert cause.change is not None
        changed = cause.change(self.setting)
        error = None if changed is None else self.confirm(changed)
        return None if changed is None or error is None else Fit((cause,), changed, error)

    def _confirmed(self, candidates: Iterator[tuple[tuple[Cause, ...], Setting, tuple[int, ...]]]) -> Iterator[Fit]:
        left, seen, known = _CONFIRMED, set(), set()
        for causes, setting, shift in candidates:
            fit = self._with_crop(causes, setting, shift)
            key, same = (*map(id, causes), fit.setting.geometry), (frozenset(fit.names), fit.setting.geometry)
            if key in seen or same in known or not fit.causes:
                continue
            seen.add(key)
            error = self.confirm(fit.setting, fit.causes)
            left -= 1
            if error is not None:
                known.add(same)
                yield replace(fit, error=error)
            if left <= 0:
                return

    def _with_crop(self, causes: tuple[Cause, ...], setting: Setting, shift: tuple[int, ...]) -> Fit:
        """The fit whose output starts `shift` elements later and is as long as the target."""
        g, n = setting.geometry, setting.x.shape[2:]
        sizes = self._sizes(causes)
        lo = [a + step for (a, _), step in zip(g.crop, shift, strict=True)]
        crop = tuple((a, F - a - L) for a, F, L in zip(lo, g.full_shape(n), sizes, strict=True))
        if crop == g.crop:
            return Fit(causes, setting, math.nan)
        found = crops.named(crop, g, n, sizes, self.native)
        fit = Fit(causes, setting.with_geometry(crop=crop), math.nan, tuple(found), g.crop)
        words, source = fit.words(found[0]), found[0].source
        cause = Cause(found[0].name, "crop", words, lambda s: s.with_geometry(crop=crop), source=source)
        return replace(fit, causes=(*causes, cause))

    def _sizes(self, causes: Sequence[Cause]) -> tuple[int, ...]:
        """The spatial sizes of the target, a result cause undone."""
        y = self.target.y
        for cause in causes:
            if cause.part == "result" and cause.back is not None:
                y = cause.back(y)
        sizes: tuple[int, ...] = y.shape[2:]
        return sizes

    def _candidates(self, count: int) -> Iterator[tuple[tuple[Cause, ...], Setting, tuple[int, ...]]]:
        """(causes beside the crop, call, shift) of `count` causes, the crop included, that fit on a patch."""
        for grid, base in product([None, *self._grids], [None, *self._inputs, *self._rounding]):
            outer = [cause for cause in (grid, base) if cause is not None]
            if len(outer) > count:
                continue
            rows = list(self._rows(outer, count))
            for kernel in {row.setting.weight.shape for row in rows}:
                yield from self._batch([row for row in rows if row.setting.weight.shape == kernel], count)

    def _rows(self, outer: list[Cause], count: int) -> Iterator[_Row]:
        """The call with these causes, and with each cause, or pair of causes, of the weight beside them."""
        inner = [c for c in outer if c.part == "rounding"]
        first = [c for c in outer if c.part != "rounding"]
        chosen: list[tuple[Cause, ...]] = [()]
        if len(outer) < count:
            chosen += [(cause,) for cause in self._weights]
        if len(outer) + 2 <= count:
            chosen += list(permutations(self._weights, 2))
        base = _changed(self.setting, first)
        for extra in chosen if base is not None else ():
            setting = _changed(base, (*extra, *inner))
            if setting is not None:
                yield _Row((*extra, *outer), setting)

    def _batch(self, rows: list[_Row], count: int) -> Iterator[tuple[tuple[Cause, ...], Setting, tuple[int, ...]]]:
        """One call for all these weights, compared with the target under every bias, result cause and crop."""
        s = rows[0].setting
        if s.weight.size == 0 or math.prod(self.target.y.shape) == 0:
            return
        cache: dict[Any, Array] = {}
        for result in [None, *self._results]:
            if len(rows[0].causes) + (result is not None) > count:
                continue
            patch = self._patch(s, result)
            if patch is None:
                continue
            for bias in [None, *self._biases]:
                extra = [cause for cause in (bias, result) if cause is not None]
                counts = [len(row.causes) + len(extra) for row in rows]
                # the crop is a cause of its own: it may be another one where one cause fewer is there
                for free in (True, False):
                    kept = [at for at, c in enumerate(counts) if (c == count - 1 if free else c == count)]
                    if kept:
                        yield from self._compare([rows[at] for at in kept], extra, patch, free, cache)

    def _patch(self, s: Setting, result: Cause | None) -> Patch | None:
        key = (result, s.groups, s.out_channels, len(s.x))
        if key not in self._patches:
            y, finite = self.target.y, self.target.finite
            if result is not None and result.back is not None:
                y, finite = result.back(y), result.back(finite)
            fits = y.shape[:2] == (len(s.x), s.out_channels)
            self._patches[key] = Patch.of(y, finite, s) if fits else None
        return self._patches[key]

    def _compare(
        self, rows: list[_Row], extra: list[Cause], patch: Patch, free: bool, cache: dict[Any, Array]
    ) -> Iterator[tuple[tuple[Cause, ...], Setting, tuple[int, ...]]]:
        s = rows[0].setting
        reach = patch.reach(s) if free else ((0, 0),) * s.geometry.ndim
        if not free and (s.spatial is None or s.spatial != patch.sizes):
            return
        key = (patch.image, patch.place, reach, tuple(id(row.setting) for row in rows))
        if key not in cache:
            cache[key] = patch.predicted([row.setting for row in rows], reach)
        values = cache[key]
        biased = s
        for cause in extra:
            if cause.part == "bias":
                assert cause.change is not None
                biased = cause.change(s) or s
        if biased.bias is not None:
            values = values + patch.of_channels(biased.bias)
        for cause in extra:
            if cause.part == "result" and cause.back is None and cause.turn is not None:
                values = cause.turn(values)
        hits = patch.hits(values, self._loose(s, patch))
        self._count(len(rows) * hits[0].size, len(rows[0].causes) + len(extra) + free)
        for at, row in enumerate(rows):
            places = np.argwhere(hits[at])
            shifts = sorted(
                (tuple(int(p + lo) for p, (lo, _) in zip(place, reach, strict=True)) for place in places), key=_far
            )
            for shift in shifts[:3]:
                causes = (*row.causes, *extra)
                setting = row.setting if biased is s else replace(row.setting, bias=biased.bias)
                yield causes, setting, shift

    def _loose(self, s: Setting, patch: Patch) -> Array:
        if s.geometry not in self._scales:  # the same for all weights and inputs, which are alike in size
            self._scales[s.geometry] = self._allowed(replace(self.setting, geometry=s.geometry))
        allowed = self._scales[s.geometry]
        planes = allowed.planes.reshape(len(allowed.planes), -1)[patch.image].max()
        loose: Array = 4 * (planes + allowed.relative * np.abs(patch.values))
        return loose

    def _allowed(self, setting: Setting) -> Tolerance:
        return tolerance(setting, self.target.y, self.target.dtype, self.target.power)

    def _count(self, number: int, causes: int) -> None:
        if causes <= 1:
            self.singles += number
        else:
            self.pairs += number


def _far(shift: tuple[int, ...]) -> int:
    return sum(map(abs, shift))


def _shown(crop: crops.Pairs) -> str:
    return str(crop[0]) if len(set(crop)) == 1 else str(crop)


_ORDER = ("crop", "weight", "bias", "rounding", "grid", "x", "result", "scale", "fault")


def _rank(fit: Fit) -> tuple[float, ...]:
    """Named crops first, then the parts in the order in which they are usually wrong; crops without a name last."""
    parts = [_ORDER.index(cause.part) for cause in fit.causes]
    return (_unnamed(fit), max(parts), sum(parts))


def _unnamed(fit: Fit) -> bool:
    return any(cause.name in ("crop shifted", "crop at the end") for cause in fit.causes)
