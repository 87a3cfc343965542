"""Two outputs without a call: axes exchanged, reversed or in another order, moved, scaled, spoiled, rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting, axis_names
from tconv.diagnosis.causes import data
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted import corrupted_parts, order, scales, small_difference
from tconv.diagnosis.fitted.shift import moved
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.outputs import likely
from tconv.diagnosis.tolerance import tolerance_alone
from tconv.geometry import Geometry


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
        found, tried = moved(base, self.got, self.dtype)
        self.tried += tried
        return None if found is None else ((*first, found[0]), found[1])

    def _measured(
        self, base: Array, y: Array, finite: Array, limits: Array, allowed: Any
    ) -> tuple[Cause, float] | None:
        trials: tuple[Callable[[], Iterator[Cause]], ...] = (
            lambda: order.reordered(base, y, finite, limits, self.hand),
            lambda: scales.scaled(base, y, finite, allowed, self.hand),
            lambda: corrupted_parts.spoiled(base, self.got, np.isfinite(self.got), limits),
            lambda: small_difference.rounded(base, y, finite, allowed),
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
        names = axis_names(nd)
        for turned in permutations(range(nd + 2)):
            if turned == tuple(range(nd + 2)):
                continue
            shape = tuple(self.expected.shape[axis] for axis in turned)
            if shape[:2] == self.got.shape[:2] and (shape == self.got.shape or sorted(turned[:2]) == [0, 1]):
                said = ", ".join(names[axis] for axis in turned)
                yield Cause(
                    "axes exchanged",
                    "axes",
                    f"the axes stand in another order: [{said}] where [{', '.join(names)}] was expected",
                    turn=partial(np.transpose, axes=turned),
                    undo=self.hand.permute("y", "y", np.argsort(turned).tolist()),
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
