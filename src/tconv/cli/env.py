"""`tconv env`: versions, CPU features and the available methods, with the reason for each that is not available."""

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


def run(
    *,
    warmup: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Print versions, CPU features and the available methods.

    Parameters
    ----------
    warmup
        First compile the machine code that most layers need, so that no call has to.
    as_json
        Print one JSON object instead of text.
    """
    if warmup:
        _warm_up()
    facts = gather()
    print(json.dumps(facts) if as_json else _text(facts))


def _warm_up() -> None:
    """Compile the common machine code. Raises MethodError or FileError where that is not possible."""
    state = availability.state()
    if state["reason"] is not None:
        raise MethodError(f"the CPU kernel does not run here: {state['reason']}. Write tconv env without --warmup")
    if state["not_stored"] is not None:
        raise FileError(
            f"machine code cannot be cached: {state['not_stored']}, so nothing can be compiled in advance. Write "
            "TCONV_CACHE_DIR=DIRECTORY with a writable directory, or tconv env without --warmup"
        )
    from rich.console import Console

    from tconv.kernels.simd.warmup import warm_up

    with Console(stderr=True).status("compiling") as status:
        compiled = warm_up(lambda text: status.update(f"compiling: {text}"))
    print(f"warmup     {compiled} functions compiled", file=sys.stderr)


def gather() -> dict[str, Any]:
    """Return everything that the command prints. Versions come from the packages' metadata, without importing them."""
    import numpy as np

    simd, threads = _or_reason(availability.state), _or_reason(lambda: {"count": get_num_threads()})
    return {
        "tconv": tconv.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "memory_bytes": physical_memory(),
        "blas": _blas(np),
        "packages": {name: _version(name) for name in EXTRAS},
        "threads": {"reason": None, **threads},
        "methods": [name for name in kernels.names() if name not in ("simd", "winograd") or simd["reason"] is None],
        "simd": simd,
        "dialects": list(dialects.names()),
    }


def _or_reason(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `ask` returns, or the reason if an environment variable is invalid."""
    try:
        return ask()
    except ArgumentError as error:
        return {"reason": str(error)}


def _version(name: str) -> dict[str, str | None]:
    """Return the version of a package, or the command that installs it."""
    for distribution in (name, f"{name}-cpu"):  # tensorflow-cpu is TensorFlow, too
        try:
            return {"version": metadata.version(distribution), "install": None}
        except metadata.PackageNotFoundError:
            continue
    return {"version": None, "install": install(name)}


def _cpu() -> dict[str, Any]:
    """Return model, cores and vector features, as far as the system reports them."""
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
    for name, package in facts["packages"].items():
        lines.append(f"  {name:<{width}} " + (package["version"] or f"not installed: {package['install']}"))
    threads, kernel = facts["threads"], facts["simd"]
    lines.append(f"threads    {threads['reason'] or threads['count']}")
    lines.append(f"methods    {', '.join(facts['methods'])}")
    if kernel["reason"]:
        lines.append(f"simd       does not run: {kernel['reason']}")
    else:
        cache = [f"{kernel['functions']} functions in {kernel['cache']}"] if kernel["functions"] else []
        cache += [f"new code cannot be cached: {kernel['not_stored']}"] if kernel["not_stored"] else []
        lines.append("; ".join([f"simd       {kernel['chip']}", *(cache or [f"code is cached in {kernel['cache']}"])]))
        against = kernel["bfloat16_dot"]
        lines.append(f"bfloat16   {'dot products' if against is None else f'without dot products: {against}'}")
    lines.append(f"dialects   {', '.join(facts['dialects'])}")
    return "\n".join(lines)
