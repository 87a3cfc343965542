"""Minimal filtering F(4,3) along rows, for layers of networks with three rows of taps.

`algebra` has the mathematics, `row_groups` the layer, `tile_function` its machine code. `tconv.models` gets its layers
from `row_group_layer`.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation
from tconv.kernels.simd.availability import reason_unavailable
from tconv.kernels.simd.winograd_f43.interface import RowGroupLayer

_LEAST_CHANNELS = 3
"""Input channels; with fewer, transforming them costs more than it saves."""
_MOST_COLUMNS = 256
"""Taps of a row: so the sum of one channel is never longer than one part."""
_LARGEST_WEIGHT = 1e37
"""Weights below this stay finite when they are transformed."""


def row_group_layer(w: Array, bias: Array | None, g: Geometry, activation: Activation | None) -> RowGroupLayer | None:
    """Return the layer with a canonical weight [C_in, C_out, kh, kw] by minimal filtering; None if it does not apply.

    It adds in an order of its own, and a group reads more rows than one output row: the network passes the groups.
    """
    if reason_unavailable() is not None or len(w) < _LEAST_CHANNELS or not (np.abs(w) < _LARGEST_WEIGHT).all():
        return None
    if w.dtype != np.float32 or g.kernel[0] != 3 or g.kernel[1] > _MOST_COLUMNS:
        return None
    if (g.stride, g.dilation, g.groups) != ((1, 1), (1, 1), 1):
        return None
    from tconv.kernels.simd.winograd_f43 import row_groups

    return row_groups.WinogradLayer(w, bias, activation, g.crop[0][0], g.crop[1][0])
