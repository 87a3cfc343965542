"""What the functions of `pairs_item` and `pairs_pack` are told beside what all of the kernel is told."""

from __future__ import annotations

from tconv.kernels.simd.fields import FRAME

_MORE = """
    spoiled nothing positions made mask_place stream_place stream_size stream_channel plane_size range_blocks most
"""
PLACES = FRAME | {name: len(FRAME) + place for place, name in enumerate(_MORE.split())}
