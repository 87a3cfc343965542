"""Activations of their own, where no convolution before them can apply them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.errors import ArgumentError
from tconv.kernels.activation import Activation, activation_of
from tconv.kernels.simd import elementwise
from tconv.models.steps.functions import function_of
from tconv.models.steps.pieces import PIECE, flat_pieces
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region, Shape, rebuilt, single, taken

_NONE = Activation(np.ones(1))


@dataclass(frozen=True, eq=False)
class Pointwise(SamePlace):
    """Activation: one of `tconv.prepare`, or a name of `functions.FUNCTIONS`, or a tuple of one and its numbers.

    Slopes of "prelu" are one number, or one per channel: [C], [C, 1, 1] or [1, C, 1, 1].

    >>> Pointwise(("prelu", np.ones((8, 1, 1)))).activation[1].shape
    (8,)
    """

    activation: Any

    def __post_init__(self) -> None:
        if isinstance(self.activation, tuple) and len(self.activation) == 2 and self.activation[0] == "prelu":
            slopes = self.activation[1]
            object.__setattr__(self, "activation", ("prelu", _by_channel(slopes)))

    def __reduce__(self) -> Any:
        """Return the layer for copies and other processes, without what is cached."""
        return rebuilt(self)

    @cached_property
    def _function(self) -> Any:
        return function_of(self.activation)

    @cached_property
    def _activations(self) -> dict[int, Activation]:
        """Activations of `tconv.prepare` by the number of channels."""
        return {}

    @property
    def roundings(self) -> int:
        """Roundings of the result."""
        function = function_of(self.activation)
        return 2 if function is None else function[0].roundings

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError, ArgumentError."""
        channels = single(given)
        if function_of(self.activation) is None:
            activation_of(self.activation, channels)
        return channels

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        x, y = taken(given[0], out.rows, out.columns), out.values
        function = self._function
        if function is None:
            activation = self._activations.get(y.shape[-3])
            if activation is None:
                activation = self._activations[y.shape[-3]] = activation_of(self.activation, y.shape[-3]) or _NONE
            _activate(activation, *((x[None], y[None]) if y.ndim == 3 else (x, y)))
            return
        fill, numbers = function[0].fill, function[1]
        spare = np.empty((3, min(PIECE, y.size)), y.dtype)
        with np.errstate(all="ignore"):  # inf and NaN are values here
            for source, target in flat_pieces(x, y):
                a, b, c = (each[: target.size].reshape(target.shape) for each in spare)
                a[...] = source
                fill(a, b, c, *numbers)
                target[...] = b

    @property
    def magnitudes(self) -> _Magnitudes | None:
        """Step that gives the sizes of numbers whose difference the result is; None if it is not one."""
        function = function_of(self.activation)
        return None if function is None or function[0].terms is None else _Magnitudes(self.activation)


def _activate(activation: Activation, x: Array, y: Array) -> None:
    """Fill y [N, C, h, w]."""
    numbers = float(activation.slopes[0]), activation.low, activation.high
    if len(activation.slopes) > 1 or not elementwise.fill("activation", (x,), numbers, y):
        activation.fill(x, y)


class _Magnitudes(Pointwise):
    """Sizes of numbers whose difference the result of an activation is."""

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the sizes."""
        function = function_of(self.activation)
        assert function is not None
        assert function[0].terms is not None
        out.values[...] = function[0].terms(taken(given[0], out.rows, out.columns), *function[1])


def _by_channel(slopes: Any) -> Any:
    """Return slopes with one axis. Raises ArgumentError if they are not one for each channel."""
    array = np.asarray(slopes)
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        return slopes
    if array.size > 1 and (array.ndim < 3 or array.size != array.shape[-3]):
        raise ArgumentError(
            f"prelu has slopes of shape {array.shape}; one, or one per channel, is needed: [C], [C, 1, 1], [1, C, 1, 1]"
        )
    return array.reshape(-1)
