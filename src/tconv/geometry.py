"""Shape arithmetic of a transposed convolution: `Geometry`, the frozen description that every other module reads.

Per axis, with input index i, tap t, stride s, dilation d and k taps:

    full[s*i + d*t] += x[i] * w[t]             len(full) = s*(n - 1) + d*(k - 1) + 1
    y = full[lo : len(full) - hi]              (lo, hi) is the crop; below 0 it extends with zeros

The "padding", "output_padding" and "SAME" of frameworks are rules that determine (lo, hi). They are in
`tconv.dialects`, and nothing in this file depends on them.
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

Slices = slice | Sequence[slice]
"""One slice per axis; one alone for one axis."""


class Phase(NamedTuple):
    """One of the prod(stride) interleaved correlations: full[s*j + offset] reads x[j - shift] through its taps.

    Per axis: `offset` (r), the `taps` t with (d*t) mod s == r, and their `shifts` (d*t) div s, in the same order.
    """

    offset: tuple[int, ...]
    taps: tuple[tuple[int, ...], ...]
    shifts: tuple[tuple[int, ...], ...]

    @property
    def tap_count(self) -> int:
        """Number of input elements that one output element of this phase sums over, per channel."""
        return math.prod(len(taps) for taps in self.taps)


class Macs(NamedTuple):
    """Multiply-adds under two conventions."""

    exact: int
    """Products that reach an output element, without those that are cropped."""
    border_free: int
    """Inputs x taps: every input element times every tap, as if nothing were cropped. Most profilers count so."""


@dataclass(frozen=True, init=False)
class Geometry:
    """Positions of a transposed convolution: kernel, stride, crop, dilation and groups, on any number of axes.

    >>> g = Geometry(kernel=(4, 4), stride=2, crop=1)
    >>> g.output_shape((8, 8))
    (16, 16)
    >>> g.overlap
    ((2, 2), (2, 2))

    An int for `kernel` means one axis; for the others, the same on every axis. `crop` is one (lo, hi) pair per axis,
    in output elements; a negative side extends the output with rows that contain only bias. Shapes are spatial, without
    batch and channels. Sizes are Python ints, so nothing overflows.

    Raises GeometryError for arguments that describe no operator, as a stride below 1 or a crop of the wrong length.
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
        set_field = object.__setattr__  # the dataclass is frozen, and its fields are set only here
        set_field(self, "kernel", ints_of(sizes, "kernel", ndim, least=1))
        set_field(self, "stride", ints_of(stride, "stride", ndim, least=1))
        set_field(self, "crop", pairs_of(crop, "crop", ndim))
        set_field(self, "dilation", ints_of(dilation, "dilation", ndim, least=1))
        set_field(self, "groups", int_of(groups, "groups", least=1, example="groups=1"))

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """Outputs that one input element spans per axis, gaps of the dilation included: d*(k - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def convolution(self) -> ConvolutionGeometry:
        """Ordinary convolution whose transpose this is, as a layer of `tconv.window`: its padding is this crop."""
        return ConvolutionGeometry(self)

    # -- sizes ---------------------------------------------------------------------------------------------------

    def full_shape(self, input_shape: Ints) -> tuple[int, ...]:
        """Return the size before the crop, s*(n - 1) + d*(k - 1) + 1 per axis."""
        sizes = self._sizes(input_shape, "input")
        return tuple(s * (n - 1) + e for n, s, e in zip(sizes, self.stride, self.extent, strict=True))

    def output_shape(self, input_shape: Ints) -> tuple[int, ...]:
        """Return the output shape, full - lo - hi per axis. Raises ShapeError if an axis would be empty."""
        full = self.full_shape(input_shape)
        shape = tuple(f - lo - hi for f, (lo, hi) in zip(full, self.crop, strict=True))
        if min(shape) < 1:
            axis = next(a for a, size in enumerate(shape) if size < 1)
            raise ShapeError(
                f"the output would be {shape}: spatial axis {axis} has {full[axis]} elements and the crop "
                f"{self.crop[axis]} removes all of them; at least one must remain. Use a smaller crop (padding)"
            )
        return shape

    def input_shape(self, output_shape: Ints) -> tuple[int, ...] | None:
        """Return the input shape that gives exactly this output shape, L = s*(n - 1) + extent - lo - hi, or None."""
        sizes = self._sizes(output_shape, "output")
        rest = [L + lo + hi - e for L, (lo, hi), e in zip(sizes, self.crop, self.extent, strict=True)]
        if any(r < 0 or r % s for r, s in zip(rest, self.stride, strict=True)):
            return None
        return tuple(r // s + 1 for r, s in zip(rest, self.stride, strict=True))

    def conv_shape(self, output_shape: Ints) -> tuple[int, ...]:
        """Return the output shape of the convolution with this geometry: (L + lo + hi - extent)//s + 1 per axis.

        Raises ShapeError if an axis would be empty.
        """
        sizes = self._sizes(output_shape, "output", "convolution's input")
        padded = tuple(L + lo + hi for L, (lo, hi) in zip(sizes, self.crop, strict=True))
        shape = tuple((p - e) // s + 1 for p, e, s in zip(padded, self.extent, self.stride, strict=True))
        if min(shape) < 1:
            axis = next(a for a, size in enumerate(shape) if size < 1)
            raise ShapeError(
                f"the convolution of {sizes} would be {shape}: on spatial axis {axis} the kernel spans "
                f"{self.extent[axis]} elements, but there are only {padded[axis]}. Use a larger array or a "
                "smaller kernel"
            )
        return shape

    def _sizes(self, shape: Ints, side: str, array: str | None = None) -> tuple[int, ...]:
        name = f"{side}_shape"
        sizes = ints_of(shape, name, self.ndim, example=f"{name}={(8,) * self.ndim}")
        if min(sizes) < 1:
            raise ShapeError(
                f"the {array or side} has spatial shape {sizes}; every axis needs at least 1 element. "
                "Use an array without empty spatial axes"
            )
        return sizes

    # -- phases --------------------------------------------------------------------------------------------------

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """All prod(stride) phases in C order of their offsets, including those without a tap (s > k)."""
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
        """Taps per phase: an output of phase r sums overlap[axis][r] inputs. Uneven counts cause checkerboards."""
        counts = []
        for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True):
            row = [0] * s
            period = s // math.gcd(s, d)  # taps this far apart have the same phase
            for t in range(min(k, period)):
                row[(d * t) % s] = (k - 1 - t) // period + 1
            counts.append(tuple(row))
        return tuple(counts)

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Span of inputs per axis that one output element can depend on (in the widest phase)."""
        common = [math.gcd(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
        # the phase of tap 0 has the most taps, each of which reads d/gcd inputs further on
        axes = zip(self.kernel, self.stride, self.dilation, common, strict=True)
        return tuple(d // g * ((k - 1) // (s // g)) + 1 for k, s, d, g in axes)

    # -- windows -------------------------------------------------------------------------------------------------

    def input_window(self, output: Slices, input_shape: Ints | None = None) -> tuple[slice, ...]:
        """Return the inputs that a slice of the output needs: the smallest range per axis, (0, 0) if it needs none.

        >>> Geometry(kernel=4, stride=2, crop=1).input_window([slice(4, 6)])
        (slice(1, 4, None),)

        Without `input_shape` the input is unbounded on both sides; with it both ranges are clipped to what exists.
        Raises ShapeError for anything but one slice with start <= stop and step 1 per axis.
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

    def output_window(self, input: Slices, input_shape: Ints | None = None) -> tuple[slice, ...]:
        """Return the outputs that depend on a slice of the input: the smallest range per axis, (0, 0) if none does.

        >>> Geometry(kernel=4, stride=2, crop=1).output_window([slice(2, 3)])
        (slice(3, 7, None),)

        Without `input_shape` the range may exceed the output (also below 0); with it the range is clipped to
        the output.
        Raises ShapeError for anything but one slice with start <= stop and step 1 per axis.
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
        """Return the smallest slice over inclusive (first, last) spans, clipped to [0, size); last < first is empty."""
        if size is not None:
            spans = ((max(first, 0), min(last, size - 1)) for first, last in spans)
        present = [(first, last) for first, last in spans if first <= last]
        if not present:
            return slice(0, 0)
        return slice(min(first for first, _ in present), max(last for _, last in present) + 1)

    def _ranges(self, slices: Slices, side: str, limits: tuple[int, ...] | None) -> list[tuple[int, int]]:
        ranges = ranges_of(slices, side, self.ndim)
        if limits is None:
            return ranges
        return [(max(start, 0), min(stop, limit)) for (start, stop), limit in zip(ranges, limits, strict=True)]

    # -- cost ----------------------------------------------------------------------------------------------------

    def macs(self, input_shape: Ints, in_channels: int = 1, out_channels: int = 1, batch: int = 1) -> Macs:
        """Return the multiply-adds of one call, `.exact` and `.border_free`, without bias. FLOPs are twice as many.

        >>> Geometry(kernel=(4, 4), stride=2, crop=1).macs((8, 8))
        Macs(exact=900, border_free=1024)
        """
        sizes = self._sizes(input_shape, "input")
        outputs = self.output_shape(sizes)
        c_in, c_out = int_of(in_channels, "in_channels", least=0), int_of(out_channels, "out_channels", least=0)
        for name, channels in (("in_channels", c_in), ("out_channels", c_out)):
            if channels % self.groups:
                raise GeometryError(
                    f"{name} is {channels}, which {self.groups} groups do not divide. Use a multiple of {self.groups}"
                )
        channel_pairs = int_of(batch, "batch", least=0) * c_in * (c_out // self.groups)
        exact = 1
        for n, L, k, s, d, (lo, _) in zip(
            sizes, outputs, self.kernel, self.stride, self.dilation, self.crop, strict=True
        ):
            exact *= _products_below(lo + L, n, k, s, d) - _products_below(lo, n, k, s, d)
        return Macs(channel_pairs * exact, channel_pairs * math.prod(sizes) * math.prod(self.kernel))


@dataclass(frozen=True)
class ConvolutionGeometry:
    """Ordinary convolution whose transpose has this geometry: `Geometry.convolution`. The crop is its padding.

    >>> Geometry(kernel=7, stride=2, crop=3).convolution.output_shape(16)
    (8,)
    """

    geometry: Geometry

    def __repr__(self) -> str:
        return f"{self.geometry!r}.convolution"

    def output_shape(self, input_shape: Ints) -> tuple[int, ...]:
        """Return the output shape, (n + lo + hi - extent)//s + 1 per axis. Raises ShapeError if an axis is empty."""
        return self.geometry.conv_shape(input_shape)


def ranges_of(slices: Slices, side: str, ndim: int) -> list[tuple[int, int]]:
    """Return (start, stop) per axis of slices of the "output" or "input".

    Raises ShapeError for anything but one slice with start <= stop and step 1 per axis.
    """
    ranges = []
    given: Any = slices  # one axis may be a bare slice
    for entry in [given] if isinstance(given, slice) else entries_of(given) or [given]:
        if not isinstance(entry, slice) or entry.start is None or entry.stop is None or entry.step not in (None, 1):
            raise ShapeError(
                f"the {side} window contains {shown(entry)}; a slice with start, stop and step 1 is needed per "
                "axis. Write (slice(0, 16), slice(0, 16))"
            )
        ends = zip(("start", "stop"), (entry.start, entry.stop), strict=True)
        start, stop = (
            int_of(end, f"the {name} of the {side} window's slice", example="slice(0, 16)") for name, end in ends
        )
        if stop < start:
            raise ShapeError(
                f"the {side} window has slice({start}, {stop}), which ends before it starts. Write "
                f"slice({stop}, {start})"
            )
        ranges.append((start, stop))
    if len(ranges) != ndim:
        raise ShapeError(
            f"the {side} window has {len(ranges)} slices; there are {ndim} spatial axes. Use one slice per axis"
        )
    return ranges


def _products_below(end: int, n: int, k: int, s: int, d: int) -> int:
    """Return the number of (input i < n, tap t < k) with s*i + d*t < end, in logarithmic time."""
    taps = min(k, max(0, -(-end // d)))  # later taps exceed the end for every input
    full = min(taps, max(0, (end - 1 - s * (n - 1)) // d + 1))  # taps whose products are all below the end
    # each of the others has (end - 1 - d*t)//s + 1 inputs, summed from the last tap to the first
    return full * n + _floors(taps - full, s, d, end - 1 - d * (taps - 1)) + taps - full


def _floors(count: int, m: int, a: int, b: int) -> int:
    """Return the sum of (a*j + b)//m over j < count: lattice points under a line, counted as in Euclid's algorithm."""
    total = 0
    while count > 0:
        total += count * (count - 1) // 2 * (a // m) + count * (b // m)
        a, b = a % m, b % m
        top = a * count + b
        count, b, a, m = top // m, top % m, m, a
    return total
