"""A peer's seat at the table: its process, started when it is needed and again after it crashed or hung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tconv._extras import EXTRAS, install
from tconv.bench.child_process import Child, GoneError
from tconv.bench.correctness_gate import Truth
from tconv.bench.json_lines import Message
from tconv.bench.layers import Layer


class Row(NamedTuple):
    """One line of the table: a layer in a precision."""

    layer: Layer
    precision: str


class Limits(NamedTuple):
    """Seconds after which a child that does not answer is ended; of a sample, beside 10 times what a call took."""

    start: float = 120.0
    load: float = 300.0
    sample: float = 30.0


class Seat(Protocol):
    """What the runner asks of a peer; every answer has a state, and nothing is raised."""

    name: str

    def start(self) -> Message:
        """Import the library: state "started", or why it is not here."""

    def load(self, row: Row, truth: Truth) -> Message:
        """Make a layer ready and pass the gate: state "ready" with its modes, or why not."""

    def sample(self, mode: str) -> Message:
        """Take one sample: state "sampled" with ms, or why not."""

    def close(self) -> None:
        """End whatever runs."""


class ProcessSeat:
    """A seat whose peer runs in a child process."""

    def __init__(self, name: str, argv: Sequence[str], env: dict[str, str], limits: Limits | None = None) -> None:
        self.name = name
        self._argv, self._env, self._limits = argv, env, limits or Limits()
        self._child: Child | None = None
        self._slowest = 0.0

    def start(self) -> Message:
        """Start the process, too."""
        self._child = Child(self._argv, self._env)
        return with_install_command(self._ask({"do": "start"}, self._limits.start))

    def load(self, row: Row, truth: Truth) -> Message:
        """Start anew first if the process is gone."""
        if self._child is None and (begun := self.start())["state"] != "started":
            return begun
        message = {"do": "load", "layer": row.layer.spec, "precision": row.precision}
        answer = self._ask({**message, "folder": str(truth.folder), "rms": truth.rms}, self._limits.load)
        self._slowest = max(answer.get("once", {"": 0.0}).values())
        return answer

    def sample(self, mode: str) -> Message:
        """One message."""
        return self._ask({"do": "sample", "mode": mode}, self._limits.sample + 10 * self._slowest)

    def probe(self) -> Message:
        """One message to the process that measures the machine."""
        return self._ask({"do": "probe"}, self._limits.sample)

    def close(self) -> None:
        """At once: a worker holds nothing that it would have to save."""
        if self._child is not None:
            self._child.close(grace=0)
            self._child = None

    def _ask(self, message: Message, limit: float) -> Message:
        if self._child is None:
            return {"state": "crashed", "reason": "its process is gone"}
        try:
            return self._child.ask(message, limit)
        except GoneError as gone:
            self._child = None
            return {"state": gone.state, "reason": str(gone)}


def with_install_command(answer: Message) -> Message:
    """Return an answer of state "missing" with a reason that contains the command to install what is missing.

    The child names only the module, and the package to install if no extra of tconv brings the module: extras of an
    older tconv may differ.
    """
    if answer["state"] != "missing" or "reason" in answer:
        return answer
    name = (answer["module"] or "").partition(".")[0]
    command = install(name if name in EXTRAS else answer["package"])
    return {"state": "missing", "reason": f"{answer['module']} is not installed: {command}"}
