"""Dependence of a module that cannot be read, measured: inputs are replaced, and the outputs that change are seen.

NaN spreads exactly over what depends on it. Random numbers of several sizes are tried beside it, because a module may
hide NaN: a clamp, argmax, or a table of codes. Where both disagree, all outputs that either reaches count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError, StreamError
from tconv.streaming.dependence import Dependence

Run = Callable[[Array], Array]
"""Module on arrays: [N, C, n] to [N, C', m]."""
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Random valid inputs of a shape."""

_SCALES = (1.0, 1.0, 30.0)
"""Sizes of the random numbers that replace inputs, one draw each."""
_ROUNDING = 1e-6
"""Change that counts as rounding, as a share of the largest output."""
_FADING = 1e-4
"""Share of the largest change below which an influence has faded, and has no end that can be seen."""
_QUIET = 12
"""Draws that find nothing new before no more are made."""
_REDRAWS = 16
"""Times that whole numbers are drawn until they differ from those before."""
_MOST_ELEMENTS = 1 << 23
"""Elements of outputs that one run may have."""
_CUTS = 12
"""Successive places, at least, at which steady state is looked at."""
_LONGEST = 2048
"""Inputs that are tried, at most, or as many outputs."""
_MOST_OUTPUTS = 1 << 17
"""Outputs that are made at a time, at most, to find an end of the dependence."""
_MOST_TURNS = 128
"""Multiples of the shortest period that a rate has, that are tried."""
_RESIDUES = 32
"""Places in a period, at most, whose lengths and ends are looked at."""


def measure_dependence(
    run: Run,
    channels: int,
    *,
    dtype: np.dtype[Any] | type = np.float32,
    draw: Draw | None = None,
    longest: int | None = None,
    seed: int = 0,
) -> Dependence:
    """Return the dependence of a module's outputs on its inputs along time.

    >>> up = lambda x: np.repeat(x, 3, 2) + np.pad(np.repeat(x, 3, 2), ((0, 0), (0, 0), (2, 0)))[:, :, :-2]
    >>> found = measure_dependence(up, channels=1)
    >>> found.rate, found.skip, found.left, found.right
    (Fraction(3, 1), 2, 1, 0)

    `run` takes arrays [N, C, n] and returns [N, C', m]. `draw` makes random inputs of a shape for modules that take
    only some numbers, as codes. Inputs of up to `longest` samples are tried (2048, or as many outputs if those are
    fewer). Raises StreamError, with the reason, for modules whose outputs depend on all of time, or on all that was
    before, and for those that draw random numbers.
    """
    return _Measurement(ModuleProbe(run, channels, np.dtype(dtype), draw, seed), longest).result()


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
            if not self.alone and self.dtype.kind in "fc":
                x[1] = np.nan
                self.alone = not _close(self(x)[:1], first)
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
            before, x = [_ends(row) for row in seen], self.random(1, length)
            spread = self.nan_reach(x, parts)
            changes = self.random_changes(x, parts, _SCALES[turn % len(_SCALES)])
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
            scaled: Array = (drawn * scale).astype(self.dtype)
            return scaled
        for _ in range(_REDRAWS):
            drawn[drawn == values] = self.random(1, values.shape[1])[0][drawn == values]
        return drawn

    def check_nan(self, length: int, parts: Sequence[slice]) -> None:
        """Find out whether NaN shows all that depends on it, whatever the inputs; if not, several draws are made."""
        shown: Array | None = None
        for scale in () if self.hides else _SCALES:
            x = self.random(1, length)
            spread = self.nan_reach(x, parts)
            hidden = self._beyond_rounding(self.random_changes(x, parts, scale)) & ~spread
            self.hides |= bool(hidden.any()) or (shown is not None and bool((shown != spread).any()))
            shown = spread


class _Measurement:
    """Search for the numbers of a Dependence, on inputs that become longer until they hold all of it."""

    def __init__(self, probe: ModuleProbe, longest: int | None) -> None:
        self.probe, self.longest = probe, longest or _LONGEST
        self.shortest = self._shortest()
        probe.check_repeatable(self.shortest + 16)
        self._lengths: dict[int, int] = {}
        self.step, self.step_outputs = self._rate()
        if longest is None and self.step > self.step_outputs:
            self.longest = _LONGEST * self.step // self.step_outputs
        elif longest is None:
            self.longest = max(_LONGEST // 8, min(_LONGEST, _MOST_OUTPUTS * self.step // self.step_outputs))
        self.period, self.outputs = self.step, self.step_outputs
        self._many = max(_CUTS, 2 * self.step + 1)

    # -- lengths -------------------------------------------------------------------------------------------------

    def _length(self, inputs: int) -> int:
        if inputs not in self._lengths:
            self._lengths[inputs] = self.probe.output_length(inputs)
        return self._lengths[inputs]

    def _shortest(self) -> int:
        """Return the fewest inputs that the module takes."""
        takes = self.probe.output_length
        high = 1
        while takes(high) <= 0:
            high *= 2
            if high > self.longest:
                self.probe(self.probe.random(1, self.longest))  # the module's own error, if there is one
                raise StreamError(f"the module gives no output for {self.longest} inputs or fewer")
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if takes(middle) > 0 else (middle, high)
        return high

    def _rate(self) -> tuple[int, int]:
        """Return the smallest period of the lengths of outputs, and the outputs in it."""
        start = self.shortest + 16
        for far in (1 << 6, 1 << 9, 1 << 12, 1 << 15, 1 << 18):
            grown = self._length(start + far) - self._length(start)
            rate = Fraction(grown, far).limit_denominator(max(1, int((far / 2) ** 0.5)))
            if rate <= 0:
                continue
            for turns in range(1, _MOST_TURNS + 1):
                period, outputs = turns * rate.denominator, turns * rate.numerator
                places = {self.shortest + turn * period // _RESIDUES for turn in range(_RESIDUES)}
                places |= {start + turn for turn in range(min(period, 8))}
                if all(self._length(place + period) - self._length(place) == outputs for place in sorted(places)):
                    return period, outputs
            if far > 64 * rate.denominator:
                break
        if self._length(start) == self._length(start + far):
            raise StreamError("the output has the same length for all inputs; it depends on all of time")
        raise StreamError("the length of the output is no fixed multiple of the input's, up to a rounding")

    # -- steady state --------------------------------------------------------------------------------------------

    def result(self) -> Dependence:
        """Return the numbers, measured on inputs of the first length that holds them."""
        length = max(32, 4 * self.shortest, 6 * self.step)
        while True:
            length = -(-length // self.step) * self.step
            found = self._steady(length)
            if found is not None:
                steady, skip = found
                ahead = max(n - Fraction(count, 1) / self.rate for n, count in enumerate(steady, self.middle))
                border = -(-skip // self.outputs) * self.period + int(ahead) + 1
                if 2 * (border + len(steady)) <= length:
                    return self._with_borders(length, steady, skip, max(1, border))
            length *= 2

    @property
    def rate(self) -> Fraction:
        """Outputs per input."""
        return Fraction(self.outputs, self.period)

    def _steady(self, length: int) -> tuple[list[int], int] | None:
        """Return the counts of final outputs after `middle`, middle + 1, ... inputs, and the outputs to skip.

        None if the inputs are too short to see them. Sets the period. Raises StreamError if they will stay so.
        """
        self.middle, many = length // 2 // self.step * self.step, self._many
        if self.middle + many >= length - 1:
            self._check_longer(length, None)
            return None
        cuts = range(self.middle, self.middle + many)
        # the last of them for the past, and the first for the future: if these see an end, all do
        parts = [slice(cuts[0], length), slice(0, cuts[-1])]
        for checked in (False, True):
            if checked:
                self.probe.check_nan(length, parts)
                if not self.probe.hides:
                    break
            (first, _), (_, last) = self.probe.changed(length, parts)
            past, future = last >= self._length(length), first <= 0
            if past or future:
                self._check_longer(length, (past, future))
                return None
        if first >= self._length(length) or last <= 0:
            raise StreamError("no output depends on the inputs; there is nothing to stream")
        slope = self.step_outputs if self.step == 1 else 0
        final = self.probe.first_reached(length, cuts, slope)
        clear = self.probe.last_reached(length, cuts, slope)
        for turns in range(1, (many - 1) // self.step // 2 + 1):
            period, outputs = turns * self.step, turns * self.step_outputs
            if all(b - a == outputs for each in (final, clear) for a, b in zip(each, each[period:], strict=False)):
                # a window begins at multiples of the period
                self.period, self.outputs = period, outputs
                start = -(-self.middle // period) * period
                return final, max(0, clear[start - self.middle] - start // period * outputs)
        self._many *= 2
        self._check_longer(length, None)
        return None

    def _check_longer(self, length: int, reach: tuple[bool, bool] | None) -> None:
        """Check that longer inputs may be tried. Raises StreamError with the reason why not."""
        if 2 * length <= self.longest:
            return
        seen = f"seen on {length} inputs; longest={8 * self.longest} would try more"
        if reach is None:
            raise StreamError(f"the dependence of the outputs on the inputs has no period that can be found ({seen})")
        past, future = reach
        if past and future:
            reason = (
                "output t depends on all of time (a normalisation or mean over time, attention, a bidirectional LSTM, "
                "or a batch norm in training mode), so that no chunk of the output is final before the end"
            )
        elif past:
            reason = (
                "output t depends on all inputs before it (an LSTM, a GRU, causal attention, a recursive filter), so "
                "that it needs state, which windows of inputs are not"
            )
        else:
            reason = "output t depends on all inputs after it (a backward LSTM), so that none is final before the end"
        raise StreamError(f"{reason} ({seen})")

    # -- borders -------------------------------------------------------------------------------------------------

    def _with_borders(self, length: int, steady: list[int], skip: int, border: int) -> Dependence:
        """Return the numbers, with those of the start and the end, where outputs depend on other inputs."""
        lengths = [self._length(self.shortest + n) for n in range(self.period)]
        final = self._final_counts(length, steady, skip, border)
        for n in range(self.shortest, len(final)):  # a crop may take outputs back at the end
            turns, rest = divmod(n - self.shortest, self.period)
            final[n] = min(final[n], lengths[rest] + turns * self.outputs)
        made = Dependence(self.period, self.outputs, self.shortest, tuple(lengths), tuple(final), skip, end_back=0)
        places = sorted({turn * self.period // _RESIDUES for turn in range(_RESIDUES)})
        back = max(self._end_back(made, length + place) for place in places)
        if len(places) < self.period:
            back += self.period
        return Dependence(
            self.period, self.outputs, self.shortest, made.lengths, made.final, skip, max(back, self.shortest)
        )

    def _final_counts(self, length: int, steady: list[int], skip: int, border: int) -> list[int]:
        """Return the counts of final outputs from the first input on, until they are those of steady state.

        The start changes the outputs to skip, and no others. These may depend on later inputs than steady state knows:
        a reflected border does.
        """
        final: list[int] = []
        while True:
            cuts = range(len(final), max(border, len(final)) + 2 * self.period)
            if cuts[-1] > self.middle:
                raise StreamError("the outputs near the start depend on inputs far away; no short window is exact")
            final += self.probe.first_reached(length, cuts, self.outputs if self.period == 1 else 0)
            last = len(final) // self.period * self.period - self.period
            if final[last] >= skip:
                turns = -(-(self.middle - last) // self.period)
                expected = [
                    final[last + n % self.period] + (turns + n // self.period) * self.outputs
                    for n in range(len(steady))
                ]
                offset = last + turns * self.period - self.middle
                if expected[: len(steady) - offset] == steady[offset:]:
                    return final[: last + self.period]

    def _end_back(self, made: Dependence, length: int) -> int:
        """Return how many inputs before the end a window has to begin for the outputs that only the end makes final."""
        count = made.final_after(length)
        low, high = 0, made.first_input(count) // self.period + 1  # in periods: low is early enough, high is not
        while high - low > 1:
            middle = (low + high) // 2
            ((_, last),) = self.probe.changed(length, [slice(0, middle * self.period)])
            low, high = (middle, high) if last <= count else (low, middle)
        if low == 0 and length > 2 * len(made.final) + 2 * self.period:
            raise StreamError("the last outputs depend on all inputs; no window gives them")
        return length - low * self.period


def _standard_normal(dtype: np.dtype[Any]) -> Draw:
    """Return a source of standard normal numbers, or of whole numbers for integers."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if dtype.kind in "iub":
            return rng.integers(0, 2, shape).astype(dtype)
        numbers = rng.standard_normal(shape)
        return (numbers + 1j * rng.standard_normal(shape) if dtype.kind == "c" else numbers).astype(dtype)

    return draw


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


def _ends(changed: Array) -> tuple[int, int]:
    """Return the first True place, and the one after the last; (length, 0) without any."""
    places = np.flatnonzero(changed)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (len(changed), 0)


def _close(a: Array, b: Array) -> bool:
    """Return True for outputs that differ by rounding at most."""
    scale = max(1e-30, float(np.abs(b).max(initial=0)))
    return bool(np.allclose(a, b, rtol=0, atol=1e-4 * scale))
