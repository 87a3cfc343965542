"""Child processes that tests wait for: one that hangs says where, and is ended with all its children."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence


def finished(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Return the exit code, the output and the errors of a process that runs Python with faulthandler."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler prints where it hangs
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)  # with all its children
        output, errors = process.communicate()
        errors = f"it hung\n{errors}"
    return process.returncode, output, errors
