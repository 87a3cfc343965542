"""Python text in a process of its own, for what a test cannot do in the process of pytest: to fork, to end, to be alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SOURCES = str(Path(__file__).parents[2] / "src")
WITHOUT_TCONV = "import sys; sys.modules['tconv'] = None\n"  # an import of it raises
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def run(text: str, *arguments: object, code: int = 0, **variables: object) -> str:
    """Return what the text printed. It has to end with this code; keywords are environment variables.

    TensorFlow and XLA write to stderr as they like, so it is not looked at.
    """
    path = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", text, *map(str, arguments)],
        env={**os.environ, **_QUIET, "PYTHONPATH": path, **{name: str(value) for name, value in variables.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler prints where it hangs
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)  # with all its children
        output, errors = process.communicate()
        errors = f"it hung\n{errors}"
    assert process.returncode == code, f"{process.returncode}\n{output}\n{errors[-5000:]}"
    return output
