"""Python text in a process of its own, for what a test cannot do in the process of pytest: to fork, to end, to be alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from child_processes import finished

SOURCES = str(Path(__file__).parents[2] / "src")
WITHOUT_TCONV = "import sys; sys.modules['tconv'] = None\n"  # an import of it raises
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def run(text: str, *arguments: object, code: int = 0, **variables: object) -> str:
    """Return what the text printed. It has to end with this code; keywords are environment variables.

    TensorFlow and XLA write to stderr as they like, so it is not looked at.
    """
    path = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", text, *map(str, arguments)]
    given = {name: str(value) for name, value in variables.items()}
    ended, output, errors = finished(command, {**os.environ, **_QUIET, "PYTHONPATH": path, **given})
    assert ended == code, f"{ended}\n{output}\n{errors[-5000:]}"
    return output


MEMORY = """
import resource
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
def grown(call, rounds):
    call(0); call(1)
    sizes = []
    for part in range(4):
        for at in range(rounds):
            call(part * rounds + at)
        sizes.append(resident())
    return sizes
"""
"""Text that measures a process: its resident megabytes after each quarter of many calls."""
