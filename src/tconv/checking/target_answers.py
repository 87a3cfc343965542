"""Answers of targets for a layer: the limits that it breaks, and the rewriting that ends them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tconv.checking.layer_check import TargetAnswer
from tconv.models.inventory.model_layer import ModelLayer
from tconv.targets.layer_facts import LayerFacts


def targets_named(target: str | Sequence[str] | None) -> tuple[Any, ...]:
    """Return the targets of these names or .toml files. Raises ArgumentError for a name that does not exist."""
    if target is None:
        return ()
    names = [target] if isinstance(target, str) or not isinstance(target, Sequence) else list(target)
    read: Any = import_module("tconv.targets").target
    return tuple(read(name) for name in dict.fromkeys(names))


def every_target() -> tuple[Any, ...]:
    """Return all targets of tconv."""
    names: Any = import_module("tconv.targets").target_names
    return targets_named(names())


def answer_of(layer: ModelLayer, facts: LayerFacts | None, target: Any) -> TargetAnswer:
    """Return the answer of one target for a layer."""
    if facts is None:
        return TargetAnswer(None, plan="the layer is not known well enough")
    limits = tuple(
        {"key": limit.key, "text": limit.text, "source": limit.source} for limit in target.limits_against(facts)
    )
    if not limits:
        return TargetAnswer(True)
    steps, plan = _plan(layer, target)
    return TargetAnswer(False, limits, steps, plan)


def _plan(layer: ModelLayer, target: Any) -> tuple[tuple[str, ...], str]:
    """Return the names of the steps that end the limits, and the plan as text; empty without a planner."""
    try:
        planner: Any = import_module("tconv.rewriting.planner")
    except ModuleNotFoundError:
        return (), ""
    plan = planner.plan_for(layer, target)
    return tuple(str(getattr(step, "name", step)) for step in plan.steps), str(plan)
