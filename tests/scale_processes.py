"""Processes that are killed: forked from one that has imported everything, so that a start takes milliseconds.

`Template` starts that process, and from it jobs, schedulers and workers. Hooks in them slow tiles down, write down which
tiles were computed, count the calls that change files and end the process at one of them, and record what was synced.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import scale_power_cut

MARK = "TCONV_TEST_PROCESSES"
"""Environment variable that all processes of a template have, so that those left over are found."""
CALLS = ("write", "pwrite", "pwritev", "fsync", "fdatasync", "ftruncate")
"""Functions of `os` that take a file descriptor; names are changed under the eyes of audit hooks."""
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.move", "shutil.rmtree"}


class Template:
    """A process of one thread that has imported what jobs need, and is forked for each of them; a light one has not."""

    def __init__(self, folder, light=False):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mark = f"{os.getpid()}-{self.folder}"
        tests = Path(__file__).parent
        environment = {
            **os.environ,
            MARK: self.mark,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(tests), os.environ.get("PYTHONPATH")])),
            "OPENBLAS_NUM_THREADS": "1",
            "TCONV_NUM_THREADS": "2",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, *["light"] * light],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.lock = threading.Lock()

    def ask(self, **request):
        with self.lock:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that jobs are forked from has ended")
        return json.loads(answer)

    def start(self, what, **arguments):
        """Start a function of `scale_random_jobs` or of another module, and return its process."""
        return Child(self, what, arguments)

    def run(self, what, timeout=60, **arguments):
        """Start a function, and return what it returned."""
        return self.start(what, **arguments).finished(timeout)

    def left_over(self):
        """Return processes with the mark beside the template itself."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.process.pid:
                continue
            try:
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    found += [(int(entry.name), state, (entry / "cmdline").read_bytes()[-120:])]
            except OSError:
                continue
        return [each for each in found if each[1] != "Z"]

    def close(self):
        for pid, *_ in self.left_over():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Child:
    """One process of a template; `record` is what its hooks wrote."""

    numbers = iter(range(1 << 60))

    def __init__(self, template, what, arguments):
        self.template, self.place = template, template.folder / f"process-{next(self.numbers)}"
        self.answer = None
        self.began = time.monotonic()
        module, _, what = what.rpartition(".")
        request = {
            "module": module or "scale_random_jobs",
            "what": what,
            "arguments": arguments,
            "place": str(self.place),
        }
        self.pid = template.ask(do="start", **request)["pid"]

    def send(self, number=signal.SIGKILL):
        """Send a signal; nothing happens if the process has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout=60):
        """Return {"signal", "code", "result" or "error"} of the ended process; one that hangs is killed, and refused."""
        until = time.monotonic() + timeout
        while self.answer is None:
            status = self.template.ask(do="poll", pid=self.pid)["status"]
            if status is not None:
                self.answer = {"signal": -status if status < 0 else 0, "code": max(status, 0)}
                result = Path(f"{self.place}.result")
                self.answer |= json.loads(result.read_text()) if result.exists() else {}
                self.answer["printed"] = self.printed()
            elif time.monotonic() > until:
                self.send(signal.SIGABRT)
                time.sleep(0.5)
                self.send()
                raise AssertionError(f"it hung for {timeout} s\n{self.printed()}")
            else:
                time.sleep(0.005)
        return self.answer

    def killed_after(self, seconds, number=signal.SIGKILL):
        """Send a signal after a time, and return as `wait` does."""
        self.wait_until(lambda: time.monotonic() >= self.began + seconds)
        self.send(number)
        return self.wait()

    def wait_until(self, condition, timeout=60):
        """Wait for a condition, or for the end of the process. Raises AssertionError after the time."""
        until = time.monotonic() + timeout
        while not condition() and not self.has_ended():
            assert time.monotonic() < until, f"it waited for {timeout} s\n{self.printed()}"
            time.sleep(0.003)

    def has_ended(self):
        return self.answer is not None or self.template.ask(do="poll", pid=self.pid)["status"] is not None

    def finished(self, timeout=60):
        """Return the result of a function that must not fail."""
        answer = self.wait(timeout)
        assert "result" in answer, f"{answer}\n{answer['printed']}"
        return answer["result"]

    def printed(self):
        """Return what the process printed so far; one that was killed at once has no file."""
        output = Path(f"{self.place}.output")
        return output.read_text() if output.exists() else ""

    def address(self):
        """Return the address that a scheduler or a worker prints when it is ready."""
        found = []
        self.wait_until(lambda: found.extend(re.findall(r"^tcp://.*(?=\n)", self.printed(), re.M)) or found)
        assert found, self.printed()
        return found[0]


# -- in the processes ----------------------------------------------------------------------------------------------


def install(root, slow=0.0, log=None, end_at=None, fail_at=None, shadow=None, calls=False, group=None, clock=0.0):
    """Install hooks: seconds for each tile, a file for the tiles, the call to end at, a folder for what was synced.

    `fail_at` is [call, errno]: from that writing call on, all fail. With `calls`, calls are counted. `group` is the
    number of tiles that are noted together. `clock` are seconds that the time of day is off.
    """
    root, os_write = str(root), os.write

    def slowed(self, image, window, out):
        compute(self, image, window, out)
        if log:
            spans = [[span.start, span.stop] for span in window.outputs]
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os_write(descriptor, (json.dumps([self.target.name, image, spans]) + "\n").encode())
            os.close(descriptor)
        time.sleep(slow)

    if log or slow:
        from tconv.scale.tile_run import Stage

        compute, Stage.compute = Stage.compute, slowed
    lock = threading.Lock()
    counted = 0

    def call(name, path):
        nonlocal counted
        if not path.startswith(root):
            return
        with lock:
            counted += 1
            if end_at is not None and counted >= end_at:
                os.kill(os.getpid(), signal.SIGKILL)
        if fail_at and counted >= fail_at[0] and name in ("write", "pwrite", "pwritev", "os.mkdir", "creating"):
            raise OSError(fail_at[1], os.strerror(fail_at[1]), path)

    def hooked(name, function):
        def function_with_hook(descriptor, *arguments, **keywords):
            try:
                path = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:
                path = ""
            call(name, path)
            return function(descriptor, *arguments, **keywords)

        return function_with_hook

    def audit(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            mode, flags = arguments[1], arguments[2]
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & 0o103):
                call("creating", os.fsdecode(arguments[0]))
        elif event in EVENTS:
            path = arguments[0]
            call(event, os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else root)

    if group:
        from tconv.scale import group_commit

        group_commit._TILES = group
    if clock:
        now = time.time
        time.time = lambda: now() + clock
    if shadow:
        scale_power_cut.install(root, shadow)
    if end_at is not None or fail_at or calls:
        for name in CALLS:
            setattr(os, name, hooked(name, getattr(os, name)))
        sys.addaudithook(audit)
    return lambda: counted


def _child(request):
    import ctypes
    import faulthandler

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with the process that it was forked from

    output = os.open(f"{request['place']}.output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    faulthandler.enable()
    arguments = request["arguments"]
    hooks = arguments.pop("hooks", None)
    counted = install(**hooks) if hooks else (lambda: 0)
    code, answer = 0, {}
    try:
        answer["result"] = getattr(importlib.import_module(request["module"]), request["what"])(**arguments)
    except BaseException as error:  # KeyboardInterrupt is an answer, too
        code, answer["error"], answer["text"] = 3, type(error).__name__, str(error)
        answer["tconv"] = any(each.__name__ == "TconvError" for each in type(error).__mro__)
        traceback.print_exc()
    answer["calls"] = counted()
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    pools = "asyncio", "zarr", "Dask-"  # they wait for the next call, as the kernel's helpers do
    answer["threads"] = sorted(name for name in names if not name.startswith(pools) and name != "tconv")
    with open(f"{request['place']}.result", "w") as file:
        json.dump(answer, file)
    sys.stdout.flush()
    os._exit(code)


def import_all():
    """Import what jobs, schedulers and workers need, and load machine code."""
    import dask
    import distributed.cli.dask_worker  # noqa: F401
    import tifffile  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    import scale_random_jobs
    import tconv.scale  # noqa: F401

    dask.config.set({"distributed.worker.memory.terminate": False})
    scale_random_jobs.warm_up()


def main():
    """Read a request per line: start a process, or say if one has ended."""
    importlib.import_module("scale_breakers")
    if "light" not in sys.argv:
        import_all()
    assert len(os.listdir("/proc/self/task")) == 1, "processes with threads must not be forked"
    ended = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if not pid:
                try:
                    _child(request)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(4)
            ended[pid] = None
            answer = {"pid": pid}
        else:
            pid = request["pid"]
            if ended[pid] is None:
                done, status = os.waitpid(pid, os.WNOHANG)
                ended[pid] = os.waitstatus_to_exitcode(status) if done else None
            answer = {"status": ended[pid]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
