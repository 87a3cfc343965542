"""Python text in a process of its own, for what a test cannot do in the process of pytest: to fork, to end, to be alone.

The processes are children of one that has imported the framework and done nothing else, because the import takes
seconds: it starts no thread and reads no device, so that a child is as one that has imported it itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

SOURCES = str(Path(__file__).parents[2] / "src")
WITHOUT_TCONV = "import sys; sys.modules['tconv'] = None\n"  # an import of it raises
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
_SECONDS = 200

_PARENT = """
import json, os, sys, {framework}
assert "tconv" not in sys.modules
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.setsid()
request = json.loads(line)
for number, name in enumerate((os.devnull, request["output"], request["errors"])):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
os.environ.update(request["environment"])
sys.argv[1:] = request["arguments"]
exec(compile(request["text"], "<text>", "exec"))
"""


def after_importing(framework: str) -> Callable[..., str]:
    """Return a function that runs Python text in a process that has imported this framework."""
    parents: list[subprocess.Popen[str]] = []

    def run(text: str, *arguments: object, code: int = 0, **variables: object) -> str:
        """Return what the text printed. It has to end with this code; keywords are environment variables.

        TensorFlow and XLA write to stderr as they like, so it is not looked at.
        """
        if not parents:
            path = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH")]))
            command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", _PARENT.format(framework=framework)]
            environment = {**os.environ, **_QUIET, "PYTHONPATH": path}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            parents.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        parent = parents[0]
        with tempfile.TemporaryDirectory() as folder:
            output, errors = Path(folder, "output"), Path(folder, "errors")
            request = {
                "text": text,
                "arguments": [str(each) for each in arguments],
                "environment": {name: str(value) for name, value in variables.items()},
                "output": str(output),
                "errors": str(errors),
            }
            print(json.dumps(request), file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            clock = threading.Timer(_SECONDS, _end, [child])
            clock.start()
            ended = int(parent.stdout.readline())
            clock.cancel()
            assert ended == code, f"{ended}\n{output.read_text()}\n{errors.read_text()[-5000:]}"
            return output.read_text()

    return run


def _end(child: int) -> None:
    """End a process that hangs, with all its children; faulthandler writes where it hangs."""
    os.kill(child, signal.SIGABRT)
    time.sleep(1)
    os.killpg(child, signal.SIGKILL)


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
