"""Answers of one target for all layers of a model: verdict, broken limits, and the rewrites that end them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tconv.checking.report import Check
from tconv.rewriting.planner import lasts

_BEFORE_EXPORT = ("exported program", "TorchScript", "PyTorch module")


@dataclass(frozen=True)
class TargetSummary:
    """Answers of one target for all layers of a model."""

    name: str
    accepted: int
    refused: int
    unknown: int
    limits: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Limits that are broken: text with numbers, source, numbers of the layers."""
    open_limits: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Limits that depend on sizes which the file leaves open, in the same form."""
    plans: tuple[tuple[tuple[str, ...], str, tuple[int, ...]], ...]
    """Steps after which layers are accepted, or the reason why none helps, and the numbers of the layers."""
    rewritable: str = ""
    """Way to take the steps where `tconv rewrite` does not take the file."""

    def plan_text(self, steps: tuple[str, ...], reason: str) -> str:
        """Return one of the plans in words."""
        return f"{', then '.join(steps)}{self.rewritable}" if steps else reason

    @property
    def verdict(self) -> str:
        """Verdict in a few words."""
        total = self.accepted + self.refused + self.unknown
        if not total:
            return "nothing to take"
        if self.accepted == total:
            fit = ", if its sizes fit" if total == 1 else ", if their sizes fit"
            return ("takes the layer" if total == 1 else f"takes all {total}") + fit * bool(self.open_limits)
        text = f"refuses {'the layer' if total == 1 else f'{self.refused} of {total}'}" if self.refused else ""
        unknown = f"{self.unknown} not known" if self.unknown else ""
        return ", ".join(part for part in (text, unknown) if part)


def target_summaries(check: Check) -> list[TargetSummary]:
    """Return the answer of every target that was asked for."""
    return [_summary(check, name) for name in check.targets]


def _summary(check: Check, name: str) -> TargetSummary:
    limits: dict[tuple[str, str], list[int]] = {}
    open_limits: dict[tuple[str, str], list[int]] = {}
    plans: dict[tuple[tuple[str, ...], str], list[int]] = {}
    verdicts: Counter[bool | None] = Counter()
    for number, layer in enumerate(check.layers, 1):
        answer = layer.targets.get(name)
        if answer is None:
            verdicts[None] += 1
            continue
        verdicts[answer.accepted] += 1
        for found, given in ((limits, answer.limits), (open_limits, answer.open_limits)):
            for limit in given:
                text = str(limit.get("text", ""))
                whole = " (a limit of the whole model, which no step ends)" * _lasts(limit)
                found.setdefault((text + whole, str(limit.get("source", ""))), []).append(number)
        if answer.accepted is False and (answer.steps or not all(map(_lasts, answer.limits))):
            plans.setdefault((answer.steps, "" if answer.steps else answer.plan), []).append(number)
    return TargetSummary(
        name,
        verdicts[True],
        verdicts[False],
        verdicts[None],
        tuple((*key, tuple(numbers)) for key, numbers in limits.items()),
        tuple((*key, tuple(numbers)) for key, numbers in open_limits.items()),
        tuple((*key, tuple(numbers)) for key, numbers in plans.items()),
        way_to_rewrite(check.format),
    )


def way_to_rewrite(format: str) -> str:
    """Return the words behind the steps for a model of this format; "" for ONNX, which `tconv rewrite` takes."""
    if format == "ONNX":
        return ""
    if format in _BEFORE_EXPORT:
        return ", by tconv.torch.rewrite before the export"
    return ", by tconv rewrite after an export to ONNX"


def _lasts(limit: Mapping[str, Any]) -> bool:
    return lasts(str(limit.get("key", "")), str(limit.get("text", "")))
