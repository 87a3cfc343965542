"""Diagnosis of the first transposed convolution that differs, each side with what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis import Diagnosis, diagnose
from tconv.diagnosis.networks.effective_call import (
    EffectiveCall,
    call_of,
    canonical,
    full_output,
    own_call,
    unit_axes,
    with_axes,
    without_axes,
)
from tconv.diagnosis.networks.first_difference import Flow, Place, TracePair
from tconv.errors import TconvError
from tconv.models.traces.trace import Step

_MOST_PAIRS = 5
_LAST = ("keras", "tflite")  # dialects whose channels are usually last


@dataclass(frozen=True, eq=False)
class Level:
    """A tensor behind a layer [N, C_out, *L], the steps between, and the call that it is the output of, if any."""

    values: Array
    steps: tuple[Step, ...]
    call: EffectiveCall | None


@dataclass(frozen=True, eq=False)
class Side:
    """The layer of one network, its input, and its levels, the layer's own output first."""

    step: Step | None
    x: Array | None
    own: EffectiveCall | None
    levels: tuple[Level, ...]

    @property
    def last(self) -> Level | None:
        """The last level that is still a linear function of the input."""
        linear = [level for level in self.levels if level.call is not None]
        return linear[-1] if linear else (self.levels[0] if self.levels else None)

    def text(self) -> str:
        """Return the call with all that belongs to it, for a reader."""
        if self.step is None or self.own is None:
            return ""
        last = self.last
        call = last.call if last is not None and last.call is not None else self.own
        g = call.geometry
        behind = ", ".join(dict.fromkeys(step.op for step in last.steps)) if last is not None else ""
        settings = f"kernel {g.kernel}, stride {g.stride}, crop {g.crop}"
        settings += f", dilation {g.dilation}" if max(g.dilation) > 1 else ""
        settings += f", groups {g.groups}" if g.groups > 1 else ""
        return f"{self.step.label}{f' with {behind}' if behind else ''}: {settings}"


def diagnose_layer(comparison: TracePair, place: Place, target: str | None) -> tuple[Diagnosis | None, list[str]]:
    """Return the diagnosis of the layers at a place, and a text for the call of each network."""
    flows = (comparison.one, place.first), (comparison.two, place.second)
    owns = [_own(flow, step) for flow, step in flows]
    one, two = _side(*flows[0], owns[0], owns[0]), _side(*flows[1], owns[1], owns[0])
    if one.step is None or one.step.layer is None:
        one = _without_layer(comparison.one, two, place.first)
    if two.step is None or two.step.layer is None:
        two = _without_layer(comparison.two, one, place.second)
    texts = [text for text in (one.text(), two.text()) if text]
    best: Diagnosis | None = None
    for got, expected in _pairs(one, two)[:_MOST_PAIRS]:
        found = _diagnosed(one, two, got, expected, target)
        if found is None or found.verdict == "equal":
            continue
        if found.verdict == "found":
            return found, texts
        if best is None or (found.verdict == "likely" and best.verdict != "likely"):
            best = found
    return best, texts


def _own(flow: Flow, step: Step | None) -> EffectiveCall | None:
    """Return the call of a step that is a layer."""
    if step is None or step.layer is None or step.inputs[0] not in flow.tensors:
        return None
    return own_call(step.layer, flow.tensors[step.inputs[0]])


