"""Plan of one layer: the steps in words, and the change of the graph that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tconv.errors import TconvError
from tconv.onnx.expression_writer import write_expression
from tconv.onnx.graph_steps import GRAPH_STEPS, PlacedLayer, StepRefusal
from tconv.onnx.graph_steps.fold_constants import refuse_quantized
from tconv.onnx.graph_steps.graph_step import remove_unused_value
from tconv.onnx.layer_expression import expression_of
from tconv.onnx.model_file import ModelFile
from tconv.onnx.node_writer import NodeWriter, OpsetError
from tconv.rewriting.expression import Expression
from tconv.rewriting.planner import plan_for
from tconv.rewriting.steps import STEPS
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
    exact: list[str] = field(default_factory=list)
    """Exactness of the steps, in words."""
    expression: Expression | None = None
    macs: tuple[int, int] | None = None

    @property
    def changes(self) -> bool:
        """True if the layer is rewritten."""
        return bool(self.steps) and not self.reasons

    def __str__(self) -> str:
        head = f"{self.name} ({self.place})"
        if self.reasons:
            return "\n".join([f"{head}: not rewritten", *(f"  because {reason}" for reason in self.reasons)])
        if not self.steps:
            return f"{head}: stays as it is"
        lines = [f"{head}: {', '.join(self.steps)}"]
        lines += [f"  refused now: {limit}" for limit in self.why]
        lines += [f"  {line}" for line in self.lines]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {
            "name": self.name,
            "place": self.place,
            "steps": self.steps,
            "lines": self.lines,
            "reasons": self.reasons,
            "why": self.why,
        }


class LayerRewrite:
    """One layer on its way: graph steps change the file at once, all others are collected in an expression."""

    def __init__(self, file: ModelFile, placed: PlacedLayer) -> None:
        self._file, self.placed = file, placed
        self.plan = LayerPlan(placed.name, placed.layer.place)

    def with_steps(self, steps: Sequence[str]) -> None:
        """Take the steps that are named, in their order; a step that does not apply is a reason."""
        try:
            for name in (each for each in steps if each in GRAPH_STEPS):
                self._graph_step(name)
            others = [each for each in steps if each not in GRAPH_STEPS]
            if others:
                expression = self._expression()
                for name in others:
                    expression = self._stepped(expression, name)
                self.plan.expression = expression
        except (StepRefusal, OpsetError) as error:
            self.plan.reasons.append(str(error))

    def with_target(self, target: Target) -> None:
        """Take the fewest steps after which the target accepts the layer."""
        if self.plan.reasons:
            return
        try:
            expression = self.plan.expression or self._expression(only_if_needed=True)
            found = plan_for(expression, target)
        except (StepRefusal, OpsetError) as error:
            self.plan.reasons.append(str(error))
            return
        self.plan.why = [str(limit) for limit in found.limits]
        if found.reasons:
            self.plan.reasons += list(found.reasons)
            return
        self.plan.steps += found.steps
        self.plan.lines += found.lines
        if found.steps:
            self.plan.expression = found.result

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

    def _expression(self, only_if_needed: bool = False) -> Expression:
        refuse_quantized(self.placed.layer.weight)
        return expression_of(self.placed.layer)

    def _stepped(self, expression: Expression, name: str) -> Expression:
        """Return the expression with a step on each of its transposed convolutions. Raises StepRefusal."""
        step, done = STEPS[name], 0
        reasons: list[str] = []
        for operation in expression.layers:
            sizes = expression.shapes[operation.inputs[0]]
            try:
                expression = expression.replaced(operation, step.apply(operation, sizes))
                done += 1
            except TconvError as error:
                reasons.append(str(error))
        if not done:
            raise StepRefusal(reasons[0] if reasons else f"{name} finds no transposed convolution that is left")
        self.plan.steps.append(name)
        self.plan.lines.append(f"{name}: {step.summary}")
        return expression
