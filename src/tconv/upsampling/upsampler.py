"""Interface between an upsampler (a filter, a kernel file or a network) and the code that runs and checks it.

It also has the gather form of the definition at single outputs, which all upsamplers' checks use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.models.image_model import Model

Load = Callable[[Array, Array], Array]
"""Rows [P, A] and columns [P, B] to the inputs there, [C, P, A, B] in float64 (complex: complex128); indices beyond the
image mean its outermost pixel."""


class Truth(NamedTuple):
    """Outputs [C, P] by the definition, in float64, and the rounding error that a kernel may have there."""

    values: Array
    mass: Array
    """Sums of the absolute products, which rounding errors are relative to."""
    roundings: int
    """Most roundings between the inputs and one output."""
    error: Array | None = None
    """Allowed error [C, P], where it does not follow from mass and roundings."""


class Frame(NamedTuple):
    """Facts about an image that its strips do not show: height, number that stands for white, and opacity.

    `source` is the run of a network over the image, if there is one; without it a strip computes all that it needs.
    `columns` are those of the result that are computed, all if None. `width` is the image's where x has only a part of
    its columns, those from `left` on.
    """

    height: int
    white: float
    alpha: bool
    source: Any = None
    columns: slice | None = None
    width: int | None = None
    left: int = 0


class Pass(NamedTuple):
    """One transposed convolution of a run, and the method that computes it."""

    problem: Problem
    method: str


class AnyUpsampler(Protocol):
    """Upsampler, or a choice among upsamplers that depends on the size of an image."""

    name: str
    """Name in options and results."""
    notes: list[str]
    """Warnings for the user."""
    mixes: bool
    """True if an output channel depends on several input channels, opacity among them."""
    size_option: str
    """Name of the option that states the size: "scale", "width" or "height"."""

    @property
    def text(self) -> str:
        """Size and method, for reports."""

    def fitted(self, height: int, width: int) -> Upsampler:
        """Return the upsampler of images of this size."""

    def label(self, height: int, width: int) -> str:
        """Return the size of the result of such an image, as names of files have it: "x2", or "1920x1280"."""


class Upsampler(AnyUpsampler, Protocol):
    """Method that makes an image [C, H, W] larger with transposed convolutions, strip by strip.

    Interpolation filters, kernels from files and learned networks implement it.
    """

    description: str
    """Method in reports, with details."""
    learned: bool
    """True for a network, which reads values from black to white."""
    plainer: str
    """Filter that the result is compared with, where the original is known."""
    strip_bytes: int
    """Bytes of output values in one strip."""
    block: int
    """Side of the squares in which outputs are drawn for the check, where squares make the check cheaper."""

    @property
    def scale(self) -> float:
        """Width of the result over that of the image."""

    @property
    def model(self) -> Model | None:
        """Its network; None for other methods."""

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result of an image."""

    def channels(self, channels: int) -> int:
        """Return the output channels for these input channels. Raises ShapeError for a number that does not fit."""

    def refuse_bands(self, channels: int, alpha: bool, bands: bool) -> None:
        """Raise ShapeError for channels that the method does not take: with `alpha` the last is opacity.

        With `bands` the others are neither grey nor red, green and blue, however many they are.
        """

    def reach(self, height: int) -> int:
        """Return the most pixels between an output and a pixel that it reads, in an image of this height."""

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Pass]:
        """Return the transposed convolutions over an image of this shape, in order."""

    def plan_notes(self, shape: tuple[int, int, int]) -> list[str]:
        """Return facts about the run over an image of this shape, for a report: rows that are added, passes."""

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Return the bytes of scratch memory for an image of this shape, beside the strips."""

    def window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the input rows (axis 1: columns) that these outputs need, of an image of this height (width).

        Those beyond the image repeat its first or last one.
        """

    def own_window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the inputs that `strip` is given for these outputs where `frame.source` has the network's."""

    def bands(self, shape: tuple[int, int, int]) -> list[slice]:
        """Return the columns of the result that are computed one after another; all at once if memory allows that."""

    def source(self, x: Array, values: Any, advance: Callable[[float], None], check: Any) -> Any:
        """Return the run of a network over an image, for `Frame.source`; None for other methods.

        `advance` is called with shares of its work. The network is checked with `check`, if there is one.
        """

    def network_outputs(self, rows: slice, columns: slice, shape: tuple[int, int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of the network's output that these of the result are made of."""

    def doubt(self, source: Any) -> str | None:
        """Return a warning about the output of the network that ran over `Frame.source`, if there is one."""

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Return output rows [C_out, rows, scale*W] from the input rows x [C, h, W], which start at `first`.

        With `frame.columns` those columns of them, and with `frame.width` x begins at the column `frame.left`.
        """

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """Return the definition's outputs at rows y [P] and columns x [P]."""

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return all that the result depends on beside the image: weights, sizes, settings."""


def row_strips(upsampler: Upsampler, shape: tuple[int, int, int], itemsize: int) -> Iterator[slice]:
    """Return the output rows of an enlarged image [C, height, width], in strips of whole input rows."""
    channels, height, width = shape
    out_height, out_width = upsampler.output_size(height, width)
    unit = max(1, out_height // max(1, height))
    row = upsampler.channels(channels) * out_width * itemsize
    step = unit * max(1, upsampler.strip_bytes // max(1, row * unit))
    return (slice(start, min(start + step, out_height)) for start in range(0, out_height, step))


def even_parts(size: int, count: int) -> list[slice]:
    """Return `count` parts of about the same size, or fewer of one element.

    >>> even_parts(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    count = min(count, size)
    return [slice(size * part // count, size * (part + 1) // count) for part in range(count)]


class WholeScale:
    """Part of the upsamplers of one whole scale that does not depend on their method."""

    scale: int
    description: str
    learned, size_option = False, "scale"
    model: Any = None
    window: Callable[..., slice]

    def own_window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the inputs that these outputs need."""
        return self.window(outputs, size, axis)

    def bands(self, shape: tuple[int, int, int]) -> list[slice]:
        """Return all columns of the result."""
        return [slice(0, self.scale * shape[2])]

    def source(self, x: Array, values: Any, advance: Callable[[float], None], check: Any) -> Any:
        """Return None: there is no network."""
        return None

    def network_outputs(self, rows: slice, columns: slice, shape: tuple[int, int, int]) -> tuple[slice, slice]:
        """Return the same rows and columns."""
        return rows, columns

    def plan_notes(self, shape: tuple[int, int, int]) -> list[str]:
        """Return nothing to note."""
        return []

    def doubt(self, source: Any) -> str | None:
        """Return None: there is no network."""
        return None

    def label(self, height: int, width: int) -> str:
        """Return the scale, as names of files have it."""
        return f"x{self.scale}"

    @property
    def text(self) -> str:
        """Scale and method, for reports."""
        at = "at its own size by" if self.learned else "at its own size, filtered by"
        by = f"{self.scale} times by" if self.scale > 1 else at
        return f"{by} {self.description}"

    def fitted(self, height: int, width: int) -> Any:
        """Return the upsampler itself: it takes images of any size."""
        return self

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result of an image."""
        return self.scale * height, self.scale * width

    def refuse_bands(self, channels: int, alpha: bool, bands: bool) -> None:
        """Take any channels: a filter works on each alone, and a kernel across channels counts its own."""

    def reach(self, height: int) -> int:
        """Return the most pixels between an output and a pixel that it reads, in an image of this height."""
        beside = self._beside(height // 2, height)
        # a filter reads only rows inside the image: of an image of few rows, ask for those of a tall one
        if height < 4 * beside + 64:
            beside = max(beside, self._beside(1024, 2048))
        return max(1, beside)

    def _beside(self, row: int, height: int) -> int:
        """Return the most rows between an input row and those that its outputs read."""
        window: slice = self.window(slice(self.scale * row, self.scale * (row + 1)), height)
        return int(max(row - window.start, window.stop - 1 - row))


class Reach(NamedTuple):
    """Pairs of input and tap that contribute to each of P outputs of one axis: s*input + tap = output + lo."""

    inputs: Array
    taps: Array
    valid: Array
    """True where the tap is in the kernel and the input in the image."""


def reach(outputs: Array, n: int, geometry: Geometry) -> Reach:
    """Return all pairs [P, M] of a one-axis geometry without dilation over n inputs: the definition's gather form.

    >>> reach(np.array([0, 3]), 8, Geometry(4, 2, 1))                       # outputs 0 and 3 read inputs 0, 1 and 2
    Reach(inputs=array([[ 0, -1],
           [ 2,  1]]), taps=array([[1, 3],
           [0, 2]]), valid=array([[ True, False],
           [ True,  True]]))
    """
    (k,), (s,), ((lo, _),) = geometry.kernel, geometry.stride, geometry.crop
    place, back = (outputs + lo)[:, None], np.arange(-(-k // s))
    inputs, taps = place // s - back, place % s + s * back
    return Reach(inputs, taps, (taps < k) & (inputs >= 0) & (inputs < n))
