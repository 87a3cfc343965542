"""`Stream`: sessions that push chunks through a graph of steps, and get the bits of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.streaming.stream_graph import StreamGraph
from tconv.streaming.time_step import ENDLESS, TimeSpan


class StreamState:
    """State of one session: counts of samples of every value, the samples still needed, and recurrent state."""

    def __init__(self, graph: StreamGraph) -> None:
        self.counts = [0] * (len(graph.nodes) + 1)
        self.held: list[Array | None] = [None] * (len(graph.nodes) + 1)
        self.memory = [node.step.new_memory() for node in graph.nodes]
        self.ended = False


class Stream:
    """Sessions of a graph. Chunks are [N, C, n] of N sessions, or {session: [C, n]}; so are the outputs.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> from tconv.models import Convolution
    >>> from tconv.models.layers import Node
    >>> up = Convolution(np.ones((1, 1, 1, 4), np.float32), Geometry((1, 4), (1, 2), ((0, 0), (1, 1))))
    >>> stream = Stream(StreamGraph([Node(up, (0,))], channels=1))
    >>> chunks = [stream.push(np.ones((1, 1, n), np.float32)) for n in (2, 1)] + [stream.flush()]
    >>> [chunk.shape[2] for chunk in chunks]
    [3, 2, 1]
    """

    def __init__(self, graph: StreamGraph, batch: int = 1) -> None:
        self.graph = graph
        self._sessions = {number: StreamState(graph) for number in range(batch)}
        self._next = batch

    # -- sessions ------------------------------------------------------------------------------------------------

    def open(self) -> int:
        """Return the number of a new session."""
        self._sessions[self._next] = StreamState(self.graph)
        self._next += 1
        return self._next - 1

    def close(self, session: int) -> None:
        """Drop a session."""
        self._session(session)
        del self._sessions[session]

    def reset(self, session: int | None = None) -> None:
        """Begin a session, or all, anew."""
        for number in list(self._sessions) if session is None else [session]:
            self._session(number)
            self._sessions[number] = StreamState(self.graph)

    def _session(self, number: int) -> StreamState:
        if number not in self._sessions:
            known = ", ".join(map(str, self._sessions))
            raise ArgumentError(f"there is no session {number!r}; there are {known}. Write stream.open()")
        return self._sessions[number]

    # -- chunks --------------------------------------------------------------------------------------------------

    def push(self, chunk: Any) -> Any:
        """Return the outputs that are final with this chunk: [N, C', m] for [N, C, n], or by session."""
        return self._advance(chunk, False)

    def flush(self, session: int | None = None) -> Any:
        """Return the outputs that are left, at the end of a session, or of all."""
        channels = self.graph.channels[0]
        if session is not None:
            return self._advance({session: np.empty((channels, 0), self.graph.dtype)}, True)[session]
        return self._advance(np.empty((len(self._sessions), channels, 0), self.graph.dtype), True)

    def __call__(self, x: Any) -> Array:
        """Return the output [N, C', T'] of whole inputs [N, C, T], computed at once."""
        return self.graph.whole(np.ascontiguousarray(x)[:, :, None])[:, :, 0]

    def _advance(self, chunk: Any, ended: bool) -> Any:
        if isinstance(chunk, Mapping):
            chunks = dict(chunk)
        else:
            array = np.asarray(chunk)
            if array.ndim != 3 or len(array) != len(self._sessions):
                raise ShapeError(
                    f"the chunk has shape {array.shape}; [{len(self._sessions)}, {self.graph.channels[0]}, n] is needed"
                )
            chunks = dict(zip(self._sessions, array, strict=True))
        done = {}
        for number, each in chunks.items():
            done[number] = self._run(self._session(number), self._checked(each), ended)
        for number, (state, _) in done.items():  # nothing has changed before all of them are computed
            self._sessions[number] = state
        outputs = {number: out for number, (_, out) in done.items()}
        return outputs if isinstance(chunk, Mapping) else np.stack(list(outputs.values()))

    def _checked(self, chunk: Any) -> Array:
        array = np.asarray(chunk)
        if array.ndim != 2 or len(array) != self.graph.channels[0]:
            raise ShapeError(f"the chunk has shape {array.shape}; [{self.graph.channels[0]}, n] is needed")
        if array.dtype != self.graph.dtype:
            raise DtypeError(f"the chunk is {array.dtype}; {self.graph.dtype} is needed")
        return np.ascontiguousarray(array)[None, :, None]

    def _run(self, state: StreamState, chunk: Array, ended: bool) -> tuple[StreamState, Array]:
        """Return the next state and the new outputs [C', m] of one session."""
        if state.ended:
            raise ArgumentError("the session has ended. Write stream.reset() before a new input")
        graph, next_state = self.graph, StreamState(self.graph)
        received = state.counts[0] + chunk.shape[-1]
        if ended:
            sizes = counts = graph.sizes(received)
        else:
            sizes, counts = [ENDLESS] * len(state.counts), graph.final_counts(state.counts, received)
        low = graph.held_from(counts)
        spans: list[TimeSpan] = []
        for place, (before, after) in enumerate(zip(state.counts, counts, strict=True)):
            if place == 0:
                new = chunk
            else:
                node = graph.nodes[place - 1]
                new = empty((1, graph.channels[place], 1, after - before), graph.dtype)
                memory = [array[None].copy() for array in state.memory[place - 1]]
                if after > before:
                    given = [spans[j] for j in node.inputs]
                    node.step.compute(given, [sizes[j] for j in node.inputs], TimeSpan(new, before), memory)
                next_state.memory[place - 1] = tuple(array[0] for array in memory)
            old = state.held[place]
            values = new if old is None else np.concatenate([old, new], -1)
            spans.append(TimeSpan(values, before - (0 if old is None else old.shape[-1])))
            next_state.held[place] = values[..., max(0, low[place] - spans[-1].start) :].copy()
        next_state.counts, next_state.ended = list(counts), ended
        return next_state, new[0, :, 0]
