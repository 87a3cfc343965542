"""Dot products of bfloat16: the rule that chooses them, and the order of input channels in pairs.

AVX512-BF16 has an instruction that multiplies two pairs of bfloat16 and adds both products to a float32 sum. Panels and
packed weights then have pairs of input channels in place of numbers, 32 bits each: the even channel in the low half,
the odd one in the high half, 0 where a group has no odd one. So all sizes that count input channels count pairs.

The instruction adds the product of the odd channel first, rounds, then adds that of the even one, and takes denormal
inputs and results as 0 (Intel, Software Developer's Manual, VDPBF16PS).
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.elements import Elements, elements_of
from tconv.kernels.simd.switches import reason_off

_LEAST_CHANNELS = 2
"""Input channels of a group below which a pair would be half empty."""


@cache
def reason_unavailable() -> str | None:
    """Return the reason why bfloat16 is not computed with dot products; None if it is.

    Raises ArgumentError for an invalid TCONV_BF16_DOT.
    """
    off = reason_off("TCONV_BF16_DOT", "compute bfloat16 without dot products")
    if off is None and "+avx512bf16" not in target().features.split(","):
        return f"{target().cpu} has no AVX512-BF16"
    return off


@lru_cache(maxsize=1024)
def direct_elements(layer: Layer) -> Elements:
    """Return the elements of the direct sum of a layer: with dot products where they run.

    They depend on nothing else, so a layer has the same bits in every layout, with any tiles and threads.
    """
    elements = elements_of(layer.dtype)
    if elements.stored != "bfloat16" or layer.group_in < _LEAST_CHANNELS or reason_unavailable() is not None:
        return elements
    return elements._replace(dot=True)


def runs(p: Problem) -> bool:
    """Return True if the direct sum of a problem runs with dot products."""
    return direct_elements(p.layer).dot


def panel_layer(layer: Layer, elements: Elements) -> Layer:
    """Return the layer whose input channels are the entries of a panel: numbers, or pairs of them."""
    if not elements.dot:
        return layer
    return layer._replace(in_channels=-(-layer.group_in // 2) * layer.geometry.groups)


def paired_weight(w: Array, groups: int) -> Array:
    """Return a weight [C_in, ...] as pairs of input channels [pairs of all groups, ...], in numbers of 32 bits.

    It is bfloat16, or float32 (a weight that was folded), which is rounded to the nearest, ties to even.
    """
    w = np.ascontiguousarray(w)
    halves = _rounded(w) if w.dtype == np.float32 else w.view(np.uint16)
    channels = len(w) // groups
    by_channel = halves.reshape(groups, channels, *w.shape[1:]).astype(np.uint32)
    pairs = by_channel[:, ::2].copy()
    pairs[:, : channels // 2] |= by_channel[:, 1::2] << 16
    packed: Array = pairs.view(np.float32).reshape(-1, *w.shape[1:])
    return packed


def _rounded(w: Array) -> Array:
    """Return the bits of bfloat16 that are nearest to finite float32 numbers; finite, too."""
    bits = w.view(np.uint32)
    halves = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    return np.where(halves & 0x7FFF == 0x7F80, halves - 1, halves).astype(np.uint16)
