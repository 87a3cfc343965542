"""What `tconv upsample` asks of whatever makes an image larger, and the definition's arithmetic at single outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.problem import Problem

Array = np.ndarray[Any, Any]

Load = Callable[[Array, Array], Array]
"""Rows [P, A] and columns [P, B] to the inputs there, [C, P, A, B] in float64 (complex: complex128); indices beyond the
image mean its outermost pixel."""


class Truth(NamedTuple):
    """What the definition says of a few outputs [C, P], in float64, and how far a kernel may be from it."""

    values: Array
    mass: Array
    """The same sums over absolute values: what rounding errors are relative to."""
    roundings: int
    """How often a value is rounded on its way to an output, at most."""
    error: Array | None = None
    """How far a kernel may be from it, where mass and roundings do not say that."""


class Frame(NamedTuple):
    """What strips of an image do not tell: its height, the number that stands for white, and whether it has opacity."""

    height: int
    white: float
    alpha: bool


class Upsampler(Protocol):
    """A way to make an image [C, H, W] `scale` times larger with transposed convolutions, strip by strip.

    An interpolation filter is one; a learned network becomes one by answering the same questions.
    """

    name: str
    """What an option calls it."""
    words: str
    """What it is called in a report."""
    notes: list[str]
    """What a user should know about it."""
    scale: int
    mixes: bool
    """Whether an output channel hears of several input channels, opacity among them."""
    plainer: str
    """The filter that its result is compared with, where the original is known."""
    strip_bytes: int
    """How large a strip of output values should be."""
    block: int
    """Outputs to be checked are drawn in squares of this side, where that makes the definition's work less."""

    def channels(self, channels: int) -> int:
        """Output channels for so many input channels. Raises ShapeError where it takes other ones."""

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Problem]:
        """The transposed convolutions over an image of this shape, one after the other."""

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Bytes that it holds while an image of this shape is made larger, beside the strips."""

    def window(self, rows: slice, height: int) -> slice:
        """The input rows that these output rows need; those beyond the image are copies of its first or last row."""

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Output rows [C_out, rows, scale*W] from the input rows x [C, h, W], which start at `first`."""

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """What the definition says of the outputs at rows y [P] and columns x [P]."""


class Reach(NamedTuple):
    """The pairs of input and tap that meet in each of P outputs of one axis: s*input + tap = output + lo."""

    inputs: Array
    taps: Array
    there: Array
    """Whether the pair exists: the tap in the kernel, the input in the image."""


def reach(outputs: Array, n: int, geometry: Geometry) -> Reach:
    """All pairs [P, M] of a one-axis geometry without dilation over n inputs: the gather form of the definition.

    >>> reach(np.array([0, 3]), 8, Geometry(4, 2, 1))                       # outputs 0 and 3 read inputs 0, 1 and 2
    Reach(inputs=array([[ 0, -1],
           [ 2,  1]]), taps=array([[1, 3],
           [0, 2]]), there=array([[ True, False],
           [ True,  True]]))
    """
    (k,), (s,), ((lo, _),) = geometry.kernel, geometry.stride, geometry.crop
    place, back = (outputs + lo)[:, None], np.arange(-(-k // s))
    inputs, taps = place // s - back, place % s + s * back
    return Reach(inputs, taps, (taps < k) & (inputs >= 0) & (inputs < n))
