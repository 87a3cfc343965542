"""What the training examples share: options, the loop and its checkpoints, runs side by side, torchrun, step times.

A run that is killed goes on at its last checkpoint with the same numbers as one that is not: whatever a step draws
depends on the seed and the step alone. On one thread and one machine the numbers repeat to the digit.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import pickle
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
from typing import Any, NamedTuple

import torch
from report import replacing
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch.nn.parallel import DistributedDataParallel

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
    add("--seed", type=int, default=0, help="of the first run (0)")
    add("--every", type=positive, default=250, help="steps between checkpoints (250)")
    add("--jobs", type=positive, default=os.cpu_count(), help="runs side by side (as many as there are cores)")
    add("--threads", type=positive, default=1, help="of each run (1: the numbers repeat to the digit)")
    add("--quick", action="store_true", help="a tiny run of everything, whose metrics must pass a bound")
    return parser


def positive(text: str) -> int:
    """Return an option that has to be a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is given, and a whole number above 0 is needed. Write 1, for example")
    return int(text)


class Share(NamedTuple):
    """Place of a process among those of torchrun; one without torchrun is the first of one."""

    rank: int
    world: int


def start_processes(batch: int) -> Share:
    """Join the processes that torchrun started, and return the place of this one.

    A step draws the samples of the whole batch, the same in every process, and takes [rank::world] of them.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if batch % world:
        raise SystemExit(f"{world} processes cannot share a batch of {batch} evenly. Write --batch {16 * world}")
    if world > 1:
        torch.distributed.init_process_group("gloo")
    return Share(rank, world)


def together() -> bool:
    """Return whether torchrun's processes train one network together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def wrap(net: torch.nn.Module) -> torch.nn.Module:
    """Return the network, whose gradients are the means over torchrun's processes if there are several."""
    return DistributedDataParallel(net) if together() else net


class Fitted(NamedTuple):
    """A finished run: its measurements, the seconds of its steps, and [step, steps] at each start with other steps."""

    history: list[dict[str, Any]]
    seconds: float
    ends: list[list[int]]


def fit(
    parts: dict[str, Any],
    step: Callable[[int], float],
    steps: int,
    path: Path,
    recipe: dict[str, Any],
    *,
    every: int = 250,
    measure: Callable[[int], dict[str, Any]] | None = None,
    show: Show | None = None,
) -> Fitted:
    """Train until `steps`, from the checkpoint at `path` if there is one.

    Raises SystemExit if the checkpoint is damaged or of another recipe, or cannot be written.

    parts: Everything that changes and has a `state_dict`: networks, their moving averages, optimisers.
    step: Takes one optimisation step, number 0 and on, and returns the loss. PyTorch's generator is seeded before each.
    path: File of the checkpoint, written every `every` steps and at the end.
    recipe: The options that determine the numbers, with "seed".
    measure: Returns figures after so many steps, for the history, at each checkpoint.
    show: Is told the loss after each step.
    """
    recipe = json.loads(json.dumps(recipe))
    first = not together() or torch.distributed.get_rank() == 0
    done, history, seconds, ends = 0, [], 0.0, [[0, steps]]
    if path.exists():
        state = read_checkpoint(path, recipe, parts)
        done, history, seconds, ends = (state[name] for name in ("step", "history", "seconds", "ends"))
        if ends[-1][1] != steps:
            ends.append([done, steps])
    if together():
        torch.distributed.barrier()  # the first process writes only after all have read
    began = time.monotonic()
    for i in range(done, steps):
        torch.manual_seed(random.Random(f"{recipe['seed']} {i}").getrandbits(63))
        loss = step(i)
        if show is not None:
            show(f"loss {loss:.4f}", i + 1, steps)
        if (i + 1) % every and i + 1 < steps:
            continue
        seconds += time.monotonic() - began
        if first:
            figures = {} if measure is None else measure(i + 1)
            history.append({"step": i + 1, "loss": loss, **figures})
            about = {"step": i + 1, "history": history, "seconds": seconds, "ends": ends, "recipe": recipe}
            write_checkpoint(path, {**about, "parts": {name: part.state_dict() for name, part in parts.items()}})
        began = time.monotonic()
    if together():
        shared = [history]
        torch.distributed.broadcast_object_list(shared)  # measured by the first process alone
        (history,) = shared
    return Fitted(history, seconds, ends)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    stream = io.BytesIO()  # PyTorch's own writer reports a full disk as an error of its archive
    torch.save(state, stream)
    with replacing(path) as part:
        part.write_bytes(stream.getvalue())


def read_checkpoint(path: Path, recipe: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Load a checkpoint into its parts and return it; SystemExit says what is wrong with it."""
    try:
        state = torch.load(path, weights_only=True)
        before = dict(state["recipe"])
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    for name in {**recipe, **before}:
        if before.get(name) != recipe.get(name):
            raise SystemExit(
                f"{path} is of a run with {name}={before.get(name)!r}, and this one has {name}={recipe.get(name)!r}. "
                "Write the same options, or another folder"
            )
    try:
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    return state


_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)
"""What PyTorch raises for files that are none of its own, or damaged, or of other networks."""


def _damaged(path: Path, error: BaseException) -> SystemExit:
    reason = str(error).strip().split("\n")[0][:120]
    return SystemExit(
        f"{path} is no checkpoint of this example, or damaged ({reason}). "
        "Delete it to begin this run anew, or write another folder"
    )


# -- runs side by side -----------------------------------------------------------------------------------------------

_tell: Any = None
"""In a process of `spread`: the queue that its parent reads."""


def spread(
    function: Callable[[dict[str, Any], Path, Show], dict[str, Any]],
    recipes: list[dict[str, Any]],
    folder: Path,
    jobs: int,
    threads: int,
) -> list[dict[str, Any]]:
    """Return `function(recipe, folder, show)` of each recipe, which has a "name", from `jobs` processes.

    Under torchrun its processes take one recipe after another, together. The function has to be importable. What a
    process raises is raised here, and the others are stopped; the same command goes on.
    """
    with _Bars([recipe["name"] for recipe in recipes]) as bars:
        if together() or min(jobs, len(recipes)) == 1:
            torch.set_num_threads(threads)
            done = []
            for recipe in recipes:
                done.append(function(recipe, folder, partial(bars.show, recipe["name"])))
                bars.finish(recipe["name"])
            return done
        context = multiprocessing.get_context("spawn")  # a fork of a process that has threads could stand still
        told = context.Queue()
        with ProcessPoolExecutor(min(jobs, len(recipes)), context, _start, (told, threads)) as pool:
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

    def __init__(self, names: list[str]) -> None:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        self._bars = Progress(*columns, disable=together() and torch.distributed.get_rank() > 0)
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
            self._tasks[name] = self._bars.add_task(name, total=total, completed=done)
        self._bars.update(self._tasks[name], completed=done, total=total, description=f"{name}: {words}")

    def finish(self, name: str) -> None:
        """Count a run as finished, and take its bar away."""
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
        self._bars.advance(self._all)


def _start(told: Any, threads: int) -> None:
    """Prepare a process of `spread`, which ends when its parent does, and leaves Ctrl-C to it."""
    global _tell
    _tell = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
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


# -- time per step ---------------------------------------------------------------------------------------------------


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
    return {"seconds": medians, "ratio": ratio, "threads": torch.get_num_threads()}
