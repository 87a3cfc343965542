"""What happens to an output element beside its bias: the pointwise activations that a kernel applies as it writes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv.errors import ArgumentError

Array = np.ndarray[Any, Any]


_FORMS = 'None, "relu", "relu6", ("leaky_relu", slope), ("prelu", slopes) or ("clamp", low, high) is needed'


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
        low, high = (y.dtype.type(limit) for limit in (self.low, self.high))
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
            np.multiply(y, slopes, out=y, where=y < 0)
            np.copyto(y, low, where=y < low)
            np.copyto(y, high, where=y > high)


def activation_of(given: Any, channels: int) -> Activation | None:
    """What a user wrote, as an `Activation`: None, "relu", "relu6", or a tuple of a name and its numbers.

    Raises ArgumentError for anything else.
    """
    if given is None:
        return None
    name, *numbers = given if isinstance(given, tuple) and given else (given,)
    name = name if isinstance(name, str) else None
    # the slope is 1 and the limit does it: 0 * -inf would be NaN
    if name == "relu" and not numbers:
        return Activation(np.ones(1), 0.0)
    if name == "relu6" and not numbers:
        return Activation(np.ones(1), 0.0, 6.0)
    why, instead = _FORMS, '"relu"'
    if name in ("leaky_relu", "prelu"):
        why, instead = "a name and its slope are needed", f'("{name}", 0.01)'
        if len(numbers) == 1:
            slopes = _array(numbers[0])
            if slopes.dtype.kind not in "fiu" or slopes.shape not in ((), (1,), (channels,)):
                count = f"one slope, or {channels}, one per output channel, is needed"
                why = f"{count}; there are {slopes.size}" if slopes.dtype.kind in "fiu" else count
            elif np.abs(slopes).max() <= np.finfo(np.float32).max:  # not inf, as a kernel holds it
                return Activation(np.atleast_1d(slopes))
            else:
                why = "slopes must be finite in float32"
    if name == "clamp":
        why, instead = "a name and two limits are needed, the lower first", '("clamp", 0, 1)'
        limits = _array(numbers)
        if limits.dtype.kind in "fiu" and limits.shape == (2,):
            low, high = float(limits[0]), float(limits[1])
            if low <= high:
                return Activation(np.ones(1), low, high)
            instead = f'("clamp", {high:g}, {low:g})' if high < low else instead
    raise ArgumentError(f"activation is {shown(given)}; {why}. Write activation={instead}, for example")


def kept(given: Any) -> Any:
    """What a user wrote, with slopes that nobody changes later."""
    if not isinstance(given, tuple):
        return given
    arrays = [_array(part) if hasattr(part, "__array__") or isinstance(part, list) else None for part in given]
    return tuple(
        part if array is None or array.dtype.kind not in "fiu" else array.copy()
        for part, array in zip(given, arrays, strict=True)
    )


def _array(numbers: Any) -> Array:
    """What was written for numbers, whatever it is."""
    try:
        return np.asarray(numbers)
    except (ValueError, TypeError, RuntimeError):  # ragged, or a tensor that keeps its numbers to itself
        return np.asarray(None)
