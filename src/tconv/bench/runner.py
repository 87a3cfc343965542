"""One run: every layer, every peer, in rounds.

For each layer: the truth is written, all peers load it and pass the gate, the machine is probed, and then rounds begin.
In a round every peer takes one sample in each of its modes, in an order that a seeded generator shuffles anew, so that
a slow minute of the machine meets all of them. One process computes at a time, and returns only when its threads rest.

A peer ten times slower than the fastest takes part in 3 rounds only, one whose call lasts 2 seconds in 1, in one mode.
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
from tconv.bench.correctness_gate import Truth
from tconv.bench.json_lines import Message
from tconv.bench.peer_process import Row, Seat

LEAST_ROUNDS = 3
_SLOW = 10.0
_VERY_SLOW = 2000.0  # ms

Told = Callable[[str, float], None]
"""What the runner does, in words, and the share of the run that is done."""


class Prober(Protocol):
    """What measures the machine."""

    def start(self) -> Message:
        """Get ready."""

    def probe(self) -> Message:
        """GFLOP/s and GB/s."""

    def close(self) -> None:
        """End it."""


@dataclass
class Runner:
    """The rounds over rows and seats; `result` is complete after `run`, and holds what there is after an interrupt.

    `seconds` is the time that the whole run may take, shared out among the layers; a layer has at least 3 rounds.
    """

    rows: Sequence[Row]
    seats: Sequence[Seat]
    prober: Prober
    rounds: int = 15
    seconds: float = 480.0
    seed: int = 0
    tell: Told = lambda words, share: None
    meet: Callable[[dict[str, Message]], None] = lambda peers: None
    """Is given what each peer said when it started; what it raises ends the run."""
    clock: Callable[[], float] = time.perf_counter
    write_truth: Callable[..., Truth] = correctness_gate.write
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
            for seat in self.seats:
                seat.close()
            self.prober.close()
            self.result["seconds"] = round(self.clock() - begun, 1)
        return self.result

    def _start(self) -> None:
        self.tell("starting", 0.0)
        answers = self._together([*(seat.start for seat in self.seats), self.prober.start])
        self.result["peers"] = {seat.name: answer for seat, answer in zip(self.seats, answers[:-1], strict=True)}
        self.meet(self.result["peers"])

    def _row(self, row: Row, number: int, deadline: float, order: random.Random) -> None:
        name, layer = row.layer.name, row.layer
        entry: dict[str, Any] = {"layer": layer.spec, "precision": row.precision}
        entry |= {"flops": layer.flops, "bytes": layer.bytes, "peers": {}}
        self.result["layers"].append(entry)
        seats = [seat for seat in self.seats if self.result["peers"][seat.name]["state"] == "started"]
        self.tell(f"{name}: checking", number / len(self.rows))
        with tempfile.TemporaryDirectory(prefix="tconv-bench-") as folder:
            right = self.write_truth(layer, Path(folder), self.seed)
            entry["checked"] = right.checked
            loads = [lambda seat=seat: seat.load(row, right) for seat in seats]
            answers = self._together(loads)
        live = []
        for seat, answer in zip(seats, answers, strict=True):
            entry["peers"][seat.name] = standing = dict(answer)
            if answer["state"] == "ready":
                standing["state"] = "ran"
                modes, once = standing.pop("modes"), standing.pop("once")
                if min(once.values()) * 1e3 >= _VERY_SLOW:
                    modes = ["dropped"] if "dropped" in modes else modes[:1]
                standing["samples"] = {mode: [] for mode in modes}
                live.append(seat)
        self.result["probes"].append(self.prober.probe())
        self._rounds(
            live, entry["peers"], lambda done: self.tell(name, (number + done) / len(self.rows)), deadline, order
        )

    def _rounds(
        self,
        live: list[Seat],
        standings: dict[str, Any],
        tell: Callable[[float], None],
        deadline: float,
        order: random.Random,
    ) -> None:
        for number in range(self.rounds):
            begun = self.clock()
            turns = [(seat, mode) for seat in live for mode in standings[seat.name]["samples"]]
            order.shuffle(turns)
            for place, (seat, mode) in enumerate(turns):
                tell((number + place / len(turns)) / self.rounds)
                standing = standings[seat.name]
                if standing["state"] != "ran":
                    continue
                answer = seat.sample(mode)
                if answer["state"] == "sampled":
                    standing["samples"][mode].append(float(f"{answer['ms']:.5g}"))
                else:  # times of a peer that fails are no times
                    standing |= answer
                    del standing["samples"]
            live = _still(live, standings, number + 1)
            late = self.clock() + (self.clock() - begun) > deadline
            if not live or (late and number + 1 >= LEAST_ROUNDS):
                return

    def _together(self, deeds: Sequence[Callable[[], Message]]) -> list[Message]:
        """All answers; the processes work beside each other, because nothing is timed now."""
        pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)))
        try:
            return [future.result() for future in [pool.submit(deed) for deed in deeds]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _still(live: list[Seat], standings: dict[str, Any], rounds: int) -> list[Seat]:
    """The seats that take part in the next round."""
    fastest = {
        seat: min(sample for samples in standings[seat.name]["samples"].values() for sample in samples)
        for seat in live
        if standings[seat.name]["state"] == "ran"
    }
    best = min(fastest.values(), default=0.0)
    allowed = _VERY_SLOW if rounds < LEAST_ROUNDS else min(_VERY_SLOW, _SLOW * best)
    return [seat for seat, ms in fastest.items() if ms < allowed or ms == best]
