"""Arguments of the machine code: integers of a call (the frame), and of each block of channels and taps (an entry).

Strides and counts are of numbers, offsets of entries and addresses of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.vector_ir import Function, Value

_FRAME = """
    a b parts a_batch a_channel b_batch b_channel a_rows b_rows rows tile_rows picture_tiles vectors
    entries entry_count outer_taps kernel out_a out_b part
"""
_ENTRY = "function a b out masks fast_begin fast_end near_rows taps a_count b_count"
FRAME, ENTRY = ({name: place for place, name in enumerate(names.split())} for names in (_FRAME, _ENTRY))


def fields(f: Function, base: Value, places: Mapping[str, int]) -> Fields:
    """Return access to the integers at an address."""
    return Fields(f, base, places)
