"""Availability of the CPU kernel: the reason if it cannot run on this machine, and where its code is stored.

Every call that could run it asks `reason_unavailable`; `tconv env` prints `state`.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

from tconv._fork import LOADING
from tconv.errors import ArgumentError
from tconv.kernels.simd.switches import reason_off


@cache
def reason_unavailable() -> str | None:
    """Return the reason why the kernel cannot run on this machine; None if it can.

    Raises ArgumentError for an invalid TCONV_SIMD, TCONV_CPU or TCONV_POOL.
    """
    off = reason_off("TCONV_SIMD", "switch the CPU kernel off")
    if off is not None:
        return off
    for package in ("llvmlite", "xxhash"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; write pip install {package}"
    try:
        with LOADING:
            import xxhash  # noqa: F401  (test that it loads)

            from tconv.kernels.simd import cpu_target, specialized_call, thread_pool  # noqa: F401

            cpu_target.target()
            thread_pool.helper_kind()
    except (ImportError, OSError, RuntimeError) as error:  # installed, but broken
        return f"llvmlite or xxhash does not load: {error}"
    return None


def state() -> dict[str, Any]:
    """Return facts for `tconv env`: the reason if the kernel cannot run, else the chip and where code is stored.

    Raises ArgumentError for an invalid TCONV_SIMD, TCONV_CPU or TCONV_POOL.
    """
    reason = reason_unavailable()
    if reason is not None:
        return {"reason": reason}
    from tconv.kernels.simd import cpu_target, object_cache

    folder = object_cache.folder()
    return {
        "reason": None,
        "chip": cpu_target.target().description,
        "bfloat16_dot": _reason_without_dot(),
        "cache": None if folder is None else str(folder),
        "functions": 0 if folder is None or not folder.is_dir() else len(list(folder.glob("*.o"))),
        "not_stored": object_cache.reason_not_stored(),
    }


def _reason_without_dot() -> str | None:
    """Return the reason why bfloat16 is computed without dot products, or the error of TCONV_BF16_DOT."""
    from tconv.kernels.simd import bfloat16_dot

    try:
        return bfloat16_dot.reason_unavailable()
    except ArgumentError as error:
        return str(error)
