"""Method "winograd": fewer multiplications, by minimal filtering of phases with two taps (`algebra`).

It saves up to a quarter of the products of each such axis, and uses the microkernel of `simd`. Its cost is a panel of
differences, so it is faster only with enough output channels and positions. Calls whose inputs have infinities, NaN or
squares that overflow go to `simd`, which computes no product that the definition does not have.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.problem import Kernel, Problem
from tconv.kernels.simd import direct
from tconv.kernels.simd.winograd_f22.algebra import MOST_PLACES, MOST_STRIDE, group_size

_MARGIN = 1.9
"""Factor between the cycles of both estimates. Those of `simd` are for a core with one multiply-add of vectors in a
cycle (`direct/tiling.py`), those of this method for one with two, so equal times are near a factor of 1.8. It is a
little larger, so that a tie goes to `simd`."""
_OVER_DOT = 1.2
"""Least ratio to dot products of bfloat16: 9 products of float32 take longer than 16 that are added in pairs. Measured
1.2 to 2 on the layers of the benchmark, in both layouts."""
_LEAST = 1 << 24
"""Operations below which the gain would not be noticed."""


def reasons_against(p: Problem) -> list[str]:
    """Return every reason why the method cannot run this problem; none if it can."""
    return [*direct.reasons_against(p), *_reasons_of(p.geometry)]


@lru_cache(maxsize=256)
def _reasons_of(g: Geometry) -> tuple[str, ...]:
    """Return the reasons against a geometry."""
    reasons = []
    if g.groups > 1:
        reasons.append("it has groups")
    if any(k < s or math.gcd(s, d) > 1 for k, s, d in zip(g.kernel, g.stride, g.dilation, strict=True)):
        reasons.append("there are phases without taps")
    last = list(zip(g.kernel, g.stride, g.dilation, strict=True))[-2:]
    if all(group_size(*axis) == 1 for axis in last):
        reasons.append(
            f"one of the last two axes has to have stride < kernel <= 2 stride, stride <= {MOST_STRIDE} and no dilation"
        )
    if any(d * (k - 1) >= MOST_PLACES * s for k, s, d in last):
        reasons.append(f"one of the last two axes has more than {MOST_PLACES} taps for an output")
    return tuple(reasons)


def _summary(p: Problem) -> str:
    from tconv.kernels.simd.winograd_f22 import tiling

    return tiling.summary(p)


def scratch_bytes(p: Problem) -> int:
    """Return the bytes of the transformed weight, the tables, and each thread's planes and sums."""
    from tconv.kernels.simd.winograd_f22 import tiling

    return tiling.scratch_bytes(p)


def seconds(p: Problem) -> float:
    """Estimate the time: that of `simd` times the cycles of one thread, so it is the same for any number of threads."""
    if 2 * p.products < _LEAST:
        return 2 * direct.seconds(p)
    from tconv.kernels.simd.direct import schedule
    from tconv.kernels.simd.winograd_f22 import tiling

    return direct.seconds(p) * _at_least(p, _MARGIN * tiling.cycles(p) / schedule.cycles(p))


def most_seconds(p: Problem) -> float:
    """Return an upper limit of `seconds`: the least cycles of the direct sum stand for those of its best tiling."""
    if 2 * p.products < _LEAST:
        return 2 * direct.seconds(p)
    from tconv.kernels.simd.direct import schedule
    from tconv.kernels.simd.winograd_f22 import tiling

    return direct.seconds(p) * _at_least(p, _MARGIN * tiling.cycles(p) / schedule.least_cycles(p))


def _at_least(p: Problem, ratio: float) -> float:
    """Return an estimated ratio to the time of `simd`; where that has dot products, no less than can be."""
    from tconv.kernels.simd.bfloat16_dot import runs

    return max(ratio, _OVER_DOT) if runs(p) else ratio


def specialize(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], **more: Any) -> Any:
    """Return a problem with the strides (in bytes) of its canonical arrays as a function, a `SpecializedCall`."""
    from tconv.kernels.simd import form_choice, specialized_call

    size = p.dtype.itemsize
    strides = (tuple(step // size for step in steps) for steps in (x_strides, out_strides))
    form = form_choice.winograd_form(p, *strides)
    return specialized_call.SpecializedCall(p, x_strides, out_strides, form=form, **more)


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array) -> None:
    """Fill out [N, C_out, *L] from canonical x, w and bias."""
    direct.run(p, x, np.asarray(w), bias, out, specialize)


KERNEL: Kernel = Kernel("winograd", _summary, reasons_against, scratch_bytes, seconds, run, specialize, most_seconds)
