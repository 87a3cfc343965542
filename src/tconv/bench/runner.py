"""One run of the benchmark: every layer, every peer, in rounds.

For each layer and dtype: the reference is written, all peers load the layer in each layout and are checked, the
machine is probed, and then rounds begin. In a round every peer takes one sample in each of its layouts and modes, in
an order that a seeded generator shuffles anew, so that a slow minute of the machine meets all of them. Only one process
computes at a time, and it answers when its threads are at rest.

A peer ten times slower than the fastest takes part in 3 rounds only, tconv in all. One whose call lasts 2 seconds takes
part in 1 round, in one mode.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from tconv.bench import correctness_gate
from tconv.bench.correctness_gate import Reference
from tconv.bench.dtypes import BYTES
from tconv.bench.peer_process import TimedPeer
from tconv.bench.row_groups import Group, Part
from tconv.bench.summary import is_own
from tconv.bench.worker_protocol import Message

T = TypeVar("T")
LEAST_ROUNDS = 3
_SLOW = 10.0
_VERY_SLOW = 2000.0  # ms

ReportProgress = Callable[[str, float], None]
"""Receives a text about the current step, and the share of the run that is done."""


class Prober(Protocol):
    """Interface of the process that measures the machine."""

    def start(self) -> Message:
        """Prepare the probes."""

    def probe(self) -> Message:
        """Measure GFLOP/s and GB/s."""

    def close(self) -> None:
        """End the process."""


class _Timed(NamedTuple):
    """A part that is loaded, and its outcome in the result."""

    part: Part[TimedPeer]
    outcome: dict[str, Any]


@dataclass
class Runner:
    """The rounds over groups of rows and peers.

    `result` is complete after `run`, and has all that was measured if interrupted.

    `seconds` is the time that the whole run may take, divided among the groups; each has at least 3 rounds.
    """

    groups: Sequence[Group[TimedPeer]]
    peers: Sequence[TimedPeer]
    prober: Prober
    rounds: int = 15
    seconds: float = 480.0
    seed: int = 0
    activation: str = ""
    report_progress: ReportProgress = lambda text, share: None
    after_start: Callable[[dict[str, Message]], None] = lambda answers: None
    """Receives each peer's answer to "start"; an exception from here ends the run."""
    clock: Callable[[], float] = time.perf_counter
    write_reference: Callable[..., Reference] = correctness_gate.write_reference
    result: dict[str, Any] = field(default_factory=lambda: {"complete": False, "peers": {}, "probes": [], "layers": []})

    def run(self) -> dict[str, Any]:
        """Take all samples. A KeyboardInterrupt ends the children and passes through."""
        begun = self.clock()
        order = random.Random(self.seed)
        try:
            self._start()
            for number, group in enumerate(self.groups):
                left = begun + self.seconds - self.clock()
                deadline = self.clock() + left / (len(self.groups) - number)
                self._group(group, number, deadline, order)
            self.result["complete"] = True
        finally:
            for peer in self.peers:
                peer.close()
            self.prober.close()
            self.result["seconds"] = round(self.clock() - begun, 1)
        return self.result

    def _start(self) -> None:
        self.report_progress("starting", 0.0)
        answers = self._together([*(peer.start for peer in self.peers), self.prober.start])
        self.result["peers"] = {peer.name: answer for peer, answer in zip(self.peers, answers[:-1], strict=True)}
        self.after_start(self.result["peers"])

    def _group(self, group: Group[TimedPeer], number: int, deadline: float, order: random.Random) -> None:
        layer, dtype = group.layer, group.dtype
        entries: dict[str, dict[str, Any]] = {}
        for layout in group.parts:
            facts = {"layer": layer.spec, "dtype": dtype, "layout": layout, "flops": layer.flops}
            entries[layout] = {**facts, "bytes": BYTES[dtype] * layer.elements, "peers": {}}
            self.result["layers"].append(entries[layout])
        name = layer.name if dtype == "float32" else f"{layer.name}, {dtype}"
        self.report_progress(f"{name}: checking", number / len(self.groups))
        timed = self._load(group, entries)
        self.result["probes"].append(self.prober.probe())

        def report_share(done: float) -> None:
            self.report_progress(name, (number + done) / len(self.groups))

        self._rounds(timed, report_share, deadline, order)

    def _load(self, group: Group[TimedPeer], entries: dict[str, dict[str, Any]]) -> list[_Timed]:
        """Load all parts of a group, and write the answers into the entries; return the parts that can be timed."""
        started = [peer for peer in self.peers if self.result["peers"][peer.name]["state"] == "started"]
        parts = {
            peer.name: [part for parts in group.parts.values() for part in parts if part.peer is peer]
            for peer in started
        }
        with tempfile.TemporaryDirectory(prefix="tconv-bench-") as folder:
            reference = self.write_reference(group.layer, group.dtype, Path(folder), self.seed, self.activation)
            calls = [lambda peer=peer: _loaded(peer, parts[peer.name], reference) for peer in started]
            answers = self._together(calls)
        loaded = []
        for peer, of_peer in zip(started, answers, strict=True):
            for part, answer in zip(parts[peer.name], of_peer, strict=True):
                entry = entries[part.row.layout]
                entry["checked"] = reference.checked
                entry["peers"][part.name] = outcome = dict(answer)
                if answer["state"] == "loaded":
                    outcome["state"] = "ran"
                    modes, once = outcome.pop("modes"), outcome.pop("once")
                    if min(once.values()) * 1e3 >= _VERY_SLOW:
                        modes = ["dropped"] if "dropped" in modes else modes[:1]
                    outcome["samples"] = {mode: [] for mode in modes}
                    loaded.append(_Timed(part, outcome))
        return loaded

    def _rounds(
        self, timed: list[_Timed], report_share: Callable[[float], None], deadline: float, order: random.Random
    ) -> None:
        for number in range(self.rounds):
            begun = self.clock()
            turns = [(one, mode) for one in timed for mode in one.outcome["samples"]]
            order.shuffle(turns)
            for place, (one, mode) in enumerate(turns):
                report_share((number + place / len(turns)) / self.rounds)
                if one.outcome["state"] != "ran":
                    continue
                answer = one.part.peer.sample(one.part.row, mode)
                if answer["state"] == "sampled":
                    one.outcome["samples"][mode].append(float(f"{answer['ms']:.5g}"))
                else:  # the times of a peer that fails are not used
                    one.outcome.update(answer)
                    del one.outcome["samples"]
            timed = _remaining(timed, number + 1)
            late = self.clock() + (self.clock() - begun) > deadline
            if not timed or (late and number + 1 >= LEAST_ROUNDS):
                return

    def _together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Return all answers. The processes work at the same time, because nothing is timed now."""
        pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)))
        try:
            return [future.result() for future in [pool.submit(call) for call in calls]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _loaded(peer: TimedPeer, parts: Sequence[Part[TimedPeer]], reference: Reference) -> list[Message]:
    """Load a peer's parts one after the other; after a crash, those before it are loaded again in its new process."""
    answers: list[Message] = []
    for part in parts:
        answers.append(peer.load(part.row, reference))
        if answers[-1]["state"] in ("crashed", "hung"):
            for place, answer in enumerate(answers):
                if answer["state"] == "loaded":
                    answers[place] = peer.load(parts[place].row, reference)
    return answers


def _remaining(timed: list[_Timed], rounds: int) -> list[_Timed]:
    """The parts that take part in the next round."""
    running = [one for one in timed if one.outcome["state"] == "ran"]
    fastest = [min(min(samples) for samples in one.outcome["samples"].values()) for one in running]
    best = min(fastest, default=0.0)
    allowed = _VERY_SLOW if rounds < LEAST_ROUNDS else min(_VERY_SLOW, _SLOW * best)
    return [
        one
        for one, ms in zip(running, fastest, strict=True)
        if ms < (_VERY_SLOW if is_own(one.part.name) else allowed) or ms == best
    ]
