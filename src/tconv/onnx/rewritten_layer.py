"""Plan of one layer: the steps in words, and the change of the graph that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tconv.checking.facts import facts_of
from tconv.checking.traps.frozen_sizes import frozen_size
from tconv.errors import RewriteError, TconvError
from tconv.models.inventory.model_layer import ModelInventory
from tconv.onnx.expression_writer import reasons_against_writing, write_expression
from tconv.onnx.graph_steps import GRAPH_STEPS, PlacedLayer, StepError
from tconv.onnx.graph_steps.dynamic_size import size_source
from tconv.onnx.graph_steps.fold_constants import refuse_quantized
from tconv.onnx.graph_steps.graph_step import remove_unused_value
from tconv.onnx.model_file import ModelFile
from tconv.onnx.node_writer import NodeWriter
from tconv.rewriting.expression import Expression
from tconv.rewriting.layer_expression import expression_of
from tconv.rewriting.plan import RewritePlan
from tconv.rewriting.planner import is_lasting, plan_for, plan_of_steps
from tconv.targets import Target


@dataclass
class LayerPlan:
    """Steps of one layer, or the reasons against rewriting it."""

    name: str
    place: str
    steps: list[str] = field(default_factory=list)
    """Names of the steps, in their order."""
    lines: list[str] = field(default_factory=list)
    """Steps and their effects in words."""
    reasons: list[str] = field(default_factory=list)
    """Reasons against it; empty if it can be rewritten, or has nothing to be rewritten."""
    why: list[str] = field(default_factory=list)
    """Limits of the target that the layer breaks."""
    notes: list[str] = field(default_factory=list)
    """Steps that do not apply, with the reasons, and what stays as it is."""
    lasting: list[str] = field(default_factory=list)
    """Limits of the whole model that no step ends: its type, or sizes that must be fixed."""
    expression: Expression | None = None

    @property
    def changes(self) -> bool:
        """True if the layer is rewritten."""
        return bool(self.steps) and not self.reasons

    def __str__(self) -> str:
        head = f"{self.name} ({self.place})"
        if self.reasons:
            return "\n".join([f"{head}: not rewritten", *(f"  because {reason}" for reason in self.reasons)])
        if not self.steps:
            return "\n".join([f"{head}: stays as it is", *(f"  {note}" for note in self.notes), *self._limits()])
        lines = [f"{head}: {', '.join(self.steps)}"]
        lines += [f"  refused now: {limit}" for limit in self.why]
        lines += [f"  {line}" for line in [*self.lines, *self.notes]]
        return "\n".join([*lines, *self._limits()])

    def _limits(self) -> list[str]:
        return [f"  a limit of the whole model, which no step ends: {limit}" for limit in self.lasting]

    def facts(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {
            "name": self.name,
            "place": self.place,
            "steps": self.steps,
            "lines": self.lines,
            "reasons": self.reasons,
            "why": self.why,
            "lasting": self.lasting,
            "notes": self.notes,
        }


class LayerRewrite:
    """One layer on its way: graph steps change the file at once, all others are collected in an expression."""

    def __init__(self, file: ModelFile, placed: PlacedLayer) -> None:
        self._file, self.placed = file, placed
        self.plan = LayerPlan(placed.name, placed.layer.place)

    def with_steps(self, steps: Sequence[str]) -> None:
        """Take the steps that are named, in their order; one that does not apply is noted, a reason if none does."""
        for name in steps:
            try:
                if name not in GRAPH_STEPS:
                    self._take(plan_of_steps(self.plan.expression or self._expression(), [name]))
                elif self.plan.expression is None:
                    self._graph_step(name)
                else:
                    raise StepError("it changes the graph around the layer; write it before the steps on the layer")
            except RewriteError as error:
                why = str(error).removeprefix(f"{name}: ")
                self.plan.notes.append(f"{name} does not apply: {why}")
        if not self.plan.steps:
            self.plan.reasons += self.plan.notes

    def with_target(self, target: Target) -> None:
        """Take the fewest steps after which the target accepts the layer."""
        if self.plan.reasons and not self.plan.notes:
            return
        self.plan.reasons = []
        try:
            facts = facts_of(self.placed.layer)
            refused = any(not is_lasting(limit) for limit in target.limits_against(facts))
            if refused and self._is_computed():
                self._graph_step("fold-constants")
            self._take(plan_for(self.plan.expression or self._expression(), target, facts=facts))
        except RewriteError as error:
            self.plan.reasons.append(str(error))
        except TconvError as error:
            self.plan.reasons.append(f"its numbers are not known: {error}")

    def note_overridable(self) -> None:
        """Say which weights callers of the model could have replaced by inputs (from IR version 4 on)."""
        given = [value.name for value in self.placed.node.inputs[1:] if value is not None and value.is_graph_input()]
        if self.plan.changes and given and self._file.model.ir_version >= 4:
            names = " and ".join(map(repr, given))
            self.plan.notes.append(f"{names} is an input, too: other numbers of a caller have no effect any more")

    def note_frozen(self, inventory: ModelInventory) -> None:
        """Say that a size stays as the exporter's example had it, where a step could end it."""
        name = "dynamic-size"
        if name in self.plan.steps or self.plan.reasons or any(name in note for note in self.plan.notes):
            return
        found = frozen_size(inventory, self.placed.layer)
        if found and self._meets_another():
            self.plan.notes.append(f"note: the size stays frozen ({found}); the step {name} ends that")

    def _meets_another(self) -> bool:
        layer, node = self.placed.layer, self.placed.node
        try:
            return layer.weight is not None and bool(size_source(node.outputs[0], len(layer.weight.shape)))
        except StepError:
            return False

    def _take(self, found: RewritePlan) -> None:
        """Take the result of a plan."""
        self.plan.why = list(found.limits) or self.plan.why
        if found.target:
            self.plan.lasting = list(found.lasting)
        if found.result is None or (found.reasons and not found.target):
            raise StepError("; ".join(found.reasons))
        if found.planned and (against := reasons_against_writing(found.result, self._file.opset)):
            raise StepError("; ".join(against))
        if found.planned:
            self.plan.steps += found.steps
            self.plan.lines += found.lines
            self.plan.expression = found.result

    def _is_computed(self) -> bool:
        """Return True if the graph computes the weight or the bias from constants."""
        layer, values = self.placed.layer, self.placed.node.inputs[1:]
        stored = (layer.weight, layer.bias)
        return any(
            value is not None and not value.is_initializer() and found is not None and found.origin != "constant"
            for value, found in zip(values, stored, strict=False)
        )

    def emit(self) -> None:
        """Write the expression into the graph. Raises OpsetError."""
        expression = self.plan.expression
        if expression is None:
            return
        node = self.placed.node
        x, weights, output = node.inputs[0], list(node.inputs[1:]), node.outputs[0]
        external = any(value is not None and value.name in self._file.external for value in weights)
        prefix = f"{self.placed.name}/{self.plan.steps[-1]}"
        writer = NodeWriter(self._file, node, prefix, external=external)
        writer.replace(output, write_expression(writer, expression, x))
        for value in weights:
            remove_unused_value(value)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _graph_step(self, name: str) -> None:
        step = GRAPH_STEPS[name]
        self.placed, words = step.apply(self._file, self.placed)
        self.plan.steps.append(name)
        self.plan.lines.append(f"{name}: {step.summary} ({words}; {step.exact})")

    def _expression(self) -> Expression:
        refuse_quantized(self.placed.layer.weight)
        return expression_of(self.placed.layer)
