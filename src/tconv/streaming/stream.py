"""`Stream`: sessions that push chunks through a graph of steps, and get the bits of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.streaming.session import SessionState, by_session, empty_state, loaded, new_state, saved
from tconv.streaming.stream_graph import Moment, StreamGraph
from tconv.streaming.time_step import ENDLESS, TimeSpan


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

    def __init__(self, graph: StreamGraph, batch: int = 1, *, sample_rate: float | None = None) -> None:
        self.graph, self.sample_rate = graph, sample_rate
        self._sessions = {number: new_state(graph) for number in range(batch)}
        self._next = batch

    # -- sessions ------------------------------------------------------------------------------------------------

    def open(self) -> int:
        """Return the number of a new session."""
        self._sessions[self._next] = new_state(self.graph)
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
            self._sessions[number] = new_state(self.graph)

    def _session(self, number: int) -> SessionState:
        if number not in self._sessions:
            known = ", ".join(map(str, self._sessions))
            raise ArgumentError(f"there is no session {number!r}; there are {known}. Write stream.open()")
        return self._sessions[number]

    # -- states ---------------------------------------------------------------------------------------------------

    def state(self, session: int | None = None) -> dict[str, Array]:
        """Return the state of a session as arrays, for `restore` here, in another process or on another machine.

        Without a session it is that of all sessions: their names begin with the number of the session and a point.
        `numpy.savez(file, **stream.state())` writes it.
        """
        if session is not None:
            return saved(self.graph, self._session(session))
        return {
            f"{number}.{name}": array
            for number, state in self._sessions.items()
            for name, array in saved(self.graph, state).items()
        }

    def restore(self, state: Any, session: int | None = None) -> None:
        """Go on where a state was saved. Without a session the stream has those that the state has, and no others.

        A stream with a single session takes the state of a single session, too. Raises ArgumentError or ShapeError for
        the state of other layers, or one that is not complete; nothing has changed then.
        """
        if session is not None:
            self._session(session)
            self._sessions[session] = loaded(self.graph, state)
        elif len(self._sessions) == 1 and not any("." in str(name) for name in getattr(state, "files", state)):
            self._sessions = {number: loaded(self.graph, state) for number in self._sessions}
        else:
            sessions = {number: loaded(self.graph, each) for number, each in by_session(state).items()}
            self._sessions, self._next = sessions, max(self._next, *sessions, 0) + 1

    @property
    def state_bytes(self) -> int:
        """Bytes of the arrays of one session's state, once no window reaches its start any more."""
        return self.graph.state_bytes

    # -- latency --------------------------------------------------------------------------------------------------

    @property
    def latency(self) -> int:
        """Samples of the output that are withheld: n inputs have n times the rate of them, less these."""
        return self.graph.latency

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the latency; None without the `sample_rate` of the output."""
        return None if self.sample_rate is None else 1000 * self.latency / self.sample_rate

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

    def _run(self, state: SessionState, chunk: Array, ended: bool) -> tuple[SessionState, Array]:
        """Return the next state and the new outputs [C', m] of one session."""
        if state.ended:
            raise ArgumentError("the session has ended. Write stream.reset() before a new input")
        graph = self.graph
        received = state.received + chunk.shape[-1]
        before = graph.moment(state.received)
        after = graph.moment(received, before.counts)
        sizes = [ENDLESS] * len(before.counts)
        if ended:
            sizes = graph.sizes(received)
            after = Moment(sizes, sizes)
        next_state = empty_state(graph, received, ended)
        spans: list[TimeSpan] = []
        for place, (first, last) in enumerate(zip(before.counts, after.counts, strict=True)):
            if place == 0:
                new = chunk
            else:
                node = graph.nodes[place - 1]
                new = empty((1, *graph.value_shape(place, last - first)), graph.dtype)
                memory = [array[None].copy() for array in state.memory[place - 1]]
                if last > first:
                    given = [spans[j] for j in node.inputs]
                    node.step.compute(given, [sizes[j] for j in node.inputs], TimeSpan(new, first), memory)
                if not ended:
                    next_state.memory[place - 1] = tuple(array[0] for array in memory)
            spans.append(TimeSpan(np.concatenate([state.held[place][None], new], -1), before.low[place]))
            next_state.held[place][...] = spans[-1].values[0, ..., after.low[place] - before.low[place] :]
        return next_state, new[0, :, 0]
