"""Figures derived from a result: per layer the bound, the best peer and ratios; over all layers geometric means.

Everything is computed from the raw samples, so a stored result always gives the same table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any, NamedTuple

from tconv._cached_property import cached_property
from tconv.bench.statistics import Estimate, geometric_mean, median, ratio

Result = dict[str, Any]
FALLBACK = {"out": "dropped", "kept": "dropped"}
"""Mode that replaces one in which a peer was not timed. It does not apply to tconv itself."""


class Roofline(NamedTuple):
    """Peak of the machine in this run, from which the bound of each layer follows."""

    gflops: float
    source: str
    """Probe that reached the peak: "fma", "sgemm", or the precision of a GPU's matrix products."""
    copy: float
    """GB/s of a copy, bytes read plus bytes written."""


@dataclass(frozen=True)
class Line:
    """One layer in one precision, its samples in ms by peer, in one mode."""

    layer: str
    precision: str
    bound: float | None
    """Lower limit of the time in ms: direct arithmetic at the peak, or every byte moved once."""
    samples: dict[str, list[float]]
    own: str
    """Name of tconv among the peers."""
    base: str | None
    """Name of the revision that it is compared with."""

    def estimate(self, name: str) -> Estimate | None:
        """Return the median of a peer in ms, or None if it was not timed."""
        return self._estimates.get(name)

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        return {name: median(samples) for name, samples in self.samples.items() if samples}

    @property
    def best(self) -> str | None:
        """The fastest peer; tconv and its base do not count."""
        peers = {name: e.value for name, e in self._estimates.items() if not is_own(name)}
        return min(peers, key=lambda name: peers[name]) if peers else None

    def over(self, above: str | None, below: str | None) -> Estimate | None:
        """Return the ratio of two medians, or None if one is missing."""
        if not above or not below or above not in self._estimates or below not in self._estimates:
            return None
        return ratio(self.samples[above], self.samples[below])

    def over_bound(self, name: str | None) -> float | None:
        """Return a median divided by the bound, or None if one is missing."""
        estimate = self.estimate(name) if name else None
        return None if estimate is None or self.bound is None else estimate.value / self.bound

    @property
    def lead(self) -> float | None:
        """Time of the best peer divided by that of tconv; below 1, tconv is behind."""
        return _value(self.over(self.best, self.own))


class Mean(NamedTuple):
    """A geometric mean over the layers that have both of its sides."""

    name: str
    value: float
    layers: int


def is_own(name: str) -> bool:
    """Return True for tconv, one of its methods, and the revision that it is compared with."""
    return name.startswith("tconv")


def others(names: Iterable[str]) -> list[str]:
    """Return all names but tconv's own: the peers, further methods of tconv, and its base."""
    names = list(names)
    return [name for name in names if name != _own(names)]


def _own(names: Iterable[str]) -> str:
    return next((name for name in names if is_own(name) and "@" not in name), "tconv")


def alone(result: Result) -> bool:
    """Return True if peers were to be compared, and none was timed on any layer."""
    compared = others(result["peers"])
    timed = (
        entry["peers"][name].get("samples") for entry in result["layers"] for name in compared if name in entry["peers"]
    )
    return bool(compared) and not any(timed)


def measured_roofline(result: Result, precision: str = "f32") -> Roofline | None:
    """Return the best of all probes; None if none succeeded."""
    probes = [probe for probe in result["probes"] if probe["state"] == "probed"]
    sources = ("fma", "sgemm") if result["device"] == "cpu" else (precision,)
    peaks = [(probe[source], source) for probe in probes for source in sources if source in probe]
    return Roofline(*max(peaks), max(probe["copy"] for probe in probes)) if peaks else None


def headline(result: Result) -> str:
    """Return the main mode of the table: new outputs on the CPU, the GPU's own time on a GPU."""
    return "dropped" if result["device"] == "cpu" else "graph"