def _side(flow: Flow, step: Step | None, own: EffectiveCall | None, model: EffectiveCall | None) -> Side:
    """Return the levels of a layer, with as many axes as the call `model` has."""
    if step is None or step.layer is None:
        return Side(step, None, None, ())
    x = flow.tensors.get(step.inputs[0])
    if own is None:
        return Side(step, x, None, ())
    channels, ndim, new = own.output_shape()[1], own.geometry.ndim, []
    if model is not None and (more := ndim - model.geometry.ndim):
        axes = unit_axes(own if more > 0 else model)
        if len(axes) >= abs(more):
            new = [] if more > 0 else axes[: abs(more)]
            own = without_axes(own, axes[:more]) if more > 0 else with_axes(own, new)
            ndim -= max(more, 0)
    full, last = full_output(own), step.layer.dialect in _LAST
    levels: list[Level] = []
    for number in flow.chain(step):
        values = canonical(flow.tensors[number], channels, ndim, last)
        if values is None or values.dtype.kind != "f" or not values.size:
            continue
        values = np.expand_dims(values, [axis + 2 for axis in new])
        call = call_of(values.astype(np.float64), own, full)
        if call is not None or not levels or levels[-1].call is not None:
            levels.append(Level(values, tuple(flow.between(step, number)), call))
    return Side(step, x, own, tuple(levels))


def _without_layer(flow: Flow, other: Side, step: Step | None) -> Side:
    """Return a side without a transposed convolution: tensors from where it parts that could be such an output."""
    if other.own is None or step is None:
        return Side(step, None, None, ())
    channels, ndim = other.own.output_shape()[1], other.own.geometry.ndim
    found = (canonical(flow.tensors[number], channels, ndim, False) for number in flow.chain(step))
    return Side(step, None, None, tuple(Level(values, (), None) for values in found if values is not None))


def _pairs(one: Side, two: Side) -> list[tuple[Level, Level]]:
    """Return levels to compare: the last linear ones, the layers' own outputs, then others, the closest first."""
    pairs = []
    if one.last is not None and two.last is not None:
        pairs.append((one.last, two.last))
    others = [(_gap(a, b), at, a, b) for at, (a, b) in enumerate((a, b) for a in one.levels for b in two.levels)]
    others.sort(key=lambda entry: entry[:2])
    pairs += [(a, b) for _, _, a, b in others if (a, b) not in pairs]
    return pairs


def _gap(a: Level, b: Level) -> float:
    if a.values.shape != b.values.shape:
        return float("inf")
    return float(np.abs(a.values.astype(np.float64) - b.values).mean() / max(np.abs(b.values).mean(), 1e-30))


def _diagnosed(one: Side, two: Side, got: Level, expected: Level, target: str | None) -> Diagnosis | None:
    """Return the diagnosis of two levels, by the call of the right one, or of the other where that has none.

    The input differs by rounding between the networks. So the output whose call is known is computed anew, from the
    input of the other.
    """
    dialects = [side.step.layer.dialect for side in (one, two) if side.step is not None and side.step.layer is not None]
    values = {"got": got.values, "expected": expected.values}
    sides = (("expected", two, expected, one), ("got", one, got, two))
    described = [entry for entry in sides if entry[2].call is not None]
    described += [entry for entry in sides if entry[1].own is not None]
    if not described:
        return None
    name, side, level, other = described[0]
    call = level.call or side.own
    assert call is not None
    if level.call is not None and other.own is not None and other.own.x.shape == call.x.shape:
        call = replace(call, x=other.own.x)
        values[name] = call.output().astype(values[name].dtype)
    try:
        return diagnose(values["got"], values["expected"], target=target or dialects[0], **_described(side, call))
    except TconvError:
        return None


def _described(side: Side, call: EffectiveCall) -> dict[str, Any]:
    """Return the arguments of `diagnose` that describe a call: native ones if it is the layer's own."""
    layer = None if side.step is None else side.step.layer
    if not call.native or layer is None or side.x is None or side.own is None or layer.dialect == "ncnn":
        return {"x": call.x, "weight": call.weight, "bias": call.bias, "geometry": call.geometry}
    first = side.x.shape == side.own.x.shape and np.array_equal(side.x, side.own.x)
    x = call.x if first else np.moveaxis(call.x, 1, -1)
    return {"x": x, "weight": layer.weight, "bias": layer.bias, "dialect": layer.dialect, **layer.arguments}
