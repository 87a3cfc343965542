"""Simplifiers of ONNX files that users run next, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tconv.models.traces.trace import reason

_SECONDS = 120

_SCRIPTS = {
    "onnxslim": (
        "onnxslim",
        "import sys, onnx, onnxslim\nonnx.save(onnxslim.slim(sys.argv[1]), sys.argv[2])",
    ),
    "onnxsim": (
        "onnxsim",
        "import sys, onnx, onnxsim\nmodel, right = onnxsim.simplify(sys.argv[1])\nonnx.save(model, sys.argv[2])",
    ),
}
"""Package and program of each simplifier, by its name."""
TOOLS = tuple(_SCRIPTS)


class ToolError(Exception):
    """A simplifier that fails on a model."""


def installed_tools() -> tuple[str, ...]:
    """Return the names of the simplifiers that are installed."""
    return tuple(name for name, (package, _) in _SCRIPTS.items() if find_spec(package) is not None)


def simplified(tool: str, model: Path, output: Path) -> Path:
    """Return the file that a simplifier makes of a model. Raises ToolError with its reason."""
    command = [sys.executable, "-c", _SCRIPTS[tool][1], str(model.resolve()), str(output.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{tool} has not ended after {_SECONDS} s") from None
    if done.returncode or not output.exists():
        lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        raise ToolError(f"{tool} fails: {reason(RuntimeError(lines[-1]), 200)}")
    return output
