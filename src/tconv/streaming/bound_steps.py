"""Steps of a stream, bound to the arrays of a program: calls that have nothing left to find out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tconv._arrays import Array
from tconv.models.layers import Convolution
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region
from tconv.streaming.bound_convolution import add_convolution
from tconv.streaming.bound_elements import add_elements
from tconv.streaming.bound_recurrent import add_recurrent
from tconv.streaming.commands import Command, Commands
from tconv.streaming.recurrent import Recurrent
from tconv.streaming.time_step import NetworkTimeStep, TimeSpan, TimeStep


def add_step(
    commands: Commands,
    packed: dict[Any, Any],
    step: TimeStep,
    given: Sequence[TimeSpan],
    sizes: Sequence[int],
    out: TimeSpan,
    memory: Sequence[Array],
    rates: Sequence[Fraction],
    threads: int,
) -> None:
    """Add a step. `packed` has the weights of all programs; `rates` are those of the inputs and of the output."""
    network: Any = step.step if isinstance(step, NetworkTimeStep) else None
    if isinstance(network, Convolution) and add_convolution(
        commands, packed, network, given[0], sizes[0], out, threads
    ):
        return
    if isinstance(step, Recurrent) and add_recurrent(commands, packed, step, given[0], out, memory, threads):
        return
    if network is not None and add_elements(commands, network, given, out):
        return
    bound = getattr(step, "bound", None)
    if bound is not None and not memory:
        call = bound(given, sizes, out)
        if call is not None:
            commands.add(lambda distance: call())
            return
    if isinstance(network, SamePlace):  # the place in time does not matter
        commands.add(_same_place(network, given, sizes, out))
        return

    def compute(distance: int) -> None:
        shifts = [int(rate * distance) for rate in rates]
        spans = [TimeSpan(span.values, span.start + shift) for span, shift in zip(given, shifts, strict=False)]
        whole = [size + shift for size, shift in zip(sizes, shifts, strict=False)]  # an end that is far stays far
        step.compute(spans, whole, TimeSpan(out.values, out.start + shifts[-1]), memory)

    commands.add(compute)


def _same_place(step: Any, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan) -> Command:
    regions = [_region(span) for span in given]
    shapes = [(1, size) for size in sizes]
    target = _region(out)
    return lambda distance: step.compute(regions, shapes, target)


def _region(span: TimeSpan) -> Region:
    return Region(span.values, slice(0, 1), slice(span.start, span.start + span.values.shape[-1]))
