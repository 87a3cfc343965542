"""The search: single causes, then pairs, each first on a patch of the output and then on the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting, whole
from tconv.diagnosis.causes import crops, precision
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.explanation import Fit, rank, unnamed
from tconv.diagnosis.fitted import corrupted_parts, order, scales, small_difference, weight_permutation, weight_scales
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.hypotheses import Candidate, Hypotheses
from tconv.diagnosis.outputs import says_too_little
from tconv.diagnosis.tolerance import spacing
from tconv.diagnosis.tolerance_test import Judge, Target
from tconv.dialects import Dialect

_FITTED = 2**22  # numbers that scales, orders and spoiled rows are read off
_CONFIRMED = 12  # hypotheses of one count of causes that are compared on the whole output


class Search:
    """The fits of one call to one target."""

    def __init__(self, setting: Setting, target: Target, hand: Hand, speaker: Dialect, native: dict[str, Any]) -> None:
        self.setting, self.target, self.hand, self.speaker, self.native = setting, target, hand, speaker, native
        self.hint = ""  # what the difference looks like, where nothing explains it
        self.judge = Judge(setting, target)
        self.hypotheses = Hypotheses(setting, self.judge, hand, speaker, native)

    @property
    def too_little(self) -> str:
        """Why a fit may be chance: the target says fewer bits than it takes to choose between all hypotheses; or ""."""
        tried = self.hypotheses.singles + self.hypotheses.pairs
        return says_too_little(self.target.y, self.target.dtype, tried)

    def run(self, count: int) -> list[Fit]:
        """The fits of this many causes, the likeliest first; [] if there are none."""
        found = sorted(self._confirmed(self.hypotheses.candidates(count)), key=rank)
        if count > 1:
            return found or sorted(self._with_constant(), key=rank)
        # plain words for what happened come first, then a listed fault that does it, then numbers without a name
        listed = [fit for cause in self.hypotheses.faults if (fit := self._direct(cause)) is not None]
        named = [fit for fit in found if not unnamed(fit) and not fit.names[-1].startswith("off by")]
        return [*named, *listed, *(fit for fit in found if fit not in named)] or self.fitted()

    def fitted(self) -> list[Fit]:
        """The first of the causes whose numbers are read off the target, that explains it."""
        spatial = self.setting.spatial
        if spatial is None:
            return []
        if spatial != self.target.y.shape[2:]:
            return self._longer(spatial)
        rows = max(1, _FITTED // max(1, self.target.y.size // spatial[0]))
        self.judge.partial = self.judge.partial or rows < spatial[0]
        window = (slice(max(0, spatial[0] - rows), spatial[0]), *whole(spatial[1:]))
        part: Any = (..., *window)
        y, finite = self.target.y[part], self.target.finite[part]
        expected = self.setting.window(window)
        allowed = self.judge.allowed(self.setting)
        limits = allowed.at(np.where(finite, y, 0))
        small = small_difference.is_small(expected, y, finite)
        trials: tuple[Callable[[], Iterator[Cause]], ...] = (
            lambda: order.reordered(expected, y, finite, limits, self.hand),
            lambda: scales.scaled(expected, y, finite, allowed, self.hand),
            lambda: weight_scales.wrong_axis(self.setting, self.target.y, self.target.finite, allowed, self.hand),
            lambda: weight_permutation.permuted(self.setting, self.target.y, self.target.finite, self.hand),
            lambda: precision.one_of_them(self.setting) if small else iter(()),
            lambda: small_difference.summed(self.setting, window, y, finite, self.hand) if small else iter(()),
            lambda: corrupted_parts.spoiled(expected, y, finite, limits, self.setting.geometry.stride),
            lambda: small_difference.rounded(expected, y, finite, allowed),
            lambda: (
                small_difference.correlated(self.setting, window, expected, y, finite, self.hand) if small else iter(())
            ),
        )
        for trial in trials:
            for cause in trial():
                self.hypotheses.count(1)
                fit = self._fitted(cause, expected, y, finite, limits)
                if fit is not None:
                    return [fit]
        if size := small_difference.size(expected, y, finite, max(spacing(self.target.dtype), 2.0**-23)):
            self.hint = f"{size}, but fits no rounding that was tried"
        return []

    def _longer(self, spatial: tuple[int, ...]) -> list[Fit]:
        """The result, and behind it rows that do not belong to it."""
        y, sizes = self.target.y, self.target.y.shape[2:]
        if any(L > M for L, M in zip(spatial, sizes, strict=True)):
            return []
        part: Any = (..., *whole(spatial))
        front = Search(self.setting, Target.of(y[part], self.target.dtype), self.hand, self.speaker, self.native)
        error = front.judge.confirm(self.setting)
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
            error = None if changed is None else self.judge.confirm(changed, loose=4.0)
            return None if changed is None or error is None else Fit((cause,), changed, error)
        assert cause.turn is not None
        distance = np.abs(cause.turn(expected) - y)
        if cause.part != "rounding" and not (distance <= limits)[finite].all():
            return None
        return Fit((cause,), self.setting, float(distance[finite].max(initial=0.0)))

    def _direct(self, cause: Cause) -> Fit | None:
        self.hypotheses.count(1)
        assert cause.change is not None
        changed = cause.change(self.setting)
        error = None if changed is None else self.judge.confirm(changed)
        return None if changed is None or error is None else Fit((cause,), changed, error)

    def _confirmed(self, candidates: Iterator[Candidate]) -> Iterator[Fit]:
        left, seen, known = _CONFIRMED, set(), set()
        for causes, setting, shift in candidates:
            fit = self._with_crop(causes, setting, shift)
            key, same = (*map(id, causes), fit.setting.geometry), (frozenset(fit.names), fit.setting.geometry)
            if key in seen or same in known or not fit.causes:
                continue
            seen.add(key)
            error = self.judge.confirm(fit.setting, fit.causes)
            left -= 1
            if error is not None:
                known.add(same)
                yield replace(fit, error=error)
            if left <= 0:
                return

    def _with_constant(self) -> Iterator[Fit]:
        """The fits of one cause and a bias that nothing was said of."""
        if self.setting.bias is not None:
            return
        known = set()
        for candidate in islice(self.hypotheses.candidates(1, level=True), _CONFIRMED):
            fit = self._with_crop(*candidate)
            added = self.judge.constant(fit.setting, fit.causes)
            if added is None or not fit.causes or not np.isfinite(added).all():
                continue
            g, unit = fit.setting.geometry, self.judge.allowed(fit.setting).relative
            cause = scales.affine("offset per channel", np.ones_like(added), added, g.ndim, self.hand, unit)
            fit = replace(fit, setting=replace(fit.setting, bias=added), causes=(cause, *fit.causes))
            error = self.judge.confirm(fit.setting, fit.causes, loose=2.0)
            same = (frozenset(fit.names), fit.setting.geometry)
            if error is not None and same not in known:
                known.add(same)
                yield replace(fit, error=error)

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
