"""Steps of a stream, bound to the arrays of a program: calls that have nothing left to find out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.activation import activation_of
from tconv.kernels.problem import Problem, is_plain
from tconv.kernels.simd.availability import reason_unavailable
from tconv.models.layers import Convolution, replace_crop
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region
from tconv.operator.strips import DIRECT
from tconv.streaming.time_step import ENDLESS, NetworkTimeStep, TimeSpan, TimeStep

Command = Callable[[int], Any]
"""Part of a program: it is called with the distance of its place in time from the program's, in samples received."""


class Commands:
    """Commands in the order in which they run; calls of compiled code that follow each other become one."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._sequence: Any = None
        self._compiled = reason_unavailable() is None

    def add(self, command: Command) -> None:
        """Add a command in Python."""
        self._close()
        self._commands.append(command)

    @property
    def sequence(self) -> Any:
        """The sequence of compiled calls that is being written."""
        if self._sequence is None:
            from tconv.kernels.simd.call_sequence import CallSequence

            self._sequence = CallSequence()
        return self._sequence

    def copy(self, table: Array, offset: int, array: Array, size: int, into: bool) -> None:
        """Add copies of `size` bytes between array[b] and the address table[b] + offset."""
        if self._compiled:
            self.sequence.add_copies(table, offset, array, size, into)
            return

        def copy(distance: int) -> None:
            for address, part in zip(table.tolist(), array, strict=True):
                ours, theirs = part.ctypes.data, address + offset
                ctypes.memmove(*((ours, theirs) if into else (theirs, ours)), size)

        self.add(copy)

    def _close(self) -> None:
        if self._sequence is not None:
            run = self._sequence.run
            self._commands.append(lambda distance: run())
            self._sequence = None

    def finish(self) -> list[Command]:
        """Return the commands."""
        self._close()
        return self._commands


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
    if isinstance(network, Convolution) and _add_convolution(
        commands, packed, network, given[0], sizes[0], out, threads
    ):
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
        whole = [size if size >= ENDLESS else size + shift for size, shift in zip(sizes, shifts, strict=False)]
        step.compute(spans, whole, TimeSpan(out.values, out.start + shifts[-1]), memory)

    commands.add(compute)


def _same_place(step: Any, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan) -> Command:
    regions = [_region(span) for span in given]
    shapes = [(1, size) for size in sizes]
    target = _region(out)
    return lambda distance: step.compute(regions, shapes, target)


def _region(span: TimeSpan) -> Region:
    return Region(span.values, slice(0, 1), slice(span.start, span.start + span.values.shape[-1]))


def _add_convolution(
    commands: Commands,
    packed: dict[Any, Any],
    step: Convolution,
    given: TimeSpan,
    size: int,
    out: TimeSpan,
    threads: int,
) -> bool:
    """Add a convolution as a call of compiled code; False if it cannot be one."""
    g = step.geometry
    (k, s, _), ((lo, _),) = (each[0] for each in (g.kernel, g.stride, g.dilation)), (g.crop[0],)
    if (k, s, lo) != (1, 1, 0) or g.crop[0] != (0, 0) or (step.bias is not None and step.bias.ndim > 1):
        return False
    if step.method != DIRECT or step.weight.dtype != out.values.dtype:
        return False
    from tconv.kernels.simd.form_choice import direct_form
    from tconv.kernels.simd.specialized_call import compiled

    count = out.values.shape[-1]
    span = step.source(0, slice(out.start, out.start + count), [size], 1)
    x = given.values[..., span.start - given.start : span.stop - given.start]
    left = out.start + g.crop[1][0] - g.stride[1] * span.start
    (full,) = step.along[1].full_shape(x.shape[3:])
    geometry = replace_crop(g, ((0, 0), (left, full - left - count)))
    p = Problem(geometry, len(x), *step.channels, x.shape[2:], x.dtype, step.bias is not None)
    if not (is_plain(x) and is_plain(out.values)):
        return False
    strides = [tuple(each // x.itemsize for each in array.strides) for array in (x, out.values)]
    activation = activation_of(step.activation, step.channels[1])
    form = direct_form(p, *strides)
    # the weight's order depends on the phase of the first output only
    key = id(step), form.name, left % g.stride[1]
    if key not in packed:
        packed[key] = form.pack(p, step.weight)
    bias = None if step.bias is None else _contiguous(packed, step)
    call = compiled(form, p, strides[0], strides[1], threads, activation is not None)
    arrays = () if activation is None else _activation(packed, step, activation)
    commands.sequence.add(call, x, packed[key], bias, out.values, arrays)
    return True


def _contiguous(packed: dict[Any, Any], step: Convolution) -> Array:
    bias: Array = packed.setdefault((id(step), "bias"), np.ascontiguousarray(step.bias, step.weight.dtype))
    return bias


def _activation(packed: dict[Any, Any], step: Convolution, activation: Any) -> tuple[Array, ...]:
    arrays: tuple[Array, ...] = packed.setdefault((id(step), "activation"), activation.arrays(step.channels[1]))
    return arrays
