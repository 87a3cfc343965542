"""Search for the settings (kernel, stride, padding, ...) that give wanted sizes, as arguments of each framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from tconv._arguments import Ints, entries_of, ints_of
from tconv.dialects import dialect, names
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry

LARGEST = 8
"""Largest kernel and stride that are searched where none is given."""

_MOST = 20_000  # settings


@dataclass(frozen=True)
class Solution:
    """One setting: a geometry with an input and output shape that fit it, and its native arguments in every dialect."""

    geometry: Geometry
    input: tuple[int, ...]
    output: tuple[int, ...]

    def arguments(self, name: str) -> dict[str, Any] | None:
        """Return the native arguments in this dialect, or None if they cannot express the crop."""
        target = dialect(name)
        return (
            None
            if target.reasons_against(self.geometry, self.input)
            else target.native_arguments(self.geometry, self.input)
        )

    @property
    def torch(self) -> dict[str, Any] | None:
        """Arguments of torch.nn.functional.conv_transpose1d, 2d or 3d, or None."""
        return self.arguments("torch")

    @property
    def tensorflow(self) -> dict[str, Any] | None:
        """Arguments of tf.nn.conv1d_transpose, 2d or 3d (output_shape without batch and channels), or None."""
        return self.arguments("tensorflow")

    @property
    def onnx(self) -> dict[str, Any] | None:
        """Attributes of the ConvTranspose node, or None."""
        return self.arguments("onnx")

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sort key: even overlap, a symmetric crop, no output_padding, small kernel, stride and crop."""
        g = self.geometry
        uneven = sum(len(set(row)) > 1 for row in g.overlap)
        extra = sum(max(0, lo - hi) for lo, hi in g.crop)
        skew = sum(abs(lo - hi) for lo, hi in g.crop)
        size = sum(abs(side) for pair in g.crop for side in pair)
        back = sum(hi > lo for lo, hi in g.crop)  # padding cannot crop more behind than in front
        return (uneven, skew, back, extra, sum(g.kernel), sum(g.stride), size, g.kernel, g.stride, g.crop)

    def __str__(self) -> str:
        def text(name: str) -> str:
            arguments = self.arguments(name)
            if arguments is None:
                return "cannot express this crop"
            return ", ".join(
                f"{key}={value!r}" for key, value in arguments.items() if key not in ("groups", "group", "kernel_shape")
            )

        g = self.geometry
        head = (
            f"{self.input} -> {self.output}: kernel {g.kernel}, stride {g.stride}, dilation {g.dilation}, crop {g.crop}"
        )
        calls = (f"  {name:<11}{text(name)}" for name in names() if name in ("torch", "tensorflow", "onnx"))
        return "\n".join([head, *calls])


class Solutions(tuple[Solution, ...]):
    """All solutions, best first. Printing shows the first ten."""

    def __str__(self) -> str:
        shown = "\n".join(f"{number}. {solution}" for number, solution in enumerate(self[:10], 1))
        more = f"\n... and {len(self) - 10} more" if len(self) > 10 else ""
        return (
            f"{len(self)} setting{'s' * (len(self) != 1)}\n{shown}{more}"
            if self
            else "no setting within the domain gives these sizes"
        )


