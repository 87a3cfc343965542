"""Dependence of a module's outputs on its inputs along time, from which windows of inputs follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Dependence:
    """Lengths, context and period of a module, in samples of its input and output.

    >>> half = Dependence(period=2, outputs=1, shortest=2, lengths=(1, 1), final=(0, 0, 0, 0, 1), skip=1, end_back=4)
    >>> half.output_length(9), half.final_after(9), half.first_input(3)
    (4, 3, 4)

    A window of inputs that begins at a multiple of the period gives the outputs of the whole from `skip` on; those
    after `final_after` are still without their last inputs. Where the window begins or ends as the whole does, all
    of its outputs there are the whole's, too.
    """

    period: int
    """inputs after which everything repeats"""
    outputs: int
    """outputs in a period"""
    shortest: int
    """the fewest inputs that the module takes"""
    lengths: tuple[int, ...]
    """lengths of the output for `shortest` inputs, one more, and so on: one period"""
    final: tuple[int, ...]
    """outputs that are final after 0, 1, 2, ... inputs, whatever follows; from the last period on they repeat"""
    skip: int
    """first outputs of a window that earlier inputs reach, or its start"""
    end_back: int
    """inputs before the end that its last outputs need, counted from those that are not final without the end"""

    def __post_init__(self) -> None:
        if len(self.lengths) != self.period or len(self.final) <= self.period:
            raise ValueError("lengths need one period; final counts need more than one")

    @property
    def rate(self) -> Fraction:
        """Outputs per input."""
        return Fraction(self.outputs, self.period)

    def output_length(self, inputs: int) -> int:
        """Return the length of the output; 0 for inputs that are too short."""
        if inputs < self.shortest:
            return 0
        turns, rest = divmod(inputs - self.shortest, self.period)
        return self.lengths[rest] + turns * self.outputs

    def final_after(self, inputs: int) -> int:
        """Return the number of outputs that are final after so many inputs, whatever follows them."""
        over = inputs - len(self.final) + 1
        if over <= 0:
            return self.final[inputs]
        turns = -(-over // self.period)
        return self.final[inputs - turns * self.period] + turns * self.outputs

    def first_input(self, output: int) -> int:
        """Return where a window has to begin for this output and later ones, the last ones of the whole aside."""
        return max(0, (output - self.skip) // self.outputs * self.period)

    def first_held(self, output: int) -> int:
        """Return where a window has to begin for this output and later ones, wherever the input ends."""
        # the fewest inputs that may end the stream while this output is not final
        ended = max(0, self.inputs_for(output) - self.end_back) // self.period * self.period
        return min(self.first_input(output), ended)

    def inputs_for(self, outputs: int) -> int:
        """Return the fewest inputs after which so many outputs are final."""
        low, high = 0, len(self.final)
        while self.final_after(high) < outputs:
            low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.final_after(middle) >= outputs else (middle + 1, high)
        return low

    @property
    def held(self) -> int:
        """Inputs of the context that are held after any number of inputs, at most, in steady state."""
        start = 4 * len(self.final) + self.end_back
        return max(n - self.first_held(self.final_after(n)) for n in range(start, start + self.period))

    @property
    def latency(self) -> int:
        """Outputs that are withheld after n inputs, of the n times the rate: the most of any n, in steady state."""
        start = len(self.final)
        return max(math.ceil(self.rate * n - self.final_after(n)) for n in range(start, start + self.period))

    @property
    def left(self) -> int:
        """Inputs before an output's own time that it needs."""
        return max(0, math.ceil(self.skip / self.rate))

    @property
    def right(self) -> int:
        """Inputs after an output's own time that it needs."""
        start, last = len(self.final), Fraction(0)
        for n in range(start, start + self.period):
            last = max(last, n - self.final_after(n) / self.rate)
        return math.ceil(last)
