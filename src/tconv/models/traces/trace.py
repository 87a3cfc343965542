"""Trace of a network: its steps in the order of their execution, and their tensors.

Readers fill a `Recorder`. `write` and `read` store a trace in a folder of .npy files, between processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.errors import TconvError

_MOST_BYTES = 2 << 30  # of the tensors in one trace; later ones are dropped, but not those of transposed convolutions


class RunError(TconvError):
    """A network that its runtime cannot run, with these inputs at least."""


@dataclass(frozen=True)
class Input:
    """One input of a network."""

    name: str
    shape: tuple[int | None, ...] | None
    """Sizes; None for those that may vary, and for a shape that the file does not contain."""
    dtype: str = ""
    """Name of its dtype; "" if the file does not contain it."""
    layout: str = ""
    """"first" or "last", the place of the channels; "" if the file does not tell."""
    batched: bool = True
    """False if there is no axis for a batch."""
    guesses: tuple[tuple[int | None, ...], ...] = ()
    """Shapes that its weights suggest, the likeliest first, if the file contains none."""


@dataclass(frozen=True)
class LayerCall:
    """Call of a transposed convolution, with its weights as they were in the run."""

    dialect: str
    arguments: dict[str, Any]
    """Native arguments of the dialect."""
    weight: Array
    bias: Array | None


@dataclass(frozen=True)
class Step:
    """One operation that depends on the inputs."""

    name: str
    op: str
    inputs: tuple[int, ...]
    """Numbers of the tensors that depend on the network's inputs."""
    outputs: tuple[int, ...]
    layer: LayerCall | None = None

    @property
    def label(self) -> str:
        """Name and operation, for a reader."""
        return f"{self.name} ({self.op})" if self.name and self.name != self.op else self.op


@dataclass
class Trace:
    """Steps of one run in order, and their tensors by number."""

    outputs: list[Array]
    steps: list[Step] = field(default_factory=list)
    tensors: dict[int, Array] = field(default_factory=dict)

    @property
    def layers(self) -> list[Step]:
        """Steps that are transposed convolutions."""
        return [step for step in self.steps if step.layer is not None]


class NetworkFile(Protocol):
    """A network in a file, ready to run."""

    inputs: list[Input]

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs for these inputs, in their order. Raises RunError."""
        ...

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors for these inputs. Raises RunError."""
        ...


def reason(error: BaseException, most: int = 300) -> str:
    """Return the text of a framework's error in one line, without the colours of a terminal."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return (text or type(error).__name__)[:most]


class Recorder:
    """Collector of steps and tensors; tensors are numbered as they appear."""

    def __init__(self) -> None:
        self._trace = Trace([])
        self._next, self._bytes = 0, 0

    def tensor(self, array: Any = None, keep: bool = False) -> int:
        """Return the number of a new tensor with these numbers; they are dropped if too much is stored already."""
        number, self._next = self._next, self._next + 1
        if array is not None:
            values = plain(array)
            if values is not None and values.size and (keep or self._bytes + values.nbytes <= _MOST_BYTES):
                self._bytes += values.nbytes
                self._trace.tensors[number] = values
        return number

    def step(
        self, name: str, op: str, inputs: Iterable[int], outputs: Iterable[int], layer: LayerCall | None = None
    ) -> None:
        """Add a step."""
        self._trace.steps.append(Step(name, op, tuple(inputs), tuple(outputs), layer))

    def finish(self, outputs: list[Array]) -> Trace:
        """Return the trace."""
        self._trace.outputs = outputs
        return self._trace


def plain(array: Any) -> Array | None:
    """Return an array of NumPy's own number types (bfloat16 as float32), in memory of its own; None for other types."""
    values = np.asarray(array)
    if values.dtype.name == "bfloat16" or values.dtype.name.startswith("float8"):
        values = values.astype(np.float32)
    return np.array(values) if values.dtype.kind in "biufc" else None


def write(trace: Trace, folder: Path) -> None:
    """Store a trace in an empty folder."""
    numbers: dict[str, Any] = {"outputs": len(trace.outputs), "tensors": sorted(trace.tensors)}
    for number, output in enumerate(trace.outputs):
        np.save(folder / f"output{number}.npy", output)
    for number, tensor in trace.tensors.items():
        np.save(folder / f"tensor{number}.npy", tensor)
    steps = []
    for number, step in enumerate(trace.steps):
        entry: dict[str, Any] = {"name": step.name, "op": step.op, "inputs": step.inputs, "outputs": step.outputs}
        if step.layer is not None:
            np.save(folder / f"weight{number}.npy", step.layer.weight)
            if step.layer.bias is not None:
                np.save(folder / f"bias{number}.npy", step.layer.bias)
            entry["layer"] = {"dialect": step.layer.dialect, "arguments": step.layer.arguments}
        steps.append(entry)
    (folder / "trace.json").write_text(json.dumps({**numbers, "steps": steps}))


def read(folder: Path) -> Trace:
    """Return the trace that `write` has stored in this folder."""

    def array(name: str) -> Any:
        return np.load(folder / f"{name}.npy", allow_pickle=False)

    facts = json.loads((folder / "trace.json").read_text())
    steps = []
    for number, entry in enumerate(facts["steps"]):
        layer = None
        if given := entry.get("layer"):
            bias = array(f"bias{number}") if (folder / f"bias{number}.npy").exists() else None
            layer = LayerCall(given["dialect"], given["arguments"], array(f"weight{number}"), bias)
        steps.append(Step(entry["name"], entry["op"], tuple(entry["inputs"]), tuple(entry["outputs"]), layer))
    outputs = [array(f"output{number}") for number in range(facts["outputs"])]
    return Trace(outputs, steps, {number: array(f"tensor{number}") for number in facts["tensors"]})


def inputs_to_json(inputs: list[Input]) -> list[dict[str, Any]]:
    """Return inputs as JSON."""
    return [asdict(each) for each in inputs]


def inputs_from_json(entries: list[dict[str, Any]]) -> list[Input]:
    """Return the inputs that `inputs_to_json` has turned into JSON."""
    return [
        Input(
            entry["name"],
            None if entry["shape"] is None else tuple(entry["shape"]),
            entry["dtype"],
            entry["layout"],
            entry["batched"],
            tuple(map(tuple, entry["guesses"])),
        )
        for entry in entries
    ]
