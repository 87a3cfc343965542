"""Activations of their own, where no convolution before them can apply them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv.kernels.activation import activation_of
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region, Shape, taken


@dataclass(frozen=True, eq=False)
class Pointwise(SamePlace):
    """Activation: one of `tconv.prepare`, or of `FUNCTIONS`."""

    activation: Any
    roundings = 2

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError, ArgumentError."""
        if self.activation != "sigmoid":
            activation_of(self.activation, given[0])
        return given[0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        out.values[...] = taken(given[0], out.rows, out.columns)
        if self.activation == "sigmoid":
            with np.errstate(over="ignore"):
                out.values[...] = 1 / (1 + np.exp(-out.values))
            return
        activation = activation_of(self.activation, out.values.shape[-3])
        if activation is not None:
            activation.apply(out.values[None] if out.values.ndim == 3 else out.values)
