"""One run of the benchmark: every layer, every peer, in rounds.

For each layer: the reference is written, all peers load the layer and are checked, the machine is probed, and then
rounds begin. In a round every peer takes one sample in each of its modes, in an order that a seeded generator shuffles
anew, so that a slow minute of the machine meets all of them. Only one process computes at a time, and it answers when
its threads are at rest.

A peer ten times slower than the fastest takes part in 3 rounds only. One whose call lasts 2 seconds takes part in 1
round, in one mode.
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
from typing import Any, Protocol

from tconv.bench import correctness_gate
from tconv.bench.correctness_gate import Reference
from tconv.bench.peer_process import Row, TimedPeer
from tconv.bench.worker_protocol import Message

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


@dataclass
class Runner:
    """The rounds over rows and peers; `result` is complete after `run`, and has all that was measured if interrupted.

    `seconds` is the time that the whole run may take, divided among the layers; a layer has at least 3 rounds.
    """

    rows: Sequence[Row]
    peers: Sequence[TimedPeer]
    prober: Prober
    rounds: int = 15
    seconds: float = 480.0
    seed: int = 0
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
            for number, row in enumerate(self.rows):
                left = begun + self.seconds - self.clock()
                deadline = self.clock() + left / (len(self.rows) - number)
                self._row(row, number, deadline, order)
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

    def _row(self, row: Row, number: int, deadline: float, order: random.Random) -> None:
        name, layer = row.layer.name, row.layer
        entry: dict[str, Any] = {"layer": layer.spec, "precision": row.precision}
        entry |= {"flops": layer.flops, "bytes": layer.bytes, "peers": {}}
        self.result["layers"].append(entry)
        started = [peer for peer in self.peers if self.result["peers"][peer.name]["state"] == "started"]
        self.report_progress(f"{name}: checking", number / len(self.rows))
        with tempfile.TemporaryDirectory(prefix="tconv-bench-") as folder:
            reference = self.write_reference(layer, Path(folder), self.seed)
            entry["checked"] = reference.checked
            loads = [lambda peer=peer: peer.load(row, reference) for peer in started]
            answers = self._together(loads)
        loaded = []
        for peer, answer in zip(started, answers, strict=True):
            entry["peers"][peer.name] = outcome = dict(answer)
            if answer["state"] == "loaded":
                outcome["state"] = "ran"
                modes, once = outcome.pop("modes"), outcome.pop("once")
                if min(once.values()) * 1e3 >= _VERY_SLOW:
                    modes = ["dropped"] if "dropped" in modes else modes[:1]
                outcome["samples"] = {mode: [] for mode in modes}
                loaded.append(peer)
        self.result["probes"].append(self.prober.probe())
        self._rounds(
            loaded,
            entry["peers"],
            lambda done: self.report_progress(name, (number + done) / len(self.rows)),
            deadline,
            order,
        )

    def _rounds(
        self,
        peers: list[TimedPeer],
        outcomes: dict[str, Any],
        report_share: Callable[[float], None],
        deadline: float,
        order: random.Random,
    ) -> None:
        for number in range(self.rounds):
            begun = self.clock()
            turns = [(peer, mode) for peer in peers for mode in outcomes[peer.name]["samples"]]
            order.shuffle(turns)
            for place, (peer, mode) in enumerate(turns):
                report_share((number + place / len(turns)) / self.rounds)
                outcome = outcomes[peer.name]
                if outcome["state"] != "ran":
                    continue
                answer = peer.sample(mode)
                if answer["state"] == "sampled":
                    outcome["samples"][mode].append(float(f"{answer['ms']:.5g}"))
                else:  # the times of a peer that fails are not used
                    outcome |= answer
                    del outcome["samples"]
            peers = _remaining(peers, outcomes, number + 1)
            late = self.clock() + (self.clock() - begun) > deadline
            if not peers or (late and number + 1 >= LEAST_ROUNDS):
                return

    def _together(self, calls: Sequence[Callable[[], Message]]) -> list[Message]:
        """Return all answers. The processes work at the same time, because nothing is timed now."""
        pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)))
        try:
            return [future.result() for future in [pool.submit(call) for call in calls]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _remaining(peers: list[TimedPeer], outcomes: dict[str, Any], rounds: int) -> list[TimedPeer]:
    """The peers that take part in the next round."""
    fastest = {
        peer: min(sample for samples in outcomes[peer.name]["samples"].values() for sample in samples)
        for peer in peers
        if outcomes[peer.name]["state"] == "ran"
    }
    best = min(fastest.values(), default=0.0)
    allowed = _VERY_SLOW if rounds < LEAST_ROUNDS else min(_VERY_SLOW, _SLOW * best)
    return [peer for peer, ms in fastest.items() if ms < allowed or ms == best]
