"""Graph of steps along time: which samples of every value are final, which are held, and the run of a whole input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv._memory import empty
from tconv.errors import GeometryError, ShapeError, TconvError
from tconv.models.layers import Node
from tconv.models.steps.padding import Padding
from tconv.streaming.layer_digest import fingerprint
from tconv.streaming.time_step import ENDLESS, TimeSpan, TimeStep, along_time

_FLOAT32 = np.dtype(np.float32)
_MOST_PERIOD = 1 << 15
"""Largest denominator of a rate."""
_LATEST = 1 << 22
"""Inputs after which every window is away from the start, or none ever is."""
_MOST_MOMENTS = 512
"""Places in time that a graph caches, and that are compared for its latency."""


class StreamNode(NamedTuple):
    """One step and the values that it reads: 0 is the input of the graph, j the output of its j-th node."""

    step: TimeStep
    inputs: tuple[int, ...]


class Moment(NamedTuple):
    """Place of a session in time: for every value, the samples that are final, and the first that is still read."""

    counts: list[int]
    low: list[int]

    @property
    def held(self) -> list[int]:
        """Samples of every value that are held."""
        return [count - low for count, low in zip(self.counts, self.low, strict=True)]

    def later(self, rates: Sequence[Fraction], distance: int) -> Moment:
        """Return the place in time after so many more inputs, whole periods of them."""
        if not distance:
            return self
        shifts = [int(rate * distance) for rate in rates]
        counts, low = ([a + b for a, b in zip(each, shifts, strict=True)] for each in self)
        return Moment(counts, low)


class StreamGraph:
    """Nodes in the order in which they run; the output of the last one is the graph's.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> from tconv.models import Convolution
    >>> up = Convolution(np.ones((1, 1, 1, 4), np.float32), Geometry((1, 4), (1, 2), ((0, 0), (1, 1))))
    >>> StreamGraph([Node(up, (0,))], channels=1).whole(np.ones((1, 1, 1, 3), np.float32)).shape
    (1, 1, 1, 6)

    Values are [sessions, C, 1, T]. Raises ShapeError for steps that do not fit each other.
    """

    def __init__(
        self, nodes: Sequence[Node | StreamNode], channels: int, dtype: np.dtype[np.generic] = _FLOAT32
    ) -> None:
        if not nodes:
            raise GeometryError("the stream has no layer; at least one is needed")
        self.dtype = np.dtype(dtype)
        self.nodes, self.channels = [], [channels]
        for number, node in enumerate(nodes, 1):
            if not node.inputs or any(not 0 <= place < number for place in node.inputs):
                raise GeometryError(f"node {number} reads {node.inputs}; numbers from 0 to {number - 1} are needed")
            try:
                step = along_time(node.step)
                self.channels.append(step.output_channels([self.channels[place] for place in node.inputs]))
            except ShapeError as error:
                raise ShapeError(f"node {number}: {error}") from None
            self.nodes.append(StreamNode(step, tuple(node.inputs)))
        self.rates = self._rates()
        """samples of every value per sample of the input"""
        self._moments: dict[int, Moment] = {}
        self._waiting: dict[int, int] = {}
        self.bindings: dict[Any, Any] = {}
        """packed weights and other arrays of the steps, for all programs"""

    def _rates(self) -> list[Fraction]:
        far = ENDLESS >> 4
        short, long = self.sizes(ENDLESS), self.sizes(ENDLESS + far)
        # lengths are rounded to whole samples, and far is so large that the nearest fraction is the rate
        return [Fraction(b - a, far).limit_denominator(_MOST_PERIOD) for a, b in zip(short, long, strict=True)]

    @cached_property
    def period(self) -> int:
        """Inputs after which all happens again, with whole numbers of samples of every value."""
        periods = (getattr(node.step, "period", 1) for node in self.nodes)  # a step may repeat later than its rate
        return math.lcm(*(rate.denominator for rate in self.rates), *periods)

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of the layers, their weights, and how they are connected."""
        return fingerprint(self.channels[0], str(self.dtype), self.nodes)

    def value_shape(self, place: int, samples: int) -> tuple[int, ...]:
        """Return the shape of so many samples of a value of one session."""
        return samples, self.channels[place]

    # -- places in time --------------------------------------------------------------------------------------------

    def moment(self, received: int) -> Moment:
        """Return the place of a session in time after so many inputs."""
        turn = self.turn(received)
        found = self._moments.get(turn)
        if found is None:
            found = self._moment_from([0] * len(self.channels), turn)
            if len(self._moments) >= _MOST_MOMENTS:
                self._moments.clear()
            self._moments[turn] = found
        return found.later(self.rates, received - turn)

    def turn(self, received: int) -> int:
        """Return the earliest place in time from which on all happens as from this one on."""
        settled = self.settled
        if settled is None or received < settled:
            return received
        return settled + (received - settled) % self.period

    def waiting_turn(self, received: int) -> int:
        """Return the earliest place in time from which on all happens as from this one, where as many inputs wait.

        The last period decides which ones wait, so all of it is settled.
        """
        period = self.period if 1 < self.period <= received else 0
        return self.turn(received - period) + period

    def used(self, received: int) -> int:
        """Return the fewest inputs that have as many final outputs as so many, of the last period.

        The others wait: so a stream that takes many samples for one of its output is at few places in time.
        """
        if self.period == 1:
            return received
        turn = self.waiting_turn(received)
        found = self._waiting.get(turn)
        if found is None:
            low, high, made = max(0, turn - self.period + 1), turn, self.moment(turn).counts[-1]
            while low < high:
                middle = (low + high) // 2
                if self.moment(middle).counts[-1] == made:
                    high = middle
                else:
                    low = middle + 1
            found = turn - low
            if len(self._waiting) >= _MOST_MOMENTS:
                self._waiting.clear()
            self._waiting[turn] = found
        return received - found

    def _moment_from(self, before: Sequence[int], received: int) -> Moment:
        counts = self.final_counts(before, received)
        return Moment(counts, self.held_from(counts))

    @cached_property
    def settled(self) -> int | None:
        """Inputs after which no window reaches the start any more: from then on all happens again after each period.

        None if there is no such place.
        """
        high = 1
        while not self._is_settled(high):
            high *= 2
            if high > _LATEST:
                return None
        low = high // 2
        while low + 1 < high:
            middle = (low + high) // 2
            if self._is_settled(middle):
                high = middle
            else:
                low = middle
        return high

    def _is_settled(self, received: int) -> bool:
        try:  # an input that ends here has an output, too, and its lengths grow by the rates
            sizes, later = self.sizes(received), self.sizes(received + self.period)
        except TconvError:
            return False
        if Moment(sizes, later) != Moment(sizes, sizes).later(self.rates, self.period)._replace(counts=sizes):
            return False
        moment = self._moment_from([0] * len(self.channels), received)
        if any(node.step.first(count) < 0 for node, count in zip(self.nodes, moment.counts[1:], strict=True)):
            return False
        return self._moment_from(moment.counts, received + self.period) == moment.later(self.rates, self.period)

    @property
    def latency(self) -> int:
        """Samples of the output that are withheld after n inputs, of the n times its rate: the most of any n."""
        withheld = (self.rates[-1] * received - self.moment(received).counts[-1] for received in self._turns())
        return max(0, *map(math.ceil, withheld))

    def _turns(self) -> range:
        """Return places in time of one period, once no window reaches the start any more."""
        first = self.settled or _LATEST
        return range(first, first + min(self.period, _MOST_MOMENTS))

    @property
    def state_bytes(self) -> int:
        """Bytes of the state of a session that began long ago: the most of any number of inputs."""
        return max(map(self.state_bytes_after, self._turns()))

    def state_bytes_after(self, received: int) -> int:
        """Return the bytes of the state of a session after so many inputs."""
        used = self.used(received)
        return self.window_bytes(used) + (received - used) * self.channels[0] * self.dtype.itemsize

    def window_bytes(self, used: int) -> int:
        """Return the bytes of the state of a session that has used so many inputs, without those that wait."""
        numbers = (math.prod(self.value_shape(*each)) for each in enumerate(self.moment(used).held))
        memory = sum(array.nbytes for node in self.nodes for array in node.step.new_memory())
        return sum(numbers) * self.dtype.itemsize + memory

    # -- counts --------------------------------------------------------------------------------------------------

    def sizes(self, length: int) -> list[int]:
        """Return the lengths of all values for a whole input. Raises ShapeError if it is too short."""
        sizes = [length]
        for number, node in enumerate(self.nodes, 1):
            try:
                sizes.append(node.step.extent([sizes[place] for place in node.inputs]))
            except ShapeError as error:
                raise ShapeError(f"node {number}: {error}") from None
        return sizes

    def final_counts(self, counts: Sequence[int], received: int) -> list[int]:
        """Return the numbers of samples that are final after so many inputs, whatever follows them.

        `counts` are those of fewer inputs. A sample that the output would not have if the input ended now is not final.
        """
        final, sizes = [received], [received]
        for node, done in zip(self.nodes, counts[1:], strict=True):
            given = [final[place] for place in node.inputs]
            sizes.append(_size_now(node, sizes))
            low, step = done, 1
            while low + step <= sizes[-1] and _known(node.step, slice(done, low + step), given):
                low, step = low + step, 2 * step
            while step > 1:
                step //= 2
                if low + step <= sizes[-1] and _known(node.step, slice(done, low + step), given):
                    low += step
            final.append(low)
        return final

    def held_from(self, counts: Sequence[int]) -> list[int]:
        """Return the first sample of every value that outputs still to come may read; its count if none may."""
        low = list(counts)
        for node, count in zip(self.nodes, counts[1:], strict=True):
            first = max(0, node.step.first(count))
            for place in node.inputs:
                low[place] = min(low[place], first)
        return low

    # -- the whole -----------------------------------------------------------------------------------------------

    def whole(self, x: Array) -> Array:
        """Return the output for a whole input: each step runs once, over all of time."""
        sizes = self.sizes(x.shape[3])
        values: list[Array] = [x]
        for number, node in enumerate(self.nodes, 1):
            given = [values[place] for place in node.inputs]
            out = empty((len(x), self.channels[number], 1, sizes[number]), self.dtype)
            memory = [np.repeat(array[None], len(x), 0) for array in node.step.new_memory()]
            spans = [TimeSpan(value, 0) for value in given]
            node.step.compute(spans, [sizes[place] for place in node.inputs], TimeSpan(out, 0), memory)
            values.append(out)
        return values[-1]


def _size_now(node: StreamNode, sizes: Sequence[int]) -> int:
    """Return the length of the output if the input ended now; 0 if there would be none."""
    given = [sizes[place] for place in node.inputs]
    if min(given) < 1:
        return 0
    try:
        return node.step.extent(given)
    except ShapeError:
        pass
    padding = getattr(node.step, "step", None)
    if isinstance(padding, Padding) and padding.mode == "reflect":  # it cannot end now, but has what it had before
        with suppress(ShapeError):
            return replace(padding, mode="edge").output_extent(given, 1)
    return 0


def _known(step: TimeStep, outputs: slice, given: Sequence[int]) -> bool:
    """Return True if so many samples of the inputs determine these outputs, whatever follows them."""
    endless = [ENDLESS] * len(given)
    return all(step.source(turn, outputs, endless).stop <= count for turn, count in enumerate(given))
