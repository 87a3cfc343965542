"""The two interpolating upsamplers: a named filter, and a kernel of the user's own.

A filter runs in two passes, along rows and then along columns; a kernel is one transposed convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, FileError, ShapeError, TconvError
from tconv.geometry import Geometry
from tconv.io.array_files import read_features, read_headers
from tconv.kernels.problem import Problem
from tconv.operator.strips import conv_transpose_strip, strip_method
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.upsampler import Frame, Load, Pass, Truth, WholeScale, reach
from tconv.weights.interpolation import FILTERS, Interpolation, crop_for

STRIP = 1 << 24
"""Bytes of output values in one strip: few enough for the cache to help, enough to keep the kernels busy."""


def from_kernel(kernel: str | Array, scale: int, naming: Naming = PYTHON) -> NamedFilter | CustomKernel:
    """Return the upsampler of a filter's name, a .npy file or an array of weights.

    Raises ArgumentError, FileError, DtypeError and ShapeError.
    """
    if not isinstance(kernel, str):
        _check_shape("kernel", kernel.shape, ShapeError)
        return CustomKernel(_checked_weight("kernel", kernel, DtypeError), scale, "kernel", naming)
    if kernel in FILTERS:
        return NamedFilter(kernel, scale)
    if kernel.lower().endswith(".npy"):
        return CustomKernel(_read_weight(Path(kernel)), scale, kernel, naming)
    import difflib  # for the message alone

    close = next(iter(difflib.get_close_matches(kernel.lower(), FILTERS, 1)), "bicubic")
    raise ArgumentError(
        f"{naming.name('kernel')} is {kernel!r}; {', '.join(FILTERS)}, or a .npy file of weights is needed. "
        f"Write {naming.example('kernel', close)}"
    )


class NamedFilter(WholeScale):
    """A filter of `tconv.weights.interpolation`, applied to every channel alone."""

    strip_bytes, block = STRIP, 1
    plainer = "nearest"

    def __init__(self, kernel: str, scale: int) -> None:
        self.filter = Interpolation(kernel, scale)
        self.name, self.description, self.scale, self.mixes = kernel, self.filter.description, scale, False
        self.notes: list[str] = []

    def channels(self, channels: int) -> int:
        """Return the number of input channels."""
        return channels

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Pass]:
        """Return the pass along rows and the pass along columns."""
        channels, height, width = shape
        sizes = [(height, width), (self.scale * height, width)]
        problems = [Problem(self.filter.planar(axis), channels, 1, 1, sizes[axis], dtype) for axis in (0, 1)]
        return [Pass(problem, strip_method(problem)) for problem in problems]

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Return 0: there is no memory beside the strips."""
        return 0

    def window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return inputs inside the image: at its border the sum is divided by the weights that are there."""
        return self.filter.window(outputs, size)

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Return output rows from input rows."""
        return self.filter.strip(x, first, rows, columns=frame.columns, left=frame.left)

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the filter and its scale."""
        return self.name, self.scale

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """Return the sums over all pairs of inputs and taps, divided by the sums of those taps."""
        sides = [reach(at, n, self.filter.geometry) for at, n in ((y, shape[1]), (x, shape[2]))]
        down, across = (np.where(side.valid, self.filter.taps[side.taps % self.filter.size], 0) for side in sides)
        values = load(sides[0].inputs, sides[1].inputs)
        valid = sides[0].valid[:, :, None] & sides[1].valid[:, None, :]
        values = np.where(valid, values, 0)  # an infinite neighbour that no tap reaches must not count
        weights = down[:, :, None] * across[:, None, :]
        norm = weights.sum((1, 2))
        total = (values * weights).sum((-2, -1)) / norm
        mass = (np.abs(values) * np.abs(weights)).sum((-2, -1)) / norm
        return Truth(total, mass, 2 * (down.shape[1] + 4))


class CustomKernel(WholeScale):
    """Weights of the user: [kh, kw] for every channel alone, or [C_in, C_out, kh, kw] across channels.

    stride = scale, and crop = k - scale with the smaller half in front. Beyond its border the image repeats its
    outermost pixels. The weights' gain is left as it is. `name` is the file of the weights, for reports and messages.

    Raises ShapeError where the kernel is smaller than the scale.
    """

    strip_bytes, block = STRIP, 1
    plainer = "nearest"

    def __init__(self, weight: Array, scale: int, name: str, naming: Naming = PYTHON) -> None:
        self.mixes, self.scale = weight.ndim == 4, scale
        self.weight = weight if self.mixes else weight[None, None]
        self.name = Path(name).name
        self.description = f"{self.name} {list(weight.shape)}"
        self._source = name
        height, width = weight.shape[-2:]
        if min(height, width) < scale:
            raise ShapeError(
                f"{name} has a {height} x {width} kernel and the scale is {scale}; with fewer taps than the scale, "
                f"some outputs have no tap. Write {naming.example('scale', min(height, width))}, or a kernel of at "
                f"least {scale} x {scale}"
            )
        self.notes = self._brightness_notes()
        self.axes = [Geometry(k, scale, [((k - scale) // 2, -(-(k - scale) // 2))]) for k in (height, width)]

    def channels(self, channels: int) -> int:
        """Return C_out of the weights, or the number of input channels. Raises ShapeError if C_in differs from it."""
        if not self.mixes:
            return channels
        if channels != self.weight.shape[0]:
            raise ShapeError(
                f"{self._source} has {self.weight.shape[0]} input channels, [C_in, C_out, kh, kw], and the image has "
                f"{channels}. Write weights {[channels, *self.weight.shape[1:]]}, or one [kh, kw] for all channels"
            )
        return int(self.weight.shape[1])

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Pass]:
        """Return the one transposed convolution, over the image with its border."""
        channels, *sides = shape
        outputs = [slice(0, self.scale * n) for n in sides]
        spans = [axis.input_window([out])[0] for axis, out in zip(self.axes, outputs, strict=True)]
        sizes = [span.stop - span.start for span in spans]
        geometry = self._geometry([span.start for span in spans], sizes, outputs)
        into, out = self.weight.shape[:2]
        problem = Problem(geometry, 1 if self.mixes else channels, into, out, (sizes[0], sizes[1]), dtype)
        return [Pass(problem, strip_method(problem))]

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Return 0: there is no memory beside the strips."""
        return 0

    def window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return inputs that may lie beyond the image: those repeat its outermost one."""
        return self.axes[axis].input_window([outputs])[0]

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Return output rows from input rows; columns beyond the image are added here."""
        width = frame.width or x.shape[2]
        columns = frame.columns or slice(0, self.scale * width)
        span = self.window(columns, width, 1)
        inside = slice(max(span.start, 0), min(span.stop, width))  # never empty: k >= scale
        x = x[..., inside.start - frame.left : inside.stop - frame.left]
        x = np.pad(x, ((0, 0), (0, 0), (inside.start - span.start, span.stop - inside.stop)), mode="edge")
        geometry = self._geometry([first, span.start], x.shape[1:], [rows, columns])
        y = conv_transpose_strip(x[None] if self.mixes else x[:, None], self.weight.astype(x.dtype), geometry)
        return y[0] if self.mixes else y[:, 0]

    def _geometry(self, starts: Sequence[int], sizes: Sequence[int], outputs: Sequence[slice]) -> Geometry:
        """Return the operator from the inputs that begin at `starts` to these outputs."""
        crops = [crop_for(*each) for each in zip(self.axes, starts, sizes, outputs, strict=True)]
        return Geometry(self.weight.shape[2:], self.scale, crops)

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the weights, the scale, and True for weights across channels."""
        return self.weight, self.scale, self.mixes

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """Return the sums over all pairs of inputs and taps, phase by phase, without a border."""
        rows, columns = (reach(at, n, axis) for at, n, axis in zip((y, x), shape[1:], self.axes, strict=True))
        values = load(rows.inputs, columns.inputs)
        total = np.zeros((self.channels(shape[0]), len(y)), values.dtype)
        mass = np.zeros(total.shape)
        phases = rows.taps[:, 0] * self.scale + columns.taps[:, 0]
        for phase in np.unique(phases):
            members = np.flatnonzero(phases == phase)
            down, across = (
                side.taps[members[0]][side.taps[members[0]] < k]
                for side, k in zip((rows, columns), self.weight.shape[2:], strict=True)
            )
            taps = self.weight[:, :, down[:, None], across].astype(np.float64)
            part = values[:, members, : len(down), : len(across)]
            total[:, members], mass[:, members] = self._sum(part, taps), self._sum(np.abs(part), np.abs(taps))
        return Truth(total, mass, values.shape[-2] * values.shape[-1] * (shape[0] if self.mixes else 1) + 3)

    def _sum(self, values: Array, taps: Array) -> Array:
        """Return outputs [C_out, P] of values [C, P, A, B] and taps [C_in, C_out, A, B]."""
        if self.mixes:
            return np.tensordot(taps, values, ((0, 2, 3), (0, 2, 3)))
        return np.tensordot(values, taps[0, 0], 2)

    def _brightness_notes(self) -> list[str]:
        """Return a warning if the weights of a phase do not sum to 1."""
        if self.mixes:
            return []
        s, taps = self.scale, self.weight[0, 0]
        whole = np.pad(taps, [(0, -k % s) for k in taps.shape])
        sums = whole.reshape(whole.shape[0] // s, s, whole.shape[1] // s, s).sum((0, 2))
        if np.ptp(sums) > 0.01 * np.abs(sums).max():
            return [f"the kernel's phases sum to {sums.min():.3g} .. {sums.max():.3g}: expect a checkerboard"]
        return [f"the kernel multiplies brightness by {sums[0, 0]:.3g}"] if abs(sums[0, 0] - 1) > 0.01 else []


def _read_weight(path: Path) -> Array:
    header = read_headers(path)[""]
    _check_shape(str(path), header.shape, FileError)
    return _checked_weight(str(path), read_features(path)[""], FileError)


def _check_shape(name: str, shape: tuple[int, ...], error: type[TconvError]) -> None:
    if len(shape) not in (2, 4) or 0 in shape:
        raise error(
            f"{name} has shape {shape}; a kernel [kh, kw] or weights [C_in, C_out, kh, kw] are needed. "
            "Use an array of such a shape, np.ones((4, 4)) / 4 for example"
        )


def _checked_weight(name: str, weight: Array, error: type[TconvError]) -> Array:
    """Return the weight in float64, or raise this error for elements that are not finite real numbers."""
    if weight.dtype.kind not in "biuf":
        raise error(f"{name} has {weight.dtype} elements; real numbers are needed. Write kernel.astype(np.float32)")
    if not np.isfinite(weight).all():
        raise error(f"{name} has inf or NaN in it; finite weights are needed. Write np.nan_to_num(kernel)")
    return weight.astype(np.float64)
