"""The child's side: one peer in a process of its own, JSON lines in and out.

    -> {"do": "start"}                              <- {"state": "started", "versions": {...}}
    -> {"do": "load", "layer": {...}, ...}          <- {"state": "ready", "modes": [...], ...} or why not
    -> {"do": "sample", "mode": "dropped"}          <- {"state": "sampled", "ms": 1.25, "calls": 8}

A state other than started, ready and sampled carries a reason. The end of the input ends the process.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import numpy as np

from tconv.bench import correctness_gate, peers, timing
from tconv.bench.json_lines import Message, private_stdout, serve
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import Peer, Ready, Task, UnableError


class Worker:
    """One peer between messages: nothing loaded, or one layer ready to be called."""

    def __init__(self, name: str, peer: Peer, threads: int, device: str) -> None:
        self.name, self.peer, self.threads, self.device = name, peer, threads, device
        self._ready: Ready | None = None
        self._task: Task | None = None  # some libraries take an array's memory without holding the array
        self._once: dict[str, float] = {}
        self._hold = 0

    def answer(self, message: Message) -> Message:
        """What is said to one message; an exception of the peer's becomes the state "error"."""
        deeds: dict[str, Callable[[Message], Message]] = {
            "start": self._start,
            "load": self._load,
            "sample": self._sample,
        }
        try:
            return deeds[message["do"]](message)
        except UnableError as error:
            return {"state": "unable", "reason": str(error)}
        except Exception as error:  # a peer may raise anything, and the others go on
            return {"state": "error", "reason": f"{type(error).__name__}: {error}"[:600]}

    def _start(self, message: Message) -> Message:
        if self.device not in self.peer.devices:
            return {"state": "unable", "reason": f"it runs on {' and '.join(self.peer.devices)} only"}
        try:
            self.peer.start(self.threads, self.device)
        except ModuleNotFoundError as error:
            return {"state": "missing", "module": error.name, "package": self.peer.packages[0]}
        except ImportError as error:
            return {"state": "missing", "reason": str(error)}
        return {"state": "started", "summary": self.peer.summary, "versions": versions(self.peer.packages)}

    def _load(self, message: Message) -> Message:
        self._ready, self._task, self._once = None, None, {}
        gc.collect()
        layer, folder = Layer.of(message["layer"]), Path(message["folder"])
        if reasons := self.peer.reasons_against(layer):
            return {"state": "unable", "reason": "; ".join(reasons)}
        x, w = np.load(folder / "x.npy"), np.load(folder / "w.npy")
        precision = message["precision"]
        self._task = Task(self.name, layer, x, w, self.threads, self.device, precision)
        ready = self.peer.load(self._task)
        right = np.load(folder / "truth.npy", mmap_mode="r")
        allowed = correctness_gate.tolerance(layer.terms, precision)
        errors = {}
        for mode, call in ready.calls.items():
            ready.poison()
            start = time.perf_counter()
            output = call()
            ready.wait()
            spent = time.perf_counter() - start
            verdict = correctness_gate.judge(ready.read(output), right, message["rms"], allowed)
            del output
            if verdict.words:
                return {"state": "wrong", "reason": f"{verdict.words} (mode {mode})"}
            errors[mode] = verdict.error
            # the first call also compiles and allocates: what is short is timed again
            self._once[mode] = spent if spent > 1 else timing.sample(call, 1.0, 0, ready.wait)[0]
        if "dropped" in ready.calls:
            self._once["kept"] = self._once["dropped"]
        self._ready, self._hold = ready, timing.kept_outputs(layer.output_bytes)
        timing.settle()
        modes = [mode for mode in timing.MODES[self.device] if mode in self._once]
        facts = {"error": max(errors.values()), "tolerance": allowed, "note": ready.note}
        return {"state": "ready", "modes": modes, "once": self._once, **facts}

    def _sample(self, message: Message) -> Message:
        if self._ready is None:
            return {"state": "error", "reason": "no layer is loaded"}
        mode = message["mode"]
        kept = mode == "kept"
        call = self._ready.calls["dropped" if kept else mode]
        seconds, calls = timing.sample(call, self._once[mode], self._hold if kept else 0, self._ready.wait)
        self._once[mode] = seconds
        timing.settle()
        return {"state": "sampled", "ms": seconds * 1e3, "calls": calls}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def main(arguments: list[str]) -> None:
    """NAME THREADS DEVICE, as the parent starts it."""
    name, threads, device = arguments
    answers = private_stdout()
    serve(Worker(name, peers.peer(name), int(threads), device), sys.stdin, answers.write)


if __name__ == "__main__":
    main(sys.argv[1:])
