"""Dependence of a module that cannot be read, measured: its length, its context and its borders along time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from tconv.errors import StreamError
from tconv.streaming.dependence import Dependence
from tconv.streaming.module_probe import Draw, ModuleProbe, Run

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
        seen = f"seen on {length} inputs"
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
