"""Networks in processes of their own, which answer requests: inputs, runs, and traces.

One process per framework and runtime, because some frameworks crash when they are imported together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.traces import format_of, trace
from tconv.models.traces.trace import Input, RunError, Trace, plain

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONWARNINGS": "ignore"}


class Worker:
    """A process that runs networks of one framework."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tconv-network-"))
        self._errors = (self.folder / "stderr").open("w+b")
        known = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tconv.models.traces.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**_QUIET, **os.environ, "PYTHONPATH": known},
        )
        self.tickets = 0
        self._answers: dict[int, dict[str, Any]] = {}

    def ask(self, request: dict[str, Any]) -> int:
        """Send a request and return its ticket."""
        self.tickets += 1
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a process that has ended is explained by the missing answer
            self._process.stdin.write(json.dumps({**request, "ticket": self.tickets}).encode() + b"\n")
            self._process.stdin.flush()
        return self.tickets

    def answer(self, ticket: int, path: Path) -> dict[str, Any]:
        """Return the answer to a request about this file. Raises FileError, RunError."""
        assert self._process.stdout is not None
        while ticket not in self._answers:
            line = self._process.stdout.readline()
            if not line:
                raise FileError(self._end(path))
            facts = json.loads(line)
            self._answers[facts["ticket"]] = facts
        facts = self._answers.pop(ticket)
        if "error" in facts:
            raise (RunError if facts["kind"] == "run" else FileError)(facts["error"])
        return dict(facts)

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    def _end(self, path: Path) -> str:
        """Return the message for a process that has ended without an answer."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1][:200]}" if lines else ""
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return f"the process that runs {path} ended with {how}{last}. Choose a file that its framework runs"

    def close(self) -> None:
        """End the process and remove its files."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class RemoteNetwork:
    """A network in a worker."""

    def __init__(self, worker: Worker, path: Path, runtime: str) -> None:
        self.path, self._worker = path, worker
        self._number = worker.tickets + 1
        self._opening: int | None = worker.ask(
            {"do": "open", "network": self._number, "path": str(path), "runtime": runtime}
        )
        self._inputs: list[Input] = []

    @property
    def inputs(self) -> list[Input]:
        """Inputs of the network. Raises FileError for a file that cannot be read."""
        if self._opening is not None:
            ticket, self._opening = self._opening, None
            self._inputs = trace.inputs_from_json(self._worker.answer(ticket, self.path)["inputs"])
        return self._inputs

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs for these inputs. Raises RunError."""
        return self._request("run", feeds).outputs

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors for these inputs. Raises RunError."""
        return self._request("trace", feeds)

    def probe(self, feeds: list[Array], tensors: list[int]) -> Trace:
        """Return the outputs and these tensors of the last trace, and keep no others. Raises RunError."""
        return self._request("probe", feeds, tensors)

    def _request(self, what: str, feeds: list[Array], tensors: list[int] | None = None) -> Trace:
        folder = Path(tempfile.mkdtemp(dir=self._worker.folder))
        try:
            for number, feed in enumerate(feeds):
                np.save(
                    folder / f"feed{number}.npy", feed if (stored := plain(feed)) is None else stored
                )  # NumPy stores no bfloat16
            request = {"do": what, "network": self._number, "folder": str(folder), "feeds": len(feeds)}
            request |= {} if tensors is None else {"tensors": tensors}
            self._worker.answer(self._worker.ask(request), self.path)
            return trace.read(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Release the network."""
        with contextlib.suppress(FileError, RunError):
            if self._opening is not None:
                self._worker.answer(self._opening, self.path)
            self._worker.answer(self._worker.ask({"do": "close", "network": self._number}), self.path)


class Workers:
    """Workers by framework and runtime, which end with the block.

    >>> with Workers() as workers:        # doctest: +SKIP
    ...     (y,) = workers.open(Path("model.onnx"), "onnxruntime").run([x])
    """

    def __init__(self) -> None:
        self._workers: dict[tuple[str, str], Worker] = {}

    def open(self, path: Path, runtime: str) -> RemoteNetwork:
        """Return a network on a runtime of its format. Raises FileError for a file of no known format."""
        key = format_of(path).module, runtime
        worker = self._workers.get(key)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.close()
            worker = self._workers[key] = Worker()
        return RemoteNetwork(worker, path, runtime)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for worker in self._workers.values():
            worker.close()
