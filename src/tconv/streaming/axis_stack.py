"""Stack of layers along one axis: the exact windows, sizes, rates and latency of the whole.

Dependences are sets of positions, computed as masks: a product with tap t joins position i of one side with s*i + d*t -
lo of the other. Hulls of ranges alone would be too wide: with dilations and strides, sets have gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.errors import TooLargeError

FAR = 1 << 40
"""Number of periods after which no window reaches the start."""
_BLOCK = 4096
_WIDEST = 1 << 24
"""Most positions of a mask."""
_MOST_PHASES = 1 << 16

Bounds = tuple[int, int]
"""First and last position."""
Limit = tuple[int | None, int | None]
"""Start and stop of the positions that exist; None is unbounded."""
UNBOUNDED: Limit = (None, None)


class Positions(NamedTuple):
    """Set of positions: mask[..., i] is True if start + i is one; leading axes are sets of their own."""

    start: int
    mask: Array

    def clipped(self, limit: Limit) -> Positions:
        """Return the positions that exist."""
        low, high = limit
        first = self.start if low is None else max(self.start, low)
        stop = self.start + self.mask.shape[-1]
        last = stop if high is None else max(min(stop, high), first)
        return Positions(first, self.mask[..., first - self.start : max(last - self.start, 0)])


class AxisLayer(NamedTuple):
    """One layer along one axis; `lo` and `hi` are the crop of a transposed convolution, the padding of another."""

    taps: int
    stride: int
    lo: int
    hi: int
    dilation: int
    is_transposed: bool

    @property
    def extent(self) -> int:
        """Positions that the kernel spans."""
        return self.dilation * (self.taps - 1) + 1

    @property
    def rate(self) -> Fraction:
        """Outputs per input."""
        return Fraction(self.stride) if self.is_transposed else Fraction(1, self.stride)

    @property
    def is_dense(self) -> bool:
        """True if the outputs that depend on an endless run of inputs are an endless run, without gaps."""
        return not self.is_transposed or self.stride == 1 or (self.dilation == 1 and self.taps >= self.stride)

    def size(self, given: int) -> int:
        """Return the number of outputs; 0 if there are none."""
        if given < 1:
            return 0
        cut = self.lo + self.hi
        if self.is_transposed:
            return max(0, self.stride * (given - 1) + self.extent - cut)
        return max(0, (given + cut - self.extent) // self.stride + 1)

    def mapped(self, given: Positions, *, forward: bool) -> Positions:
        """Return the outputs that read these inputs, forward; backward, the inputs that these outputs read."""
        return self._scattered(given) if forward == self.is_transposed else self._gathered(given)

    def bounds(self, given: Bounds, *, forward: bool) -> Bounds | None:
        """Return a range that contains all that `mapped` returns; None for nothing."""
        first, last = given
        reach = self.extent - 1
        if forward == self.is_transposed:
            return self.stride * first - self.lo, self.stride * last + reach - self.lo
        low, high = -((reach - first - self.lo) // self.stride), (last + self.lo) // self.stride
        return (low, high) if low <= high else None

    def _scattered(self, given: Positions) -> Positions:
        count = given.mask.shape[-1]
        if not count:
            return given
        stretched = np.zeros((*given.mask.shape[:-1], self.stride * (count - 1) + 1), np.bool_)
        stretched[..., :: self.stride] = given.mask
        return Positions(self.stride * given.start - self.lo, self._over_taps(stretched))

    def _gathered(self, given: Positions) -> Positions:
        if not given.mask.shape[-1]:
            return given
        met = self._over_taps(given.mask)  # met[i] is True if an output at this place has a tap on one of them
        start = given.start - (self.extent - 1) + self.lo
        first = -(-start // self.stride)
        return Positions(first, met[..., self.stride * first - start :: self.stride])

    def _over_taps(self, mask: Array) -> Array:
        """Return the positions i + d*t of all taps t for those of a mask, in doublings."""
        covered = 1
        while covered < self.taps:
            more = min(covered, self.taps - covered)
            shift = self.dilation * more
            grown = np.zeros((*mask.shape[:-1], mask.shape[-1] + shift), np.bool_)
            grown[..., : mask.shape[-1]] = mask
            grown[..., shift:] |= mask
            mask, covered = grown, covered + more
        return mask


class AxisStack:
    """Layers of one axis in the order in which they run.

    >>> up = AxisLayer(taps=4, stride=2, lo=1, hi=1, dilation=1, is_transposed=True)
    >>> stack = AxisStack([up, up])
    >>> stack.window((0, 7), stack.limits(None), forward=False), stack.rate, stack.latency
    ((-1, 2), Fraction(4, 1), Fraction(3, 1))
    """

    def __init__(self, layers: Sequence[AxisLayer]) -> None:
        self.layers = tuple(layers)
        self.rates = [Fraction(1)]
        for layer in self.layers:
            self.rates.append(self.rates[-1] * layer.rate)

    @property
    def rate(self) -> Fraction:
        """Outputs per input."""
        return self.rates[-1]

    @cached_property
    def period(self) -> int:
        """Inputs after which all windows repeat."""
        return math.lcm(*(rate.denominator for rate in self.rates))

    @property
    def output_period(self) -> int:
        """Outputs after which all windows repeat."""
        return int(self.period * self.rate)

    def sizes(self, given: int) -> list[int]:
        """Return the sizes of input, all intermediate values and output; 0 from where nothing is left."""
        sizes = [given]
        for layer in self.layers:
            sizes.append(layer.size(sizes[-1]))
        return sizes

    def limits(self, given: int | None) -> list[Limit]:
        """Return the positions that exist of every value, for an input of this size; None for an endless one."""
        if given is None:
            return [UNBOUNDED] * len(self.rates)
        return [(0, size) for size in self.sizes(given)]

    # -- windows -------------------------------------------------------------------------------------------------

    def window(self, span: Bounds, limits: Sequence[Limit], *, forward: bool) -> Bounds | None:
        """Return the first and last input that these outputs depend on, or forward, output that these inputs reach."""
        low = self._extreme(span, limits, forward, from_end=False)
        if low is None:
            return None
        high = self._extreme(span, limits, forward, from_end=True)
        assert high is not None
        return low, high

    def first_reached(self, given: int, limits: Sequence[Limit]) -> int | None:
        """Return the first output that depends on this input or a later one."""
        return self._extreme((given, given + FAR * self.period), limits, True, from_end=False)

    def last_reached(self, given: int, limits: Sequence[Limit]) -> int | None:
        """Return the last output that depends on this input or an earlier one."""
        return self._extreme((given - FAR * self.period, given), limits, True, from_end=True)

    def _extreme(self, span: Bounds, limits: Sequence[Limit], forward: bool, *, from_end: bool) -> int | None:
        """Return the first (last) position that a range is mapped to: block by block, until no other can be beyond."""
        inside = self._inside(span, limits, forward)
        if inside is None or not self.is_connected:
            return None
        first, last = inside
        block = self._block(forward)
        best: int | None = None
        while first <= last:
            count = min(block, last - first + 1)
            at = last - count + 1 if from_end else first
            found = _bounds(self._map(Positions(at, np.ones(count, np.bool_)), limits, forward))
            if found is not None:
                end = found[from_end]
                best = end if best is None else max(best, end) if from_end else min(best, end)
            first, last = (first, at - 1) if from_end else (at + count, last)
            if first > last or (rest := self._bounds((first, last), limits, forward)) is None:
                break
            if best is not None and (rest[1] <= best if from_end else rest[0] >= best):
                break
        return best

    def _inside(self, span: Bounds, limits: Sequence[Limit], forward: bool) -> Bounds | None:
        """Return the part of a range that can be mapped to anything at all."""
        first, last = span
        starts, ends = (limits[0], limits[-1]) if forward else (limits[-1], limits[0])
        first = first if starts[0] is None else max(first, starts[0])
        last = last if starts[1] is None else min(last, starts[1] - 1)
        if first > last:
            return None
        if ends[0] is not None:
            endless = FAR * self.period + abs(last) * math.ceil(max(self.rate, 1 / self.rate))
            back = self._bounds((ends[0], endless if ends[1] is None else ends[1] - 1), limits, not forward)
            if back is None:
                return None
            first, last = max(first, back[0]), min(last, back[1])
        return (first, last) if first <= last else None

    @cached_property
    def is_connected(self) -> bool:
        """True if any output depends on any input."""
        block, total = self._block(forward=False), self.output_period
        for at in range(0, total, block):
            everything = Positions(at, np.ones(min(block, total - at), np.bool_))
            if _bounds(self._map(everything, self.limits(None), forward=False)) is not None:
                return True
        return False

    def _places(self, forward: bool) -> Iterable[tuple[AxisLayer, int]]:
        """Yield the layers in the order of a direction, each with the number of the value that it leads to."""
        if forward:
            return zip(self.layers, range(1, len(self.layers) + 1), strict=True)
        return zip(reversed(self.layers), range(len(self.layers) - 1, -1, -1), strict=True)

    def _map(self, given: Positions, limits: Sequence[Limit], forward: bool) -> Positions:
        positions = given.clipped(limits[0 if forward else -1])
        for layer, place in self._places(forward):
            positions = layer.mapped(positions, forward=forward).clipped(limits[place])
        return positions

    def _bounds(self, given: Bounds, limits: Sequence[Limit], forward: bool) -> Bounds | None:
        """Return a range that contains all that `_map` returns for a range; None for nothing."""
        first, last = given
        for layer, place in self._places(forward):
            bounds = layer.bounds((first, last), forward=forward)
            if bounds is None:
                return None
            low, high = limits[place]
            first = bounds[0] if low is None else max(bounds[0], low)
            last = bounds[1] if high is None else min(bounds[1], high - 1)
            if first > last:
                return None
        return first, last

    def _block(self, forward: bool) -> int:
        """Return the number of positions that are mapped together. Raises TooLargeError if one alone is too many."""
        block = _BLOCK
        while (widest := self._widest(block, forward)) > _WIDEST:
            if block == 1:
                reads = "one input reaches" if forward else "one output reads a range of"
                raise TooLargeError(
                    f"{reads} {widest} positions in this stack; up to {_WIDEST} are counted. Use smaller kernels, "
                    "dilations or strides"
                )
            block //= 2
        return block

    def _widest(self, count: int, forward: bool) -> int:
        """Return the most positions of any value that so many outputs, or inputs, are mapped to."""
        given, widest = (0, count - 1), count
        for layer, _ in self._places(forward):
            bounds = layer.bounds(given, forward=forward)
            if bounds is None:
                break
            given, widest = bounds, max(widest, bounds[1] - bounds[0] + 1)
        return widest

    @cached_property
    def phases(self) -> tuple[Bounds | None, ...]:
        """First and last input of the outputs 0, 1, ... of one period, of an endless input; None if it reads none."""
        total = self.output_period
        if total > _MOST_PHASES:
            raise TooLargeError(
                f"the windows repeat after {total} outputs; up to {_MOST_PHASES} are counted. Use smaller strides"
            )
        self._block(forward=False)  # refuses outputs that read too much
        rows = max(1, _WIDEST // max(1, self._widest(total, forward=False)))
        found: list[Bounds | None] = []
        for at in range(0, total, rows):
            each = Positions(at, np.eye(min(rows, total - at), dtype=np.bool_))
            inputs = self._map(each, self.limits(None), forward=False)
            found += [_bounds(Positions(inputs.start, row)) for row in inputs.mask]
        return tuple(found)

    @cached_property
    def receptive_fields(self) -> tuple[int, ...]:
        """Span of inputs that one output of each layer can depend on, in its widest phase."""
        stacks = [AxisStack(self.layers[:place]) for place in range(1, len(self.layers))] + [self]
        return tuple(max((last + 1 - first for first, last in filter(None, each.phases)), default=0) for each in stacks)

    @property
    def context(self) -> Bounds:
        """Inputs before and behind those of one period that its outputs need."""
        read = [each for each in self.phases if each is not None] or [(0, 0)]
        return max(0, *(-first for first, _ in read)), max(0, *(last + 1 - self.period for _, last in read))

    # -- streams -------------------------------------------------------------------------------------------------

    def final_count(self, received: int) -> int:
        """Return the number of outputs, from the first on, that no later input changes, nor the end if it were now."""
        sizes = self.sizes(received)
        surely = received
        for layer, size in zip(self.layers, sizes[1:], strict=True):
            reached = layer.bounds((surely, surely), forward=True) if layer.is_transposed else None
            first = reached[0] if reached else -((layer.extent - 1 - surely - layer.lo) // layer.stride)
            surely = min(max(first, 0), size)
        if all(layer.is_dense for layer in self.layers):
            return surely
        count = sizes[-1]
        for place, size in enumerate(sizes[:-1]):
            behind = self if place == 0 else AxisStack(self.layers[place:])
            changed = behind.first_reached(size, [(0, None)] * len(behind.rates))
            count = count if changed is None else min(count, changed)
            if count == surely:
                break
        return count

    @cached_property
    def latency(self) -> Fraction:
        """Outputs withheld after n inputs, of the n * rate that belong to them, in steady state: the most of any n."""
        if self.period > _MOST_PHASES:
            raise TooLargeError(
                f"the windows repeat after {self.period} inputs; up to {_MOST_PHASES} are counted. Use smaller strides"
            )
        far = FAR * self.period
        return max(self.rate * n - self.final_count(n) for n in range(far, far + self.period))

    @property
    def withheld(self) -> int:
        """Latency in whole outputs, at least 0."""
        return max(0, math.ceil(self.latency))

    @cached_property
    def look_ahead(self) -> tuple[Fraction, ...]:
        """Outputs that each layer adds to the latency; their sum is the latency."""
        reached = [Fraction(0)]
        for place, rate in enumerate(self.rates[1:], 1):
            reached.append(AxisStack(self.layers[:place]).latency * self.rate / rate)
        return tuple(after - before for before, after in pairwise(reached))

    @cached_property
    def first_output(self) -> int | None:
        """Inputs after which the first output is final; None if that never comes."""
        high = 1
        while not self.final_count(high):
            if high > FAR:
                return None
            high *= 2
        low = high // 2  # not enough
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.final_count(middle) else (middle, high)
        return high


def _bounds(positions: Positions) -> Bounds | None:
    """Return the first and last of a set of positions."""
    found = np.flatnonzero(positions.mask)
    return (positions.start + int(found[0]), positions.start + int(found[-1])) if len(found) else None
