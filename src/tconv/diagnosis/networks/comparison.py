"""TracePair of two networks from start to end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis import Diagnosis, diagnose
from tconv.diagnosis.networks.agreement import Reference, coarsest, reference
from tconv.diagnosis.networks.first_difference import Place, TracePair, outputs_agree
from tconv.diagnosis.networks.fused_operations import FusionFault, find_fusion_fault
from tconv.diagnosis.networks.layer_diagnosis import diagnose_layer
from tconv.diagnosis.networks.network_report import NetworkDiagnosis, largest, output_size
from tconv.diagnosis.networks.random_inputs import Feeds, feeds_for
from tconv.diagnosis.networks.side import Side, Source
from tconv.errors import FileError, TconvError
from tconv.models.traces import format_of
from tconv.models.traces.bounded import bounded_outputs
from tconv.models.traces.process import Workers
from tconv.models.traces.trace import RunError, Trace

_FEWEST_TRIES, _MOST_TRIES, _MOST_SECONDS = 8, 400, 20  # shapes of the input, and the time for them
_MORE_TRIES = 60  # in all, for other places of the channels, once one shape runs
_CLOSE = 0.05
_TELLING = 0.5  # share of the output that has to depend on the input


def diagnose_networks(
    got: Source,
    expected: Source,
    *,
    size: list[int] | None = None,
    seed: int = 0,
    target: str | None = None,
    workers: Workers | None = None,
) -> NetworkDiagnosis:
    """Return whether two networks agree on random input, or the first place where they part and its cause.

    Files of PyTorch (TorchScript and exported programs), ONNX, Keras, TensorFlow Lite and ncnn, in any pair. Each runs
    in a process of its own; `workers` are reused if given. `size` is the spatial size of the input where the files
    leave it open. Raises FileError for files that cannot be read or run, ShapeError for a wrong `size`.
    """
    with ExitStack() as stack:
        pool = workers or stack.enter_context(Workers())
        sides = [Side(source, pool, stack) for source in (got, expected)]
        return _Comparison(sides[0], sides[1], size, seed, target).run()


class _Comparison:
    def __init__(self, one: Side, two: Side, size: list[int] | None, seed: int, target: str | None) -> None:
        self._one, self._two, self._size, self._seed, self._target = one, two, size, seed, target
        self._extra: list[str] = []
        self._functions: list[str] | None = None
        """Functions that give the first network's outputs and are at most 1; None until outputs differ."""

    def run(self) -> NetworkDiagnosis:
        feeds = self._feeds()
        for kind, nudged in ((feeds.noise, feeds.nudged), (feeds.image, feeds.nudged_image)):
            first = self._one.network.run(kind[0])
            change = self._one.network.run(nudged)
            outputs = self._two.network.run(kind[1])
            references, agreed = self._judged(first, change, outputs, kind[0])
            # a network that draws random numbers changes by more than any rounding, which would excuse all
            strict = self._references(Trace(first), None, outputs)
            if outputs_agree(strict, outputs) is None and (note := self._random(kind, (first, outputs))):
                return self._report("untellable", references, outputs, notes=[note])
            if not agreed:
                return self._parted(kind, nudged, (first, outputs), references)
            if kind is feeds.noise:
                kept = first, outputs, references
        first, outputs, references = kept
        telling = self._telling(first, self._one.network.run(feeds.image[0]))
        trace = self._one.network.trace(feeds.noise[0])
        if telling < _TELLING or self._dead(trace) or not all(each.informative for each in references):
            return self._unseen(feeds, trace, references, outputs, telling)
        return self._report("equal", references, outputs)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def _feeds(self) -> Feeds:
        """Return inputs that both networks run, those on which they agree if there are several relations.

        If they agree on none, the likeliest relation is taken; for two runtimes of one file there is no other.
        """
        same = self._one.source.path == self._two.source.path
        while True:
            errors: list[str] = ["", ""]
            ran = [False, False]
            chosen: dict[str, Feeds] = {}
            sizes: dict[str, None] = {}
            likeliest: str | None = None
            inputs = self._one.network.inputs, self._two.network.inputs
            slow = "reference" in (self._one.runtime, self._two.runtime)
            tried = feeds_for(*inputs, self._size, self._seed, small=slow)
            start = time.monotonic()
            for number, feeds in enumerate(tried):
                late = number >= _FEWEST_TRIES and time.monotonic() - start > _MOST_SECONDS
                if late or number >= (_MORE_TRIES if chosen else _MOST_TRIES):
                    break
                likeliest = feeds.relation if likeliest is None else likeliest
                if feeds.relation in chosen or (same and feeds.relation != likeliest):
                    continue
                sizes[" and ".join(str(list(each.shape)) for each in feeds.noise[0])] = None
                results: dict[int, list[Array]] = {}
                for at, side in sorted(enumerate((self._one, self._two)), key=lambda entry: not entry[1].checked):
                    try:
                        results[at] = side.network.run(feeds.noise[at])
                        ran[at] = True
                    except RunError as error:
                        errors[at] = errors[at] or str(error)
                        break
                if len(results) < 2:
                    continue
                if self._judged(results[0], None, results[1], feeds.noise[0])[1]:
                    return feeds
                chosen[feeds.relation] = feeds
            if chosen:
                return chosen.get(likeliest or "", next(iter(chosen.values())))
            self._refused(ran, errors, list(sizes))

    def _refused(self, ran: list[bool], errors: list[str], sizes: list[str]) -> None:
        """Start another runtime for a side that runs no input. Raises FileError if there is none."""
        for side, has_run, error in zip((self._one, self._two), ran, errors, strict=True):
            if not has_run and error and side.another(error):
                return
        reasons = " and ".join(
            f"{side.source.name} refuses all {len(sizes)} inputs that were tried ({'; '.join(sizes[:4])}, ...): "
            f"{side.refusal or error}"
            for side, error in zip((self._one, self._two), errors, strict=True)
            if error
        )
        raise FileError(
            f"no random input runs on both networks: {reasons or 'they have no inputs'}. The sizes are diagnose's own; "
            "often the tensors that a network joins fit for some sizes only. Write --size with a spatial size that "
            "both take, or files with the shapes of their inputs"
        )

    # -- answers -----------------------------------------------------------------------------------------------------

    def _references(self, first: Trace, change: list[Array] | None, outputs: list[Array]) -> list[Reference]:
        unit = coarsest([*first.outputs, *outputs])
        nudged = change or [None] * len(first.outputs)  # type: ignore[list-item]
        return [
            reference(each, other, unit, bounded=bool(self._function(at)))
            for at, (each, other) in enumerate(zip(first.outputs, nudged, strict=True))
        ]

    def _judged(
        self, first: list[Array], change: list[Array] | None, outputs: list[Array], feeds: list[Array]
    ) -> tuple[list[Reference], bool]:
        """Return the first network's outputs with their limits, and True if the others agree.

        Where they do not, the functions that give the outputs are asked for, which need a trace.
        """
        references = self._references(Trace(first), change, outputs)
        if outputs_agree(references, outputs) is None and self._functions is None:
            try:
                self._functions = bounded_outputs(self._one.network.trace(feeds))
            except RunError:
                self._functions = []
            references = self._references(Trace(first), change, outputs)
        return references, outputs_agree(references, outputs) is not None

    def _function(self, output: int) -> str:
        return self._functions[output] if self._functions and output < len(self._functions) else ""

    @staticmethod
    def _telling(one: list[Array], other: list[Array]) -> float:
        """Return the least share of an output's numbers that change with the input."""
        return min((float((a != b).mean()) for a, b in zip(one, other, strict=True) if a.shape == b.shape), default=1.0)

    @staticmethod
    def _dead(trace: Trace) -> bool:
        """Return True if a layer's output ends in one number everywhere, a ReLU's zeros for example."""
        readers = {number: step for step in trace.steps for number in step.inputs}
        for layer in trace.layers:
            number, behind = layer.outputs[0], 0
            while number in trace.tensors and behind < 4:
                values = trace.tensors[number]
                if values.size > 1 and (values == values.flat[0]).all():
                    return True
                step = readers.get(number)
                if step is None or step.layer is not None or not step.outputs:
                    break
                number, behind = step.outputs[0], behind + 1
        return False

    def _unseen(
        self, feeds: Feeds, first: Trace, references: list[Reference], outputs: list[Array], telling: float
    ) -> NetworkDiagnosis:
        """Return the answer where equal outputs may hide a difference: by the tensors at the layers."""
        comparison = self._compared(feeds.noise, feeds.nudged, first)
        place = comparison.place()
        if place.is_layer and place.first is not None and place.second is not None:
            why = f"only {telling:.0%} of them change with the input" if telling < _TELLING else "their numbers hide it"
            note = f"the outputs agree, but {why}"
            return self._blamed(comparison, place, references, outputs, [note])
        hidden = [step.label for step in comparison.untold]
        if not hidden and telling >= _TELLING:
            return self._report("equal", references, outputs)
        if not hidden and comparison.one.trace.layers:
            return self._report("equal", references, outputs)
        what = f"{', '.join(hidden[:3])} gives one number everywhere" if hidden else "the outputs hardly change with it"
        note = f"{what}, so this input cannot tell. Write --seed {self._seed + 1}"
        return self._report("equal" if telling >= _TELLING else "untellable", references, outputs, notes=[note])

    def _compared(
        self, kind: tuple[list[Array], list[Array]], nudged: list[Array], first: Trace | None = None
    ) -> TracePair:
        one = first or self._one.network.trace(kind[0])
        other = self._one.network.trace(nudged)
        two = self._two.network.trace(kind[1])
        unit = coarsest(
            [*one.outputs, *two.outputs, *(step.layer.weight for step in (*one.layers, *two.layers) if step.layer)]
        )
        return TracePair.of(one, other, two, unit)

    def _random(self, kind: tuple[list[Array], list[Array]], whole: tuple[list[Array], list[Array]]) -> str:
        """Return the note on a network that draws random numbers; "" if there is none."""
        for side, outputs, feeds in zip((self._one, self._two), whole, kind, strict=True):
            again = side.network.run(feeds)
            if outputs_agree(self._references(Trace(outputs), None, again), again) is None:
                return f"{side.source.name} gives other outputs for the same input: it draws random numbers"
        return ""

    def _parted(
        self,
        kind: tuple[list[Array], list[Array]],
        nudged: list[Array],
        whole: tuple[list[Array], list[Array]],
        given: list[Reference],
    ) -> NetworkDiagnosis:
        """Return the place where networks with different outputs, `whole`, part. `given` are those of the first."""
        comparison = self._compared(kind, nudged)
        one, two = comparison.one.trace, comparison.two.trace
        references = self._references(one, self._one.network.run(nudged), two.outputs)
        faults = self._fusion_faults(kind, (one, two), whole)
        if outputs_agree(references, two.outputs) is not None:
            if not faults:
                return self._report("equal", references, two.outputs)
            return self._fused(faults, given, whole[1])
        self._extra = [f"besides, {fault.note}" for fault in faults]
        if not one.layers and not two.layers:
            names = f"{self._one.source.name} and {self._two.source.name}"
            raise FileError(f"{names} differ and have no transposed convolution. Choose networks that have one")
        place = comparison.place()
        if place.is_layer:
            return self._blamed(comparison, place, references, two.outputs)
        return self._elsewhere(place, references, two.outputs)

    def _fusion_faults(
        self, kind: tuple[list[Array], list[Array]], traces: tuple[Trace, Trace], whole: tuple[list[Array], list[Array]]
    ) -> list[FusionFault]:
        """Return the fault of each side whose whole network gives other outputs than its operations alone."""
        found = []
        for side, feeds, trace, outputs in zip((self._one, self._two), kind, traces, whole, strict=True):
            if outputs_agree(self._references(trace, None, outputs), outputs) is None:
                if format_of(side.source.path).module != "onnx_file" and _are_close(trace.outputs, outputs):
                    continue  # kernels that round apart, of 8 bits for example
                unit = coarsest([*trace.outputs, *outputs])
                found.append(find_fusion_fault(side.source.name, side.network, feeds, trace, outputs, unit))
        return found

    def _fused(self, faults: list[FusionFault], references: list[Reference], outputs: list[Array]) -> NetworkDiagnosis:
        """Return the answer where the networks part only as a whole."""
        fault = faults[0]
        found = (
            None if fault.got is None or fault.expected is None else self._fault_of(fault, fault.got, fault.expected)
        )
        notes = [f"also, {other.note}" for other in faults[1:]]
        report = self._report("fused", references, outputs, fault.place, [fault.text] * bool(fault.text), found, notes)
        return replace(report, fusion=fault)

    def _fault_of(self, fault: FusionFault, got: Array, expected: Array) -> Diagnosis | None:
        """Return the diagnosis of a tensor that a fusion makes wrong, by the layer's call if it is a layer's output."""
        layer = None if fault.step is None else fault.step.layer
        if layer is None or fault.x is None:
            return _alone(got, expected)
        described = {"dialect": layer.dialect, "target": self._target, **layer.arguments}
        try:
            return diagnose(got, expected, x=fault.x, weight=layer.weight, bias=layer.bias, **described)
        except TconvError:
            return _alone(got, expected)

    def _blamed(
        self,
        comparison: TracePair,
        place: Place,
        references: list[Reference],
        outputs: list[Array],
        notes: list[str] | None = None,
    ) -> NetworkDiagnosis:
        found, calls = diagnose_layer(comparison, place, self._target)
        verdict = "none" if found is None else found.verdict
        return self._report(verdict, references, outputs, _labels(place), calls, found, notes)

    def _elsewhere(self, place: Place, references: list[Reference], outputs: list[Array]) -> NetworkDiagnosis:
        named = _labels(place) or "an operation whose tensors cannot be compared"
        found: Diagnosis | None = None
        if place.got is not None and place.expected is not None:
            found = _alone(place.got, place.expected)
        text = f"in {named}, which is given equal numbers; every transposed convolution before it agrees"
        return self._report("elsewhere", references, outputs, text, [], found)

    def _report(
        self,
        verdict: str,
        references: list[Reference],
        outputs: list[Array],
        place: str = "",
        calls: list[str] | None = None,
        layer: Diagnosis | None = None,
        notes: list[str] | None = None,
    ) -> NetworkDiagnosis:
        pairs = outputs_agree(references, outputs) or [(at, at) for at in range(min(len(references), len(outputs)))]
        sizes = [output_size(references[at], outputs[other], self._function(at)) for at, other in pairs]
        size = max(sizes, key=lambda entry: np.inf if entry[0] is None else entry[0], default=(None, 0.0, ""))
        return NetworkDiagnosis(
            (self._one.source.name, self._two.source.name),
            verdict,
            size[0],
            size[1],
            (tuple(each.values.shape for each in references), tuple(each.shape for each in outputs)),
            place,
            tuple(calls or ()),
            layer,
            (
                *(self._one.refusals + self._two.refusals if verdict == "equal" else self._one.notes + self._two.notes),
                *(notes or ()),
                *self._extra,
            ),
            (references[0].values, outputs[0]) if references and outputs else None,
            function=size[2],
        )


def _are_close(one: list[Array], two: list[Array]) -> bool:
    """Return True if outputs differ by less than 5% of their root mean square."""
    gaps = [largest(a, b) for a, b in zip(one, two, strict=False)]
    return all(gap is not None and gap < _CLOSE for gap in gaps)


def _labels(place: Place) -> str:
    """Return the names of the two operations, one if they are the same."""
    names = [step.label for step in (place.first, place.second) if step is not None]
    return " | ".join(dict.fromkeys(names))


def _alone(got: Array, expected: Array) -> Diagnosis | None:
    """Return the comparison of two tensors without a call; None for those that cannot be compared."""
    if min(got.ndim, expected.ndim) < 3 or got.ndim != expected.ndim:
        return None
    try:
        found = diagnose(got, expected)
    except TconvError:
        return None
    return found if found.findings else None
