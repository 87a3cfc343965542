"""The two interpolating upsamplers: a named filter in two passes, and a kernel from the user's file in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.geometry import Geometry
from tconv.io.array_files import read_features, read_headers
from tconv.kernels.problem import Problem
from tconv.operator.functional import conv_transpose
from tconv.upsampling.upsampler import Array, Frame, Load, Truth, Upsampler, reach
from tconv.weights.interpolation import FILTERS, Interpolation, crop_for

STRIP = 1 << 24
"""Bytes of output values in one strip: few enough for the cache to help, enough to keep the kernels busy."""


def by_kernel(kernel: str, scale: int) -> Upsampler:
    """The upsampler that --kernel names: a filter, or a .npy file. Raises ArgumentError, FileError, ShapeError."""
    if kernel in FILTERS:
        return NamedFilter(kernel, scale)
    if kernel.lower().endswith(".npy"):
        return FileKernel(Path(kernel), scale)
    raise ArgumentError(
        f"--kernel is {kernel!r}; {', '.join(FILTERS)}, or a .npy file of weights is needed. Write --kernel bicubic"
    )


class NamedFilter:
    """A filter of `tconv.weights.interpolation`, applied to every channel alone."""

    strip_bytes, block = STRIP, 1
    plainer = "nearest"

    def __init__(self, kernel: str, scale: int) -> None:
        self.filter = Interpolation(kernel, scale)
        self.name, self.words, self.scale, self.mixes = kernel, self.filter.description, scale, False
        self.notes: list[str] = []

    def channels(self, channels: int) -> int:
        """As many as come in."""
        return channels

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Problem]:
        """Rows, then columns."""
        channels, height, width = shape
        sizes = [(height, width), (self.scale * height, width)]
        return [Problem(self.filter.planar(axis), channels, 1, 1, sizes[axis], dtype) for axis in (0, 1)]

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Nothing beside the strips."""
        return 0

    def window(self, rows: slice, height: int) -> slice:
        """Never beyond the image: at its border the sum is divided by the weights that are there."""
        return self.filter.window(rows, height)

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Output rows from input rows."""
        return self.filter.strip(x, first, rows)

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """The sum over all pairs of inputs and taps, divided by the sum of those taps."""
        sides = [reach(at, n, self.filter.geometry) for at, n in ((y, shape[1]), (x, shape[2]))]
        down, across = (np.where(side.there, self.filter.taps[side.taps % self.filter.size], 0) for side in sides)
        values = load(sides[0].inputs, sides[1].inputs)
        there = sides[0].there[:, :, None] & sides[1].there[:, None, :]
        values = np.where(there, values, 0)  # an infinite neighbour that no tap reaches must not count
        weights = down[:, :, None] * across[:, None, :]
        norm = weights.sum((1, 2))
        total = (values * weights).sum((-2, -1)) / norm
        mass = (np.abs(values) * np.abs(weights)).sum((-2, -1)) / norm
        return Truth(total, mass, 2 * (down.shape[1] + 4))


class FileKernel:
    """Weights from a .npy file: [kh, kw] for every channel alone, or [C_in, C_out, kh, kw] across channels.

    stride = scale, crop = k - scale with the smaller half in front, and an image that goes on beyond its border with
    its outermost pixels. Gains stay as they are in the file.

    Raises FileError for weights that are no such array, and ShapeError where they are smaller than the scale.
    """

    strip_bytes, block = STRIP, 1
    plainer = "nearest"

    def __init__(self, path: Path, scale: int) -> None:
        weight = _read_weight(path)
        self.mixes, self.scale = weight.ndim == 4, scale
        self.weight = weight if self.mixes else weight[None, None]
        self.name, self.words = path.name, f"{path.name} {list(weight.shape)}"
        self._path = path
        height, width = weight.shape[-2:]
        if min(height, width) < scale:
            raise ShapeError(
                f"{path} has a {height} x {width} kernel and the scale is {scale}; with fewer taps than the scale, "
                f"outputs get none. Write --scale {min(height, width)}, or a kernel of at least {scale} x {scale}"
            )
        self.notes = self._gains()
        self.axes = [Geometry(k, scale, [((k - scale) // 2, -(-(k - scale) // 2))]) for k in (height, width)]

    def channels(self, channels: int) -> int:
        """C_out of the weights, or as many as come in."""
        if not self.mixes:
            return channels
        if channels != self.weight.shape[0]:
            raise ShapeError(
                f"{self._path} has {self.weight.shape[0]} input channels, [C_in, C_out, kh, kw], and the image has "
                f"{channels}. Write weights {[channels, *self.weight.shape[1:]]}, or one [kh, kw] for all channels"
            )
        return int(self.weight.shape[1])

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Problem]:
        """One, over the image with its border."""
        channels, *sides = shape
        outputs = [slice(0, self.scale * n) for n in sides]
        spans = [axis.input_window([out])[0] for axis, out in zip(self.axes, outputs, strict=True)]
        sizes = [span.stop - span.start for span in spans]
        geometry = self._geometry([span.start for span in spans], sizes, outputs)
        into, out = self.weight.shape[:2]
        return [Problem(geometry, 1 if self.mixes else channels, into, out, (sizes[0], sizes[1]), dtype)]

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Nothing beside the strips."""
        return 0

    def window(self, rows: slice, height: int) -> slice:
        """Of an image without an end: the rows beyond it are copies."""
        return self.axes[0].input_window([rows])[0]

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Output rows from input rows; columns beyond the image are copied here."""
        columns = slice(0, self.scale * x.shape[2])
        span = self.axes[1].input_window([columns])[0]
        x = np.pad(x, ((0, 0), (0, 0), (-span.start, span.stop - x.shape[2])), mode="edge")
        geometry = self._geometry([first, span.start], x.shape[1:], [rows, columns])
        y: Array = conv_transpose(x[None] if self.mixes else x[:, None], self.weight.astype(x.dtype), geometry=geometry)
        return y[0] if self.mixes else y[:, 0]

    def _geometry(self, starts: Sequence[int], sizes: Sequence[int], outputs: Sequence[slice]) -> Geometry:
        """The operator that makes these outputs of the inputs from `starts` on."""
        crops = [crop_for(*each) for each in zip(self.axes, starts, sizes, outputs, strict=True)]
        return Geometry(self.weight.shape[2:], self.scale, crops)

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """The sum over all pairs of inputs and taps, phase by phase; the image has no end."""
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
        """From values [C, P, A, B] and taps [C_in, C_out, A, B] to outputs [C_out, P]."""
        if self.mixes:
            return np.tensordot(taps, values, ((0, 2, 3), (0, 2, 3)))
        return np.tensordot(values, taps[0, 0], 2)

    def _gains(self) -> list[str]:
        """Where the weights that meet in an output do not sum to 1, what that does to an image."""
        if self.mixes:
            return []
        s, taps = self.scale, self.weight[0, 0]
        whole = np.pad(taps, [(0, -k % s) for k in taps.shape])
        sums = whole.reshape(whole.shape[0] // s, s, whole.shape[1] // s, s).sum((0, 2))
        if np.ptp(sums) > 0.01 * np.abs(sums).max():
            return [f"the kernel's phases sum to {sums.min():.3g} .. {sums.max():.3g}: expect a checkerboard"]
        return [f"the kernel multiplies brightness by {sums[0, 0]:.3g}"] if abs(sums[0, 0] - 1) > 0.01 else []


def _read_weight(path: Path) -> Array:
    shape = read_headers(path)[""].shape
    if len(shape) not in (2, 4) or 0 in shape:
        raise FileError(
            f"{path} has shape {shape}; a kernel [kh, kw] or weights [C_in, C_out, kh, kw] are needed. "
            "Write np.save(name, kernel) with such an array"
        )
    weight = read_features(path)[""]
    if weight.dtype.kind not in "biuf":
        raise FileError(f"{path} holds {weight.dtype}; real numbers are needed. Write kernel.astype(np.float32)")
    if not np.isfinite(weight).all():
        raise FileError(f"{path} holds inf or NaN; finite weights are needed. Write np.nan_to_num(kernel)")
    return weight.astype(np.float64)
