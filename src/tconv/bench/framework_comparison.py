"""A framework compared with itself on tconv's kernel, inside its own programs: models, layers, the cost of a call.

All sides of a case live in one process (`framework_worker`); frameworks whose cases share one keep it for all of them.
With `--base`, that revision and today's tconv have one more process each: memory that the framework's side has used
would make the comparison of the two unfair. Outputs are compared first. Then come rounds: in each, every side takes one
sample, in an order that is shuffled anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from tconv.bench import child_process, frameworks
from tconv.bench.child_process import Child, GoneError
from tconv.bench.frameworks.interface import Case, Framework
from tconv.bench.peer_process import with_install_command
from tconv.bench.revision import Revision
from tconv.bench.worker_protocol import Message

LEAST_ROUNDS = 3
_SLOW = 10.0
_VERY_SLOW = 2000.0  # ms
_BUILD_LIMIT = 400.0  # seconds for building and checking a case
_SAMPLE_LIMIT = 30.0  # seconds, besides 10 times what a call takes


class _FailedError(Exception):
    """A process did not answer a sample; the message is the reason."""


class _CaseProcess:
    """The process of a case, started when it is needed. Errors are answers with a state and a reason."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._child: Child | None = None
        self.once: dict[str, float] = {}

    def build(self, kind: str, case: Case) -> Message:
        """Build and check a case. State "built" with facts, or a reason."""
        answer = self._ask({"do": "build", "kind": kind, "case": list(case)}, _BUILD_LIMIT)
        self.once = answer.get("sides", {})
        return with_install_command(answer)

    def sample(self, side: str) -> float:
        """Return ms of one sample. Raises _FailedError."""
        answer = self._ask({"do": "sample", "side": side}, _SAMPLE_LIMIT + 10 * self.once[side])
        if answer["state"] != "sampled":
            raise _FailedError(answer["reason"])
        return float(answer["ms"])

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close(grace=0)
            self._child = None

    def _ask(self, message: Message, limit: float) -> Message:
        if self._child is None:
            self._child = Child(self._command, self._environment)
        try:
            return self._child.ask(message, limit)
        except GoneError as gone:
            self._child = None
            return {"state": gone.state, "reason": str(gone)}


APART = "tconv, alone"
"""Side of today's tconv in a process without the framework's side, as the base has one."""


class _Processes:
    """The processes of a framework's cases, by backend: one, or with a base one of each revision besides."""

    def __init__(self, framework: str, facts: Framework, threads: int, base: Revision | None) -> None:
        self._framework, self._facts, self._threads, self._base = framework, facts, threads, base
        self._of_backend: dict[str, list[_CaseProcess]] = {}

    def of(self, backend: str) -> list[_CaseProcess]:
        """Return today's process, and with a base the base's and today's beside it."""
        if backend not in self._of_backend:
            self.close()
            arguments = ["framework_worker", self._framework, str(self._threads), *([backend] if backend else [])]
            today = child_process.command(*arguments), child_process.environment(self._threads)
            starts = [today]
            if self._base is not None:
                starts += [(self._base.command(*arguments), self._base.environment(self._threads)), today]
            self._of_backend[backend] = [_CaseProcess(*start) for start in starts]
        return self._of_backend[backend]

    def end_of_case(self) -> None:
        """End the processes unless the next case shares them."""
        if not self._facts.shared:
            self.close()

    def close(self) -> None:
        """End all processes."""
        for process in (process for group in self._of_backend.values() for process in group):
            process.close()
        self._of_backend.clear()


def run(
    framework: str,
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
    processes = _Processes(framework, frameworks.framework(framework), threads, base)
    with closing(processes):
        for number, case in enumerate(selected):
            report_progress(", ".join(filter(None, (case.name, case.backend))), number / len(selected))
            left = max(1.0, (seconds - (time.monotonic() - begun)) / (len(selected) - number))
            facts = {name: value for name, value in case._asdict().items() if value or name != "backend"}
            yield {**facts, **_case(kind, case, processes.of(case.backend), rounds, left, base)}
            processes.end_of_case()


def _case(
    kind: str, case: Case, processes: Sequence[_CaseProcess], rounds: int, seconds: float, base: Revision | None
) -> dict[str, Any]:
    """The entry of one case. A base that fails is left out, with the reason under "base"."""
    own, *others = processes
    begun = time.monotonic()
    built = own.build(kind, case)
    entry: dict[str, Any] = built.get("facts", {})
    if built["state"] != "built":
        return {**entry, "reason": built["reason"]}
    takers: dict[str, Callable[[], float]] = {side: partial(own.sample, side) for side in built["sides"]}
    if base is not None:
        old, apart = others
        answer = old.build(kind, case)
        if answer["state"] == "built" and apart.build(kind, case)["state"] == "built":
            takers[base.peer_name] = partial(old.sample, "tconv")
            takers[APART] = partial(apart.sample, "tconv")
        else:
            entry["base"] = f"{base.peer_name}: {answer.get('reason', 'no process for its counterpart')}"
    try:
        entry["samples"] = rounds_of(takers, rounds, seconds - (time.monotonic() - begun))
    except _FailedError as error:
        entry["reason"] = str(error)
    return entry


def rounds_of(
    takers: Mapping[str, Callable[[], float]], rounds: int, seconds: float, seed: int = 0
) -> dict[str, list[float]]:
    """Return samples in ms by side: one of each in every round, in a random order; at least 3 rounds.

    A side ten times slower than the fastest takes part in 3 rounds, and one whose call lasts 2 seconds in 1.
    """
    order, begun = random.Random(seed), time.perf_counter()
    samples: dict[str, list[float]] = {side: [] for side in takers}
    for number in range(rounds):
        fastest = min(map(min, samples.values())) if number else 0.0
        allowed = min(_VERY_SLOW, _SLOW * fastest) if number >= LEAST_ROUNDS else _VERY_SLOW
        remaining = [side for side in takers if not number or min(samples[side]) < allowed]
        for side in order.sample(remaining, len(remaining)):
            samples[side].append(float(f"{takers[side]():.5g}"))
        if number + 1 >= LEAST_ROUNDS and time.perf_counter() - begun > seconds:
            break
    return samples
