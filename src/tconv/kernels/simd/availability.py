"""Availability of the float32 kernel: what keeps it from running on this machine, and where its code is kept."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Any

from tconv.errors import ArgumentError


@cache
def missing() -> str | None:
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
        import xxhash  # noqa: F401  (it loads)

        from tconv.kernels.simd import cpu_target

        cpu_target.target()
    except (ImportError, OSError, RuntimeError) as error:  # an LLVM that is there, and broken
        return f"llvmlite or xxhash does not load: {error}"
    return None


def state() -> dict[str, Any]:
    """For `tconv env`: what keeps it from running, or the chip and where machine code is kept, or why it is not.

    Raises ArgumentError for a TCONV_ word that is none.
    """
    reason = missing()
    if reason is not None:
        return {"reason": reason}
    from tconv.kernels.simd import cpu_target, object_cache

    folder = object_cache.folder()
    return {
        "reason": None,
        "chip": cpu_target.target().words,
        "cache": None if folder is None else str(folder),
        "functions": 0 if folder is None or not folder.is_dir() else len(list(folder.glob("*.o"))),
        "not_kept": object_cache.refusal(),
    }
