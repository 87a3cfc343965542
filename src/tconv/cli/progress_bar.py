"""Progress of a run on the terminal: the share that is done, pixels per second, the time left, and the current file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tconv._memory import si


class ProgressBar:
    """Shares of the work that are done, of one file or of several; without a terminal nothing is shown.

    `files` is the number of files, which is shown where there are several.
    """

    def __init__(self, bar: Any = None, task: Any = None, files: int = 1) -> None:
        self._bar, self._task, self._files = bar, task, files
        self._done, self._start = 0.0, time.perf_counter()
        self._file, self._pixels, self._file_start = 0.0, 0, self._start

    def begin(self, name: str, pixels: int) -> None:
        """Show another file, whose result has this many pixels."""
        self._file, self._pixels, self._file_start = 0.0, pixels, time.perf_counter()
        if self._bar is not None and self._files > 1:
            self._bar.update(self._task, description=_short(name))

    def advance(self, share: float) -> None:
        """Count a share of a file, 1 for all of it."""
        self._done += share
        self._file += share
        if self._bar is None:
            return
        now = time.perf_counter()
        fields = {"speed": "", "left": ""}
        if now > self._file_start + 0.5 and self._pixels and self._file > 0:
            fields["speed"] = f"{si(self._file * self._pixels / (now - self._file_start), 'px')}/s"
        if now > self._start + 0.5 and 0 < self._done <= self._files:
            fields["left"] = f"{time_text((now - self._start) * (self._files / self._done - 1))} left"
        if self._files > 1:
            fields["count"] = f"{int(self._done + 1e-6)}/{self._files} files"
        self._bar.update(self._task, completed=self._done, **fields)


def time_text(seconds: float) -> str:
    """Return a time as people read it.

    >>> time_text(7.2), time_text(75), time_text(4000)
    ('7 s', '1:15', '1:06:40')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class TileProgressBar:
    """Tiles of a job that are done; without a terminal nothing is shown."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def show(self, progress: Any) -> None:
        """Show a `tconv.scale.Progress`: pixels, tiles, pixels per second, the time left, and memory."""
        if self._bar is None:
            return
        known = progress.rate > 0 and progress.done < progress.total
        self._bar.update(
            self._task,
            completed=progress.done,
            total=progress.total,
            count=f"{si(progress.done, 'px')} of {si(progress.total, 'px')}",
            speed=f"{si(progress.rate, 'px')}/s" if progress.rate > 0 else "",
            left=f"{time_text(progress.seconds_left)} left" if known else "",
            memory=f"{si(progress.memory, 'B')} of {si(progress.max_memory, 'B')}",
        )


@contextmanager
def shown_tiles(quiet: bool = False) -> Iterator[TileProgressBar]:
    """Show a bar of tiles on the terminal until the job is over; nothing without a terminal, or with `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield TileProgressBar()
        return
    fields = "count", "speed", "left", "memory"
    with _bar(fields) as bar:
        yield TileProgressBar(bar, bar.add_task("upsampling", total=1, **dict.fromkeys(fields, "")))


def _bar(fields: Sequence[str]) -> Any:
    """Return a bar with these texts behind it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    columns += [TextColumn(f"{{task.fields[{name}]}}") for name in fields]
    # lines printed meanwhile go above the bar, but not where stdout is a file
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"...{name[-27:]}"


@contextmanager
def shown_progress(stage: str, files: int = 1, quiet: bool = False) -> Iterator[ProgressBar]:
    """Show a bar on the terminal until the stage is over; nothing if stderr is not a terminal, or with `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield ProgressBar(files=files)
        return
    with _bar(("count", "speed", "left")) as bar:
        task = bar.add_task(stage, total=files, count="", speed="", left="")
        yield ProgressBar(bar, task, files)
