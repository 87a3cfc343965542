"""Minimal filtering F(4,3) along rows, for layers of networks with three rows of taps.

`filtering` holds the mathematics, `row_groups` the machine code; `tconv.models` runs layers through `grouped`.
"""

from __future__ import annotations

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.activation import Activation
from tconv.kernels.problem import Array
from tconv.kernels.simd.availability import missing
from tconv.kernels.simd.winograd_f43.rows import Rows

_LEAST_GROUPED = 4
"""Input channels; with fewer, transforming them costs more than it saves."""
_MOST_COLUMNS = 256
"""Taps of a row: the sums of one channel make one part."""
_LARGEST_GROUPED = 1e37
"""Weights below this stay finite when they are transformed."""


def grouped(w: Array, bias: Array | None, g: Geometry, activation: Activation | None) -> Rows | None:
    """The layer with a canonical weight [C_in, C_out, kh, kw] by minimal filtering; None where it does not apply.

    It has its own order of sums, and reaches beyond the rows of an output: a network knows which rows lie in a group.
    """
    if missing() is not None or len(w) < _LEAST_GROUPED or not (np.abs(w) < _LARGEST_GROUPED).all():
        return None
    if w.dtype != np.float32 or g.kernel[0] != 3 or g.kernel[1] > _MOST_COLUMNS:
        return None
    if (g.stride, g.dilation, g.groups) != ((1, 1), (1, 1), 1):
        return None
    from tconv.kernels.simd.winograd_f43 import row_groups

    return row_groups.Rows(w, bias, activation, g.crop[0][0], g.crop[1][0])
