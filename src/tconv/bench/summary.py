"""Figures derived from a result: per layer the bound, the best peer and ratios; over all layers geometric means.

Everything is computed from the raw samples, so a stored result always gives the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Any, NamedTuple

from tconv._cached_property import cached_property
from tconv.acceleration.machine_peaks import SOURCES, Peaks
from tconv.bench.dtypes import title
from tconv.bench.row_groups import BASELINE
from tconv.bench.statistics import Estimate, geometric_mean, median, ratio

Result = dict[str, Any]
FALLBACK = {"out": "dropped", "kept": "dropped"}
"""Mode that replaces one in which a peer was not timed. It does not apply to tconv itself."""


@dataclass(frozen=True)
class Line:
    """One layer in one dtype and layout, its samples in ms by peer, in one mode.

    Peers of the same group in another layout have its name after theirs, as in "torch last".
    """

    layer: str
    dtype: str
    layout: str
    kind: str
    """Part of the registry that the layer belongs to."""
    bound: float | None
    """Lower limit of the time in ms: direct arithmetic at the peak, or every byte moved once."""
    samples: dict[str, list[float]]
    own: str
    """Name of tconv among the peers."""
    base: str | None
    """Name of the revision that it is compared with."""
    elsewhere: dict[str, list[float]] = field(default_factory=dict)
    """Samples in other layouts."""

    def estimate(self, name: str) -> Estimate | None:
        """Return the median of a peer in ms, or None if it was not timed."""
        return self._estimates.get(name)

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        return {name: median(samples) for name, samples in (self.samples | self.elsewhere).items() if samples}

    @property
    def best(self) -> str | None:
        """The fastest peer; tconv and its base do not count.

        Against channels last, peers with channels last count; against channels first, every layout of every peer does.
        """
        return self.best_here if self.layout == "last" else self.best_anywhere

    @property
    def best_here(self) -> str | None:
        """The fastest peer in this layout."""
        return self._fastest(self.samples)

    @property
    def best_anywhere(self) -> str | None:
        """The fastest peer in any layout."""
        return self._fastest(self.samples | self.elsewhere)

    @property
    def torch(self) -> str | None:
        """PyTorch in its faster layout."""
        return self._fastest(["torch", *(name for name in self.elsewhere if name.split()[0] == "torch")])

    def _fastest(self, names: Iterable[str]) -> str | None:
        timed = [name for name in names if not is_own(name) and name in self._estimates]
        return min(timed, key=lambda name: self._estimates[name].value, default=None)

    def over(self, above: str | None, below: str | None) -> Estimate | None:
        """Return the ratio of two medians, or None if one is missing."""
        if not above or not below or above not in self._estimates or below not in self._estimates:
            return None
        samples = self.samples | self.elsewhere
        return ratio(samples[above], samples[below])

    def over_bound(self, name: str | None) -> float | None:
        """Return a median divided by the bound, or None if one is missing."""
        estimate = self.estimate(name) if name else None
        return None if estimate is None or self.bound is None else estimate.value / self.bound

    @property
    def lead(self) -> float | None:
        """Time of the best peer divided by that of tconv; below 1, tconv is behind."""
        return _value(self.over(self.best, self.own))


class Block(NamedTuple):
    """The lines of one dtype and layout."""

    dtype: str
    layout: str
    lines: list[Line]


class Mean(NamedTuple):
    """A geometric mean over the layers that have both of its sides, the smallest ratio, and how many are 1 or more."""

    name: str
    value: float
    layers: int
    least: float
    ahead: int


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


def measured_roofline(result: Result, dtype: str = "float32") -> Peaks | None:
    """Return the best of all probes; None if none succeeded."""
    probes = [probe for probe in result["probes"] if probe["state"] == "probed"]
    sources = SOURCES[dtype] if result["device"] == "cpu" else (dtype,)
    peaks = [(probe[source], source) for probe in probes for source in sources if source in probe]
    return Peaks(*max(peaks), max(probe["copy"] for probe in probes)) if peaks else None


def headline(result: Result) -> str:
    """Return the main mode of the table: new outputs on the CPU, the GPU's own time on a GPU."""
    return "dropped" if result["device"] == "cpu" else "graph"


def lines(result: Result, mode: str) -> list[Line]:
    """Return all rows, block by block."""
    return [line for block in blocks(result, mode) for line in block.lines]


