"""Softmax over the channels of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv.models.steps.pooling import ChannelMean
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region, Shape, single, taken


@dataclass(frozen=True)
class ChannelSoftmax(SamePlace):
    """exp(x - m) / sum(exp(x - m)) over the channels of a pixel, with their largest value m; `log` for its logarithm.

    >>> ChannelSoftmax().output_channels([5])
    5
    """

    log: bool = False
    roundings = 16

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError if there are several inputs."""
        return single(given)

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        x = np.ascontiguousarray(taken(given[0], out.rows, out.columns))
        channels = x.shape[-3]
        with np.errstate(all="ignore"):  # inf and NaN are values here
            x = x - x.max(-3, keepdims=True)
            powers = np.exp(x)
            mean = np.empty_like(powers[..., :1, :, :])
            # sums in an order that no shape changes
            ChannelMean().compute([Region(powers, out.rows, out.columns)], sizes, out._replace(values=mean))
            mean *= channels
            out.values[...] = x - np.log(mean) if self.log else powers / mean
