"""Check of a network layer by layer, while it runs.

Outputs of a deep network read so many pixels that one square of them costs more to recompute than the whole picture.
So a few places of every layer are recomputed instead, in float64, from the float32 numbers that the layer really read,
and compared within the layer's own rounding. The parts that a layer reads are compared, bit for bit, with the parts
that were checked when they were computed. By induction the whole network is right.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import CheckError
from tconv.geometry import Geometry
from tconv.kernels.activation import activation_of
from tconv.kernels.simd.winograd_f43 import algebra
from tconv.kernels.simd.winograd_f43.interface import GROUP
from tconv.models.error_bound import SAFETY, UNIT, rounding
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.receptive_field import spans_read
from tconv.models.steps.step import NetworkStep, Region, Shape, taken
from tconv.models.tap_sums import scattered_sums
from tconv.weights.interpolation import crop_for

Span = tuple[slice, slice]

COLUMNS = 4
"""Columns of a part that is checked, if the layer does not enlarge more."""
_MOST_ROWS = 8
_REMEMBERED = 4
"""Checked parts of each layer that are kept, to compare them with what the next layers read."""
_SHARE = 0.08
"""Share of the run's time for all checks after the first of each layer."""
_COPIES = 8
_MEAN_CHANNELS = 4
"""Channels, drawn for each run, of a mean over the whole picture that are recomputed."""
_SUMMED = 1e-9
"""Error of a sum in float64 over the pixels of a picture, as a share of its absolute values: far less in practice."""


class Bounded(NamedTuple):
    """Part of a layer's output in float64, [C, h, w], and the error that float32 may have."""

    values: Array
    error: Array


