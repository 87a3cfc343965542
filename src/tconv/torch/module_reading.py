"""A module as a graph of steps along time: the axes of its input are found, then its operations are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch

from tconv._arrays.torch_names import tree_leaves
from tconv.errors import StreamError
from tconv.models.layers import Node
from tconv.models.simplification import simplified_with_numbers
from tconv.models.steps.padding import Padding
from tconv.torch.module_call import ModuleCall
from tconv.torch.stream_layout import Layout
from tconv.torch.stream_reading import OPERATIONS
from tconv.torch.stream_reading.module_graph import ModuleGraphReader
from tconv.torch.stream_recording import RecordedRun, record
from tconv.torch.stream_runs import OtherLengthError, Recording, layout_of, resized

_SHORT = 48
"""Samples of the first recordings of a longer example."""
_LONGER = 4
"""Factor of the lengths at which a module is recorded again, if its operations depend on short ones."""
_NO_TIME = (
    "the module takes no other length than that of the example, along any axis; its other arguments, which do not "
    "change, may need this one"
)


class Axes(NamedTuple):
    """Axes of a module's input: time, and sessions or None."""

    time: int
    sessions: int | None


class ModuleReading(NamedTuple):
    """A module that has been read: its nodes, layouts, and runs with their outputs to compare with."""

    nodes: list[Node]
    modules: list[str]
    """Names of the modules that the nodes come from."""
    given: Layout
    made: Layout
    runs: tuple[RecordedRun, ...]
    output: int
    """Place of the output among the tensors of a run."""
    length: int
    """Samples of the first run."""


def possible_axes(call: ModuleCall, time: int | None = None) -> Iterator[Axes]:
    """Yield axes of time and sessions along which the module takes another size, the likely ones first."""
    x = call.example

    @cache
    def takes(axis: int) -> bool:
        short = resized(x, axis, min(x.shape[axis], _SHORT) + 1)
        try:
            call(short)
        except Exception:  # whatever the module raises for another size
            return False
        return True

    for axis in reversed(range(x.ndim)) if time is None else [time]:
        if not takes(axis) or (time is None and axis == 0 and x.ndim > 2 and x.shape[0] == 1):  # one session
            continue
        alone = True
        for sessions in range(x.ndim):
            if sessions != axis and takes(sessions):
                alone = False
                yield Axes(axis, sessions)
        if alone:
            yield Axes(axis, None)


def read_module(call: ModuleCall, time: int | None = None, length: int | None = None) -> ModuleReading:
    """Return the graph of a module in eval mode. Raises StreamError, with the operation that no step computes.

    The module is recorded at some length, one more, and twice as many and three; and with two sessions. Lengths are
    short ones first, unless `length` says otherwise.
    """
    first: StreamError | None = None
    for axes in possible_axes(call, time):
        whole = call.example.shape[axes.time]
        count = length or min(whole, _SHORT)
        while True:
            try:
                return _read_at(call, axes, count)
            except OtherLengthError as error:
                first = first or error
                if count >= whole and count > _SHORT * _LONGER:
                    break
                count *= _LONGER
            except StreamError as error:
                first = first or error
                break
    raise first or StreamError(_NO_TIME)


def _read_at(call: ModuleCall, axes: Axes, length: int) -> ModuleReading:
    one = call.example if axes.sessions is None else call.example.narrow(axes.sessions, 0, 1)

    def run(x: torch.Tensor) -> RecordedRun:
        try:
            return record(call.module, call, x)
        except StreamError:
            raise
        except Exception as error:  # whatever the module raises
            raise OtherLengthError(f"the module does not take shape {tuple(x.shape)}: {error}") from None

    runs = [run(resized(one, axes.time, count)) for count in (length, length + 1, 2 * length + 3)]
    pair = None
    if axes.sessions is not None:
        pair = run(torch.cat([resized(one, axes.time, length)] * 2, axes.sessions))
    recording = Recording(runs, pair)
    reader = ModuleGraphReader(recording, OPERATIONS)
    output = reader.read()
    given, made = recording.layout(0), recording.layout(reader.output)
    nodes = reader.nodes[:output] or [Node(Padding(((0, 0), (0, 0))), (0,))]
    place = runs[0].outputs.index(reader.output)
    nodes, numbers = simplified_with_numbers(nodes, given.total)
    numbers = [_own(reader.nodes, number, node.step) for node, number in zip(nodes, numbers, strict=True)]
    modules = [reader.modules[number - 1] if number <= len(reader.modules) else "" for number in numbers]
    return ModuleReading(nodes, modules, given, made, recording.runs, place, length)


def _own(read: Sequence[Node], number: int, step: object) -> int:
    """Return the number of the node whose kind a step has: a layer joined with the activation behind it has its number.

    A step without one keeps its number.
    """
    place = number
    while 0 < place <= len(read) and type(read[place - 1].step) is not type(step):
        place = read[place - 1].inputs[0]
    return place if 0 < place <= len(read) else number


class PlainAxes(NamedTuple):
    """Layouts of a module that is not read, and the place of its output among the tensors that it returns."""

    given: Layout
    made: Layout
    output: int


def plain_axes(call: ModuleCall, time: int | None = None) -> PlainAxes:
    """Return the layouts of a module's input and output, from shapes alone. Raises StreamError."""
    first: StreamError | None = None
    for axes in possible_axes(call, time):
        try:
            return _shapes_along(call, axes)
        except StreamError as error:
            first = first or error
    raise first or StreamError(_NO_TIME)


def _shapes_along(call: ModuleCall, axes: Axes) -> PlainAxes:
    one = call.example if axes.sessions is None else call.example.narrow(axes.sessions, 0, 1)
    length = one.shape[axes.time]
    inputs = [resized(one, axes.time, count) for count in (length, 2 * length)]
    if axes.sessions is not None:
        inputs.append(torch.cat([inputs[0]] * 2, axes.sessions))
    try:
        outputs = [tensors_of(call(x)) for x in inputs]
    except Exception as error:  # whatever the module raises
        raise StreamError(f"the module does not take twice the example: {error}") from None
    found = []
    for place, tensors in enumerate(zip(*outputs, strict=False)):
        shapes = [tuple(tensor.shape) for tensor in tensors]
        try:
            found.append((place, layout_of(shapes[:2], shapes[2] if len(shapes) > 2 else None)))
        except StreamError:
            continue
    if len(found) != 1:
        raise StreamError(f"the module returns {len(found)} tensors with time; one is needed")
    shapes = [tuple(x.shape) for x in inputs]
    given = layout_of(shapes[:2], shapes[2] if len(shapes) > 2 else None)
    if (given.sessions is None) != (found[0][1].sessions is None):
        raise StreamError("the output has another number of sessions than the input")
    return PlainAxes(given, found[0][1], found[0][0])


def tensors_of(result: object) -> list[torch.Tensor]:
    """Return the tensors in what a module returns."""
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
