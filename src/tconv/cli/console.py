"""Output of a command: aligned lines and a progress bar, or one JSON object at the end.

Each command prints through a `Report`.
"""

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
    """Return the error for a standard output that cannot be written, on a full disk for example; drop later prints."""
    with suppress(OSError, ValueError):  # text in the buffer would fail again, at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FileError(
        f"standard output cannot be written: {error.strerror or error}. Write tconv ... > FILE on another disk"
    )


@contextmanager
def waiting(words: str, quiet: bool = False) -> Iterator[None]:
    """Show on the terminal that a slow part runs; nothing if stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(words + " ..."):
        yield


class Report:
    """Facts of a run: printed as lines at once, or collected for `--json`, which prints one object and no lines."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.facts: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}

    def line(self, label: str, text: str) -> None:
        """Print one line of text, its label in bold on a terminal."""
        if self.as_json:
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
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    @contextmanager
    def progress(self, stage: str, total: int, unit: str = "") -> Iterator[Callable[..., None]]:
        """Show a bar on the terminal until the stage is over; nothing if stderr is not a terminal.

        Yields the function that advances the bar, by 1 or by the number given. With a `unit`, the bar counts it:
        "3/10 files".
        """
        if self.as_json or not sys.stderr.isatty():
            yield lambda amount=1.0: None
            return
        from rich.console import Console
        from rich.progress import Progress, TextColumn

        columns = [*Progress.get_default_columns()]
        if unit:
            columns.append(TextColumn("{task.fields[count]}/{task.total} " + unit))
        # lines printed meanwhile go above the bar, but not where stdout is a file
        with Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
        ) as bar:
            task = bar.add_task(stage, total=total, count=0)

            def advance(amount: float = 1.0) -> None:
                bar.advance(task, amount)
                bar.update(task, count=int(bar.tasks[0].completed + 1e-6))

            yield advance

    def close(self, with_time: bool = True) -> None:
        """Print the time, unless it is not wanted, or the JSON object."""
        self.facts["seconds"] = {stage: round(spent, 4) for stage, spent in self.seconds.items()}
        if self.as_json:
            self._print(json.dumps(self.facts, allow_nan=False))
            return
        if with_time and self.seconds:
            stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in self.seconds.items())
            self.line("time", f"{sum(self.seconds.values()):.2f} s ({stages})")
