"""float32 on the vector units of the CPU, in machine code that Python writes.

The polyphase form: for a phase of the output and a tap, a shifted row of x times one weight. Lanes run over positions,
weights are broadcast, sums stay in registers. In order of work:

- `grid`: which inputs, through which taps, make the outputs of a phase
- `steps`: what is added up, and in which order
- `tiles`: how positions are cut into tiles that fit the caches
- `job`: all of it as tables for one problem (`tables`, `ready`); `weights`: the weight in the order of its use
- `pack`, `micro`, `write`: a tile's inputs into its panel, the multiply-adds, the epilogue; `item` runs them
- `pairs` and its rooms: phases of two taps by fewer multiplications, the method "winograd" (`kernels/winograd.py`)
- `winograd`, `winograd_rows`: layers of networks with three rows of taps, by fewer multiplications
- `code`, `target`, `library`: the vector language, the chip, machine code kept in files; `pool`: the threads

LLVM (through llvmlite) is imported when the first call needs it.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np

from tconv.activation import Activation
from tconv.errors import ArgumentError
from tconv.geometry import Geometry
from tconv.kernels import taps
from tconv.kernels.problem import Array, Kernel, Problem, is_plain

_LEAST_GROUPED = 4
"""Input channels; with fewer, transforming them costs more than it saves."""
_MOST_COLUMNS = 256
"""Taps of a row: the sums of one channel make one part."""
_LARGEST_GROUPED = 1e37
"""Weights below this stay finite when they are transformed."""
_MOST_PHASES = 4096
_MOST_STEPS = 1 << 17


def reasons_against(p: Problem) -> list[str]:
    """Every reason why it cannot run this problem."""
    reasons = []
    if p.dtype != np.float32:
        reasons.append(f"it computes float32, and this is {p.dtype}")
    elif _missing() is not None:
        reasons.append(str(_missing()))
    if not p.finite_weight:
        reasons.append("the weight holds inf or NaN, which this method would multiply with padded zeros")
    if min(p.batch, p.in_channels) == 0:
        reasons.append("there is nothing to add up")
    g = p.geometry
    phases, steps = math.prod(g.stride), math.prod(g.kernel) * max(1, p.in_channels // g.groups // 16)
    if phases > _MOST_PHASES:
        reasons.append(f"{phases} phases are more than the {_MOST_PHASES} that it tables")
    if steps > _MOST_STEPS:
        reasons.append(f"{steps} steps (taps x channels/16) are more than the {_MOST_STEPS} that it tables")
    return reasons


@cache
def _missing() -> str | None:
    """What keeps this method from running on this machine at all. ArgumentError for a TCONV_ word that is none."""
    given = os.environ.get("TCONV_SIMD") or "1"
    switch = given.strip().lower()
    if switch in ("0", "off", "false", "no"):
        return f"TCONV_SIMD is {given} in the environment"
    if switch not in ("1", "on", "true", "yes"):
        raise ArgumentError(f"TCONV_SIMD is {given!r}; 0 (never take the float32 kernel) or 1 is needed. Write 1")
    for package in ("llvmlite", "xxhash"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; write pip install {package}"
    try:
        from tconv.kernels.simd import bound, target  # noqa: F401  (all of it loads)

        target.target()
    except (ImportError, OSError, RuntimeError) as error:  # an LLVM that is there, and broken
        return f"llvmlite or xxhash does not load: {error}"
    return None


def _summary(p: Problem) -> str:
    from tconv.kernels.simd import work

    return work.summary(p)


def scratch_bytes(p: Problem) -> int:
    """The packed weight, tables, and each thread's panel and sums."""
    from tconv.kernels.simd import work

    return work.scratch_bytes(p)


def seconds(p: Problem) -> float:
    """Rough time beside the multiply-adds: tables that are made once, and the output through memory once."""
    return 5e-6 + p.output_bytes / 1e11


def bind(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], **more: Any) -> Callable[..., bool]:
    """The problem with the strides (in bytes) of its canonical arrays, ready to be called: a `bound.Bound`."""
    from tconv.kernels.simd import bound

    return bound.Bound(p, x_strides, out_strides, **more)


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array, bind: Callable[..., Any] = bind) -> None:
    """Canonical x, w and bias; fills out [N, C_out, *L]."""
    if not is_plain(x):
        x = np.ascontiguousarray(x, np.float32)
    target = out if is_plain(out) else np.empty(out.shape, np.float32)
    flat = None if bias is None else np.ascontiguousarray(bias, np.float32)
    if not bind(p, x.strides, target.strides)(x, np.asarray(w, np.float32), flat, target):
        taps.run(p, x, w, flat, target)  # the weight has become infinite since it was looked at
    if target is not out:
        out[...] = target


class Held(Protocol):
    """Some rows of a picture [C, H, W]: row r is at index (r - anchor) mod period of the array, if it is there."""

    array: Array
    anchor: int
    period: int
    address: int


class Rows(Protocol):
    """A layer of a network that makes its output rows in groups: `winograd_rows.Rows`."""

    def __call__(self, x: Held, reach: slice, rows: slice, out: Held, anchor: int) -> bool:
        """Put output rows into `out`; whether all were finite before the activation."""


GROUP = 4
"""Rows that are made together."""


def grouped(w: Array, bias: Array | None, g: Geometry, activation: Activation | None) -> Rows | None:
    """The layer with a canonical weight [C_in, C_out, kh, kw] by minimal filtering; None where it does not apply.

    It has its own order of sums, and reaches beyond the rows of an output: a network knows which rows lie in a group.
    """
    if _missing() is not None or len(w) < _LEAST_GROUPED or not (np.abs(w) < _LARGEST_GROUPED).all():
        return None
    if w.dtype != np.float32 or g.kernel[0] != 3 or g.kernel[1] > _MOST_COLUMNS:
        return None
    if (g.stride, g.dilation, g.groups) != ((1, 1), (1, 1), 1):
        return None
    from tconv.kernels.simd import winograd_rows

    return winograd_rows.Rows(w, bias, activation, g.crop[0][0], g.crop[1][0])


def state() -> dict[str, Any]:
    """For `tconv env`: what keeps it from running, or the chip and where machine code is kept, or why it is not.

    Raises ArgumentError for a TCONV_ word that is none.
    """
    reason = _missing()
    if reason is not None:
        return {"reason": reason}
    from tconv.kernels.simd import library, target

    folder = library.folder()
    return {
        "reason": None,
        "chip": target.target().words,
        "cache": None if folder is None else str(folder),
        "functions": 0 if folder is None or not folder.is_dir() else len(list(folder.glob("*.o"))),
        "not_kept": library.refusal(),
    }


KERNEL: Kernel = Kernel("simd", _summary, reasons_against, scratch_bytes, seconds, run, bind)
