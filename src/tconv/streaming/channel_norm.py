"""Normalization of every sample over its channels: layer norm and RMS norm along time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.steps.pooling import channel_sums
from tconv.models.steps.step import single
from tconv.streaming.same_time import SameTime
from tconv.streaming.time_step import TimeSpan


@dataclass(frozen=True, eq=False)
class ChannelNorm(SameTime):
    """(x - mean) / sqrt(variance + eps) over the channels of each sample, times `gain`, plus `shift`, both [C] or None.

    Without `centred` it is the RMS norm x / sqrt(mean square + eps).

    >>> ChannelNorm(np.ones(8, np.float32)).output_channels([8])
    8
    """

    gain: Array | None = None
    shift: Array | None = None
    eps: float = 1e-5
    centred: bool = True

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError for another number of constants."""
        channels = single(given)
        for name in ("gain", "shift"):
            array = getattr(self, name)
            if array is not None and array.shape != (channels,):
                raise ShapeError(f"{name} of the norm has shape {array.shape}; ({channels},) is needed")
        return channels

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out."""
        y = out.values
        start, count = out.start - given[0].start, y.dtype.type(y.shape[1])
        x = given[0].values[..., start : start + y.shape[-1]]
        with np.errstate(all="ignore"):  # inf and NaN are values here
            if self.centred:
                np.subtract(x, channel_sums(x) / count, out=y)
                x = y
            rate = channel_sums(np.square(x)) / count
            rate += y.dtype.type(self.eps)
            np.sqrt(rate, out=rate)
            np.divide(x, rate, out=y)
            for constant, operation in ((self.gain, np.multiply), (self.shift, np.add)):
                if constant is not None:
                    operation(y, constant.astype(y.dtype)[:, None, None], out=y)
