"""The shape arithmetic of a transposed convolution: one frozen spec that every other room reads.

Per axis, with input index i, tap t, stride s, dilation d and k taps:

    full[s*i + d*t] += x[i] * w[t]             len(full) = s*(n - 1) + d*(k - 1) + 1
    y = full[lo : len(full) - hi]              (lo, hi) is the crop; below 0 it extends with zeros

Frameworks say "padding", "output_padding", "SAME"; each is a rule that chooses (lo, hi), and `tconv.dialects`
holds those rules. Nothing in this file knows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from tconv._arguments import Crop, Ints, entries_of, int_of, ints_of, pairs_of, shown
from tconv._cached_property import cached_property
from tconv.errors import GeometryError, ShapeError


class Phase(NamedTuple):
    """One of the prod(stride) interleaved correlations: full[s*j + offset] reads x[j - shift] through its taps.

    Per axis: `offset` (r), the `taps` t with (d*t) mod s == r, and their `shifts` (d*t) div s, in the same order.
    """

    offset: tuple[int, ...]
    taps: tuple[tuple[int, ...], ...]
    shifts: tuple[tuple[int, ...], ...]

    @property
    def tap_count(self) -> int:
        """Number of taps: how many input elements one output element of this phase sums over, per channel."""
        return math.prod(len(taps) for taps in self.taps)


class Macs(NamedTuple):
    """Multiply-adds under two conventions."""

    exact: int
    """Products that reach an output element: those that the crop throws away are not counted."""
    border_free: int
    """Inputs x taps: every input element meets every tap, as if nothing were cropped. Most profilers mean this."""


@dataclass(frozen=True, init=False)
class Geometry:
    """What a transposed convolution does to positions: kernel, stride, crop, dilation, groups; any number of axes.

    >>> g = Geometry(kernel=(4, 4), stride=2, crop=1)
    >>> g.output_shape((8, 8))
    (16, 16)
    >>> g.overlap
    ((2, 2), (2, 2))

    An int for `kernel` means one axis; for the others, the same on every axis. `crop` is one (lo, hi) pair per axis,
    in output elements; a negative side extends the output with rows that hold only bias. Shapes are spatial: neither
    batch nor channels are in them. Sizes are Python ints, so nothing overflows.

    Raises GeometryError for anything that is not an operator: a stride below 1, a crop of the wrong length.
    Source of the phases: Shi et al. 2016, arXiv:1609.07009, extended by dilation: (d*t) mod s and (d*t) div s.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    crop: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    def __init__(self, kernel: Ints, stride: Ints = 1, crop: Crop = 0, dilation: Ints = 1, groups: int = 1) -> None:
        entries = entries_of(kernel)
        sizes = (kernel,) if entries is None else entries
        ndim = len(sizes)
        if ndim == 0:
            raise GeometryError("kernel is (), without a spatial axis; at least one is needed. Write kernel=(3, 3)")
        fix = object.__setattr__  # the dataclass is frozen: this is the one place that fills it
        fix(self, "kernel", ints_of(sizes, "kernel", ndim, least=1))
        fix(self, "stride", ints_of(stride, "stride", ndim, least=1))
        fix(self, "crop", pairs_of(crop, "crop", ndim))
        fix(self, "dilation", ints_of(dilation, "dilation", ndim, least=1))
        fix(self, "groups", int_of(groups, "groups", least=1, example="groups=1"))

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """d*(k - 1) + 1 per axis: the outputs that one input element spans, gaps of the dilation included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    # -- sizes ---------------------------------------------------------------------------------------------------

    def full_shape(self, input_shape: Ints) -> tuple[int, ...]:
        """s*(n - 1) + d*(k - 1) + 1 per axis: the size before the crop."""
        sizes = self._sizes(input_shape, "input")
        return tuple(s * (n - 1) + e for n, s, e in zip(sizes, self.stride, self.extent, strict=True))

    def output_shape(self, input_shape: Ints) -> tuple[int, ...]:
        """The sizes full - lo - hi. Raises ShapeError if an axis would be empty."""
        full = self.full_shape(input_shape)
        shape = tuple(f - lo - hi for f, (lo, hi) in zip(full, self.crop, strict=True))
        if min(shape) < 1:
            axis = next(a for a, size in enumerate(shape) if size < 1)
            raise ShapeError(
                f"the output would be {shape}: spatial axis {axis} has {full[axis]} elements and the crop "
                f"{self.crop[axis]} takes all of them; at least one must stay. Write a smaller crop (padding)"
            )
        return shape

    def input_shape(self, output_shape: Ints) -> tuple[int, ...] | None:
        """The input whose output has exactly this shape, or None if there is none: L = s*(n - 1) + extent - lo - hi."""
        sizes = self._sizes(output_shape, "output")
        rest = [L + lo + hi - e for L, (lo, hi), e in zip(sizes, self.crop, self.extent, strict=True)]
        if any(r < 0 or r % s for r, s in zip(rest, self.stride, strict=True)):
            return None
        return tuple(r // s + 1 for r, s in zip(rest, self.stride, strict=True))

    def conv_shape(self, output_shape: Ints) -> tuple[int, ...]:
        """(L + lo + hi - extent)//s + 1 per axis: what the convolution with this geometry makes of an L-sized array."""
        sizes = self._sizes(output_shape, "output", "convolution's input")
        padded = tuple(L + lo + hi for L, (lo, hi) in zip(sizes, self.crop, strict=True))
        shape = tuple((p - e) // s + 1 for p, e, s in zip(padded, self.extent, self.stride, strict=True))
        if min(shape) < 1:
            axis = next(a for a, size in enumerate(shape) if size < 1)
            raise ShapeError(
                f"the convolution of {sizes} would be {shape}: on spatial axis {axis} the kernel spans "
                f"{self.extent[axis]} elements and only {padded[axis]} are there. Write a larger array or a "
                "smaller kernel"
            )
        return shape

    def _sizes(self, shape: Ints, side: str, what: str | None = None) -> tuple[int, ...]:
        name = f"{side}_shape"
        sizes = ints_of(shape, name, self.ndim, example=f"{name}={(8,) * self.ndim}")
        if min(sizes) < 1:
            raise ShapeError(
                f"the {what or side} has spatial shape {sizes}; every axis needs at least 1 element. "
                "Write an array without empty spatial axes"
            )
        return sizes

    # -- phases --------------------------------------------------------------------------------------------------

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """All prod(stride) phases in C order of their offsets, those without a tap (s > k) included."""
        axes = [
            [
                (
                    r,
                    tuple(t for t in range(k) if (d * t) % s == r),
                    tuple(d * t // s for t in range(k) if (d * t) % s == r),
                )
                for r in range(s)
            ]
            for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True)
        ]
        return tuple(Phase(*(tuple(part) for part in zip(*choice, strict=True))) for choice in product(*axes))

    @property
    def overlap(self) -> tuple[tuple[int, ...], ...]:
        """Taps per phase: overlap[axis][r] inputs meet in each output of phase r. Uneven counts mean checkerboard."""
        counts = []
        for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True):
            row = [0] * s
            period = s // math.gcd(s, d)  # taps that far apart are of one phase
            for t in range(min(k, period)):
                row[(d * t) % s] = (k - 1 - t) // period + 1
            counts.append(tuple(row))
        return tuple(counts)

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Per axis, the span of inputs that one output element can depend on (the widest phase)."""
        common = [math.gcd(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
        # the phase of tap 0 has the most taps, each d/gcd inputs behind the one before
        axes = zip(self.kernel, self.stride, self.dilation, common, strict=True)
        return tuple(d // g * ((k - 1) // (s // g)) + 1 for k, s, d, g in axes)

    # -- windows -------------------------------------------------------------------------------------------------

    def input_window(self, output: Sequence[slice], input_shape: Ints | None = None) -> tuple[slice, ...]:
        """The inputs that a slice of the output needs: the smallest range per axis, empty (0, 0) where none.

        >>> Geometry(kernel=4, stride=2, crop=1).input_window([slice(4, 6)])
        (slice(1, 4, None),)

        Without `input_shape` the input is taken as endless on both sides; with it the range is clipped to the input.
        """
        sizes = None if input_shape is None else self._sizes(input_shape, "input")
        ranges = self._ranges(output, "output", None if sizes is None else self.output_shape(sizes))
        windows = []
        for axis, ((start, stop), k, s, d, (lo, _)) in enumerate(
            zip(ranges, self.kernel, self.stride, self.dilation, self.crop, strict=True)
        ):
            # input i through tap t lands on s*i + d*t - lo: solve start <= that < stop for i
            spans = [(-((d * t - lo - start) // s), (stop - 1 + lo - d * t) // s) for t in range(k)]
            windows.append(self._hull(spans, None if sizes is None else sizes[axis]))
        return tuple(windows)

    def output_window(self, input: Sequence[slice], input_shape: Ints | None = None) -> tuple[slice, ...]:
        """The outputs that a slice of the input touches: the smallest range per axis, empty (0, 0) where none.

        >>> Geometry(kernel=4, stride=2, crop=1).output_window([slice(2, 3)])
        (slice(3, 7, None),)

        Without `input_shape` the range may leave the output (below 0, too); with it the range is clipped to the output.
        """
        limits = None if input_shape is None else self._sizes(input_shape, "input")
        sizes = None if limits is None else self.output_shape(limits)
        ranges = self._ranges(input, "input", limits)
        windows = []
        for axis, ((start, stop), k, s, d, (lo, _)) in enumerate(
            zip(ranges, self.kernel, self.stride, self.dilation, self.crop, strict=True)
        ):
            spans = []
            for t in range(k):
                first, last = start, stop - 1
                if sizes is not None:  # only the inputs whose product with tap t stays inside the output
                    first = max(first, -((d * t - lo) // s))
                    last = min(last, (sizes[axis] - 1 + lo - d * t) // s)
                if first <= last:
                    spans.append((s * first + d * t - lo, s * last + d * t - lo))
            windows.append(self._hull(spans, None))
        return tuple(windows)

    @staticmethod
    def _hull(spans: Iterable[tuple[int, int]], size: int | None) -> slice:
        """The smallest slice over inclusive (first, last) spans, clipped to [0, size); last < first means empty."""
        if size is not None:
            spans = ((max(first, 0), min(last, size - 1)) for first, last in spans)
        kept = [(first, last) for first, last in spans if first <= last]
        if not kept:
            return slice(0, 0)
        return slice(min(first for first, _ in kept), max(last for _, last in kept) + 1)

    def _ranges(self, slices: Sequence[slice], what: str, limits: tuple[int, ...] | None) -> list[tuple[int, int]]:
        """(start, stop) per axis, clipped to [0, limit)."""
        ranges = []
        given: Any = slices  # one slice will do for one axis
        for entry in [given] if isinstance(given, slice) else entries_of(given) or [given]:
            if not isinstance(entry, slice) or entry.start is None or entry.stop is None or entry.step not in (None, 1):
                raise ShapeError(
                    f"the {what} window holds {shown(entry)}; a slice with start, stop and step 1 is needed per axis. "
                    "Write (slice(0, 16), slice(0, 16))"
                )
            ends = zip(("start", "stop"), (entry.start, entry.stop), strict=True)
            start, stop = (
                int_of(end, f"the {what} window's slice {name}", example="slice(0, 16)") for name, end in ends
            )
            ranges.append((start, stop))
        if len(ranges) != self.ndim:
            raise ShapeError(
                f"the {what} window has {len(ranges)} slices; there are {self.ndim} spatial axes. Write one "
                "slice per axis"
            )
        if limits is None:
            return ranges
        return [(max(start, 0), min(stop, limit)) for (start, stop), limit in zip(ranges, limits, strict=True)]

    # -- cost ----------------------------------------------------------------------------------------------------

    def macs(self, input_shape: Ints, in_channels: int = 1, out_channels: int = 1, batch: int = 1) -> Macs:
        """Multiply-adds of one call: `.exact` and `.border_free`; bias is not counted. FLOPs are twice that.

        >>> Geometry(kernel=(4, 4), stride=2, crop=1).macs((8, 8))
        Macs(exact=900, border_free=1024)
        """
        sizes = self._sizes(input_shape, "input")
        outputs = self.output_shape(sizes)
        c_in, c_out = int_of(in_channels, "in_channels", least=0), int_of(out_channels, "out_channels", least=0)
        for name, channels in (("in_channels", c_in), ("out_channels", c_out)):
            if channels % self.groups:
                raise GeometryError(
                    f"{name} is {channels}, which {self.groups} groups do not divide. Write a multiple of {self.groups}"
                )
        pairs = int_of(batch, "batch", least=0) * c_in * (c_out // self.groups)
        exact = 1
        for n, L, k, s, d, (lo, _) in zip(
            sizes, outputs, self.kernel, self.stride, self.dilation, self.crop, strict=True
        ):
            exact *= _products_below(lo + L, n, k, s, d) - _products_below(lo, n, k, s, d)
        return Macs(pairs * exact, pairs * math.prod(sizes) * math.prod(self.kernel))


def _products_below(end: int, n: int, k: int, s: int, d: int) -> int:
    """How many pairs of input i < n and tap t < k land below `end`: s*i + d*t < end. Quick, however large they are."""
    taps = min(k, max(0, -(-end // d)))  # later ones land beyond, whatever the input
    whole = min(taps, max(0, (end - 1 - s * (n - 1)) // d + 1))  # of these every input lands below
    # the others: (end - 1 - d*t)//s + 1 inputs each, from the last tap to the first
    return whole * n + _floors(taps - whole, s, d, end - 1 - d * (taps - 1)) + taps - whole


def _floors(count: int, m: int, a: int, b: int) -> int:
    """The sum of (a*j + b)//m over j < count: points under a line, its slope turned over as in Euclid's algorithm."""
    total = 0
    while count > 0:
        total += count * (count - 1) // 2 * (a // m) + count * (b // m)
        a, b = a % m, b % m
        top = a * count + b
        count, b, a, m = top // m, top % m, m, a
    return total
