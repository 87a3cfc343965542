"""Plan of a rewrite: the limits that a layer breaks, each step with its cost, and what stays exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tconv.rewriting.expression import Expression
from tconv.rewriting.facts import Cost

LIMITS = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
"""Largest difference that is exact, relative to the largest value, by the type in which the layers compute."""

EXACT = "exact: the same products for every finite input, summed in another order at most"


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan, and the cost of the layer after it."""

    name: str
    summary: str
    variant: Mapping[str, Any]
    waste: str
    ends: tuple[str, ...]
    """Limits that it ends."""
    cost: Cost
    chosen: bool = False
    """True if sizes of x were chosen for the cost, as the layer leaves them open."""

    def line(self, before: Cost) -> str:
        """Return the step in one line."""
        chosen = ", ".join(f"{key} {value}" for key, value in self.variant.items())
        form = f" ({chosen})" if chosen else ""
        wasted = f"; {self.waste}" if self.waste and self.cost.macs > 1.1 * before.macs else ""
        size = ("a chosen x of " if self.chosen else "x of ") + "x".join(map(str, self.cost.input))
        return f"{self.name}{form}: {self.summary}; {self.cost.text(before)}, for {size}{wasted}"


@dataclass(frozen=True, eq=False)
class RewritePlan:
    """Steps that end the limits of a target; `print` shows them before anything is changed."""

    target: str
    """Name of the target; "" for steps that were asked for."""
    expression: Expression
    """Layer as it is."""
    result: Expression | None
    """Layer after the steps; None if none end the limits."""
    limits: tuple[str, ...]
    """Limits that the layer breaks."""
    planned: tuple[PlannedStep, ...]
    before: Cost
    after: Cost | None
    reasons: tuple[str, ...]
    """Reasons why no steps help, or why one that was asked for was left out."""
    lasting: tuple[str, ...] = ()
    """Limits of the whole model that no step ends, as its type or a size that must be fixed."""

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps."""
        return tuple(step.name for step in self.planned)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per step."""
        costs = [self.before, *(step.cost for step in self.planned)]
        return tuple(step.line(cost) for step, cost in zip(self.planned, costs, strict=False))

    def __str__(self) -> str:
        lines = [f"limit: {limit}" for limit in self.limits]
        for number, (step, line) in enumerate(zip(self.planned, self.lines, strict=True), 1):
            lines.append(f"step {number}: {line}")
            if len(self.planned) > 1:
                lines += [f"  ends: {limit}" for limit in step.ends]
        if len(self.planned) > 1 and self.after is not None:
            lines.append(f"together: {self.after.text(self.before)}")
        lines += [EXACT] * bool(self.planned)
        lines += self.reasons
        if not lines and not self.lasting:
            lines = [f"{self.target} accepts it" if self.target else "no step"]
        lines += [f"limit of the model, which no step ends: {limit}" for limit in self.lasting]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {
            "target": self.target,
            "limits": list(self.limits),
            "lasting": list(self.lasting),
            "steps": [
                {"name": step.name, "form": dict(step.variant), "macs": step.cost.macs, "bytes": step.cost.bytes}
                for step in self.planned
            ],
            "operations": [] if self.result is None else list(self.result.kinds),
            "macs": {"before": self.before.macs, "after": None if self.after is None else self.after.macs},
            "reasons": list(self.reasons),
        }
