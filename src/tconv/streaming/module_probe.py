"""Runs of a module of which a part of the inputs is replaced: which outputs change.

NaN spreads exactly over what depends on it. Random numbers of several sizes are tried beside it, because a module may
hide NaN: a clamp, argmax, or a table of codes. Where both disagree, all outputs that either reaches count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError, StreamError

Run = Callable[[Array], Array]
"""Module on arrays: [N, C, n] to [N, C', m]."""
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Random valid inputs of a shape."""

_LARGE = 30.0
_SCALES = (1.0, 1.0), (1.0, _LARGE), (1.0, -_LARGE), (_LARGE, 1.0)
"""Sizes of random inputs, and of the numbers that replace some of them, for a draw each: gates open for large ones."""
_ROUNDING = 1e-6
"""Change that counts as rounding, as a share of the largest output."""
_FADING = 1e-4
"""Share of the largest change below which an influence has faded, and has no end that can be seen."""
_QUIET = 12
"""Draws that find nothing new before no more are made."""
_MOST_ELEMENTS = 1 << 23
"""Elements of outputs that one run may have."""
_REDRAWS = 16
"""Times that whole numbers are drawn until they differ from those before."""


class ModuleProbe:
    """Runs of a module on random inputs of which a part is replaced."""

    def __init__(self, run: Run, channels: int, dtype: np.dtype[Any], draw: Draw | None = None, seed: int = 0) -> None:
        self.module, self.channels, self.dtype = run, channels, dtype
        self._draw = draw or _standard_normal(dtype)
        self._rng = np.random.default_rng(seed)
        self.hides = dtype.kind not in "fc"
        """True if NaN does not show all that depends on it"""
        self.alone = False
        """True if the module takes one input at a time"""

    # -- runs ----------------------------------------------------------------------------------------------------

    def random(self, count: int, length: int) -> Array:
        """Return random inputs [count, C, length]."""
        return np.asarray(self._draw(self._rng, (count, self.channels, length))).astype(self.dtype)

    def __call__(self, x: Array) -> Array:
        """Return the outputs, in runs of a bounded size."""
        rows = [x[turn : turn + 1] for turn in range(len(x))] if self.alone else [x]
        with np.errstate(all="ignore"):
            outputs = [np.asarray(self.module(row.copy())) for row in rows]
        for row, output in zip(rows, outputs, strict=True):
            if output.ndim != 3 or len(output) != len(row):
                raise ShapeError(
                    f"the module gives shape {output.shape} for input {row.shape}; [N, C, n] to [N, C', m] is needed"
                )
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def output_length(self, length: int) -> int:
        """Return the length of the output for so many inputs; -1 if the module refuses them."""
        try:
            return int(self(self.random(1, length)).shape[2])
        except ShapeError:
            raise
        except Exception:  # whatever a module raises for inputs that are too short
            return -1

    def check_repeatable(self, length: int) -> None:
        """Check that equal inputs give equal outputs, and that rows of a batch do not mix; else run them alone."""
        x = self.random(2, length)
        first, again = self(x[:1]), self(x[:1])
        if not np.array_equal(first, again, equal_nan=True):
            raise StreamError(
                "two runs on the same input give different outputs: the module draws random numbers, or keeps state "
                "from call to call. Write module.eval(), or give it no state of its own"
            )
        if first.dtype.kind in "fc" and not np.isfinite(first).all():
            raise StreamError("the module gives NaN or infinity for ordinary random inputs. Give it others with draw=")
        try:
            both = self(x)
            apart = np.concatenate([first, self(x[1:])])
            self.alone = both.shape != apart.shape or not _close(both, apart)
            if self.dtype.kind in "fc":
                for other in (self._scaled(x[1], _LARGE), self._scaled(x[1], -_LARGE), np.full_like(x[1], np.nan)):
                    beside = np.stack([x[0], other])
                    self.alone = self.alone or not _close(self(beside)[:1], first)
        except Exception:  # whatever a module raises for a batch of two
            self.alone = True

    # -- what changes --------------------------------------------------------------------------------------------

    def changed(self, length: int, parts: Sequence[slice]) -> list[tuple[int, int]]:
        """Return the first output that depends on each part of the inputs, and the one after the last.

        Parts that no output depends on give (the length of the output, 0).
        """
        found: list[tuple[int, int]] = []
        size = max(1, _MOST_ELEMENTS // max(1, self.output_length(length)))
        for turn in range(0, len(parts), size):
            found += self._changed(length, parts[turn : turn + size])
        return found

    def first_reached(self, length: int, cuts: range, slope: int) -> list[int]:
        """Return the first output that the inputs from each cut on reach; see `staircase`."""
        return staircase(
            lambda at: [first for first, _ in self.changed(length, [slice(cut, length) for cut in at])], cuts, slope
        )

    def last_reached(self, length: int, cuts: range, slope: int) -> list[int]:
        """Return the output after the last one that the inputs before each cut reach; see `staircase`."""
        return staircase(
            lambda at: [last for _, last in self.changed(length, [slice(0, cut) for cut in at])], cuts, slope
        )

    def _changed(self, length: int, parts: Sequence[slice]) -> list[tuple[int, int]]:
        x = self.random(1, length)
        seen = self.nan_reach(x, parts)
        quiet, turn = 0, 0
        while self.hides and quiet < _QUIET:  # gates open for some numbers only
            size, other = _SCALES[turn % len(_SCALES)]
            before, x = [_ends(row) for row in seen], self._scaled(self.random(1, length), size)
            spread = self.nan_reach(x, parts)
            changes = self.random_changes(x, parts, other)
            for row, each in zip(spread, changes, strict=True):
                self._check_fading(row, each)
            seen |= spread | self._beyond_rounding(changes)
            quiet, turn = (quiet + 1 if [_ends(row) for row in seen] == before else 0), turn + 1
        return [_ends(row) for row in seen]

    def nan_reach(self, x: Array, parts: Sequence[slice]) -> Array:
        """Return [parts, m]: True where NaN in a part makes an output NaN."""
        if self.dtype.kind in "fc":
            rows = np.repeat(x, len(parts), 0)
            for row, part in zip(rows, parts, strict=True):
                row[:, part] = np.nan
            try:
                spread: Array = np.any(np.isnan(self(rows)), axis=1)
                return spread
            except Exception:  # whatever a module raises for NaN
                self.hides = True
        return np.zeros((len(parts), self(x).shape[2]), bool)

    def random_changes(self, x: Array, parts: Sequence[slice], scale: float) -> Array:
        """Return [parts, m]: how much other numbers in a part change an output, as a share of the largest output."""
        rows = np.repeat(x, len(parts) + 1, 0)
        for row, part in zip(rows, parts, strict=False):
            row[:, part] = self._other(row[:, part], scale)
        outputs = self(rows).astype(np.complex128 if self.dtype.kind == "c" else np.float64)
        change: Array = np.abs(outputs[:-1] - outputs[-1:]).max(1)
        return change / max(1e-30, float(np.abs(outputs).max()))

    def _beyond_rounding(self, change: Array) -> Array:
        seen: Array = change > _ROUNDING
        return seen

    def _check_fading(self, spread: Array, change: Array) -> None:
        """Check that an influence that NaN does not show ends at once."""
        seen = self._beyond_rounding(change)
        first, last = _ends(seen)
        if first >= last:
            return
        for side, place, border in (("later", first, 0), ("earlier", last - 1, len(change) - 1)):
            if place != border and not spread[place] and change[place] < _FADING * change.max():
                raise StreamError(
                    f"the influence of {side} inputs fades instead of ending, and NaN does not spread through the "
                    "module, so that no exact window can be found: the module needs state (LSTM, GRU, a recursive "
                    "filter), or hides where it ends"
                )

    def _other(self, values: Array, scale: float) -> Array:
        """Return random inputs that differ from these."""
        drawn: Array = self.random(1, values.shape[1])[0]
        if self.dtype.kind in "fc":
            return self._scaled(drawn, scale)
        for _ in range(_REDRAWS):
            drawn[drawn == values] = self.random(1, values.shape[1])[0][drawn == values]
        return drawn

    def _scaled(self, values: Array, scale: float) -> Array:
        """Return numbers of another size, large ones of both signs around it; whole numbers as they are."""
        if self.dtype.kind not in "fc":
            return values
        both = values.real.min() < 0 < values.real.max()  # others may have to be positive
        scaled = (values + 1) * scale if both and abs(scale) > 1 else values * abs(scale)
        moved: Array = scaled.astype(self.dtype)
        return moved

    def check_nan(self, length: int, parts: Sequence[slice]) -> None:
        """Find out whether NaN shows all that depends on it, whatever the inputs; if not, several draws are made."""
        shown: Array | None = None
        for size, other in () if self.hides else _SCALES:
            x = self._scaled(self.random(1, length), size)
            spread = self.nan_reach(x, parts)
            hidden = self._beyond_rounding(self.random_changes(x, parts, other)) & ~spread
            self.hides |= bool(hidden.any()) or (shown is not None and bool((shown != spread).any()))
            shown = spread


def staircase(measure: Callable[[list[int]], list[int]], cuts: range, slope: int) -> list[int]:
    """Return the values of a function that never falls, measured at few places.

    Between two places of one value it has that value. If `slope` is not 0, it is taken to rise by the slope between two
    places whose values say so, if the one in the middle does, too.

    >>> staircase(lambda at: [n // 4 for n in at], range(6), 0), staircase(lambda at: [3 * n for n in at], range(5), 3)
    ([0, 0, 0, 0, 1, 1], [0, 3, 6, 9, 12])
    """
    ends = [cuts[0], cuts[-1]]
    values = dict(zip(ends, measure(ends), strict=True))
    spans = [(cuts[0], cuts[-1], False)]
    while spans:
        middles = []
        for low, high, _ in spans:
            if high - low > 1 and values[low] != values[high]:
                middles.append((low + high) // 2)
        values |= dict(zip(middles, measure(middles) if middles else [], strict=True))
        following = []
        for low, high, straight in spans:
            middle, rise = (low + high) // 2, values[high] - values[low]
            if rise == 0 or high - low <= 1:
                values |= dict.fromkeys(range(low, high), values[low])
                continue
            parts = [(low, middle), (middle, high)]
            lines = slope and all(values[b] - values[a] == slope * (b - a) for a, b in parts)
            if lines and straight:
                values |= {at: values[low] + slope * (at - low) for at in range(low, high)}
            else:
                following += [(a, b, bool(lines)) for a, b in parts]
        spans = following
    return [values[cut] for cut in cuts]


def _standard_normal(dtype: np.dtype[Any]) -> Draw:
    """Return a source of standard normal numbers, or of whole numbers for integers."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if dtype.kind in "iub":
            return rng.integers(0, 2, shape).astype(dtype)
        numbers = rng.standard_normal(shape)
        return (numbers + 1j * rng.standard_normal(shape) if dtype.kind == "c" else numbers).astype(dtype)

    return draw


def _ends(changed: Array) -> tuple[int, int]:
    """Return the first True place, and the one after the last; (length, 0) without any."""
    places = np.flatnonzero(changed)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (len(changed), 0)


def _close(a: Array, b: Array) -> bool:
    """Return True for outputs that differ by rounding at most."""
    scale = max(1e-30, float(np.abs(b).max(initial=0)))
    return bool(np.allclose(a, b, rtol=0, atol=1e-4 * scale))
