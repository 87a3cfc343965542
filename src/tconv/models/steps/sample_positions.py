"""Positions of the pixels of a resized picture in the original one, by the rules of the frameworks.

Positions are fractions, and floors and rests of them are exact: in floating point a position that should be a whole
number may fall just beside it, and "nearest" then takes another pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError

MODES = ("nearest", "linear", "cubic")
"""Nearest pixel; weighted mean of the two nearest ones; cubic convolution of four (Keys, 1981)."""


class Axis(NamedTuple):
    """Sizes along one axis, and the step from one output to the next in pixels of the input."""

    size: int
    outputs: int
    step: Fraction


def _half_pixel(axis: Axis) -> tuple[Fraction, Fraction]:
    return axis.step, axis.step / 2 - Fraction(1, 2)


def _symmetric(axis: Axis) -> tuple[Fraction, Fraction]:
    # the output is centred on the input, which counts where the size is rounded
    return axis.step, axis.step / 2 - Fraction(1, 2) + (axis.size - axis.outputs * axis.step) / 2


def _corners(axis: Axis) -> tuple[Fraction, Fraction]:
    return Fraction(axis.size - 1, max(1, axis.outputs - 1)), Fraction(0)


POSITIONS: dict[str, Callable[[Axis], tuple[Fraction, Fraction]]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda axis: _half_pixel(axis) if axis.outputs > 1 else (Fraction(0), Fraction(0)),
    "tf_half_pixel_for_nn": lambda axis: (axis.step, axis.step / 2),
    "asymmetric": lambda axis: (axis.step, Fraction(0)),
    "align_corners": _corners,
}
"""Rules by ONNX's names: the step, and the position of output 0, such that output i is at step * i + that."""

ROUNDING: dict[str, Callable[[Array, int], Array]] = {
    "floor": lambda n, d: n // d,
    "ceil": lambda n, d: -(-n // d),
    "round_prefer_floor": lambda n, d: -((d - 2 * n) // (2 * d)),
    "round_prefer_ceil": lambda n, d: (2 * n + d) // (2 * d),
}
"""The pixel that "nearest" takes at position n / d, by ONNX's names; the last two differ at halves only."""


class Taps(NamedTuple):
    """Input pixels [n, t] of each of n outputs, some perhaps outside of the input, and their weights [n, t]."""

    places: Array
    weights: Array


def rule(axis: Axis, positions: str) -> tuple[Fraction, Fraction]:
    """Return the step, and the position of output 0, by the rule of this name."""
    return POSITIONS[positions](axis)


def taps(outputs: slice, along: tuple[Fraction, Fraction], mode: str, rounding: str, coefficient: float) -> Taps:
    """Return the pixels and weights of outputs that are at along[0] * i + along[1]."""
    step, start = along
    divisor = step.denominator * start.denominator
    factor, offset = step.numerator * start.denominator, start.numerator * step.denominator
    largest = 4 * (abs(factor) * max(1, outputs.stop) + abs(offset) + divisor)
    numbers = np.arange(outputs.start, outputs.stop, dtype=np.int64 if largest < 1 << 62 else object)
    numerators = numbers * factor + offset
    if mode == "nearest":
        places = ROUNDING[rounding](numerators, divisor).astype(np.int64)
        return Taps(places[:, None], np.ones((len(places), 1)))
    floor = numerators // divisor
    share = ((numerators - floor * divisor) / divisor).astype(np.float64)
    floor = floor.astype(np.int64)
    if mode == "linear":
        return Taps(floor[:, None] + np.arange(2), np.stack([1 - share, share], 1))
    return Taps(floor[:, None] + np.arange(-1, 3), _cubic(share, coefficient))


def _cubic(t: Array, a: float) -> Array:
    """Return the weights [n, 4] of cubic convolution at t after the second of four pixels."""

    def near(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((d - 5) * d + 8) * d * a - 4 * a

    return np.stack([far(1 + t), near(t), near(1 - t), far(2 - t)], 1)


def check(mode: str, positions: str, rounding: str) -> None:
    """Raise ArgumentError for names that are not known."""
    known: list[tuple[str, str, Sequence[str]]] = [
        ("mode", mode, MODES),
        ("positions", positions, list(POSITIONS)),
        ("rounding", rounding, list(ROUNDING)),
    ]
    for what, name, names in known:
        if name not in names:
            raise ArgumentError(f"{what} is {name!r}; one of {', '.join(names)} is needed")
