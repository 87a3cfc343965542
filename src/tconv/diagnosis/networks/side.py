"""A network of the comparison in its process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tconv.models.traces import format_of
from tconv.models.traces.process import Workers


@dataclass(frozen=True)
class Source:
    """A network in a file, and the name of its runtime; "" for the usual one."""

    path: Path
    runtime: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """Name in the report."""
        return self.label or str(self.path)


class Side:
    """One network in its process; another runtime takes over where one refuses it."""

    def __init__(self, source: Source, workers: Workers, stack: ExitStack) -> None:
        self.source, self._workers, self._stack = source, workers, stack
        usual = format_of(source.path).runtimes
        self._left = [source.runtime, *(("tconv",) if "tconv" in usual else ())] if source.runtime else list(usual)
        self.notes: list[str] = []
        self.refusal = ""
        """Reason why the runtime that was asked for ran nothing."""
        self._start()

    @property
    def checked(self) -> bool:
        """True if wrong shapes are refused."""
        return format_of(self.source.path).checked

    def _start(self) -> None:
        self.runtime = self._left.pop(0)
        self.network = self._workers.open(self.source.path, self.runtime)
        self._stack.callback(self.network.close)

    def another(self, reason: str) -> bool:
        """Start the next runtime; False if there is none."""
        if "tconv" in self._left and self.runtime != "tconv":
            self._left = ["tconv"]  # the one that follows the specification
        if not self._left:
            return False
        self._start()
        self.refusal = self.refusal or reason
        self.notes.append(f"{self.source.name} runs on {self.runtime}, because {reason}")
        return True

    @property
    def refusals(self) -> list[str]:
        """Notes on runtimes that refuse the network, without those on Keras' backends."""
        return self.notes if "tconv" in format_of(self.source.path).runtimes else []