class MeanSums:
    """Sums in float64 of a few channels of a node, and of their absolute values, over the pixels counted so far."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.channels = rng.permutation(channels)[:_MEAN_CHANNELS]
        self.pixels = 0
        self._total, self._mass = np.zeros((2, len(self.channels)))

    def add(self, values: Array) -> None:
        """Count pixels [C, h, w]."""
        some = values[self.channels].astype(np.float64)
        self.pixels += some[0].size
        self._total += some.sum((1, 2))
        self._mass += np.abs(some).sum((1, 2))

    def bounded(self) -> Bounded:
        """Return the means [c, 1, 1], and the error that float32 may have."""
        mean, mass = (each[:, None, None] / self.pixels for each in (self._total, self._mass))
        return Bounded(mean, 2 * UNIT * np.abs(mean) + _SUMMED * mass)


class LayerCheck:
    """`Watch` that checks every layer of one run at a random place at least, and at more while there is time.

    `shape` is that of the network's input; `source`, if given, returns rows and columns of that input in float64, by
    which the first layer's input is checked. `advance` is called with shares of the work. Without `path`, of a run over
    a part of a picture, no place is certain: random ones are checked while there is time.
    """

    def __init__(
        self,
        network: Network,
        shape: Shape,
        source: Callable[[slice, slice], Array] | None = None,
        advance: Callable[[float], None] = lambda share: None,
        path: bool = True,
    ) -> None:
        self._network, self._source, self._advance = network, source, advance
        self._sizes = network.sizes(shape)
        self._rng = np.random.default_rng()
        self._pending = self._path() if path else {}
        """A place of every layer that has not been checked yet."""
        self._seen: dict[int, list[Region]] = {}
        """Parts that were checked when they were computed."""
        self._sums: dict[int, MeanSums] = {}
        self._begin, self._spent = time.perf_counter(), 0.0
        self.layers: set[int] = set()
        """Layers that were checked."""
        self.outputs = 0
        """Numbers that were compared."""
        self.worst = 0.0, 0.0
        """Largest difference, as a share of what is allowed there, and that difference."""

    @property
    def computing(self) -> set[int]:
        """Layers that compute numbers, and those that were checked though they only move them."""
        nodes = enumerate(self._network.nodes, 1)
        return {number for number, node in nodes if node.step.roundings} | self.layers

    def _path(self) -> dict[int, Span]:
        """Return a place of every layer: in the middle of what a random output of the network reads."""
        sides = []
        for axis in (0, 1):
            sizes = [size[axis] for size in self._sizes]
            at = int(self._rng.integers(sizes[-1]))
            fields = spans_read(self._network, sizes, slice(at, at + 1), axis)
            sides.append(
                [
                    int(self._rng.integers(size)) if field is None else min((field.start + field.stop) // 2, size - 1)
                    for size, field in zip(sizes, fields, strict=True)
                ]
            )
        spans: dict[int, Span] = {}
        for number, (row, column) in enumerate(zip(*sides, strict=True)):
            starts, counts = (row, column), self._counts(number)
            part = [
                slice(max(0, min(start, size - count)), min(start + count, size))
                for start, count, size in zip(starts, counts, self._sizes[number], strict=True)
            ]
            spans[number] = self._grouped(number, part[0], part[1])
        return spans

    def _counts(self, number: int) -> Shape:
        """Return the rows and columns of a part: of a layer that enlarges, all phases."""
        inputs = self._network.nodes[number - 1].inputs if number else (0,)
        height, width = self._sizes[number]
        rows = min(_MOST_ROWS, max(round(height / self._sizes[place][0]) for place in inputs))
        return max(1, rows), max(
            COLUMNS, min(_MOST_ROWS, max(round(width / self._sizes[place][1]) for place in inputs))
        )

    def _grouped(self, number: int, rows: slice, columns: slice) -> Span:
        """Return whole groups of rows and columns around these, of a layer that computes groups."""
        anchors = self._anchors(number)
        step = self._network.nodes[number - 1].step
        if number == 0 or anchors is None or not isinstance(step, Convolution) or step.grouped is None:
            return rows, columns
        units = GROUP, step.grouped.unit
        down, across = (
            slice(
                max(0, (span.start - anchor) // unit * unit + anchor),
                min(-((anchor - span.stop) // unit) * unit + anchor, size),
            )
            for span, anchor, unit, size in zip((rows, columns), anchors, units, self._sizes[number], strict=True)
        )
        return down, across

    def _anchors(self, number: int) -> tuple[int, int] | None:
        """Return the row and column at which a group begins, of a layer that computes groups."""
        if number not in self._network.anchors:
            return None
        return self._network.anchors[number], self._network.column_anchors[number]

    # -- Watch ---------------------------------------------------------------------------------------------------

    def advance(self, share: float) -> None:
        """Count a share of the work."""
        self._advance(share)

    def wanted(self, number: int, rows: slice, columns: slice) -> Sequence[Span]:
        """Return the place of a layer among these rows and columns, and random ones while there is time."""
        span = self._pending.get(number)
        if span is not None:
            part = _common(span[0], rows), _common(span[1], columns)
            if all(each.start < each.stop for each in part):
                del self._pending[number]
                if part[0].stop < span[0].stop:  # the next strip has the other rows
                    self._pending[number] = slice(part[0].stop, span[0].stop), span[1]
                return [part]
        if self._spent > _SHARE * (time.perf_counter() - self._begin):
            return ()
        row = int(self._rng.integers(rows.start, rows.stop))
        column = int(self._rng.integers(columns.start, columns.stop))
        counts = self._counts(number)
        more = self._grouped(number, slice(row, row + counts[0]), slice(column, column + counts[1]))
        return [(_common(more[0], rows), _common(more[1], columns))]

    def check(self, numbers: Sequence[int], given: dict[int, Region], out: Region) -> None:
        """Recompute a part of the last of these layers and compare it. Raises CheckError."""
        start = time.perf_counter()
        for place, part in given.items():
            self._check_same(numbers[-1], place, part)
        with np.errstate(all="ignore"):  # inf and NaN are values here
            self._compare(numbers, self._recomputed(numbers, given, out), out)
        seen = self._seen.setdefault(numbers[-1], [])
        seen.append(out._replace(values=out.values.copy()))
        del seen[:-_REMEMBERED]
        self._spent += time.perf_counter() - start

    def add_to_mean(self, place: int, values: Array) -> None:
        """Count pixels of a node whose mean is being computed."""
        start = time.perf_counter()
        if place not in self._sums:
            self._sums[place] = MeanSums(self._rng, len(values))
        self._sums[place].add(values)
        self._spent += time.perf_counter() - start

    def check_mean(self, number: int, mean: Array) -> None:
        """Compare a few channels of a mean with the pixels that were counted. Raises CheckError."""
        place = self._network.nodes[number - 1].inputs[0]
        sums = self._sums.get(place)
        if sums is None or sums.pixels != math.prod(self._sizes[place]):
            counted, wanted = 0 if sums is None else sums.pixels, math.prod(self._sizes[place])
            self._fail(number, f"added {counted} pixels of layer {place}, which has {wanted}")
        assert sums is not None
        one = slice(0, 1)
        with np.errstate(all="ignore"):
            self._compare([number], sums.bounded(), Region(mean[sums.channels], one, one), sums.channels)
        self._seen[number] = [Region(mean.copy(), one, one)]

    def _check_same(self, number: int, place: int, part: Region) -> None:
        """Raise CheckError where a layer reads other numbers than those that were computed."""
        if place == 0 and self._source is not None:
            # a part is enough: it may be as wide as the picture
            rows, columns = part.rows, slice(part.columns.start, min(part.columns.stop, part.columns.start + 64))
            expected = self._source(rows, columns)
            read = taken(part, rows, columns)
            if not np.allclose(read, expected, 8 * UNIT, 8 * UNIT * _largest(expected), equal_nan=True):
                self._fail(number, "reads another picture than the input")
        for seen in self._seen.get(place, ()):
            both = _common(seen.rows, part.rows), _common(seen.columns, part.columns)
            if any(span.start >= span.stop for span in both):
                continue
            if not np.array_equal(taken(seen, *both), taken(part, *both), equal_nan=True):
                self._fail(number, f"reads other numbers than layer {place} computed")

    def _compare(
        self, numbers: Sequence[int], truth: Bounded, out: Region, channels: Sequence[int] | Array | None = None
    ) -> None:
        """Raise CheckError where a part differs from the definition; `channels` are its own, all if None."""
        got = out.values
        tolerance = np.nan_to_num(truth.error) + float(np.finfo(np.float32).tiny)
        same = np.isclose(truth.values.astype(np.float32), got, 0, 0, equal_nan=True)
        difference = np.abs(got - truth.values)
        difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
        share = difference / tolerance
        worst = np.unravel_index(np.argmax(share), share.shape)
        if share[worst] > 1:
            channel, row, column = (int(each) for each in worst)
            channel = channel if channels is None else int(channels[channel])
            self._fail(
                numbers[-1],
                f"computed {got[worst]} at channel {channel}, row {out.rows.start + row}, column "
                f"{out.columns.start + column}; the definition gives {truth.values[worst]:.9g} for the numbers that it "
                f"read, within {tolerance[worst]:.2g}",
            )
        self.outputs += got.size
        self.layers.update(numbers)
        self.worst = max(self.worst, (float(share[worst]), float(difference[worst])))

    def _fail(self, number: int, what: str) -> None:
        kind = type(self._network.nodes[number - 1].step).__name__
        raise CheckError(
            f"the check failed: layer {number} of {len(self._network.nodes)} ({kind}) {what}. Nothing was written. "
            "This is a fault of tconv or of the machine; please report it to the authors"
        )

    # -- the definition ------------------------------------------------------------------------------------------

    def _recomputed(self, numbers: Sequence[int], given: dict[int, Region], out: Region) -> Bounded:
        """Return a part of the output of the last of these layers."""
        nodes = self._network.nodes
        wanted: dict[int, Span] = {numbers[-1]: (out.rows, out.columns)}
        for number in reversed(numbers):
            wanted[number] = self._grouped(number, *wanted[number])
            places = nodes[number - 1].inputs
            given_sizes = [self._sizes[place] for place in places]
            for order, place in enumerate(places):
                spans = [
                    nodes[number - 1].step.source(order, span, [size[axis] for size in given_sizes], axis)
                    for axis, span in enumerate(wanted[number])
                ]
                before = wanted.get(place, (spans[0], spans[1]))
                wanted[place] = _hull(before[0], spans[0]), _hull(before[1], spans[1])
        parts: dict[int, tuple[Bounded, Span]] = {}
        for place, part in given.items():
            # of a group at the end of the rows, the last inputs may not be there yet
            span = _common(wanted[place][0], part.rows), _common(wanted[place][1], part.columns)
            values = taken(part, *span).astype(np.float64)
            parts[place] = Bounded(values, np.zeros(values.shape)), span
        for number in numbers:
            step, places = nodes[number - 1].step, nodes[number - 1].inputs
            target = wanted[number] if number != numbers[-1] else (out.rows, out.columns)
            inputs = [parts[place] for place in places]
            if isinstance(step, Convolution):
                result = _convolved(step, *inputs[0], target, self._anchors(number))
            else:
                result = _computed(self._rng, step, inputs, [self._sizes[place] for place in places], target)
            parts[number] = result, target
        return parts[numbers[-1]][0]


def _convolved(step: Convolution, given: Bounded, span: Span, wanted: Span, anchors: Shape | None) -> Bounded:
    g = step.geometry
    crops = [
        crop_for(step.along[axis], span[axis].start, given.values.shape[1 + axis], wanted[axis]) for axis in (0, 1)
    ]
    local = Geometry(g.kernel, g.stride, crops, g.dilation, g.groups)
    weight = step.weight.astype(np.float64)
    given_bias = step.bias_over(*wanted)
    bias = np.zeros((1, 1, 1)) if given_bias is None else given_bias.astype(np.float64)
    values = scattered_sums(given.values, weight, local) + bias
    size, absolute = np.where(np.isfinite(given.values), np.abs(given.values), 0) + given.error, np.abs(weight)
    if anchors is None:
        mass = scattered_sums(size, absolute, local)
    else:
        starts = (anchor - part.start for anchor, part in zip(anchors, wanted, strict=True))
        mass = algebra.mass(size, absolute, local.crop, *starts)
    error = SAFETY * rounding(step, anchors is not None) * (mass + np.abs(bias))
    if given.error.any():
        error += scattered_sums(given.error, absolute, local)
    activation = activation_of(step.activation, step.channels[1])
    if activation is None:
        return Bounded(values, error)
    low, high = values - error, values + error
    for each in (values, low, high):
        activation.apply(each[None])
    return Bounded(values, np.maximum(np.abs(high - values), np.abs(low - values)) + 4 * UNIT * np.abs(values))


def _computed(
    rng: np.random.Generator, step: NetworkStep, given: list[tuple[Bounded, Span]], sizes: list[Shape], target: Span
) -> Bounded:
    """Return a part of the output of any other step; its error is found from copies of its inputs that have errors."""
    channels = step.output_channels([len(part.values) for part, _ in given])
    shape = channels, *(span.stop - span.start for span in target)

    def through(amounts: Callable[[Bounded], Array]) -> Array:
        """Return the root mean square of the output's changes when the inputs change by these amounts."""
        total = np.zeros(shape)
        for _ in range(_COPIES):
            changed = [
                Region(part.values + _factors(rng, part.values.shape) * amounts(part), *span) for part, span in given
            ]
            copy = np.empty(shape)
            step.compute(changed, sizes, Region(copy, *target))
            total += np.square(copy - values)
        return np.sqrt(total / _COPIES)

    values = np.empty(shape)
    step.compute([Region(part.values, *span) for part, span in given], sizes, Region(values, *target))
    if not step.roundings:
        return Bounded(
            values, 2 * through(lambda part: part.error) if any(p.error.any() for p, _ in given) else 0 * values
        )
    mass, bound = np.abs(values), getattr(step, "magnitudes", None)
    if bound is not None:
        largest = np.empty(shape)
        bound.compute([Region(np.abs(part.values), *span) for part, span in given], sizes, Region(largest, *target))
        mass = np.maximum(mass, largest)
    own = through(lambda part: UNIT * np.abs(part.values)) + UNIT * mass
    error = SAFETY * step.roundings * own
    if any(part.error.any() for part, _ in given):
        error += 2 * through(lambda part: part.error)
    return Bounded(values, error)


def _factors(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return random numbers with a mean square of 1; not of two values, whose products could cancel every time."""
    factors: Array = rng.random(shape) * math.sqrt(12) - math.sqrt(3)
    return factors


def _largest(values: Array) -> float:
    return float(np.max(np.abs(values), initial=0, where=np.isfinite(values)))


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))


def _hull(a: slice, b: slice) -> slice:
    return slice(min(a.start, b.start), max(a.stop, b.stop))
