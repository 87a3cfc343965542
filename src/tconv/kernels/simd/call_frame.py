"""Arguments of the machine code: integers at fixed places of two arrays, the frame and the local array.

The frame is the same for all threads of a call. Each thread has a local array, which describes its present tile. Sizes
and pitches count numbers, addresses count bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd.vector_ir import I64, Function, Operand, Value

NO_ROW = -(1 << 62)
"""Entry of a table of offsets where there is no row."""

_FRAME = """
    x out weights bias slopes limits
    x_batch x_channel x_fast x_length out_batch out_channel out_fast out_length
    image_rows last_rows outer_rows stretch table stride
    splits segments row_tiles run rows width width_total whole
    blocks block_table copies copy_table slots slot_pitch pack_width extra wrap
    panel_place sums_place channel_pitch sum_pitch sum_row
    group_in group_out units blocks_out wide_blocks wide group_weights unit_blocks block_places
    chunks chunk_table call_table write_table functions pack write prefetch tiles stream
    ahead ahead_place ahead_pad ahead_step ahead_entry
    not_finite zeros x_first positions output_positions mask_place stream_place stream_size stream_channel plane_size
    range_blocks most
    flat pitch halo places_place constants_place constants_size columns slow_phases output_table
    zeros_place parts part_count
    outer_table outer_entry outer_size outer_tiles row_phases unit_size unit_step repeats multiplier
    channel_weights repeat_weights weight_pitch position_block
"""
_LOCAL = "image row line_count first width channel channels channel_pitch group cursor total"
FRAME, LOCAL = ({name: place for place, name in enumerate(names.split())} for names in (_FRAME, _LOCAL))
HEAD = 16
"""Integers in front of a thread's table of slots."""


class Fields:
    """Access, in the machine code, to the named integers of the frame or of the local array."""

    def __init__(self, f: Function, base: Value, places: Mapping[str, int]) -> None:
        self._f, self._base, self._places = f, base, places

    def __getattr__(self, name: str) -> Value:
        return self._f.load(self._base, self._places[name], I64)

    def put(self, name: str, value: Operand) -> None:
        """Store an integer."""
        self._f.store(value, self._base, self._places[name], I64)


def new_frame(**values: int) -> Array:
    """Return a frame with these integers; the others are 0."""
    frame = [0] * len(FRAME)
    for name, value in values.items():
        frame[FRAME[name]] = value
    return np.array(frame, np.int64)
