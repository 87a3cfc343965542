"""Program: all that a push of so many samples does at one place in time, prepared once.

Everything is determined by the place in time and the number of new samples: which samples of every value become final,
where they lie, and what is held for later. A program has a buffer for each value, `[session, sample, channel]`: samples
that are held in front, new ones behind them. Buffers that are not needed at the same time share memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import aligned
from tconv.models.steps.padding import Padding
from tconv.streaming.bound_steps import add_step
from tconv.streaming.commands import Commands
from tconv.streaming.session import SessionState, StateLayout
from tconv.streaming.stream_graph import Moment, StreamGraph
from tconv.streaming.time_step import ENDLESS, NetworkTimeStep, TimeSpan

_LINE = 64
"""Bytes of a cache line, at which buffers begin."""


class Workspace:
    """Memory that the programs of a stream share: only one of them runs at a time."""

    def __init__(self) -> None:
        self.memory: Array = np.empty(0, np.uint8)

    def fits(self, size: int) -> bool:
        """Return True if a program that needs so many bytes can be bound to it."""
        return size <= self.memory.size

    def grow(self, size: int) -> None:
        """Take new memory, of at least so many bytes. Programs that are bound to the old one must not run any more."""
        self.memory = aligned(max(size, 2 * self.memory.size))


class _Place(NamedTuple):
    """Samples of a value in a program: how many are held before it, new, and dropped from the front after it."""

    held: int
    new: int
    dropped: int

    @property
    def samples(self) -> int:
        return self.held + self.new


class Program:
    """Calls of a push of `count` samples, for `batch` sessions that have received `received` samples.

    In steady state it serves all places in time that differ by whole periods: `run` has their distance.
    """

    def __init__(self, graph: StreamGraph, received: int, count: int, ended: bool, batch: int, threads: int) -> None:
        self.graph, self.received, self.count, self.ended = graph, received, count, ended
        self.batch, self.threads = batch, threads
        total = received + count
        self._sizes = graph.sizes(total) if ended else [ENDLESS] * len(graph.channels)
        self.before = graph.moment(received)
        self.after = Moment(self._sizes, self._sizes) if ended else graph.moment(total)
        self.layouts = StateLayout(graph, self.before), StateLayout(graph, self.after, ended)
        self.places = [
            _Place(count - low, new - count, new_low - low)
            for count, low, new, new_low in zip(*self.before, *self.after, strict=True)
        ]
        self.made = self.places[-1].new
        """new samples of the output"""
        self._aliases = self._find_aliases()
        self._lives = self._lifetimes()
        self._offsets, self.bytes = self._placement()

    # -- memory --------------------------------------------------------------------------------------------------

    def _find_aliases(self) -> dict[int, tuple[int, int]]:
        """Return values that are written into the buffer of the padding behind them, with their place in it."""
        found: dict[int, tuple[int, int]] = {}
        for number, node in enumerate(self.graph.nodes, 1):
            step = node.step.step if isinstance(node.step, NetworkTimeStep) else None
            if not isinstance(step, Padding):
                continue
            (source,), lo, place = node.inputs, step.sides[1][0], self.places[number]
            first, given = self.before.counts[number] - lo, self.places[source]
            same = given.held == 0 and given.dropped == given.new == place.new and first == self.before.counts[source]
            if same and place.new and first >= 0 and source not in found:
                found[source] = number, place.held
        return found

    def _lifetimes(self) -> list[tuple[int, int]]:
        """Return the first and the last node that need the buffer of each value."""
        lives = [[number, number] for number in range(len(self.places))]
        for number, node in enumerate(self.graph.nodes, 1):
            for place in node.inputs:
                lives[place][1] = number
        for place in sorted(self._aliases):
            target = lives[self._aliases[place][0]]
            target[0] = min(target[0], lives[place][0])
            target[1] = max(target[1], lives[place][1])
        return [(first, last) for first, last in lives]

    def _shape(self, place: int) -> tuple[int, ...]:
        return self.batch, self.places[place].samples, self.graph.channels[place]

    def _placement(self) -> tuple[list[int], int]:
        """Return the offset of each buffer, and the bytes of all: buffers that live at a time lie beside each other."""
        taken: list[tuple[int, int, int, int]] = []
        offsets, size = [0] * len(self.places), 0
        for place, (first, last) in sorted(enumerate(self._lives), key=lambda each: each[1]):
            if place in self._aliases:
                continue
            length = -(-math.prod(self._shape(place)) * self.graph.dtype.itemsize // _LINE) * _LINE
            beside = sorted((at, end) for at, end, a, b in taken if a <= last and first <= b)
            at = 0
            for start, end in beside:
                if start - at >= length:
                    break
                at = max(at, end)
            offsets[place] = at
            taken.append((at, at + length, first, last))
            size = max(size, at + length)
        return offsets, size

    # -- binding -------------------------------------------------------------------------------------------------

    def bind(self, memory: Array) -> None:
        """Prepare all calls on this memory."""
        dtype = self.graph.dtype
        arrays: list[Array] = []
        for place in range(len(self.places)):
            shape = self._shape(place)
            size = math.prod(shape) * dtype.itemsize
            arrays.append(memory[self._offsets[place] :][:size].view(dtype).reshape(shape))
        for place in sorted(self._aliases, reverse=True):
            target, first = self._aliases[place]
            arrays[place] = arrays[target][:, first:]
        self._spans = [TimeSpan.of_rows(array, low) for array, low in zip(arrays, self.before.low, strict=True)]
        self._tables = np.zeros((2, self.batch), np.int64)
        commands = Commands()
        readers: list[list[int]] = [[] for _ in arrays]
        for place, (_, last) in enumerate(self._lives):
            readers[last].append(place)
        for number in range(len(arrays)):
            self._add_front(commands, number, arrays)
            if number:
                self._add_node(commands, number)
            for place in readers[number]:
                self._add_rest(commands, place, arrays[place])
        self._commands = commands.finish()
        self._new_input = arrays[0][:, self.places[0].held :].transpose(0, 2, 1)
        self._output = arrays[-1][:, self.places[-1].held :].transpose(0, 2, 1)

    def _add_front(self, commands: Commands, number: int, arrays: list[Array]) -> None:
        """Add the copies of held samples into the buffers whose life begins here."""
        for place in range(len(arrays)):
            held = self.places[place].held
            if held and self._lives[place][0] == number:
                size = held * arrays[place][0, 0].nbytes
                commands.copy(self._tables[0], self.layouts[0].values[place], arrays[place], size, into=True)

    def _add_rest(self, commands: Commands, place: int, array: Array) -> None:
        """Add the copies of the samples that are held from now on."""
        kept = array[:, self.places[place].dropped :]
        if kept.size and not self.ended:
            commands.copy(self._tables[1], self.layouts[1].values[place], kept, kept[0].nbytes, into=False)

    def _add_node(self, commands: Commands, number: int) -> None:
        node, place = self.graph.nodes[number - 1], self.places[number]
        if any(self._aliases.get(source, (0,))[0] == number for source in node.inputs):
            return  # its input is in its buffer already
        memory = []
        for each, offset in zip(node.step.new_memory(), self.layouts[0].memory[number - 1], strict=True):
            array = np.empty((self.batch, *each.shape), each.dtype)
            commands.copy(self._tables[0], offset, array, each.nbytes, into=True)
            memory.append(array)
        if place.new:
            given = [self._spans[source] for source in node.inputs]
            new = TimeSpan(self._spans[number].values[..., place.held :], self.before.counts[number])
            sizes = [self._sizes[source] for source in node.inputs]
            rates = [self.graph.rates[source] for source in (*node.inputs, number)]
            add_step(commands, self.graph.bindings, node.step, given, sizes, new, memory, rates, self.threads)
        if not self.ended:
            for array, offset in zip(memory, self.layouts[1].memory[number - 1], strict=True):
                commands.copy(self._tables[1], offset, array, array[0].nbytes, into=False)

    # -- running -------------------------------------------------------------------------------------------------

    def run(
        self,
        states: Sequence[SessionState],
        chunks: Sequence[Array],
        following: Sequence[SessionState],
        outputs: Sequence[Array],
        distance: int = 0,
    ) -> None:
        """Fill the states that follow and the outputs [C', made], for chunks [C, count] of sessions in these states.

        `distance` is the number of samples that they received more than those for which the program was made.
        """
        before, after = self._tables
        for number, (state, chunk, next_state) in enumerate(zip(states, chunks, following, strict=True)):
            before[number], after[number] = state.address, next_state.address
            self._new_input[number] = chunk
        for command in self._commands:
            command(distance)
        for output, made in zip(outputs, self._output, strict=True):
            output[...] = made
