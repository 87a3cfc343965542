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

_FRAME = {
    "arrays, and a table of [lowest, highest output]": "x out weights bias slopes limits",
    "strides and lengths of x and of the output": """
        x_batch x_channel x_fast x_length out_batch out_channel out_fast out_length
    """,
    "positions: lines of an image, of its last slow axis and of the others; stride and phases of the fastest axis": """
        image_rows last_rows outer_rows stride slow_phases
    """,
    "tiles: how many there are on each axis, and their sizes": """
        tiles splits segments row_tiles run rows width width_total whole flat
    """,
    "inputs of a tile: tables of the rows of x, a row of zeros, and the form of the panel": """
        table stretch block_table copy_table zeros x_first blocks copies slots slot_pitch pitch pack_width
        halo extra wrap
    """,
    "places in a thread's memory": """
        panel_place sums_place places_place constants_place zeros_place constants_size
    """,
    "sums in it": "channel_pitch sum_pitch sum_row",
    "channels, and their blocks": """
        group_in group_out columns units blocks_out wide most group_weights unit_blocks block_places
        range_blocks
    """,
    "calls: tables of them, and the functions": """
        chunks chunk_table call_table write_table output_table parts part_count functions pack write
        prefetch
    """,
    "1 if the output goes past the caches; 1 after a tile with numbers that the form cannot compute with": """
        stream not_finite
    """,
    "prefetched inputs of the next tile (`direct`)": "ahead ahead_place ahead_pad ahead_step ahead_entry",
    "planes (`winograd_f22`, `winograd_channels`)": """
        positions output_positions mask_place stream_place stream_size stream_channel plane_size
    """,
    "`depthwise`": """
        outer_table outer_entry outer_size outer_tiles row_phases unit_size unit_step repeats multiplier
        channel_weights repeat_weights weight_pitch position_block
    """,
}
"""Names by what they describe; each form of the kernel uses some of them."""
_LOCAL = "image row line_count first width channel channels channel_pitch group cursor total"
FRAME, LOCAL = (
    {name: place for place, name in enumerate(names.split())} for names in (" ".join(_FRAME.values()), _LOCAL)
)
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
