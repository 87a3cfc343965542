"""`tconv env`: versions, CPU features, and what is available here, with the reason where it is not."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import tconv
from tconv import dialects, kernels
from tconv.errors import MethodError
from tconv.extras import EXTRAS, install
from tconv.kernels import simd
from tconv.memory import physical_memory
from tconv.planning import si

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
    reason = simd.state()["reason"]
    if reason is not None:
        raise MethodError(f"the float32 kernel does not run here: {reason}. Write tconv env without --warmup")
    from rich.console import Console

    from tconv.kernels.simd.warmup import warmup

    with Console(stderr=True).status("building") as status:
        built = warmup(lambda words: status.update(f"building: {words}"))
    print(f"warmup     {built} functions built", file=sys.stderr)


def gather() -> dict[str, Any]:
    """Everything that the command prints. Nothing is imported for it: versions come from the packages' metadata."""
    import numpy as np

    memory = physical_memory()
    return {
        "tconv": tconv.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "memory_bytes": memory,
        "blas": _blas(np),
        "packages": {name: _version(name) for name in EXTRAS},
        "methods": list(kernels.names()),
        "simd": simd.state(),
        "dialects": list(dialects.names()),
    }


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
    lines.append(f"methods    {', '.join(facts['methods'])}")
    kernel = facts["simd"]
    if kernel["reason"]:
        lines.append(f"simd       does not run: {kernel['reason']}")
    else:
        kept = f"{kernel['functions']} functions in {kernel['cache']}" if kernel["cache"] else "built in every process"
        lines.append(f"simd       {kernel['chip']}; {kernel['threads']} threads; {kept}")
    lines.append(f"dialects   {', '.join(facts['dialects'])}")
    return "\n".join(lines)
