"""Planner: the fewest steps after which a target accepts every operation of a layer, or the reasons why none helps.

The search is breadth first. A step is taken on all transposed convolutions that the target refuses and the step takes.
Among plans with equally many steps the one with the fewest multiply-adds wins; those within a tenth are equal, and then
the one with fewer operations wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tconv.errors import MethodError
from tconv.rewriting.expression import Expression
from tconv.rewriting.facts import cost_of, layer_facts, nominal_input
from tconv.rewriting.operations import Conv, ConvTranspose, ShuffleOrder
from tconv.rewriting.plan import PlannedStep, RewritePlan
from tconv.rewriting.steps import STEPS
from tconv.rewriting.steps.step import MOST_BYTES, MOST_OPERATIONS, RewriteStep, Variant
from tconv.targets.layer_facts import LayerFacts

MOST_STEPS = 4
"""Longest plan that is looked for."""
WIDTH = 16
"""Plans that are continued at each length: those that leave the fewest limits."""
FEW_OPERATIONS = 32
"""Plans with more operations than this come after all others of their length, and are not continued."""


class SupportsLimits(Protocol):
    """Target, as the planner needs it."""

    @property
    def name(self) -> str: ...

    def limits_against(self, facts: LayerFacts, operation: str = "conv_transpose") -> Sequence[Any]:
        """Return every limit that a layer breaks."""

    def accepts_operation(self, kind: str) -> bool:
        """Return True if the target has an operation."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    expression: Expression
    steps: tuple[tuple[RewriteStep, Variant, _Candidate], ...]
    """Steps on the way to it, each with the candidate before it."""
    refused: tuple[ConvTranspose, ...]
    """Layers that a further step may change; none where the target refuses an operation that no step changes."""
    limits: tuple[str, ...]


def plan_for(
    expression: Expression,
    target: SupportsLimits,
    *,
    facts: LayerFacts | None = None,
    names: Sequence[str] | None = None,
    most: int = MOST_STEPS,
    order: ShuffleOrder | None = None,
) -> RewritePlan:
    """Return the fewest steps after which the target accepts the expression, printable before anything is changed.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> from tconv.rewriting.expression import layer
    >>> from tconv.targets import target
    >>> plan = plan_for(layer(np.ones((8, 4, 4, 4), "float32"), None, Geometry((4, 4), 2, 1)), target("conv-only"))
    >>> plan.steps, plan.result.kinds
    (('phases',), ('conv', 'concat', 'depth_to_space'))

    `facts` are those of the layer in its file, whose dtype and scales the weights alone do not tell. `names` limits the
    steps that may be taken, `most` their number, and `order` the channels of depth to space where both are possible.
    A plan without steps means that the target accepts the layer, if its `reasons` are empty. Limits of the whole model
    (its type, a batch or size that must be fixed, a weight that must be constant) are the plan's `lasting`: no step
    ends them, and they stop none.
    """
    search = _Search(target, facts, _steps(names), order)
    start = search.candidate(expression, ())
    nominal = nominal_input(expression)
    before = cost_of(expression, nominal)
    level, seen = [start], {_key(expression)}
    alone: dict[str, str] = {}
    for depth in range(most + 1):
        done = [candidate for candidate in level if not candidate.limits]
        if done:
            best = min(done, key=lambda candidate: _rank(candidate, nominal, before.macs))
            return _plan(target.name, start, best, nominal, search.lasting(expression))
        if depth == most:
            break
        following: list[_Candidate] = []
        for candidate in level:
            for grown in search.grown(candidate, alone if depth == 0 else None):
                key = _key(grown.expression)
                if key not in seen:
                    seen.add(key)
                    few = len(grown.expression.operations) <= FEW_OPERATIONS
                    if not grown.limits or (grown.refused and few):
                        following.append(grown)
        level = sorted(following, key=lambda candidate: _rest(candidate, nominal))[:WIDTH]
    reasons = [f"no {most} steps or fewer end the limits of {target.name}: {'; '.join(start.limits)}"]
    reasons += [f"{name}: {reason}" for name, reason in alone.items()]
    lasting = search.lasting(expression)
    return RewritePlan(target.name, expression, None, start.limits, (), before, None, tuple(reasons), lasting)


