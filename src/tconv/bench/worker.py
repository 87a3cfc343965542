"""The child's side of `tconv bench`: one peer in a process of its own, JSON lines in and out.

    -> {"do": "start"}                              <- {"state": "started", "versions": {...}}
    -> {"do": "load", "layer": {...}, ...}          <- {"state": "loaded", "modes": [...], ...}
    -> {"do": "sample", "mode": "dropped"}          <- {"state": "sampled", "ms": 1.25, "calls": 8}

A state other than started, loaded and sampled carries a reason. The process ends at the end of its input.
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
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task, UnableError
from tconv.bench.worker_protocol import Message, private_stdout, serve


class Worker:
    """One peer between messages, with one loaded layer or none."""

    def __init__(self, name: str, peer: Peer, threads: int, device: str) -> None:
        self.name, self.peer, self.threads, self.device = name, peer, threads, device
        self._loaded: LoadedLayer | None = None
        self._task: Task | None = None  # some libraries use an array's memory without a reference to the array
        self._once: dict[str, float] = {}  # seconds of one call, by mode
        self._alive = 0

    def answer(self, message: Message) -> Message:
        """Return the answer to one message; an exception of the peer becomes the state "error"."""
        handlers: dict[str, Callable[[Message], Message]] = {
            "start": self._start,
            "load": self._load,
            "sample": self._sample,
        }
        try:
            return handlers[message["do"]](message)
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
        self._loaded, self._task, self._once = None, None, {}
        gc.collect()
        layer, folder = Layer.of(message["layer"]), Path(message["folder"])
        if reasons := self.peer.reasons_against(layer):
            return {"state": "unable", "reason": "; ".join(reasons)}
        x, w = np.load(folder / "x.npy"), np.load(folder / "w.npy")
        precision = message["precision"]
        self._task = Task(self.name, layer, x, w, self.threads, self.device, precision)
        loaded = self.peer.load(self._task)
        reference = np.load(folder / "reference.npy", mmap_mode="r")
        allowed = correctness_gate.tolerance(layer.terms, precision)
        errors = {}
        for mode, call in loaded.calls.items():
            loaded.poison()
            start = time.perf_counter()
            output = call()
            loaded.wait()
            seconds = time.perf_counter() - start
            compared = correctness_gate.compare(loaded.read(output), reference, message["rms"], allowed)
            del output
            if compared.fault:
                return {"state": "wrong", "reason": f"{compared.fault} (mode {mode})"}
            errors[mode] = compared.error
            # the first call also compiles and allocates: a short one is timed again
            self._once[mode] = seconds if seconds > 1 else timing.sample(call, 1.0, 0, loaded.wait)[0]
        if "dropped" in loaded.calls:
            self._once["kept"] = self._once["dropped"]
        self._loaded, self._alive = loaded, timing.outputs_alive(layer.output_bytes)
        timing.settle()
        modes = [mode for mode in timing.MODES[self.device] if mode in self._once]
        facts = {"error": max(errors.values()), "tolerance": allowed, "note": loaded.note}
        return {"state": "loaded", "modes": modes, "once": self._once, **facts}

    def _sample(self, message: Message) -> Message:
        if self._loaded is None:
            return {"state": "error", "reason": "no layer is loaded"}
        mode = message["mode"]
        call = self._loaded.calls["dropped" if mode == "kept" else mode]
        alive = self._alive if mode == "kept" else 0
        seconds, calls = timing.sample(call, self._once[mode], alive, self._loaded.wait)
        self._once[mode] = seconds
        timing.settle()
        return {"state": "sampled", "ms": seconds * 1e3, "calls": calls}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def main(arguments: list[str]) -> None:
    """Serve one peer: NAME THREADS DEVICE."""
    name, threads, device = arguments
    answers = private_stdout()
    serve(Worker(name, peers.peer(name), int(threads), device), sys.stdin, answers.write)


if __name__ == "__main__":
    main(sys.argv[1:])
