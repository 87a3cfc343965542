"""float32 with fewer multiplications: layers whose phases have two taps, by minimal filtering (`simd/pairs.py`).

Up to a quarter of the products of each such axis is saved, and the machine code is that of `simd`. What it costs is a
panel of differences, so that it pays with enough output channels and positions. Inputs whose squares overflow,
infinities and NaN go to `simd`, which multiplies nothing that the definition does not.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.problem import Array, Kernel, Problem
from tconv.kernels.simd import direct
from tconv.kernels.simd.winograd_f22.filtering import MOST_PLACES, MOST_STRIDE, step

_MARGIN = 1.9
"""The cycles of `simd` are counted for a core that does one multiply-add of vectors in each (`tiles.py`), those of
pairs for one that does two: near 1.8 times as many are the same time. A little more, so that a tie goes to `simd`."""
_LEAST = 1 << 24
"""Operations below which nothing is gained that would be noticed."""


def reasons_against(p: Problem) -> list[str]:
    """Every reason why it cannot run this problem."""
    return [*direct.reasons_against(p), *_against(p.geometry)]


@lru_cache(maxsize=256)
def _against(g: Geometry) -> tuple[str, ...]:
    reasons = []
    if g.groups > 1:
        reasons.append("it has groups")
    if any(k < s or math.gcd(s, d) > 1 for k, s, d in zip(g.kernel, g.stride, g.dilation, strict=True)):
        reasons.append("there are phases without taps")
    last = list(zip(g.kernel, g.stride, g.dilation, strict=True))[-2:]
    if all(step(*axis) == 1 for axis in last):
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
    """The transformed weight, tables, and each thread's planes and sums."""
    from tconv.kernels.simd.winograd_f22 import tiling

    return tiling.scratch_bytes(p)


def seconds(p: Problem) -> float:
    """That of `simd`, as the estimated cycles of one thread: what is chosen is the same for any number of them."""
    if 2 * p.products < _LEAST:
        return 2 * direct.seconds(p)
    from tconv.kernels.simd.direct import schedule
    from tconv.kernels.simd.winograd_f22 import tiling

    return direct.seconds(p) * _MARGIN * tiling.cycles(p) / schedule.cycles(p)


def most_seconds(p: Problem) -> float:
    """The same, with the cycles that `simd` takes at least: which of its tilings is the best one need not be known."""
    if 2 * p.products < _LEAST:
        return 2 * direct.seconds(p)
    from tconv.kernels.simd.direct import schedule
    from tconv.kernels.simd.winograd_f22 import tiling

    return direct.seconds(p) * _MARGIN * tiling.cycles(p) / schedule.least_cycles(p)


def bind(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], **more: Any) -> Any:
    """The problem with the strides (in bytes) of its canonical arrays, ready to be called: a `bound.Bound`."""
    from tconv.kernels.simd import specialized_call

    return specialized_call.Bound(p, x_strides, out_strides, form=specialized_call.PAIRS, **more)


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array) -> None:
    """Canonical x, w and bias; fills out [N, C_out, *L]."""
    direct.run(p, x, np.asarray(w), bias, out, bind)


KERNEL: Kernel = Kernel("winograd", _summary, reasons_against, scratch_bytes, seconds, run, bind, most_seconds)
