"""What a result says: per layer the bound, the best peer and the ratios; over all layers the geometric means.

Everything is derived from the raw samples, so that a stored result makes the same table for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tconv._cached_property import cached_property
from tconv.bench.statistics import Estimate, geometric_mean, median, ratio

Result = dict[str, Any]
FALLBACK = {"out": "dropped", "kept": "dropped"}
"""A peer that was not timed in a mode is compared by its new outputs; tconv itself has only times of that mode."""


class Bound(NamedTuple):
    """The machine at its best in this run."""

    gflops: float
    source: str
    """What reached them: "fma", "sgemm", or a precision of a GPU's products."""
    copy: float
    """GB/s, bytes read and written both counted."""


@dataclass(frozen=True)
class Line:
    """One layer in one precision, its samples in ms by peer, in one mode."""

    layer: str
    precision: str
    bound: float | None
    """ms"""
    samples: dict[str, list[float]]
    own: str
    base: str | None

    def estimate(self, name: str) -> Estimate | None:
        """The median of a peer in ms, if it was timed."""
        return self._estimates.get(name)

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        return {name: median(samples) for name, samples in self.samples.items() if samples}

    @property
    def best(self) -> str | None:
        """The fastest peer; tconv and its base are none."""
        peers = {name: e.value for name, e in self._estimates.items() if not is_own(name)}
        return min(peers, key=lambda name: peers[name]) if peers else None

    def over(self, above: str | None, below: str | None) -> Estimate | None:
        """The ratio of two medians."""
        if not above or not below or above not in self._estimates or below not in self._estimates:
            return None
        return ratio(self.samples[above], self.samples[below])

    def over_bound(self, name: str | None) -> float | None:
        """A median over the bound."""
        found = self.estimate(name) if name else None
        return None if found is None or self.bound is None else found.value / self.bound

    @property
    def lead(self) -> float | None:
        """Time of the best peer over that of tconv; below 1 tconv is behind."""
        found = self.over(self.best, self.own)
        return None if found is None else found.value


class Mean(NamedTuple):
    """A geometric mean, or a count, over the layers that have it."""

    what: str
    value: float
    layers: int


def is_own(name: str) -> bool:
    """Whether a name is tconv, a method of it, or the revision it is compared with."""
    return name.startswith("tconv")


def others(names: Iterable[str]) -> list[str]:
    """Everybody but tconv: what it is compared with, its other methods and its base among them."""
    given = list(names)
    return [name for name in given if name != _own(given)]


def _own(names: Iterable[str]) -> str:
    return next((name for name in names if is_own(name) and "@" not in name), "tconv")


def alone(result: Result) -> bool:
    """Whether peers were to be compared, and none was timed on any layer."""
    compared = others(result["peers"])
    timed = (
        entry["peers"][name].get("samples") for entry in result["layers"] for name in compared if name in entry["peers"]
    )
    return bool(compared) and not any(timed)


def bound(result: Result, precision: str = "f32") -> Bound | None:
    """The best of all probes; None if none succeeded."""
    probes = [probe for probe in result["probes"] if probe["state"] == "probed"]
    sources = ("fma", "sgemm") if result["device"] == "cpu" else (precision,)
    peaks = [(probe[source], source) for probe in probes for source in sources if source in probe]
    return Bound(*max(peaks), max(probe["copy"] for probe in probes)) if peaks else None


def headline(result: Result) -> str:
    """The mode that the table is about: new outputs on the CPU, the GPU's own time there."""
    return "dropped" if result["device"] == "cpu" else "graph"


def lines(result: Result, mode: str) -> list[Line]:
    """All layers: those where tconv is behind the best peer first, furthest behind on top; the rest in order."""
    names = list(result["peers"])
    own = _own(names)
    base = next((name for name in names if name.startswith("tconv@")), None)
    found = []
    for entry in (entry for entry in result["layers"] if entry["peers"]):  # an interrupt may leave an empty one
        limit = bound(result, entry["precision"])
        floor = None
        if limit is not None:
            element = 0.5 if entry["precision"] == "bf16" else 1.0  # half the bytes
            floor = max(entry["flops"] / limit.gflops, element * entry["bytes"] / limit.copy) / 1e6
        samples = {}
        for name, standing in entry["peers"].items():
            taken = standing.get("samples", {})
            other = mode if is_own(name) else FALLBACK.get(mode, mode)
            samples[name] = taken.get(mode) or taken.get(other) or []
        found.append(Line(entry["layer"]["name"], entry["precision"], floor, samples, own, base))
    return sorted(found, key=lambda line: line.lead if line.lead is not None and line.lead < 1 else 1.0)


def means(found: Iterable[Line], peers: Iterable[str]) -> list[Mean]:
    """Geometric means over the layers, each over those that have both of its sides."""
    kept = list(found)
    made = [_mean("tconv / bound", (line.over_bound(line.own) for line in kept))]
    made += [_mean(f"{name} / bound", [line.over_bound(name) for line in kept]) for name in peers if not is_own(name)]
    made.append(_mean("best peer / bound", (line.over_bound(line.best) for line in kept)))
    made.append(_mean("torch / tconv", (_value(line.over("torch", line.own)) for line in kept)))
    made.append(_mean("best peer / tconv", (line.lead for line in kept)))
    made.append(_mean("base / tconv", (_value(line.over(line.base, line.own)) for line in kept)))
    return [mean for mean in made if mean is not None]


def ahead(found: Iterable[Line]) -> tuple[int, int]:
    """On how many layers tconv is ahead of the best peer, and of how many."""
    leads = [line.lead for line in found if line.lead is not None]
    return sum(lead >= 1 for lead in leads), len(leads)


def _mean(what: str, values: Iterable[float | None]) -> Mean | None:
    there = [value for value in values if value is not None]
    value = geometric_mean(there)
    return None if value is None else Mean(what, value, len(there))


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def faults(result: Result) -> list[str]:
    """Everything that went wrong: outputs the gate refused, crashes, peers that hung or raised."""
    return [
        f"{state}: {name} on {row}: {reason}" for name, row, state, reason in _standings(result) if _is_fault(state)
    ]


def wrong(result: Result) -> bool:
    """Whether the exit code is 1: an output was refused, or tconv itself failed."""
    return any(state == "wrong" or (is_own(name) and _is_fault(state)) for name, _, state, _ in _standings(result))


def absences(result: Result) -> list[str]:
    """Every peer that is not here, and every layer that one cannot run, with the reason; layers gathered by reason."""
    gathered: dict[tuple[str, str, str], list[str]] = {}
    for name, row, state, reason in _standings(result):
        if not _is_fault(state):
            gathered.setdefault((name, state, reason), []).append(row)
    return [
        f"{name}: {reason}" + ("" if rows == ["*"] else f" ({', '.join(rows)})")
        for (name, _, reason), rows in gathered.items()
    ]


def _is_fault(state: str) -> bool:
    return state not in ("missing", "unable")


def _standings(result: Result) -> Iterable[tuple[str, str, str, str]]:
    """(peer, layer or "*", state, reason) of all that was not timed."""
    for name, answer in result["peers"].items():
        if answer["state"] != "started":
            yield name, "*", answer["state"], answer["reason"]
    for entry in result["layers"]:
        for name, standing in entry["peers"].items():
            if standing["state"] != "ran":
                yield name, entry["layer"]["name"], standing["state"], standing["reason"]
