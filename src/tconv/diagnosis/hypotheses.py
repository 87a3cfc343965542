"""Hypotheses: the causes of a call, alone and in pairs, that match a patch of the output.

Hypotheses with the same input, stride and dilation are computed in one call, their weights side by side. Another crop
only shifts the same numbers, so every crop is tried at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes import FAMILIES
from tconv.diagnosis.causes.cause import Cause, CauseContext
from tconv.diagnosis.output_matcher import OutputMatcher
from tconv.diagnosis.sample_patch import Patch


class _Row(NamedTuple):
    """One call of a batch and its causes."""

    causes: tuple[Cause, ...]
    call: CallModel


class Candidate(NamedTuple):
    """Causes besides the crop, the call with them, and the shift of its crop, in elements."""

    causes: tuple[Cause, ...]
    call: CallModel
    shift: tuple[int, ...]


class Hypotheses:
    """All hypotheses about one call and the output of a matcher."""

    def __init__(self, context: CauseContext, matcher: OutputMatcher) -> None:
        self.call, self.matcher = context.call, matcher
        self.singles = self.pairs = 0
        """Number of hypotheses tried so far."""
        self.up_to_constants: list[Candidate] = []
        """Hypotheses of one cause so far that match a patch up to a constant per channel, and not without one."""
        self.compared_up_to_constants = 0
        """Number of hypotheses that were compared so; they count as pairs once their matches are used."""
        self._patches: dict[Any, Patch | None] = {}
        self._context = context

    @cached_property
    def causes(self) -> list[Cause]:
        """Every cause that is tried, the crop and fitted causes apart."""
        return [cause for family in FAMILIES for cause in family(self._context)]

    def of_part(self, *parts: str) -> list[Cause]:
        """Return the causes that change these parts, part after part."""
        return [cause for part in parts for cause in self._by_part.get(part, ())]

    @cached_property
    def _by_part(self) -> dict[str, list[Cause]]:
        parts: dict[str, list[Cause]] = {}
        for cause in self.causes:
            parts.setdefault(cause.part, []).append(cause)
        return parts

    def count(self, number: int, causes: int = 1) -> None:
        """Count hypotheses of this number of causes."""
        if causes <= 1:
            self.singles += number
        else:
            self.pairs += number

    def candidates(self, count: int) -> Iterator[Candidate]:
        """Yield the hypotheses of `count` causes, the crop included, that match a patch."""
        for grid, base in product([None, *self.of_part("grid")], [None, *self.of_part("x", "rounding")]):
            outer = [cause for cause in (grid, base) if cause is not None]
            if len(outer) > count or not _may_meet(outer, count):
                continue
            rows = list(self._rows(outer, count))
            for geometry in dict.fromkeys(row.call.geometry for row in rows):
                yield from self._batch([row for row in rows if row.call.geometry == geometry], count)

    def of_steps(self) -> Iterator[Candidate]:
        """Yield the hypotheses of another stride or dilation, with every crop, that match a patch."""
        for cause in self.of_part("grid"):
            call = _changed(self.call, [cause])
            patch = None if call is None else self._patch(call, None)
            if call is not None and patch is not None:
                yield from self._compare([_Row((cause,), call)], [], patch, None, True, {})

    def _rows(self, outer: list[Cause], count: int) -> Iterator[_Row]:
        """Yield the call with these causes, alone and with each cause or pair of causes of the weight."""
        last = [c for c in outer if c.part == "rounding"]
        first = [c for c in outer if c.part != "rounding"]
        extras: list[tuple[Cause, ...]] = [()]
        if len(outer) < count:
            extras += [(cause,) for cause in self.of_part("weight")]
        if len(outer) + 2 <= count:
            extras += list(permutations([c for c in self.of_part("weight") if c.tried_with == "all"], 2))
        base = _changed(self.call, first)
        extras = [extra for extra in extras if _may_meet([*extra, *outer], count)]
        for extra in extras if base is not None else ():
            call = _changed(base, (*extra, *last))
            if call is not None:
                yield _Row((*extra, *outer), call)

    def _batch(self, rows: list[_Row], count: int) -> Iterator[Candidate]:
        """Yield the matches of calls that differ in their weights, with every bias, result cause and crop."""
        call = rows[0].call
        if call.weight.size == 0 or math.prod(self.matcher.output.y.shape) == 0:
            return
        sizes = call.spatial
        cache: dict[Any, Array] = {}
        lengths = {len(row.causes) for row in rows}
        for result in [None, *self.of_part("result")]:
            if result is not None and (min(lengths) >= count or not _may_meet([result], count)):
                continue
            patch = self._patch(call, result)
            if patch is None:
                continue
            for bias in [None, *self.of_part("bias")]:
                extra = [cause for cause in (bias, result) if cause is not None]
                # the crop is a cause of its own: it is free for hypotheses that have one cause fewer
                for free in (True, False):
                    length = count - free - len(extra)
                    if length not in lengths:
                        continue
                    fitting = [
                        row for row in rows if len(row.causes) == length and _may_meet([*row.causes, *extra], count)
                    ]
                    if fitting:
                        yield from self._compare(fitting, extra, patch, sizes, free, cache)

    def _patch(self, call: CallModel, result: Cause | None) -> Patch | None:
        key = (result, call.groups, call.out_channels, len(call.x))
        if key not in self._patches:
            y, finite = self.matcher.output.y, self.matcher.output.finite
            if result is not None and result.inverse is not None:
                y, finite = result.inverse(y), result.inverse(finite)
            fits = y.shape[:2] == (len(call.x), call.out_channels)
            self._patches[key] = Patch.of(y, finite, call) if fits else None
        return self._patches[key]

    def _compare(
        self,
        rows: list[_Row],
        extra: list[Cause],
        patch: Patch,
        sizes: tuple[int, ...] | None,
        free: bool,
        cache: dict[Any, Array],
    ) -> Iterator[Candidate]:
        """Yield the rows that match the patch with these extra causes, at any crop if it is free."""
        call = rows[0].call
        far = not extra and not any(row.causes for row in rows)  # the call itself, which is quick
        reach = patch.reach(call, far=far) if free else ((0, 0),) * call.geometry.ndim
        if not free and sizes != patch.sizes:
            return
        key = (patch.image, patch.place, reach, tuple(id(row.call) for row in rows))
        if key not in cache:
            cache[key] = patch.predicted([row.call for row in rows], reach)
        values = cache[key]
        biased = call
        for cause in extra:
            if cause.part == "bias":
                assert cause.change is not None
                biased = cause.change(call) or call
        if biased.bias is not None:
            values = values + patch.of_channels(biased.bias)
        values = call.activated(values)
        for cause in extra:
            if cause.part == "result" and cause.inverse is None and cause.transform is not None:
                values = cause.transform(values)
        limits = self.matcher.patch_limits(call, patch)
        matches = patch.matches(values, limits)
        causes = len(rows[0].causes) + len(extra) + free
        self.count(len(rows) * matches[0].size, causes)

        def found(at: int, row: _Row, matches: Array) -> list[Candidate]:
            places = np.argwhere(matches[at])
            shifts = [tuple(int(p + lo) for p, (lo, _) in zip(place, reach, strict=True)) for place in places]
            changed = row.call if biased is call else replace(row.call, bias=biased.bias)
            nearest = sorted(shifts, key=lambda shift: sum(map(abs, shift)))[:3]
            return [Candidate((*row.causes, *extra), changed, shift) for shift in nearest]

        shows = call.activation is None and not any(_hides_constants(cause) for cause in extra)
        if causes == 1 and max(patch.values.shape[1:]) > 1 and shows:
            self.compared_up_to_constants += len(rows) * matches[0].size
            constant = patch.matches(values, limits, up_to_constant=True) & ~matches
            for at, row in enumerate(rows):
                self.up_to_constants += found(at, row, constant)
        for at, row in enumerate(rows):
            yield from found(at, row, matches)


def _hides_constants(cause: Cause) -> bool:
    """Return True if a constant per channel cannot be told beside this cause, or is another bias anyway."""
    return cause.part == "bias" or cause.inverse is None


def _may_meet(causes: Sequence[Cause], count: int) -> bool:
    """Return True unless a rare cause is among them that is not tried with the others, or not with the crop."""
    rare = [cause for cause in causes if cause.tried_with != "all"]
    if not rare or (count == 1 and len(causes) == 1):
        return True
    others = [cause for cause in causes if cause.tried_with == "all"]
    return len(rare) == 1 and rare[0].tried_with == "crop" and all(cause.common for cause in others)


def _changed(call: CallModel | None, causes: Sequence[Cause]) -> CallModel | None:
    """Return the call with these causes, one after the other; None where one of them is impossible."""
    for cause in causes:
        if call is None or cause.change is None:
            return None
        call = cause.change(call)
    return call
