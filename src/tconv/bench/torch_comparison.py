"""PyTorch compared with PyTorch on tconv's kernel: whole models, training steps of layers, and the cost of a call.

Each case has a process of its own (`torch_cases`) in which both sides live. With `--base`, that revision and today's
tconv have one more process each: memory that PyTorch's side has used would make the comparison of the two unfair.
Outputs are compared first. Then come rounds: in each, every side takes one sample, in an order that is shuffled anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from tconv.bench import child_process
from tconv.bench.child_process import Child, GoneError
from tconv.bench.peer_process import with_install_command
from tconv.bench.revision import Revision
from tconv.bench.worker_protocol import Message

LEAST_ROUNDS = 3
_BUILD_LIMIT = 400.0  # seconds for building and checking a case
_SAMPLE_LIMIT = 30.0  # seconds, besides 10 times what a call takes


class Case(NamedTuple):
    """A model or layer by name, in a dtype and layout."""

    name: str
    dtype: str = "float32"
    layout: str = "first"


class _FailedError(Exception):
    """A process did not answer a sample; the message is the reason."""


class _CaseProcess:
    """The process of one case. Errors are answers with a state and a reason."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._child = Child(command, environment)
        self.once: dict[str, float] = {}

    def build(self) -> Message:
        """Build and check the case. State "built" with facts, or a reason."""
        answer = with_install_command(self._ask({"do": "build"}, _BUILD_LIMIT))
        self.once = answer.get("sides", {})
        return answer

    def sample(self, side: str) -> float:
        """Return ms of one sample. Raises _FailedError."""
        answer = self._ask({"do": "sample", "side": side}, _SAMPLE_LIMIT + 10 * self.once[side])
        if answer["state"] != "sampled":
            raise _FailedError(answer["reason"])
        return float(answer["ms"])

    def close(self) -> None:
        """End the process."""
        self._child.close(grace=0)

    def _ask(self, message: Message, limit: float) -> Message:
        try:
            return self._child.ask(message, limit)
        except GoneError as gone:
            return {"state": gone.state, "reason": str(gone)}


ALONE = "tconv, alone"
"""Side of today's tconv in a process without PyTorch's side, as the base has one."""


def run(
    kind: str,
    selected: Sequence[Case],
    threads: int,
    rounds: int,
    seconds: float,
    report_progress: Callable[[str, float], None] = lambda text, share: None,
    base: Revision | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield one entry per case: samples in ms by side, or the reason why there are none."""
    begun = time.monotonic()
    for number, case in enumerate(selected):
        report_progress(case.name, number / len(selected))
        left = max(1.0, (seconds - (time.monotonic() - begun)) / (len(selected) - number))
        arguments = [kind, case.name, str(threads), case.dtype, case.layout]
        yield {**case._asdict(), **_case(arguments, threads, rounds, left, base)}


def _case(arguments: Sequence[str], threads: int, rounds: int, seconds: float, base: Revision | None) -> dict[str, Any]:
    """The entry of one case. A base that fails is left out, with the reason under "base"."""
    with ExitStack() as processes:
        command = child_process.command("torch_cases", *arguments)
        own = _CaseProcess(command, child_process.environment(threads))
        processes.callback(own.close)
        built = own.build()
        entry: dict[str, Any] = built.get("facts", {})
        if built["state"] != "built":
            return {**entry, "reason": built["reason"]}
        takers: dict[str, Callable[[], float]] = {side: partial(own.sample, side) for side in built["sides"]}
        if base is not None:
            other = _CaseProcess(base.command("torch_cases", *arguments), base.environment(threads))
            processes.callback(other.close)
            answer = other.build()
            alone = _CaseProcess(command, child_process.environment(threads))
            processes.callback(alone.close)
            if answer["state"] == "built" and alone.build()["state"] == "built":
                takers[base.peer_name] = partial(other.sample, "tconv")
                takers[ALONE] = partial(alone.sample, "tconv")
            else:
                entry["base"] = f"{base.peer_name}: {answer.get('reason', 'no process for its counterpart')}"
        try:
            entry["samples"] = rounds_of(takers, rounds, seconds)
        except _FailedError as error:
            entry["reason"] = str(error)
    return entry


def rounds_of(
    takers: Mapping[str, Callable[[], float]], rounds: int, seconds: float, seed: int = 0
) -> dict[str, list[float]]:
    """Return samples in ms by side: one of each in every round, in a random order; at least 3 rounds."""
    order, begun = random.Random(seed), time.perf_counter()
    samples: dict[str, list[float]] = {side: [] for side in takers}
    for number in range(rounds):
        for side in order.sample(list(takers), len(takers)):
            samples[side].append(float(f"{takers[side]():.5g}"))
        if number + 1 >= LEAST_ROUNDS and time.perf_counter() - begun > seconds:
            break
    return samples