def blocks(result: Result, mode: str) -> list[Block]:
    """Return the rows by dtype and layout: those where tconv is behind the best peer first, furthest behind on top.

    The rest stays in order. Rows in a layout that only peers were measured in have no block: they are `elsewhere`.
    """
    entries = [entry for entry in result["layers"] if entry["peers"]]  # an interrupt may leave an empty one
    layouts = result.get("layouts") or list(dict.fromkeys(entry["layout"] for entry in entries))
    names = list(result["peers"])
    own = _own(names)
    base = next((name for name in names if name.startswith("tconv@")), None)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault((entry["layer"]["name"], entry["dtype"]), []).append(entry)
    by_block: dict[tuple[str, str], list[Line]] = {}
    for entry in entries:
        dtype, layout, bound = entry["dtype"], entry["layout"], None
        if layout not in layouts:
            continue
        peak = measured_roofline(result, dtype)
        if peak is not None:
            bound = peak.seconds(entry["flops"] // 2, entry["bytes"])[0] * 1e3
        elsewhere = {
            f"{name} {other['layout']}": samples
            for other in groups[entry["layer"]["name"], dtype]
            if other is not entry
            for name, samples in _samples(other, mode).items()
        }
        layer = entry["layer"]
        line = Line(
            layer["name"], dtype, layout, layer.get("kind", ""), bound, _samples(entry, mode), own, base, elsewhere
        )
        by_block.setdefault((dtype, layout), []).append(line)
    return [
        Block(*key, sorted(found, key=lambda line: line.lead if line.lead is not None and line.lead < 1 else 1.0))
        for key, found in by_block.items()
    ]


def _samples(entry: dict[str, Any], mode: str) -> dict[str, list[float]]:
    samples = {}
    for name, outcome in entry["peers"].items():
        by_mode = outcome.get("samples", {})
        fallback = mode if is_own(name) else FALLBACK.get(mode, mode)
        samples[name] = by_mode.get(mode) or by_mode.get(fallback) or []
    return samples


def means(layers: Iterable[Line], peers: Iterable[str]) -> list[Mean]:
    """Return the geometric means of the ratios of times and bounds."""
    layers = list(layers)
    averages = [_mean("tconv / bound", (line.over_bound(line.own) for line in layers))]
    rivals = filterfalse(is_own, peers)
    averages += [_mean(f"{name} / bound", [line.over_bound(name) for line in layers]) for name in rivals]
    averages.append(_mean("best peer / bound", (line.over_bound(line.best) for line in layers)))
    over_own: dict[str, Callable[[Line], str | None]] = {
        "torch": lambda line: "torch",
        "torch's best layout": lambda line: line.torch if line.elsewhere else None,
        "best peer": lambda line: line.best,
        "best peer with channels first": lambda line: line.best_here if line.layout == "first" else None,
        "best peer of any layout": lambda line: line.best_anywhere if line.layout == "last" else None,
        "base": lambda line: line.base,
        "channels first": lambda line: f"{line.own} first" if line.layout == "last" else None,
        "float32": lambda line: BASELINE,
    }
    for name, other in over_own.items():
        averages.append(_mean(f"{name} / tconv", (_value(line.over(other(line), line.own)) for line in layers)))
    kinds = dict.fromkeys(line.kind for line in layers)
    for kind in kinds if len(kinds) > 1 else ():
        averages.append(_mean(f"best peer / tconv, {kind}", (line.lead for line in layers if line.kind == kind)))
    return [mean for mean in averages if mean is not None]


def ahead(layers: Iterable[Line]) -> tuple[int, int]:
    """Return the number of layers where tconv is ahead of the best peer, and the number of layers with both."""
    leads = [line.lead for line in layers if line.lead is not None]
    return sum(lead >= 1 for lead in leads), len(leads)


def _mean(name: str, values: Iterable[float | None]) -> Mean | None:
    known = [value for value in values if value is not None]
    value = geometric_mean(known)
    return None if value is None else Mean(name, value, len(known), min(known), sum(one >= 1 for one in known))


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def faults(result: Result) -> list[str]:
    """Return a line for each fault: outputs that the gate refused, peers that crashed, hung or raised."""
    many = len(set(map(_block, result["layers"]))) > 1
    return [
        f"{state}: {name} on {row}{f' ({block})' if many and block != '*' else ''}: {reason}"
        for name, row, block, state, reason in _not_timed(result)
        if _is_fault(state)
    ]


def wrong(result: Result) -> bool:
    """Return True if the exit code is 1: an output was refused, or tconv itself failed."""
    return any(state == "wrong" or (is_own(name) and _is_fault(state)) for name, _, _, state, _ in _not_timed(result))


def absences(result: Result) -> list[str]:
    """Return a line for every peer that is not installed, and for rows that a peer cannot run, grouped by reason."""
    parts = [
        (name, row, block, reason) for name, row, block, state, reason in _not_timed(result) if not _is_fault(state)
    ]
    return _grouped(result, parts)


def notes(result: Result) -> list[str]:
    """Return a line for every peer that rounded more than once, with the rows; the gate allows it in short dtypes."""
    parts = [
        (name, entry["layer"]["name"], _block(entry), f"it rounds {outcome['rounds']}")
        for entry in result["layers"]
        for name, outcome in entry["peers"].items()
        if "rounds" in outcome
    ]
    return _grouped(result, parts)


def _grouped(result: Result, parts: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Return a line for each peer and reason, with the layers of each block, or the block if all are meant."""
    sizes = Counter(map(_block, result["layers"]))
    grouped: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name, row, block, reason in parts:
        grouped.setdefault((name, reason), {}).setdefault(block, []).append(row)
    found = []
    for (name, reason), rows in grouped.items():
        texts = []
        for block, layers in rows.items():
            whole = len(layers) == sizes[block] and len(sizes) > 1
            listed = ", ".join(layers)
            texts.append(f"all in {block}" if whole else f"{block}: {listed}" if len(sizes) > 1 else listed)
        found.append(f"{name}: {reason}" + ("" if rows == {"*": ["*"]} else f" ({'; '.join(texts)})"))
    return found


def _block(entry: dict[str, Any]) -> str:
    return title(entry["dtype"], entry["layout"])


def _is_fault(state: str) -> bool:
    return state not in ("missing", "unable")


def _not_timed(result: Result) -> Iterable[tuple[str, str, str, str, str]]:
    """(peer, layer or "*", block or "*", state, reason) of all that was not timed."""
    for name, answer in result["peers"].items():
        if answer["state"] != "started":
            yield name, "*", "*", answer["state"], answer["reason"]
    for entry in result["layers"]:
        for name, outcome in entry["peers"].items():
            if outcome["state"] != "ran":
                yield name, entry["layer"]["name"], _block(entry), outcome["state"], outcome["reason"]
