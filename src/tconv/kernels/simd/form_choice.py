"""Choice of the form of the direct sum: which axis the lanes of a vector run over.

All forms of the direct sum add the same products in the same order, so their results have the same bits. The choice
depends on the sizes and the layout of the arrays, and decides nothing but the time.
"""

from __future__ import annotations

from tconv._arrays import is_finite
from tconv.kernels.problem import Problem
from tconv.kernels.simd.direct.call_tables import DirectCall
from tconv.kernels.simd.direct.weight_packing import pack_weight
from tconv.kernels.simd.form import Form
from tconv.kernels.simd.winograd_f22 import weight_packing as winograd_f22
from tconv.kernels.simd.winograd_f22.call_tables import WinogradCall

DIRECT = Form("direct", DirectCall, pack_weight, lambda p, w: is_finite(w))
"""Lanes over positions of the output."""
WINOGRAD_F22 = Form("winograd_f22", WinogradCall, winograd_f22.pack_weight, winograd_f22.accepts)


def direct_form(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Form:
    """Return the form of the direct sum for a problem and the strides of its canonical arrays, in elements."""
    return DIRECT
