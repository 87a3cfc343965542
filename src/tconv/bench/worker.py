"""The child's side of `tconv bench`: one peer in a process of its own, JSON lines in and out.

    -> {"do": "start", "isa": "native"}             <- {"state": "started", "versions": {...}}
    -> {"do": "load", "layer": {...}, ...}          <- {"state": "loaded", "modes": [...], ...}
    -> {"do": "sample", "mode": "dropped", ...}     <- {"state": "sampled", "ms": 1.25, "calls": 8}

A layer can be loaded in several dtypes and layouts at the same time; those of another folder are released by the next
"load". A state other than started, loaded and sampled carries a reason. The process ends at the end of its input.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from tconv.bench import correctness_gate, dtypes, peers, timing
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import LoadedLayer, Peer, Task, UnableError
from tconv.bench.worker_protocol import Message, private_stdout, serve


@dataclass
class _Slot:
    """A layer that is loaded in one dtype and layout."""

    task: Task  # some libraries use an array's memory without a reference to the array
    loaded: LoadedLayer
    alive: int
    """Outputs that the mode "kept" has alive."""
    once: dict[str, float] = field(default_factory=dict)
    """Seconds of one call, by mode."""


class Worker:
    """One peer between messages, with the layers that are loaded, by dtype and layout."""

    def __init__(self, name: str, peer: Peer, threads: int, device: str) -> None:
        self.name, self.peer, self.threads, self.device = name, peer, threads, device
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._folder = ""

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
        isa = message.get("isa", "native")
        if isa not in ("native", *self.peer.isas):
            return {"state": "unable", "reason": f"it cannot be restricted to the instructions of {isa}"}
        try:
            self.peer.start(self.threads, self.device)
        except ModuleNotFoundError as error:
            return {"state": "missing", "module": error.name, "package": self.peer.packages[0]}
        except ImportError as error:
            return {"state": "missing", "reason": str(error)}
        return {"state": "started", "summary": self.peer.summary, "versions": versions(self.peer.packages)}

    def _load(self, message: Message) -> Message:
        key = dtype, layout = message["dtype"], message["layout"]
        if message["folder"] != self._folder:
            self._slots.clear()
            self._folder = message["folder"]
        self._slots.pop(key, None)
        gc.collect()
        layer = Layer.of(message["layer"])
        if reasons := [*self._reasons_against(dtype, layout), *self.peer.reasons_against(layer)]:
            return {"state": "unable", "reason": "; ".join(reasons)}
        stored = dtypes.summed(dtype)
        x, w = (np.load(Path(self._folder) / f"{name}.npy").astype(stored, copy=False) for name in "xw")
        task = Task(self.name, layer, x, w, self.threads, self.device, dtype, layout, message["activation"])
        loaded = self.peer.load(task)
        slot = _Slot(task, loaded, timing.outputs_alive(dtypes.BYTES[dtype] * math.prod(layer.output_shape)))
        reference = np.load(Path(self._folder) / "reference.npy", mmap_mode="r")
        own = self.name.startswith("tconv")
        strict = correctness_gate.limits(layer.terms, dtype, message["inputs"], once=True)
        allowed = strict if own else correctness_gate.limits(layer.terms, dtype, message["inputs"], once=False)
        error = 0.0
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
            error = max(error, compared.error)
            # the first call also compiles and allocates: a short one is timed again
            slot.once[mode] = seconds if seconds > 1 else timing.sample(call, 1.0, 0, loaded.wait)[0]
        if "dropped" in loaded.calls:
            slot.once["kept"] = slot.once["dropped"]
        self._slots[key] = slot
        timing.settle()
        modes = [mode for mode in timing.MODES[self.device] if mode in slot.once]
        facts = {"error": error, "tolerance": allowed.sums, "note": loaded.note}
        if error > strict.sums:
            facts["rounds"] = "more than once"
        return {"state": "loaded", "modes": modes, "once": slot.once, **facts}

    def _reasons_against(self, dtype: str, layout: str) -> list[str]:
        if dtype not in self.peer.dtypes:
            return [f"it does not compute in {dtype}"]
        return [] if layout in self.peer.layouts else [f"it has channels {' and '.join(self.peer.layouts)} only"]

    def _sample(self, message: Message) -> Message:
        slot = self._slots.get((message["dtype"], message["layout"]))
        if slot is None:
            return {"state": "error", "reason": "no such layer is loaded"}
        mode = message["mode"]
        call = slot.loaded.calls["dropped" if mode == "kept" else mode]
        seconds, calls = timing.sample(call, slot.once[mode], slot.alive if mode == "kept" else 0, slot.loaded.wait)
        slot.once[mode] = seconds
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
