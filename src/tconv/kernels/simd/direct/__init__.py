"""Method "simd": the direct sum in machine code, with every product of the definition and no other.

It is the polyphase form: for a phase of the output and a tap, a shifted row of x times one weight. The modules, in the
order of their use: `accumulation_order` (the products, and the order in which they are added), `tiling` (tiles of
positions that fit the caches), `schedule` (both for one problem, with its memory), `weight_packing`, `call_tables` (all
of it as tables for the machine code), `input_packing` (the inputs of a tile, copied into its panel) and `tile_loop`
(the machine code of one tile).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels import tap_products
from tconv.kernels.problem import Kernel, Problem, is_plain
from tconv.kernels.simd.availability import reason_unavailable

DTYPES = ("float32", "float64", "float16", "bfloat16")
"""Dtypes of x that the kernel computes."""
_MOST_PHASES = 4096
_MOST_STEPS = 1 << 17


def reasons_against(p: Problem) -> list[str]:
    """Return every reason why the method cannot run this problem; none if it can."""
    reasons = []
    if p.dtype.name not in DTYPES:
        reasons.append(f"it computes {', '.join(DTYPES[:-1])} and {DTYPES[-1]}, and this is {p.dtype}")
    elif (unavailable := reason_unavailable()) is not None:
        reasons.append(unavailable)
    if not p.finite_weight:
        reasons.append("the weight contains inf or NaN, which this method would multiply with padded zeros")
    if min(p.batch, p.in_channels) == 0:
        reasons.append("there is nothing to add up")
    g = p.geometry
    phases, steps = math.prod(g.stride), math.prod(g.kernel) * max(1, p.in_channels // g.groups // 16)
    if phases > _MOST_PHASES:
        reasons.append(f"{phases} phases are more than the {_MOST_PHASES} in its tables")
    if steps > _MOST_STEPS:
        reasons.append(f"{steps} steps (taps x channels/16) are more than the {_MOST_STEPS} in its tables")
    return reasons


def _summary(p: Problem) -> str:
    from tconv.kernels.simd.direct import schedule

    return schedule.summary(p)


def scratch_bytes(p: Problem) -> int:
    """Return the bytes of the packed weight, the tables, and each thread's panel and sums.

    They are those of lanes over positions: a problem has no layout. Lanes over output channels can need more for panels
    and padded weights (all with input and output up to 1.7 times, in random layers of 100 MB), a depthwise pass less.
    """
    from tconv.kernels.simd.direct import schedule

    return schedule.scratch_bytes(p)


def seconds(p: Problem) -> float:
    """Estimate the time beside the multiply-adds: building the tables, and writing the output once."""
    return 5e-6 + p.output_bytes / 1e11


def specialize(
    p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], **more: Any
) -> Callable[..., bool]:
    """Return a problem with the strides (in bytes) of its canonical arrays as a function, a `SpecializedCall`."""
    from tconv.kernels.simd import specialized_call

    return specialized_call.SpecializedCall(p, x_strides, out_strides, **more)


def run(
    p: Problem, x: Array, w: Array, bias: Array | None, out: Array, specialize: Callable[..., Any] = specialize
) -> None:
    """Fill out [N, C_out, *L] from canonical x, w and bias."""
    if not is_plain(x):
        x = np.ascontiguousarray(x, p.dtype)
    target = out if is_plain(out) else np.empty(out.shape, p.dtype)
    flat = None if bias is None else np.ascontiguousarray(bias, p.dtype)
    if not specialize(p, x.strides, target.strides)(x, np.asarray(w, p.dtype), flat, target):
        tap_products.run(p, x, w, flat, target)  # the weight is not finite
    if target is not out:
        out[...] = target


KERNEL: Kernel = Kernel("simd", _summary, reasons_against, scratch_bytes, seconds, run, specialize)
