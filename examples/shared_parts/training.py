"""What the training examples share: options, the loop and its checkpoints, runs side by side, torchrun, step times.

A run that is killed goes on at its last checkpoint with the same numbers as one that is not: whatever a step draws
depends on the seed and the step alone. On one thread and one machine the numbers repeat to the digit.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.parallel import DistributedDataParallel

from shared_parts import side_by_side
from shared_parts.report import damaged, replacing, same_recipe
from shared_parts.side_by_side import Show
from shared_parts.side_by_side import amount as amount  # for the examples, whose options these are
from shared_parts.side_by_side import parser as parser
from shared_parts.side_by_side import positive as positive


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


def is_first() -> bool:
    """Return whether this process is the first of torchrun's, or the only one."""
    return not together() or torch.distributed.get_rank() == 0


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first of torchrun's processes through, then the others, which read the cache that it wrote."""
    if not is_first():
        torch.distributed.barrier()
    yield
    if together() and is_first():
        torch.distributed.barrier()


def first_alone() -> bool:
    """End what torchrun's processes do together; return whether this is the first, which does the rest alone."""
    first = is_first()
    if together():
        torch.distributed.destroy_process_group()
    return first


def told(value: Any) -> Any:
    """Return what the first of torchrun's processes has, in all of them; the others wait for it."""
    if not together():
        return value
    shared = [value]
    torch.distributed.broadcast_object_list(shared)
    return shared[0]


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

    Raises SystemExit if the checkpoint is damaged, of another recipe or of more steps, if it cannot be written, and if
    the loss is not finite.

    parts: Everything that changes and has a `state_dict`: networks, their moving averages, optimisers.
    step: Takes one optimisation step, number 0 and on, and returns the loss. PyTorch's generator is seeded before each.
    path: File of the checkpoint, written every `every` steps and at the end.
    recipe: The options that determine the numbers, with "seed".
    measure: Returns figures after so many steps, for the history, at each checkpoint.
    show: Is told the loss after each step.
    """
    recipe = json.loads(json.dumps(recipe))
    done, history, seconds, ends = 0, [], 0.0, [[0, steps]]
    if path.exists():
        state = read_checkpoint(path, recipe, parts)
        done, history, seconds, ends = (state[name] for name in _PROGRESS)
        if done > steps:
            raise SystemExit(f"{path} has {done} steps already. Write --steps {done} or more, or another -o FOLDER")
        if ends[-1][1] != steps:
            ends.append([done, steps])
        if show is not None:
            show("read", done, steps)
    if together():
        torch.distributed.barrier()  # the first process writes only after all have read
    began = time.monotonic()
    for i in range(done, steps):
        torch.manual_seed(random.Random(f"{recipe['seed']} {i}").getrandbits(63))
        loss = step(i)
        if not math.isfinite(loss):
            raise SystemExit(
                f"the loss of step {i + 1} of {path.stem} is {loss}. Write a lower learning rate, and another -o FOLDER"
            )
        if show is not None:
            show(f"loss {loss:.4f}", i + 1, steps)
        if (i + 1) % every and i + 1 < steps:
            continue
        seconds += time.monotonic() - began
        if is_first():
            figures = {} if measure is None else measure(i + 1)
            history.append({"step": i + 1, "loss": loss, **figures})
            about = dict(zip(_PROGRESS, (i + 1, history, seconds, ends), strict=True))
            write_checkpoint(
                path, {**about, "recipe": recipe, "parts": {name: part.state_dict() for name, part in parts.items()}}
            )
        began = time.monotonic()
    return Fitted(told(history), seconds, ends)  # measured by the first process alone


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    stream = io.BytesIO()  # PyTorch's own writer reports a full disk as an error of its archive
    torch.save(state, stream)
    with replacing(path) as part:
        part.write_bytes(stream.getvalue())


def read_checkpoint(path: Path, recipe: dict[str, Any] | None, parts: dict[str, Any]) -> dict[str, Any]:
    """Load a checkpoint, or some parts of it, and return it; SystemExit says what is wrong with it.

    recipe: What it has to be of; None takes any.
    """
    try:
        state = torch.load(path, weights_only=True)
        before = dict(state["recipe"])
    except _DAMAGE as error:
        raise damaged(path, error) from None
    if recipe is not None:
        same_recipe(f"{path} is of a run with", before, recipe)
    try:
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        if missing := set(_PROGRESS) - set(state):
            raise KeyError(min(missing))
    except _DAMAGE as error:
        raise damaged(path, error) from None
    return state


_PROGRESS = ("step", "history", "seconds", "ends")
"""What a checkpoint has beside the recipe and the parts."""
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)
"""What PyTorch raises for files that are none of its own, or damaged, or of other networks."""


# -- the learning rate -----------------------------------------------------------------------------------------------


def cosine(step: int, steps: int, highest: float, longest_rise: float = math.inf, least: float = 0.0) -> float:
    """Return the learning rate of a step: a rise, then half a cosine down.

    longest_rise: Steps that the rise has at most; else it is a tenth of all.
    least: The rate at the end, as a part of the highest.
    """
    rise = min(longest_rise, steps // 10 + 1)
    if step < rise:
        return highest * (step + 1) / rise
    return highest * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))))


def set_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of all that an optimiser changes."""
    for group in optimiser.param_groups:
        group["lr"] = value


# -- PyTorch's threads and processes ---------------------------------------------------------------------------------


def spread(
    function: Callable[[dict[str, Any], Path, Show], dict[str, Any]],
    recipes: list[dict[str, Any]],
    folder: Path,
    jobs: int,
    threads: int,
) -> list[dict[str, Any]]:
    """Return `side_by_side.spread`, `threads` for each run; torchrun's processes take one run at a time, together."""
    prepare = partial(torch.set_num_threads, threads)
    return side_by_side.spread(function, recipes, folder, 1 if together() else jobs, prepare, not is_first())


def step_times(calls: dict[str, Callable[[], Any]], rounds: int = 15) -> dict[str, Any]:
    """Return `side_by_side.step_times`, and PyTorch's threads."""
    return {**side_by_side.step_times(calls, rounds), "threads": torch.get_num_threads()}
