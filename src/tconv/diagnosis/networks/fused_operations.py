"""The first tensor that a runtime computes wrongly in a network as a whole, where its operations alone are right.

A runtime fuses neighbouring operations; a tensor between them that is asked for as an output keeps it from that. So the
tensors are asked for one at a time, by bisection: the first that is still wrong is the result of a wrong fusion, and a
neighbour belongs to it if asking for the tensor between them, too, makes the result right.
"""

from __future__ import annotations

from dataclasses import dataclass

from tconv._arrays import Array
from tconv.diagnosis.networks.agreement import agree, reference
from tconv.diagnosis.networks.first_difference import Flow, outputs_agree
from tconv.models.traces.bounded import bounded_outputs, bounded_tensors
from tconv.models.traces.process import RemoteNetwork
from tconv.models.traces.trace import RunError, Step, Trace

_MOST_PROBES = 60


@dataclass(frozen=True, eq=False)
class FusionFault:
    """A tensor that is wrong only where its operation is fused with neighbours."""

    network: str
    """Name of the network, with its runtime."""
    step: Step | None = None
    """Operation that returns the tensor; None if the runtime cannot be asked for single tensors."""
    partners: tuple[Step, ...] = ()
    """Operations before it that it is fused with."""
    got: Array | None = None
    """The tensor as the whole network gives it."""
    expected: Array | None = None
    """The tensor as the operations alone give it."""
    x: Array | None = None
    """The operation's input."""

    @property
    def place(self) -> str:
        """Text of the place, for a reader."""
        if self.step is None:
            return f"in operations that {self.network} fuses; each of them alone agrees"
        if not self.partners:
            return f"in {self.step.label}, only where operations are fused; each of them alone agrees"
        others = " and ".join(step.label for step in self.partners)
        return f"in {self.step.label}, only where it is fused with {others} before it; each of them alone agrees"

    @property
    def note(self) -> str:
        """Text beside another answer."""
        where = f"where {' and '.join(each.label for each in self.partners)} before it is fused with it, "
        where = "" if self.step is None else f"in {self.step.label}, {where if self.partners else ''}"
        return f"{where}{self.network} as a whole gives other numbers than each of its operations alone"

    @property
    def text(self) -> str:
        """Sizes of the tensor in both runs."""
        if self.got is None or self.expected is None:
            return ""
        sizes = str(list(self.got.shape))
        if self.got.shape != self.expected.shape:
            sizes += f" in place of {list(self.expected.shape)}"
        alone = ", and the right numbers if the tensor before it is an output, too" if self.partners else ""
        return f"{self.network} gives {sizes} there{alone}"

    def facts(self) -> dict[str, object]:
        """Return all but the arrays, for JSON."""
        shapes = [None if each is None else each.shape for each in (self.got, self.expected)]
        return {
            "network": self.network,
            "operation": None if self.step is None else self.step.label,
            "fused_with": [step.label for step in self.partners],
            "shape": shapes[0],
            "shape_alone": shapes[1],
        }


def find_fusion_fault(
    name: str, network: RemoteNetwork, feeds: list[Array], alone: Trace, whole: list[Array], unit: float
) -> FusionFault:
    """Return the first tensor that is wrong in the whole network; `alone` is the trace of its operations."""
    try:
        return _Search(name, network, feeds, alone, unit).found(whole)
    except RunError:
        return FusionFault(name)


class _Search:
    def __init__(self, name: str, network: RemoteNetwork, feeds: list[Array], alone: Trace, unit: float) -> None:
        self._name, self._network, self._feeds, self._alone, self._unit = name, network, feeds, alone, unit
        self._flow, self._bounded = Flow(alone), bounded_tensors(alone)
        self._probes = 0
        self._seen: dict[tuple[int, ...], dict[int, Array]] = {}

    def found(self, whole: list[Array]) -> FusionFault:
        candidates = self._candidates(whole)
        if not candidates:
            return FusionFault(self._name)
        low, high = -1, len(candidates) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_wrong(candidates[middle]) else (middle, high)
        number = self._earliest(candidates[high])
        step = self._flow.made_by[number]
        tensors = self._alone.tensors
        got, x = self._asked((number,)).get(number), tensors.get(step.inputs[0]) if step.inputs else None
        return FusionFault(self._name, step, self._partners(number, step), got, tensors[number], x)

    def _candidates(self, whole: list[Array]) -> list[int]:
        """Return the tensors from which a wrong output is computed, in order, and itself."""
        ends = []
        for output, got, function in zip(self._alone.outputs, whole, bounded_outputs(self._alone), strict=False):
            if outputs_agree([reference(output, None, self._unit, bounded=bool(function))], [got]) is None:
                same = (number for number, each in self._alone.tensors.items() if _is_same(each, output))
                ends += [number for number in same if number in self._flow.made_by][-1:]
        needed, waiting = set(ends[:1]), ends[:1]
        while waiting:
            step = self._flow.made_by.get(waiting.pop())
            for source in step.inputs if step is not None else ():
                if source not in needed:
                    needed.add(source)
                    waiting.append(source)
        made = [number for step in self._alone.steps for number in step.outputs]
        return [number for number in made if number in needed and number in self._alone.tensors]

    def _asked(self, numbers: tuple[int, ...]) -> dict[int, Array]:
        """Return these tensors of a run that has them as outputs, beside the network's own. Raises RunError."""
        if numbers not in self._seen:
            self._probes += 1
            self._seen[numbers] = self._network.probe(self._feeds, list(numbers)).tensors
        return self._seen[numbers]

    def _is_wrong(self, number: int, others: tuple[int, ...] = ()) -> bool:
        if self._probes >= _MOST_PROBES:
            raise RunError(f"more than {_MOST_PROBES} runs")
        got = self._asked((*others, number)).get(number)
        expected = reference(self._alone.tensors[number], None, self._unit, bounded=number in self._bounded)
        return got is not None and not agree(expected, got)

    def _earliest(self, number: int) -> int:
        """Return the tensor, or a wrong one that its operation is given."""
        while True:
            wrong = [source for source in self._sources(number) if self._is_wrong(source)]
            if not wrong:
                return number
            number = wrong[0]

    def _sources(self, number: int) -> list[int]:
        given = self._flow.made_by[number].inputs
        return [each for each in given if each in self._flow.made_by and each in self._alone.tensors]

    def _partners(self, number: int, step: Step) -> tuple[Step, ...]:
        """Return the operations before it without which it is right."""
        found = [source for source in self._sources(number) if not self._is_wrong(number, (source,))]
        return tuple(self._flow.made_by[source] for source in found)


def _is_same(one: Array, two: Array) -> bool:
    return one.shape == two.shape and bool((one == two).all())
