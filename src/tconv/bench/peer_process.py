"""The parent's view of one peer: its child process, started when it is needed and again after it crashed or hung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tconv._extras import EXTRAS, install
from tconv.bench.child_process import Child, GoneError
from tconv.bench.correctness_gate import Reference
from tconv.bench.row_groups import Row
from tconv.bench.worker_protocol import Message


class TimeLimits(NamedTuple):
    """Seconds after which a child that does not answer is ended. A sample may take 10 times its call's time more."""

    start: float = 120.0
    load: float = 300.0
    sample: float = 30.0


class TimedPeer(Protocol):
    """Interface of a peer for the runner. Every answer has a state, and nothing is raised."""

    name: str

    def start(self) -> Message:
        """Import the library. State "started", or another one with a reason."""

    def load(self, row: Row, reference: Reference) -> Message:
        """Load a row and check its output. State "loaded" with its modes, or another one with a reason.

        The rows of one reference stay loaded together.
        """

    def sample(self, row: Row, mode: str) -> Message:
        """Take one sample of a row that is loaded. State "sampled" with ms, or another one with a reason."""

    def close(self) -> None:
        """End the process."""


class PeerProcess:
    """A peer in a child process."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: dict[str, str],
        limits: TimeLimits | None = None,
        isa: str = "native",
    ) -> None:
        self.name, self._isa = name, isa
        self._argv, self._env, self._limits = argv, env, limits or TimeLimits()
        self._child: Child | None = None
        self._slowest: dict[Row, float] = {}  # seconds of the slowest call of each row

    def start(self) -> Message:
        """Start the process and import the library."""
        self._child = Child(self._argv, self._env)
        return with_install_command(self._ask({"do": "start", "isa": self._isa}, self._limits.start))

    def load(self, row: Row, reference: Reference) -> Message:
        """Load a row; a process that has ended is started again first."""
        if self._child is None and (begun := self.start())["state"] != "started":
            return begun
        message: Message = {"do": "load", "layer": row.layer.spec, "dtype": row.dtype, "layout": row.layout}
        message |= {"folder": str(reference.folder), "rms": reference.rms, "inputs": reference.dtype}
        message["activation"] = reference.activation
        answer = self._ask(message, self._limits.load)
        self._slowest[row] = max(answer.get("once", {"": 0.0}).values())
        return answer

    def sample(self, row: Row, mode: str) -> Message:
        """Take one sample."""
        message = {"do": "sample", "dtype": row.dtype, "layout": row.layout, "mode": mode}
        return self._ask(message, self._limits.sample + 10 * self._slowest.get(row, 0.0))

    def probe(self) -> Message:
        """Measure the machine: a message for the process of `roofline`."""
        return self._ask({"do": "probe"}, self._limits.sample)

    def close(self) -> None:
        """End the process at once: it has nothing to save."""
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
    """Return an answer of state "missing" with a reason that contains the command to install the package.

    The child sends only the names of the module and of the package to install if no extra of tconv brings the module:
    extras of an older tconv may differ.
    """
    if answer["state"] != "missing" or "reason" in answer:
        return answer
    name = (answer["module"] or "").partition(".")[0]
    command = install(name if name in EXTRAS else answer["package"])
    return {"state": "missing", "reason": f"{answer['module']} is not installed: {command}"}
