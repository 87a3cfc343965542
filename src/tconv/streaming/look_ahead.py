"""Look-ahead of a stream: the outputs that each layer adds to the latency, and the latency of a causal variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from tconv.errors import TconvError
from tconv.models.layers import Convolution, replace_crop
from tconv.models.steps.padding import Padding
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.streaming.stream_graph import StreamGraph, StreamNode
from tconv.streaming.time_step import ENDLESS, along_time

_MOST_TURNS = 512
"""Numbers of inputs that are compared, in a period."""

Sides = tuple[int, int]
"""Crop, or padding, in front and behind."""


class LookAhead(NamedTuple):
    """Outputs that one layer of the path that waits longest adds to the latency."""

    layer: str
    samples: Fraction
    causal: str
    """Crop or padding with which it adds nothing, as "crop 4:4 -> 0:8"; "" if none does."""


class Move(NamedTuple):
    """Crop or padding of a layer, with the padding before it, and the one with which it reads no later input."""

    word: str
    sides: Sides
    causal: Sides

    def __str__(self) -> str:
        (lo, hi), (before, behind) = self.sides, self.causal
        return f"{self.word} {lo}:{hi} -> {before}:{behind}"


def layer_names(graph: StreamGraph) -> list[str]:
    """Return a name for each node: its number and its kind."""
    return [f"{number} {_kind(_inner(node.step))}" for number, node in enumerate(graph.nodes, 1)]


def waiting_layers(graph: StreamGraph, names: Sequence[str]) -> tuple[LookAhead, ...]:
    """Return the layers that add to the latency, along the path that waits longest; their sum is the latency."""
    waits = _waits(graph)
    rows: list[LookAhead] = []
    place = len(graph.nodes)
    while place:
        node = graph.nodes[place - 1]
        before = max(node.inputs, key=waits.__getitem__)
        padding = _padding_before(graph, place, before)
        if padding is not None:  # padding and the layer behind it are one
            before = graph.nodes[before - 1].inputs[0]
        if added := waits[place] - waits[before]:
            move = _move(_inner(node.step), padding)
            rows.append(LookAhead(names[place - 1], added, "" if move is None else str(move)))
        place = before
    return tuple(reversed(rows))


def _waits(graph: StreamGraph) -> list[Fraction]:
    """Return the samples of every value that are not final, in outputs of the graph: the most of one period."""
    first = graph.settled or graph.period * (ENDLESS >> 20)
    counts = [(n, graph.moment(n).counts) for n in range(first, first + min(graph.period, _MOST_TURNS))]
    return [
        max(rate * received - final[place] for received, final in counts) * graph.rates[-1] / rate
        for place, rate in enumerate(graph.rates)
    ]


def causal_latency(graph: StreamGraph) -> int | None:
    """Return the latency with every crop and padding moved; None if the layers do not fit then."""
    steps = [_inner(node.step) for node in graph.nodes]
    for place, node in enumerate(graph.nodes, 1):
        before = node.inputs[0]
        padding = _padding_before(graph, place, before)
        move = _move(steps[place - 1], padding)
        if move is None:
            continue
        if padding is not None:
            moved = replace(padding, sides=(padding.sides[0], _less(move.causal, _own_padding(steps[place - 1]))))
            if steps[before - 1] not in (padding, moved):
                return None  # two layers that read one padding need different ones
            steps[before - 1] = moved
        else:
            steps[place - 1] = _with(steps[place - 1], move)
    try:
        nodes = [StreamNode(along_time(step), node.inputs) for step, node in zip(steps, graph.nodes, strict=True)]
        return StreamGraph(nodes, graph.channels[0], graph.dtype).latency
    except TconvError:
        return None


def _less(sides: Sides, others: Sides) -> Sides:
    return sides[0] - others[0], sides[1] - others[1]


def _with(step: Any, move: Move) -> Any:
    """Return a layer with its crop or padding moved."""
    if isinstance(step, StridedConvolution):
        return replace(step, padding=(step.padding[0], move.causal))
    if not isinstance(step, Convolution):
        return step
    sides = move.causal
    if move.word == "padding":  # as the crop of the transposed convolution that it is here
        reach = step.geometry.extent[1] - 1
        sides = reach - sides[0], reach - sides[1]
    return replace(step, geometry=replace_crop(step.geometry, (step.geometry.crop[0], sides)))


def _padding_before(graph: StreamGraph, place: int, before: int) -> Padding | None:
    """Return the padding that a layer reads, if it is no padding itself."""
    step = _inner(graph.nodes[before - 1].step) if before else None
    return step if isinstance(step, Padding) and not isinstance(_inner(graph.nodes[place - 1].step), Padding) else None


def _inner(step: Any) -> Any:
    """Return the step of a network, or the step along time if it is none."""
    return getattr(step, "step", step)


def _along(step: Any) -> Any:
    """Return the geometry along time of a transposed convolution, or an ordinary one of stride 1; None for others."""
    if isinstance(step, Convolution):
        return step.along[1]
    along = getattr(step, "along", None)
    return along if hasattr(along, "extent") else None


def _kind(step: Any) -> str:
    """Return the kind of a step in words."""
    along = _along(step)
    if along is not None:
        return "convolution" if along.stride == (1,) else "transposed convolution"
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type(step).__name__)
    return words.strip()


def _own_padding(step: Any) -> Sides:
    """Return the padding of an ordinary convolution."""
    if isinstance(step, StridedConvolution):
        return step.padding[1]
    along = _along(step)
    ((lo, hi),), (extent,) = along.crop, along.extent
    return extent - 1 - lo, extent - 1 - hi


def _move(step: Any, padding: Padding | None) -> Move | None:
    """Return the crop, or the padding with that of the step before, with which a layer reads no later input."""
    along = _along(step)
    if along is not None and along.stride != (1,):
        ((lo, hi),) = along.crop
        return Move("crop", (lo, hi), (0, lo + hi)) if padding is None and lo > 0 else None
    if along is not None:
        (extent,) = along.extent
        needed = extent - 1
    elif isinstance(step, StridedConvolution):
        needed = max(0, step.dilation[1] * (step.weight.shape[3] - 1) + 1 - step.stride[1])
    else:
        return None
    own, more = _own_padding(step), (0, 0) if padding is None else padding.sides[1]
    lo, hi = own[0] + more[0], own[1] + more[1]
    return None if lo >= needed else Move("padding", (lo, hi), (needed, max(0, lo + hi - needed)))
