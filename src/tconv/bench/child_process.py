"""The parent's side of a child process that answers JSON lines, and is ended if it does not answer."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

_GRACE = 3.0  # seconds that a child has to end after the end of its input


class GoneError(Exception):
    """A child crashed ("crashed") or did not answer in time ("hung"); it does not run any more."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def environment(threads: int, device: str = "cpu", isa: str = "native") -> dict[str, str]:
    """Return the parent's environment with every library's number of threads; on the CPU, accelerators are hidden.

    `isa` restricts the libraries that have a variable for it to AVX2 or SSE 4.
    """
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "NPROC",  # XLA
    )
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    threaded = dict.fromkeys(names, str(threads))
    return {**os.environ, **threaded, **hidden, **_RESTRICTED[isa], "TF_CPP_MIN_LOG_LEVEL": "3"}


_RESTRICTED = {
    "native": {},
    "avx2": {
        "TCONV_CPU": "x86-64-v3",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
    "sse4": {
        "TCONV_CPU": "x86-64-v2",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
    },
}
"""Variables that restrict tconv, PyTorch, oneDNN, MKL, OpenBLAS and XLA."""


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of the benchmark."""
    # -P: a file torch.py in the current directory is not imported as PyTorch
    return [sys.executable, "-P", "-m", f"tconv.bench.{module}", *arguments]


class Child:
    """A process that answers each line with a line.

    It leads a process group, so that an interrupt reaches the parent alone, and the parent can end the whole group.
    """

    def __init__(self, argv: Sequence[str], env: dict[str, str]) -> None:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=env,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, message: dict[str, Any], limit: float) -> dict[str, Any]:
        """Return the answer to a message. Raises GoneError after `limit` seconds without one, or at the child's end."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the reason is read from the end of its output below
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self.close(grace=0)
            raise GoneError("hung", f"no answer to {message['do']!r} in {limit:.0f} s") from None
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise GoneError("crashed", self._reason(line, message["do"])) from None
        return answer

    def _reason(self, line: str, doing: str) -> str:
        """End a child that has ended already, or answered something other than JSON; return the reason."""
        text = f"its answer was {line[:100]!r}" if line else self._last_stderr_line()
        code = self.close(grace=0 if line else _GRACE)
        end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{end} at {doing!r}{f': {text}' if text else ''}"

    def _last_stderr_line(self) -> str:
        if self._stderr.closed:  # another thread has ended the child
            return ""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 4000))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def close(self, grace: float = _GRACE) -> int:
        """End the process and all that it started, and return its exit code. A second call does nothing more."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        code = self._process.wait()
        self._stderr.close()
        return code
