"""Cache of the programs of a stream, and the lengths into which long or rare chunks are cut.

A program serves all places in time that differ by whole periods, once no window reaches the start. A new length costs
more to plan than to compute, so lengths that do not come again and again are made of a few usual ones.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from typing import Any

from tconv.kernels.num_threads import get_num_threads
from tconv.streaming.program import Program, Workspace
from tconv.streaming.stream_graph import StreamGraph

_MOST_PROGRAMS = 96
"""Programs that are cached."""
_SHORT = 8
"""Samples up to which every length has a program of its own."""
_OFTEN = 8
"""Pushes of one length after which it has a program of its own, if one in `_SHARE` of all pushes has it."""
_SHARE = 8
_MOST_LENGTHS = 256
_MOST_BYTES = 32 << 20
"""Bytes of a workspace: longer chunks, and more sessions, are cut."""
_MOST_BATCH = 32


class ProgramCache:
    """Programs of a graph, on one workspace."""

    def __init__(self, graph: StreamGraph) -> None:
        self._graph, self._workspace = graph, Workspace()
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._lengths: Counter[int] = Counter()
        self._pushes = 0
        self._in_pieces = all(getattr(node.step, "in_pieces", True) for node in graph.nodes)
        samples = sum(math.ceil(rate) * channels for rate, channels in zip(graph.rates, graph.channels, strict=True))
        self._sample_bytes = samples * graph.dtype.itemsize
        self._longest = max(_SHORT, _MOST_BYTES // self._sample_bytes)

    def __len__(self) -> int:
        return len(self._programs)

    def batches(self, sessions: int, count: int) -> list[int]:
        """Return the numbers of sessions that run together, of so many with `count` samples each."""
        most = max(1, min(_MOST_BATCH, _MOST_BYTES // (self._sample_bytes * max(1, count))))
        found = []
        while sessions:
            size = min(1 << (sessions.bit_length() - 1), 1 << (most.bit_length() - 1))
            found.append(size)
            sessions -= size
        return found

    def lengths(self, count: int, ended: bool) -> list[tuple[int, bool]]:
        """Return the lengths, and the end, in which so many samples are pushed; the length is counted."""
        pieces = [count] if not self._in_pieces or self._is_usual(count) else self._pieces(count)
        if not ended:
            return [(each, False) for each in pieces]
        return [*((each, False) for each in pieces if each), (0, True)]

    def _pieces(self, count: int) -> list[int]:
        """Return lengths of which there are few: powers of two, and one and a half times those, as long as may be."""
        unit = self._graph.period if count % self._graph.period == 0 else 1
        longest, rest = max(_SHORT, self._longest // unit), count // unit
        pieces = []
        while rest > _SHORT:
            most = min(rest, longest)
            power = 1 << (most.bit_length() - 1)
            pieces.append(power + power // 2 if most >= power + power // 2 else power)
            rest -= pieces[-1]
        return [each * unit for each in (*pieces, rest) if each or not pieces]

    def _is_usual(self, count: int) -> bool:
        """Return True for a length that has a program of its own: a short one, or one that comes again and again."""
        if count <= _SHORT:
            return True
        self._lengths[count] += 1
        self._pushes += 1
        if len(self._lengths) > _MOST_LENGTHS or self._pushes > 4 * _MOST_LENGTHS:
            self._lengths = Counter({n: times // 2 for n, times in self._lengths.items() if times > 1})
            self._pushes //= 2
        often = self._lengths[count]
        return count <= self._longest and often >= _OFTEN and often * _SHARE >= self._pushes

    def program(self, received: int, count: int, ended: bool, batch: int) -> Program:
        """Return the program of a push of `count` samples for sessions that have received so many."""
        key = self._graph.turn(received), count, ended, batch, get_num_threads()
        found = self._programs.get(key)
        if found is None:
            found = Program(self._graph, *key)
            if not self._workspace.fits(found.bytes):
                self._workspace.grow(found.bytes)
                self._programs.clear()
            found.bind(self._workspace.memory)
            self._programs[key] = found
            if len(self._programs) > _MOST_PROGRAMS:
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(key)
        return found
