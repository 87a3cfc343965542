"""What happens to an output element beside its bias: the pointwise activations that a kernel applies as it writes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv.errors import ArgumentError

Array = np.ndarray[Any, Any]


class Activation(NamedTuple):
    """y if y >= 0, else slope * y; then not below `low` and not above `high`. NaN passes through.

    `slopes` is one number, or one per output channel.
    """

    slopes: Array
    low: float = -math.inf
    high: float = math.inf

    def arrays(self, channels: int) -> tuple[Array, Array]:
        """One slope per channel, and the two limits, as float32."""
        slopes = np.ascontiguousarray(np.broadcast_to(self.slopes, (channels,)), np.float32)
        return slopes, np.array([self.low, self.high], np.float32)

    def apply(self, y: Array) -> None:
        """The same in place, on canonical y [N, C, ...], for methods that do not apply it as they write."""
        slopes = np.broadcast_to(self.slopes, (y.shape[1],)).astype(y.dtype).reshape(1, -1, *[1] * (y.ndim - 2))
        np.multiply(y, slopes, out=y, where=y < 0)
        np.copyto(y, y.dtype.type(self.low), where=y < self.low)
        np.copyto(y, y.dtype.type(self.high), where=y > self.high)


def activation_of(given: Any, channels: int) -> Activation | None:
    """What a user wrote, as an `Activation`: None, "relu", "relu6", or a tuple of a name and its numbers.

    Raises ArgumentError for anything else.
    """
    name, *numbers = given if isinstance(given, tuple) and given else (given,)
    if given is None:
        return None
    if name == "relu" and not numbers:
        return Activation(np.zeros(1), 0.0)
    if name == "relu6" and not numbers:
        return Activation(np.zeros(1), 0.0, 6.0)
    if name in ("leaky_relu", "prelu") and len(numbers) == 1:
        slopes = np.asarray(numbers[0])
        if slopes.dtype.kind in "fiu" and slopes.shape in ((), (1,), (channels,)) and np.isfinite(slopes).all():
            return Activation(np.atleast_1d(slopes))
    if name == "clamp" and len(numbers) == 2 and all(isinstance(number, (int, float)) for number in numbers):
        low, high = numbers
        if low <= high:
            return Activation(np.ones(1), float(low), float(high))
    raise ArgumentError(
        f'activation is {given!r}; None, "relu", "relu6", ("leaky_relu", slope), ("prelu", slopes) with one '
        f'slope or {channels}, or ("clamp", low, high) is needed. Write activation="relu", for example'
    )
