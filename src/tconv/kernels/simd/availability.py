"""Availability of the CPU kernel: the reason if it cannot run on this machine, and where its code is stored.

Every call that could run it asks `reason_unavailable`; `tconv env` prints `state`.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Any

from tconv._fork import LOADING
from tconv.errors import ArgumentError


@cache
def reason_unavailable() -> str | None:
    """Return the reason why the kernel cannot run on this machine; None if it can.

    Raises ArgumentError for an invalid TCONV_SIMD or TCONV_CPU.
    """
    given = os.environ.get("TCONV_SIMD") or "1"
    switch = given.strip().lower()
    if switch in ("0", "off", "false", "no"):
        return f"TCONV_SIMD is {given} in the environment"
    if switch not in ("1", "on", "true", "yes"):
        raise ArgumentError(
            f"TCONV_SIMD is {given!r}; 1, or 0 to switch the CPU kernel off, is needed. Write TCONV_SIMD=1"
        )
    for package in ("llvmlite", "xxhash"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; write pip install {package}"
    try:
        with LOADING:
            import xxhash  # noqa: F401  (test that it loads)

            from tconv.kernels.simd import cpu_target, specialized_call  # noqa: F401

            cpu_target.target()
    except (ImportError, OSError, RuntimeError) as error:  # installed, but broken
        return f"llvmlite or xxhash does not load: {error}"
    return None


def state() -> dict[str, Any]:
    """Return facts for `tconv env`: the reason if the kernel cannot run, else the chip and where code is stored.

    Raises ArgumentError for an invalid TCONV_SIMD or TCONV_CPU.
    """
    reason = reason_unavailable()
    if reason is not None:
        return {"reason": reason}
    from tconv.kernels.simd import cpu_target, object_cache

    folder = object_cache.folder()
    return {
        "reason": None,
        "chip": cpu_target.target().description,
        "cache": None if folder is None else str(folder),
        "functions": 0 if folder is None or not folder.is_dir() else len(list(folder.glob("*.o"))),
        "not_stored": object_cache.reason_not_stored(),
    }
