"""What the training examples share and needs no framework: options, runs side by side, times taken in turns."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Show = Callable[[str, int, int], None]
"""Called with words, the steps that are done, and all steps."""


def parser(description: str | None, output: str, steps: int) -> argparse.ArgumentParser:
    """Return a parser of the options that all training examples have.

    output: Folder of the results if none is given.
    steps: Optimisation steps of a run if none are given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("-o", "--output", type=Path, default=Path(output), metavar="FOLDER", help=f"folder of the results ({output})")
    add("--steps", type=positive, default=steps, help=f"optimisation steps of a run ({steps})")
    add("--seed", type=natural, default=0, help="of the first run (0)")
    add("--every", type=positive, default=250, help="steps between checkpoints (%(default)s)")
    add("--jobs", type=positive, default=cores(), help="runs side by side (as many as there are cores: %(default)s)")
    add("--threads", type=positive, default=1, help="of each run (1: the numbers repeat to the digit)")
    add("--quick", action="store_true", help="a tiny run of everything, whose metrics must pass a bound")
    return parser


def positive(text: str) -> int:
    """Return an option that has to be a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is given, and a whole number above 0 is needed. Write 1, for example")
    return int(text)


def natural(text: str) -> int:
    """Return an option that has to be a whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is given, and a whole number of 0 or more is needed")
    return int(text)


def amount(text: str) -> float:
    """Return an option that has to be a finite number of 0 or more."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is given, and a finite number of 0 or more is needed")
    return value


def cores() -> int:
    """Return the processors that this process may use, of which a container has fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_tell: Any = None
"""In a process of `spread`: the queue that its parent reads."""


def spread(
    function: Callable[[dict[str, Any], Path, Show], dict[str, Any]],
    recipes: list[dict[str, Any]],
    folder: Path,
    jobs: int,
    prepare: Callable[[], Any],
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Return `function(recipe, folder, show)` of each recipe, which has a "name", from `jobs` processes.

    The function has to be importable. What a process raises is raised here, and the others are stopped; the same
    command goes on.

    jobs: Processes side by side; 1 is this process.
    prepare: Is called first in each process, to set its threads, and has to be importable, too.
    quiet: No progress bars.
    """
    with _Bars([recipe["name"] for recipe in recipes], quiet) as bars:
        if min(jobs, len(recipes)) == 1:
            prepare()
            done = []
            for recipe in recipes:
                done.append(function(recipe, folder, partial(bars.show, recipe["name"])))
                bars.finish(recipe["name"])
            return done
        context = multiprocessing.get_context("spawn")  # a fork of a process that has threads could stand still
        told = context.Queue()
        with ProcessPoolExecutor(min(jobs, len(recipes)), context, _start, (told, prepare)) as pool:
            futures = [pool.submit(_run, function, recipe, folder) for recipe in recipes]
            names = dict(zip(futures, (recipe["name"] for recipe in recipes), strict=True))
            try:
                running = set(futures)
                while running:
                    ended, running = wait(running, 0.2, FIRST_COMPLETED)
                    while not told.empty():
                        bars.show(*told.get())
                    for future in ended:
                        future.result()
                        bars.finish(names[future])
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.kill()
                if isinstance(error, BrokenProcessPool):
                    raise SystemExit("a run was killed, perhaps for memory. Write the same command to go on") from None
                raise
        return [future.result() for future in futures]


class _Bars:
    """A progress bar of all runs, and one of each run that is under way, with the time left."""

    def __init__(self, names: list[str], quiet: bool) -> None:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        self._bars = Progress(*columns, disable=quiet)
        self._all = self._bars.add_task("all runs", total=len(names))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, name: str, words: str, done: int, total: int) -> None:
        """Show how far a run is, and some words about it."""
        if name not in self._tasks:
            if done > 1 and not self._bars.disable:
                self._bars.console.print(f"{name} goes on at step {done} of {total}", markup=False, highlight=False)
            self._tasks[name] = self._bars.add_task(name, total=total, completed=done)
        self._bars.update(self._tasks[name], completed=done, total=total, description=f"{name}: {words}")

    def finish(self, name: str) -> None:
        """Count a run as finished, and take its bar away."""
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
        self._bars.advance(self._all)


def _start(told: Any, prepare: Callable[[], Any]) -> None:
    """Prepare a process of `spread`, which ends when its parent does, and leaves Ctrl-C to it."""
    global _tell
    _tell = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    parent = multiprocessing.parent_process()

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def _run(function: Callable[..., dict[str, Any]], recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    last = 0.0

    def show(words: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2 or done == total:  # a message costs more than some steps
            last = time.monotonic()
            _tell.put((recipe["name"], words, done, total))

    return function(recipe, folder, show)


def step_times(calls: dict[str, Callable[[], Any]], rounds: int = 15) -> dict[str, Any]:
    """Return the median seconds of each call, taken in turns, and how often the first one's time holds the others'.

    >>> times = step_times({"stock": lambda: sum(range(90000)), "ours": lambda: sum(range(10000))}, 5)
    >>> times["ratio"]["ours"] > 2
    True
    """
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(calls), len(calls)):
            began = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - began)
    first, *others = calls
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    # ratios of pairs taken one after the other: other programs on the machine slow both
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds[first], seconds[name], strict=True)) for name in others
    }
    return {"seconds": medians, "ratio": ratio}
