"""`tconv env`: versions, CPU features, and what is available here, with the reason where it is not."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import tconv
from tconv import dialects, kernels
from tconv._extras import EXTRAS, install
from tconv._memory import physical_memory, si
from tconv.errors import ArgumentError, FileError, MethodError
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd import availability

_FEATURES = ("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def env(
    *,
    warmup: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Print versions, CPU features and what is available here.

    Parameters
    ----------
    warmup
        First build the machine code that most layers need, so that no call has to.
    as_json
        Print one JSON object instead of text.
    """
    if warmup:
        _warm_up()
    facts = gather()
    print(json.dumps(facts) if as_json else _text(facts))


def _warm_up() -> None:
    state = availability.state()
    if state["reason"] is not None:
        raise MethodError(f"the float32 kernel does not run here: {state['reason']}. Write tconv env without --warmup")
    if state["not_stored"] is not None:
        raise FileError(
            f"machine code is not kept: {state['not_stored']}, so nothing can be built ahead. Write "
            "TCONV_CACHE_DIR=DIRECTORY with one that you may write, or tconv env without --warmup"
        )
    from rich.console import Console

    from tconv.kernels.simd.warmup import warmup

    with Console(stderr=True).status("building") as status:
        built = warmup(lambda words: status.update(f"building: {words}"))
    print(f"warmup     {built} functions built", file=sys.stderr)


def gather() -> dict[str, Any]:
    """Everything that the command prints. Nothing is imported for it: versions come from the packages' metadata."""
    import numpy as np

    memory, vector, threads = physical_memory(), _said(availability.state), _said(lambda: {"count": get_num_threads()})
    return {
        "tconv": tconv.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "memory_bytes": memory,
        "blas": _blas(np),
        "packages": {name: _version(name) for name in EXTRAS},
        "threads": {"reason": None, **threads},
        "methods": [name for name in kernels.names() if name not in ("simd", "winograd") or vector["reason"] is None],
        "simd": vector,
        "dialects": list(dialects.names()),
    }


def _said(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a part of tconv says of itself; the reason where a variable of the environment keeps it from speaking."""
    try:
        return ask()
    except ArgumentError as error:
        return {"reason": str(error)}


def _version(name: str) -> dict[str, str | None]:
    for distribution in (name, f"{name}-cpu"):  # tensorflow-cpu is TensorFlow, too
        try:
            return {"version": metadata.version(distribution), "install": None}
        except metadata.PackageNotFoundError:
            continue
    return {"version": None, "install": install(name)}


def _cpu() -> dict[str, Any]:
    """Model, cores and vector features, as far as the system tells without a tool of its own."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags |= set(value.split())
    return {"model": model, "cores": os.cpu_count(), "features": [name for name in _FEATURES if name in flags]}


def _blas(np: Any) -> str:
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _text(facts: dict[str, Any]) -> str:
    cpu = facts["cpu"]
    memory = si(facts["memory_bytes"], "B") if facts["memory_bytes"] else "unknown memory"
    lines = [
        f"tconv      {facts['tconv']}, Python {facts['python']} on {facts['platform']}",
        f"cpu        {cpu['model']}, {cpu['cores']} cores, {memory}; {' '.join(cpu['features']) or 'features unknown'}",
        f"blas       {facts['blas']} (through NumPy)",
        "packages",
    ]
    width = max(map(len, facts["packages"]))
    for name, found in facts["packages"].items():
        lines.append(f"  {name:<{width}} " + (found["version"] or f"not installed: {found['install']}"))
    threads, kernel = facts["threads"], facts["simd"]
    lines.append(f"threads    {threads['reason'] or threads['count']}")
    lines.append(f"methods    {', '.join(facts['methods'])}")
    if kernel["reason"]:
        lines.append(f"simd       does not run: {kernel['reason']}")
    else:
        kept = [f"{kernel['functions']} functions in {kernel['cache']}"] if kernel["functions"] else []
        kept += [f"code built now is not kept: {kernel['not_stored']}"] if kernel["not_stored"] else []
        lines.append("; ".join([f"simd       {kernel['chip']}", *(kept or [f"code is kept in {kernel['cache']}"])]))
    lines.append(f"dialects   {', '.join(facts['dialects'])}")
    return "\n".join(lines)