def plan_of_steps(
    expression: Expression,
    names: Sequence[str],
    target: SupportsLimits | None = None,
    *,
    facts: LayerFacts | None = None,
    order: ShuffleOrder | None = None,
) -> RewritePlan:
    """Return the plan that takes the named steps in their order, each on all transposed convolutions that it can take.

    A step that takes none of them is a reason. Raises MethodError for a name that is no step.
    """
    search = _Search(target, facts, _steps(names), order)
    current = start = search.candidate(expression, ())
    nominal = nominal_input(expression)
    reasons: list[str] = []
    for step in _steps(names):
        found: list[_Candidate] = []
        against: list[str] = []
        for variant in search.variants(step, current.expression.layers, current.expression):
            grown, why = search.applied(current, step, variant, current.expression.layers)
            against += why
            if grown is not None:
                found.append(grown)
        if found:
            macs = cost_of(expression, nominal).macs
            current = min(found, key=lambda each: (len(each.limits), _rank(each, nominal, macs)))
        else:
            missing = "it has no form" if current.expression.layers else "no transposed convolution is left"
            reasons.append(f"{step.name}: {against[0] if against else missing}")
    plan = _plan("" if target is None else target.name, start, current, nominal, search.lasting(expression))
    return replace(plan, reasons=tuple(reasons))


def _steps(names: Sequence[str] | None) -> list[RewriteStep]:
    if names is None:
        return list(STEPS.values())
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise MethodError(f"{unknown[0]!r} is no step; there are {', '.join(STEPS)}. Write one of them")
    return [STEPS[name] for name in names]


class _Search:
    """Steps on expressions, and what a target says of the results."""

    def __init__(
        self,
        target: SupportsLimits | None,
        facts: LayerFacts | None,
        steps: list[RewriteStep],
        order: ShuffleOrder | None,
    ) -> None:
        self._target, self._facts, self._steps, self._order = target, facts, steps, order

    def candidate(
        self, expression: Expression, steps: tuple[tuple[RewriteStep, Variant, _Candidate], ...]
    ) -> _Candidate:
        """Return an expression with the layers that the target refuses, and all limits that it breaks."""
        if self._target is None:
            return _Candidate(expression, steps, (), ())
        refused: list[ConvTranspose] = []
        limits: dict[str, None] = {}
        other = False
        for operation in expression.operations:
            found: list[str] = []
            if not isinstance(operation, ConvTranspose) and not self._target.accepts_operation(operation.kind):
                found = [f"there is no {operation.kind}"]
            elif isinstance(operation, (ConvTranspose, Conv)):
                found = self._limits_against(operation, expression)
            if found and isinstance(operation, ConvTranspose):
                refused.append(operation)
            other = other or bool(found and not isinstance(operation, ConvTranspose))
            limits.update(dict.fromkeys(found))
        # no step changes other operations: such a way ends here
        return _Candidate(expression, steps, () if other else tuple(refused), tuple(limits))

    def _limits_against(self, operation: ConvTranspose | Conv, expression: Expression) -> list[str]:
        """Return the limits that a layer breaks.

        A target whose transposed convolutions have two spatial axes is taken to have no other convolutions either.
        """
        assert self._target is not None
        facts = layer_facts(operation, expression, self._facts)
        limits = self._target.limits_against(facts, operation.kind)
        found = [str(limit) for limit in limits if not is_lasting(limit)]
        if isinstance(operation, Conv):
            other = self._target.limits_against(facts)
            found += [f"{limit} (a convolution)" for limit in other if _key_of(limit) == "ndim"]
        return found

    def lasting(self, expression: Expression) -> tuple[str, ...]:
        """Return the limits of an expression that are of its model, and stay whatever computes the layer."""
        if self._target is None:
            return ()
        facts = [layer_facts(operation, expression, self._facts) for operation in expression.layers]
        limits = [limit for each in facts for limit in self._target.limits_against(each) if is_lasting(limit)]
        return tuple(dict.fromkeys(map(str, limits)))

    def variants(self, step: RewriteStep, layers: Sequence[ConvTranspose], expression: Expression) -> list[Variant]:
        """Return the forms of a step that some layer has."""
        found: list[Variant] = []
        for operation in layers:
            for variant in step.variants(operation, expression.shapes[operation.inputs[0]]):
                if variant not in found:
                    found.append(variant)
        wanted = [variant for variant in found if variant.get("order", self._order) == self._order]
        found = wanted or found if self._order else found
        return found or [{}] if layers else []

    def grown(self, candidate: _Candidate, alone: dict[str, str] | None) -> Iterator[_Candidate]:
        """Yield the candidates one step further. `alone` is told why a step does not help, or what it leaves."""
        for step in self._steps:
            reasons: list[str] = []
            left: list[tuple[str, ...]] = []
            for variant in self.variants(step, candidate.refused, candidate.expression):
                found, against = self.applied(candidate, step, variant, candidate.refused)
                reasons += against
                if found is not None:
                    left.append(found.limits)
                    yield found
            if alone is not None:
                rest = min(left, key=len, default=())
                alone[step.name] = f"it leaves: {'; '.join(rest)}" if left else "; ".join(dict.fromkeys(reasons))

    def applied(
        self, candidate: _Candidate, step: RewriteStep, variant: Variant, layers: Sequence[ConvTranspose]
    ) -> tuple[_Candidate | None, list[str]]:
        """Return the candidate with a step on those layers that it takes; None and the reasons if it takes none."""
        expression, against = candidate.expression, list[str]()
        for operation in layers:
            sizes = candidate.expression.shapes[operation.inputs[0]]
            reasons, by = step.tried(operation, sizes, variant)
            against += reasons
            if by is not None:
                expression = expression.replaced(operation, by)
        if expression is candidate.expression:
            return None, against
        if len(expression.operations) > MOST_OPERATIONS:
            return None, [f"it would be {len(expression.operations)} operations; {MOST_OPERATIONS} are allowed"]
        if expression.weight_bytes > MOST_BYTES + 2 * candidate.expression.weight_bytes:
            return None, [f"its weights would take {expression.weight_bytes >> 20} MB"]
        steps = (*candidate.steps, (step, variant, candidate))
        return self.candidate(expression, steps), []


