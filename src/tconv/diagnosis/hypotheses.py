"""Hypotheses: the causes of a call, alone and in pairs, as far as they fit on a patch of the output.

Hypotheses that share an input and a grid are computed in one call, their weights side by side; a crop that is another
one is a shift of the same numbers, so every crop is tried at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting
from tconv.diagnosis.causes import biases, data, precision, runtime_faults, stride_dilation, weights
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.sample_patch import Patch
from tconv.diagnosis.tolerance_test import Judge
from tconv.dialects import Dialect


class _Row(NamedTuple):
    """One weight of a batch: the causes that made it."""

    causes: tuple[Cause, ...]
    setting: Setting


class Candidate(NamedTuple):
    """Causes beside the crop, the call that they make, and how many elements later the target starts in it."""

    causes: tuple[Cause, ...]
    setting: Setting
    shift: tuple[int, ...]


class Hypotheses:
    """All hypotheses about one call and the target of a judge."""

    def __init__(self, setting: Setting, judge: Judge, hand: Hand, speaker: Dialect, native: dict[str, Any]) -> None:
        self.setting, self.judge = setting, judge
        self.singles = self.pairs = 0
        self._patches: dict[Any, Patch | None] = {}
        self._grids = list(stride_dilation.causes(setting, hand))
        self._inputs = list(data.input_causes(setting, hand))
        self._weights = list(weights.causes(setting, hand))
        self._biases = list(biases.causes(setting, hand))
        self._results = list(data.result_causes(setting, judge.target.y.shape, hand))
        self._rounding = list(precision.causes(setting, hand))
        self.faults = list(runtime_faults.causes(setting, speaker, native))

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
            *self.faults,
        ]

    def count(self, number: int, causes: int = 1) -> None:
        """Count hypotheses of so many causes."""
        if causes <= 1:
            self.singles += number
        else:
            self.pairs += number

    def candidates(self, count: int, level: bool = False) -> Iterator[Candidate]:
        """What fits on a patch, of `count` causes, the crop included; `level`: but for a constant per channel."""
        for grid, base in product([None, *self._grids], [None, *self._inputs, *self._rounding]):
            outer = [cause for cause in (grid, base) if cause is not None]
            if len(outer) > count:
                continue
            rows = list(self._rows(outer, count))
            for kernel in {row.setting.weight.shape for row in rows}:
                yield from self._batch([row for row in rows if row.setting.weight.shape == kernel], count, level)

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

    def _batch(self, rows: list[_Row], count: int, level: bool) -> Iterator[Candidate]:
        """One call for all these weights, compared with the target under every bias, result cause and crop."""
        s = rows[0].setting
        if s.weight.size == 0 or math.prod(self.judge.target.y.shape) == 0:
            return
        cache: dict[Any, Array] = {}
        for result in [None, *self._results]:
            if len(rows[0].causes) + (result is not None) > count:
                continue
            patch = self._patch(s, result)
            if patch is None or (level and (max(patch.values.shape[1:]) < 2 or (result and not result.back))):
                continue
            for bias in [None, *self._biases]:
                extra = [cause for cause in (bias, result) if cause is not None]
                counts = [len(row.causes) + len(extra) for row in rows]
                # the crop is a cause of its own: it may be another one where one cause fewer is there
                for free in (True, False):
                    kept = [at for at, c in enumerate(counts) if (c == count - 1 if free else c == count)]
                    if kept:
                        yield from self._compare([rows[at] for at in kept], extra, patch, free, cache, level)

    def _patch(self, s: Setting, result: Cause | None) -> Patch | None:
        key = (result, s.groups, s.out_channels, len(s.x))
        if key not in self._patches:
            y, finite = self.judge.target.y, self.judge.target.finite
            if result is not None and result.back is not None:
                y, finite = result.back(y), result.back(finite)
            fits = y.shape[:2] == (len(s.x), s.out_channels)
            self._patches[key] = Patch.of(y, finite, s) if fits else None
        return self._patches[key]

    def _compare(
        self, rows: list[_Row], extra: list[Cause], patch: Patch, free: bool, cache: dict[Any, Array], level: bool
    ) -> Iterator[Candidate]:
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
        hits = patch.hits(values, self.judge.loose(s, patch), level)
        self.count(len(rows) * hits[0].size, len(rows[0].causes) + len(extra) + free + level)
        for at, row in enumerate(rows):
            places = np.argwhere(hits[at])
            shifts = [tuple(int(p + lo) for p, (lo, _) in zip(place, reach, strict=True)) for place in places]
            for shift in sorted(shifts, key=lambda shift: sum(map(abs, shift)))[:3]:
                setting = row.setting if biased is s else replace(row.setting, bias=biased.bias)
                yield Candidate((*row.causes, *extra), setting, shift)


def _changed(setting: Setting | None, causes: Sequence[Cause]) -> Setting | None:
    """The call with these causes, one after the other; None where one of them cannot be."""
    for cause in causes:
        if setting is None or cause.change is None:
            return None
        setting = cause.change(setting)
    return setting
