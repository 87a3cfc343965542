"""Pointwise activations that a kernel applies to the outputs as it writes them.

`activation_of` reads the `activation` argument of `tconv.prepare` and of the layers of networks.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.errors import ArgumentError
from tconv.kernels.problem import accumulator

_FORMS = 'None, "relu", "relu6", ("leaky_relu", slope), ("prelu", slopes) or ("clamp", low, high) is needed'


class Activation(NamedTuple):
    """Leaky ReLU, then a clamp: y if y >= 0, else slope * y, limited to [low, high]. NaN stays NaN.

    `slopes` is one number, or one per output channel.
    """

    slopes: Array
    low: float = -math.inf
    high: float = math.inf

    def arrays(self, channels: int, dtype: Any = np.float32) -> tuple[Array, Array]:
        """Return one slope per channel, and [low, high], in the dtype of the sums: arguments of the machine code."""
        slopes = np.ascontiguousarray(np.broadcast_to(self.slopes, (channels,)), dtype)
        return slopes, np.array([self.low, self.high], dtype)

    def fill(self, x: Array, y: Array) -> None:
        """Fill y with the activation of x, both canonical [N, C, ...], with the bits of `apply`; apart in memory."""
        # of limits, NumPy's maximum says nothing of the sign of 0
        limited = self.low > -math.inf or self.high < math.inf
        if limited or accumulator(y.dtype) != y.dtype or not all(0 < slope <= 1 for slope in self.slopes.tolist()):
            y[...] = x
            self.apply(y)
            return
        slopes = self.slopes.astype(y.dtype).reshape(1, -1, *[1] * (y.ndim - 2))
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
            np.multiply(x, slopes, out=y)
            np.maximum(x, y, out=y)  # in half the time of a mask

    def apply(self, y: Array) -> None:
        """Apply it in place to canonical y [N, C, ...], after methods that do not apply it as they write."""
        wide = accumulator(y.dtype)
        if wide != y.dtype:  # 2-byte floats: computed in float32, as the machine code does
            sums = y.astype(wide)
            self.apply(sums)
            with np.errstate(over="ignore", under="ignore"):
                y[...] = sums
            return
        slopes = np.broadcast_to(self.slopes, (y.shape[1],)).astype(y.dtype).reshape(1, -1, *[1] * (y.ndim - 2))
        low, high = (y.dtype.type(limit) for limit in (self.low, self.high))
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
            np.multiply(y, slopes, out=y, where=y < 0)
            np.copyto(y, low, where=y < low)
            np.copyto(y, high, where=y > high)


def activation_of(argument: Any, channels: int) -> Activation | None:
    """Return the `Activation` of an argument: None, "relu", "relu6", or a tuple of a name and its numbers.

    Raises ArgumentError for anything else.
    """
    if argument is None:
        return None
    name, *numbers = argument if isinstance(argument, tuple) and argument else (argument,)
    name = name if isinstance(name, str) else None
    # the slope is 1 and the lower limit is 0: with slope 0, 0 * -inf would be NaN
    if name == "relu" and not numbers:
        return Activation(np.ones(1), 0.0)
    if name == "relu6" and not numbers:
        return Activation(np.ones(1), 0.0, 6.0)
    needed, instead = _FORMS, '"relu"'
    if name in ("leaky_relu", "prelu"):
        needed, instead = "a name and its slope are needed", f'("{name}", 0.01)'
        if len(numbers) == 1:
            slopes = _array(numbers[0])
            if slopes.dtype.kind not in "fiu" or slopes.shape not in ((), (1,), (channels,)):
                count = f"one slope, or {channels}, one per output channel, is needed"
                needed = f"{count}; there are {slopes.size}" if slopes.dtype.kind in "fiu" else count
            elif np.abs(slopes).max() <= np.finfo(np.float32).max:  # not inf in float32, the dtype of the kernel
                return Activation(np.atleast_1d(slopes))
            else:
                needed = "slopes must be finite in float32"
    if name == "clamp":
        needed, instead = "a name and two limits are needed, the lower first", '("clamp", 0, 1)'
        limits = _array(numbers)
        if limits.dtype.kind in "fiu" and limits.shape == (2,):
            low, high = float(limits[0]), float(limits[1])
            if low <= high:
                return Activation(np.ones(1), low, high)
            instead = f'("clamp", {high:g}, {low:g})' if high < low else instead
    raise ArgumentError(f"activation is {shown(argument)}; {needed}. Write activation={instead}, for example")


def frozen(argument: Any) -> Any:
    """Return the argument with copies of its arrays: later changes of the caller's arrays have no effect on it."""
    if not isinstance(argument, tuple):
        return argument
    arrays = [_array(part) if hasattr(part, "__array__") or isinstance(part, list) else None for part in argument]
    return tuple(
        part if array is None or array.dtype.kind not in "fiu" else array.copy()
        for part, array in zip(argument, arrays, strict=True)
    )


def _array(numbers: Any) -> Array:
    """Return numbers as an array; an array of dtype object if they cannot be read as one."""
    try:
        return np.asarray(numbers)
    except (ValueError, TypeError, RuntimeError):  # ragged, or a tensor that NumPy cannot read
        return np.asarray(None)