def lines(result: Result, mode: str) -> list[Line]:
    """Return all layers: those where tconv is behind the best peer first, furthest behind on top; the rest in order."""
    names = list(result["peers"])
    own = _own(names)
    base = next((name for name in names if name.startswith("tconv@")), None)
    in_order = []
    for entry in (entry for entry in result["layers"] if entry["peers"]):  # an interrupt may leave an empty one
        peak = measured_roofline(result, entry["precision"])
        bound = None
        if peak is not None:
            element = 0.5 if entry["precision"] == "bf16" else 1.0  # half the bytes
            bound = max(entry["flops"] / peak.gflops, element * entry["bytes"] / peak.copy) / 1e6
        samples = {}
        for name, outcome in entry["peers"].items():
            by_mode = outcome.get("samples", {})
            fallback = mode if is_own(name) else FALLBACK.get(mode, mode)
            samples[name] = by_mode.get(mode) or by_mode.get(fallback) or []
        in_order.append(Line(entry["layer"]["name"], entry["precision"], bound, samples, own, base))
    return sorted(in_order, key=lambda line: line.lead if line.lead is not None and line.lead < 1 else 1.0)


def means(layers: Iterable[Line], peers: Iterable[str]) -> list[Mean]:
    """Return the geometric means of the ratios of times and bounds."""
    layers = list(layers)
    averages = [_mean("tconv / bound", (line.over_bound(line.own) for line in layers))]
    rivals = filterfalse(is_own, peers)
    averages += [_mean(f"{name} / bound", [line.over_bound(name) for line in layers]) for name in rivals]
    averages.append(_mean("best peer / bound", (line.over_bound(line.best) for line in layers)))
    averages.append(_mean("torch / tconv", (_value(line.over("torch", line.own)) for line in layers)))
    averages.append(_mean("best peer / tconv", (line.lead for line in layers)))
    averages.append(_mean("base / tconv", (_value(line.over(line.base, line.own)) for line in layers)))
    return [mean for mean in averages if mean is not None]


def ahead(layers: Iterable[Line]) -> tuple[int, int]:
    """Return the number of layers where tconv is ahead of the best peer, and the number of layers with both."""
    leads = [line.lead for line in layers if line.lead is not None]
    return sum(lead >= 1 for lead in leads), len(leads)


def _mean(name: str, values: Iterable[float | None]) -> Mean | None:
    known = [value for value in values if value is not None]
    value = geometric_mean(known)
    return None if value is None else Mean(name, value, len(known))


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def faults(result: Result) -> list[str]:
    """Return a line for each fault: outputs that the gate refused, peers that crashed, hung or raised."""
    return [
        f"{state}: {name} on {row}: {reason}" for name, row, state, reason in _not_timed(result) if _is_fault(state)
    ]


def wrong(result: Result) -> bool:
    """Return True if the exit code is 1: an output was refused, or tconv itself failed."""
    return any(state == "wrong" or (is_own(name) and _is_fault(state)) for name, _, state, _ in _not_timed(result))


def absences(result: Result) -> list[str]:
    """Return a line for every peer that is not installed, and for layers that a peer cannot run, grouped by reason."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for name, row, state, reason in _not_timed(result):
        if not _is_fault(state):
            grouped.setdefault((name, state, reason), []).append(row)
    return [
        f"{name}: {reason}" + ("" if rows == ["*"] else f" ({', '.join(rows)})")
        for (name, _, reason), rows in grouped.items()
    ]


def _is_fault(state: str) -> bool:
    return state not in ("missing", "unable")


def _not_timed(result: Result) -> Iterable[tuple[str, str, str, str]]:
    """(peer, layer or "*", state, reason) of all that was not timed."""
    for name, answer in result["peers"].items():
        if answer["state"] != "started":
            yield name, "*", answer["state"], answer["reason"]
    for entry in result["layers"]:
        for name, outcome in entry["peers"].items():
            if outcome["state"] != "ran":
                yield name, entry["layer"]["name"], outcome["state"], outcome["reason"]