def _key_of(limit: Any) -> str:
    return str(getattr(limit, "key", ""))


def is_lasting(limit: Any) -> bool:
    """Return True for a limit of the whole model: another type, fixed sizes or a constant weight end it, no step."""
    return lasts(_key_of(limit), str(limit))


def lasts(key: str, text: str) -> bool:
    """Return True for the key and the text of a limit that no step ends."""
    return key in ("dtype", "batch", "weight") or (key == "input" and "varies" in text)


def _key(expression: Expression) -> tuple[Any, ...]:
    """Return what two expressions have in common if they differ in their weights alone."""
    entries: list[Any] = []
    for operation in expression.operations:
        entries.append((operation.kind, operation.inputs, operation.outputs))
        if isinstance(operation, ConvTranspose):
            words = (operation.output_padding, operation.auto_pad, operation.output_shape, operation.bias is None)
            entries.append((operation.geometry, operation.weight.shape, words))
        elif isinstance(operation, Conv):
            entries.append((operation.weight.shape, operation.pads, operation.dilation, operation.groups))
        else:
            fields = ("block", "order", "pads", "value", "axes", "starts", "stops", "steps", "axis", "shape")
            entries.append(tuple(getattr(operation, name, None) for name in fields))
    return tuple(entries)


def _rank(candidate: _Candidate, nominal: tuple[int, ...], macs: int) -> tuple[Any, ...]:
    cost = cost_of(candidate.expression, nominal)
    tenths = round(math.log(max(cost.macs, 1) / max(macs, 1), 1.1))
    return (cost.operations > FEW_OPERATIONS, tenths, cost.operations, cost.macs, cost.bytes)


def _rest(candidate: _Candidate, nominal: tuple[int, ...]) -> tuple[Any, ...]:
    cost = cost_of(candidate.expression, nominal)
    return (len(candidate.limits), cost.macs, cost.operations)


def _plan(
    name: str, start: _Candidate, best: _Candidate, nominal: tuple[int, ...], lasting: tuple[str, ...]
) -> RewritePlan:
    planned = []
    following = [before for _, _, before in best.steps[1:]] + [best]
    for (step, variant, before), result in zip(best.steps, following, strict=False):
        ended = tuple(limit for limit in before.limits if limit not in result.limits)
        cost = cost_of(result.expression, nominal)
        chosen = None in start.expression.input
        planned.append(PlannedStep(step.name, step.summary, variant, step.waste, ended, cost, chosen))
    first = cost_of(start.expression, nominal)
    after = planned[-1].cost if planned else first
    words = (start.limits, tuple(planned), first, after, (), lasting)
    return RewritePlan(name, start.expression, best.expression, *words)