def solve(
    *,
    input: Ints | None = None,
    output: Ints | None = None,
    kernel: Ints | None = None,
    stride: Ints | None = None,
    dilation: Ints = 1,
) -> Solutions:
    """Return every setting of a domain that makes `output` from `input`, ranked, with arguments for each framework.

    >>> import tconv
    >>> best = tconv.solve(input=8, output=16, kernel=4, stride=2)[0]
    >>> best.torch
    {'stride': 2, 'padding': 1, 'output_padding': 0, 'groups': 1, 'dilation': 1}
    >>> [s.input for s in tconv.solve(output=17, kernel=3, stride=2, input=None)][:2]
    [(8,), (9,)]

    Sizes are spatial, an int for one axis or a sequence. Leave out input, or output, to have it found. The domain, with
    e the kernel's extent d*(k - 1) + 1: a kernel or stride that is left out ranges from 1 to 8, the same on all axes;
    the crop in front from 0 to e - 1; the crop behind from -(max(stride, dilation) - 1) to e - 1. Where input or output
    is left out, the crop behind is at most the crop in front, as padding and output_padding can express. Axes of equal
    size, kernel, stride and dilation get equal crops.

    Order: even overlap first (no checkerboard), then symmetric crops, then no output_padding, then small kernels.
    Returns a tuple that prints as a table; it is empty if nothing fits. Raises ArgumentError if neither input nor
    output is given, ShapeError for lengths that disagree.
    """
    if input is None and output is None:
        raise ArgumentError(
            "neither input= nor output= was given; at least one size is needed. Write tconv.solve(input=8, "
            "output=16, kernel=4, stride=2)"
        )
    given = {"input": input, "output": output, "kernel": kernel, "stride": stride, "dilation": dilation}
    lengths = {name: len(entries) for name, value in given.items() if (entries := entries_of(value)) is not None}
    if len(set(lengths.values())) > 1:
        raise ShapeError(
            f"the arguments have different numbers of axes: {lengths}. Use one int, or one entry per axis, in each"
        )
    ndim = next(iter(lengths.values()), 1)
    small = None if input is None else ints_of(input, "input", ndim, least=1)
    large = None if output is None else ints_of(output, "output", ndim, least=1)
    kernels = (
        [ints_of(kernel, "kernel", ndim, least=1)]
        if kernel is not None
        else [(k,) * ndim for k in range(1, LARGEST + 1)]
    )
    strides = (
        [ints_of(stride, "stride", ndim, least=1)]
        if stride is not None
        else [(s,) * ndim for s in range(1, LARGEST + 1)]
    )
    steps = ints_of(dilation, "dilation", ndim, least=1)
    solutions = [solution for k, s in product(kernels, strides) for solution in _settings(small, large, k, s, steps)]
    return Solutions(sorted(solutions, key=lambda solution: (solution.rank, solution.input)))


def _settings(
    small: tuple[int, ...] | None,
    large: tuple[int, ...] | None,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Iterator[Solution]:
    """Yield the solutions of one kernel and stride. Axes of equal size and arguments get equal crops."""
    ndim = len(kernel)
    axes = list(zip(small or [None] * ndim, large or [None] * ndim, kernel, stride, dilation, strict=True))
    distinct = list(dict.fromkeys(axes))
    choices = [list(_axis_settings(*axis)) for axis in distinct]
    count = 1
    for options in choices:
        count *= len(options)
    if count > _MOST:
        raise ArgumentError(
            f"{count} settings fit; at most {_MOST} can be listed. Use fewer axes at a time, or give input, output, "
            "kernel and stride"
        )
    for chosen in product(*choices):
        per_axis: Sequence[tuple[int, int, int, int]] = [chosen[distinct.index(axis)] for axis in axes]
        sizes_in, sizes_out = tuple(entry[0] for entry in per_axis), tuple(entry[1] for entry in per_axis)
        yield Solution(Geometry(kernel, stride, [entry[2:] for entry in per_axis], dilation), sizes_in, sizes_out)


def _axis_settings(n: int | None, L: int | None, k: int, s: int, d: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (n, L, lo, hi) over the domain of one axis."""
    e, most_extra = d * (k - 1) + 1, max(s, d) - 1
    for lo in range(e):
        if n is not None and L is not None:
            hi = s * (n - 1) + e - lo - L
            if -most_extra <= hi <= e - 1:
                yield n, L, lo, hi
            continue
        for hi in range(max(-most_extra, lo - most_extra), lo + 1):
            if n is not None:
                out = s * (n - 1) + e - lo - hi
                if out >= 1:
                    yield n, out, lo, hi
            else:
                assert L is not None
                rest = L + lo + hi - e
                if rest >= 0 and rest % s == 0:
                    yield rest // s + 1, L, lo, hi
