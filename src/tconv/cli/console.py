"""What a command says while it works: aligned lines, a bar on a terminal, or one JSON object at the end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tconv.errors import FileError


def stdout_refused(error: OSError) -> FileError:
    """The error for a standard output that takes nothing more, such as one on a full disk; later prints are lost."""
    with suppress(OSError, ValueError):  # what is still to be printed would fail again, at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FileError(
        f"standard output cannot be written: {error.strerror or error}. Write tconv ... > FILE on a disk with room"
    )


class Report:
    """Facts as they come: printed as lines, or gathered for `--json`, which prints nothing else on stdout."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self.facts: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}

    def line(self, label: str, text: str) -> None:
        """One line of text, its label in bold on a terminal."""
        if self._json:
            return
        padded = f"{label:<10}"
        bold = sys.stdout.isatty()
        self._print(f"\033[1m{padded}\033[0m{text}" if bold else f"{padded}{text}")

    @staticmethod
    def _print(text: str) -> None:
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise stdout_refused(error) from None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    @contextmanager
    def progress(self, stage: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar on the terminal, gone when the stage is over; nothing where stderr is no terminal."""
        if self._json or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(stage, total=total)
            yield lambda: bar.advance(task)

    def close(self) -> None:
        """The time, or the one JSON object."""
        self.facts["seconds"] = {stage: round(spent, 4) for stage, spent in self.seconds.items()}
        if self._json:
            self._print(json.dumps(self.facts, allow_nan=False))
            return
        stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in self.seconds.items())
        self.line("time", f"{sum(self.seconds.values()):.2f} s ({stages})")
