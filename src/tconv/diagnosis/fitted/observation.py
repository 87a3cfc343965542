"""Input of every fitted cause: an output beside the prediction that it differs from.

With a call the prediction is a window of the call's output; without one it is the other output as it was given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.diagnosis.call_model import CallModel, Window
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.tolerance import Tolerance

SMALL = 0.1
"""Largest root mean square of a difference, in units of the output's, that may be rounding."""


@dataclass(frozen=True, eq=False)
class CallObservation:
    """The call behind the prediction, and the whole output of which a window is observed."""

    call: CallModel
    window: Window
    y: Array
    finite: Array
    """Places of y that are compared."""


@dataclass(frozen=True, eq=False)
class Observation:
    """Two outputs [N, C, *window] to compare place by place."""

    predicted: Array
    y: Array
    """Output to explain."""
    finite: Array
    """Places that are compared."""
    tolerance: Tolerance
    writer: FixWriter
    whole: CallObservation | None = None
    """None without a call; causes that need one yield nothing then."""
    variance: Array | None = None
    """Variance of the BatchNorm behind the layer, [C], if it was given."""
    step: float = 0.0
    """Step of a quantized output; 0 if it was not quantized."""

    @property
    def first_row(self) -> int:
        """Number of the first observed row along the first spatial axis; 0 if all rows are observed."""
        return 0 if self.whole is None else int(self.whole.window[0].start)

    @cached_property
    def known(self) -> Array:
        """Output to explain, with 0 where it is not compared."""
        return np.where(self.finite, self.y, 0)

    @cached_property
    def limits(self) -> Array:
        """Largest distance at each place that rounding explains."""
        return self.tolerance.at(self.known)

    @cached_property
    def is_small(self) -> bool:
        """True if the difference may be rounding."""
        power, rest = ((np.abs(a[self.finite]) ** 2).sum() for a in (self.y, self.predicted - self.y))
        return bool(0 < rest <= SMALL**2 * power)
