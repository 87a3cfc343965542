"""The place where two traces part: the first transposed convolution, or other operation, that is given the same numbers
and returns others.

Tensors are matched by their numbers. A layer is right if its output, or any tensor that is made from it alone, has a
match: all that stands between belongs to the layer. So a bias, a Slice, a Pad or a BatchNorm may be a step of its own
in one network and not in the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.networks.agreement import Reference, agree, matches, reference
from tconv.models.traces.bounded import bounded_tensors
from tconv.models.traces.trace import Step, Trace

_LONGEST = 40  # steps behind a layer that may belong to it


class Flow:
    """Steps of a trace with the steps that read each tensor."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.tensors = trace, trace.tensors
        self._readers: dict[int, list[Step]] = {}
        self.made_by: dict[int, Step] = {}
        for step in trace.steps:
            for number in step.inputs:
                self._readers.setdefault(number, []).append(step)
            for number in step.outputs:
                self.made_by.setdefault(number, step)

    def chain(self, start: Step, most: int = _LONGEST) -> list[int]:
        """Return the tensors that are made from this step's output alone, up to the next transposed convolution."""
        known = dict.fromkeys(start.outputs[:1])
        for number in known.copy():
            queue = list(self._readers.get(number, []))
            while queue and len(known) < most:
                step = queue.pop(0)
                if step.layer is not None or not set(step.inputs) <= set(known):
                    continue
                for output in step.outputs:
                    if output not in known:
                        known[output] = None
                        queue += self._readers.get(output, [])
        return [number for number in known if number in self.tensors]

    def behind(self, start: int) -> set[int]:
        """Return all tensors that depend on a tensor, and itself."""
        found, queue = {start}, [start]
        while queue:
            for step in self._readers.get(queue.pop(), []):
                for output in step.outputs:
                    if output not in found:
                        found.add(output)
                        queue.append(output)
        return found

    def between(self, start: Step, end: int) -> list[Step]:
        """Return the steps from a layer's output to a tensor of its chain, without the layer."""
        path: list[Step] = []
        step = self.made_by.get(end)
        while step is not None and step is not start:
            path.append(step)
            step = self.made_by.get(step.inputs[0]) if step.inputs else None
        return path[::-1]


@dataclass
class Place:
    """The place where the networks part."""

    first: Step | None
    second: Step | None
    got: Array | None = None
    expected: Array | None = None
    """Outputs of the two steps, where no layer is blamed."""

    @property
    def is_layer(self) -> bool:
        """True if a transposed convolution is the first to differ."""
        return any(step is not None and step.layer is not None for step in (self.first, self.second))


@dataclass
class TracePair:
    """Two traces and the tensors that agree."""

    one: Flow
    two: Flow
    references: dict[int, Reference]
    untold: list[Step] = field(default_factory=list)
    """Layers of the first network whose numbers this input cannot show."""

    @classmethod
    def of(cls, first: Trace, nudged: Trace | None, second: Trace, unit: float) -> TracePair:
        """Return the comparison; `nudged` is the first network's trace for an input with other last bits."""
        other = {} if nudged is None or len(nudged.steps) != len(first.steps) else nudged.tensors
        bounded = bounded_tensors(first)
        references = {
            number: reference(each, other.get(number), unit, bounded=number in bounded)
            for number, each in first.tensors.items()
        }
        return cls(Flow(first), Flow(second), references)

    @cached_property
    def matched(self) -> dict[int, list[int]]:
        """Tensors of the second network that agree with each informative one of the first."""
        return matches(self.references, self.two.tensors)

    @cached_property
    def right(self) -> set[int]:
        """Tensors of the first network that have a match, or that a matched one shows to be right."""
        return {number for number in self.one.tensors if self._shown(self.one.behind(number))}

    @cached_property
    def right_in_second(self) -> set[int]:
        """The same of the second network."""
        found = {number for numbers in self.matched.values() for number in numbers}
        return {number for number in self.two.tensors if found & self.two.behind(number)}

    def _shown(self, numbers: set[int]) -> bool:
        return any(self.matched.get(number) for number in numbers)

    def partner(self, layer: Step) -> Step | None:
        """Return the layer of the second network for one of the first: the same input, the same weight, the order."""
        mine = self.one.trace.layers
        theirs = self.two.trace.layers
        inputs = set(self.matched.get(layer.inputs[0], []))
        best, best_score = None, (0, 0, 0, 0)
        for place, other in enumerate(theirs):
            alike = sorted(np.shape(_weight(layer))) == sorted(np.shape(_weight(other)))
            score = (
                other.inputs[0] in inputs,
                alike and bool(np.isclose(np.abs(_weight(layer)).sum(), np.abs(_weight(other)).sum(), rtol=1e-4)),
                alike,
                -abs(place - mine.index(layer)),
            )
            if score[0] + score[1] + score[2] and (best is None or score > best_score):
                best, best_score = other, score
        return best

    def place(self) -> Place:
        """Return the first place where the networks part."""
        for layer in self.one.trace.layers:
            if self._shown(set(self.one.chain(layer))) or layer.outputs[0] in self.right:
                continue
            if not self._informative(layer):
                self.untold.append(layer)
                continue
            if self._input_agrees(layer):
                return Place(layer, self.partner(layer))
            break
        return self._elsewhere()

    def _informative(self, step: Step) -> bool:
        return any(self.references[number].informative for number in step.outputs if number in self.references)

    def _input_agrees(self, layer: Step) -> bool:
        number = layer.inputs[0]
        return number in self.right or number not in self.references or not self.references[number].informative

    def _elsewhere(self) -> Place:
        """Return the first operation of each network that is given right numbers and returns wrong ones."""
        first = next(
            (
                step
                for step in self.one.trace.steps
                if self._informative(step) and self._parts(step, self.one, self.right)
            ),
            None,
        )
        second = next(
            (step for step in self.two.trace.steps if self._parts(step, self.two, self.right_in_second)), None
        )
        if second is not None and second.layer is not None and (first is None or first.layer is None):
            return Place(first, second)
        ends = [
            None if step is None else flow.tensors.get(step.outputs[0])
            for step, flow in ((first, self.one), (second, self.two))
        ]
        return Place(first, second, ends[0], ends[1])

    @staticmethod
    def _parts(step: Step, flow: Flow, right: set[int]) -> bool:
        made = [number for number in step.outputs if number in flow.tensors]
        informative = [number for number in made if np.ptp(flow.tensors[number].astype(np.float64)) > 0]
        given = [number for number in step.inputs if number in flow.tensors]
        return (
            bool(informative)
            and right.isdisjoint(made)
            and all(number in right for number in given if flow.made_by.get(number))
        )


def _weight(step: Step) -> Array:
    assert step.layer is not None
    return step.layer.weight


def outputs_agree(first: list[Reference], second: list[Array]) -> list[tuple[int, int]] | None:
    """Return pairs of outputs that agree, in order or in any other; None if an output has no counterpart."""
    if not first or not second:
        return None
    free, pairs = list(range(len(second))), []
    for number, one in enumerate(first):
        candidates = sorted(free, key=lambda other, number=number: abs(other - number))  # type: ignore[misc]
        found = next((other for other in candidates if agree(one, second[other])), None)
        if found is None:
            return None
        free.remove(found)
        pairs.append((number, found))
        if not free:
            break
    return pairs
