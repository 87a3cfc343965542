"""`Stream`: sessions that push chunks through a graph of steps, and get the bits of the whole."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tconv._arguments import sample_rate_of
from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.streaming.program import Program
from tconv.streaming.program_cache import ProgramCache
from tconv.streaming.session import (
    SessionState,
    by_session,
    check_session,
    is_of_one,
    loaded,
    new_state,
    open_sessions_hint,
    saved,
)
from tconv.streaming.state_blocks import StateBlocks
from tconv.streaming.stream_graph import StreamGraph


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

    `sample_rate` is that of the output, for `latency_ms`. A push that fails, or is interrupted, leaves all sessions as
    they were. Several threads may push; they wait for each other. `sessions` are the numbers of those that are open, of
    `batch` that there ever were; without it all are.
    """

    def __init__(
        self,
        graph: StreamGraph,
        batch: int = 1,
        *,
        sample_rate: float | None = None,
        sessions: Iterable[int] | None = None,
    ) -> None:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 0:
            raise ArgumentError(f"batch is {batch!r}; a number of sessions is needed. Write batch=1")
        self.graph, self.sample_rate = graph, sample_rate_of(sample_rate)
        self.report: Any = None
        """what is known of the stream, printable; set by those who made it"""
        self._lock = threading.RLock()
        self._programs = ProgramCache(graph)
        self._blocks = StateBlocks()
        self._sessions = {number: new_state(graph) for number in (range(batch) if sessions is None else sessions)}
        self._next = batch
        _streams.add(self)

    def __call__(self, x: Any) -> Array:
        """Return the output [N, C', T'] of whole inputs [N, C, T], computed at once."""
        array = np.asarray(x)
        if array.ndim != 3:
            raise ShapeError(f"x has shape {array.shape}; [N, {self.graph.channels[0]}, T] is needed")
        self._check(array[0] if len(array) else array.reshape(array.shape[1:]), "x")
        return self.graph.whole(np.ascontiguousarray(array)[:, :, None])[:, :, 0]

    # -- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> tuple[int, ...]:
        """Numbers of the sessions."""
        return tuple(self._sessions)

    def open(self) -> int:
        """Return the number of a new session."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._sessions = {**self._sessions, number: new_state(self.graph)}
            return number

    def close(self, session: int) -> None:
        """Drop a session."""
        with self._lock:
            self._session(session)
            self._sessions = {number: state for number, state in self._sessions.items() if number != session}

    def reset(self, session: int | None = None) -> None:
        """Begin a session, or all, anew."""
        with self._lock:
            numbers = list(self._sessions) if session is None else [session]
            for number in numbers:
                self._session(number)
            self._sessions = {**self._sessions, **{number: new_state(self.graph) for number in numbers}}

    def _session(self, number: int) -> SessionState:
        check_session(number, self._sessions)
        return self._sessions[number]

    # -- states --------------------------------------------------------------------------------------------------

    def state(self, session: int | None = None) -> dict[str, Array]:
        """Return the state of a session as arrays, for `restore` here, in another process or on another machine.

        Without a session it is that of all sessions: their names begin with the number of the session and a point.
        `numpy.savez(file, **stream.state())` writes it.
        """
        if session is not None:
            with self._lock:  # a push of another thread may use the block of an old state
                return saved(self.graph, self._session(session))
        with self._lock:
            return self._all_states()

    def _all_states(self) -> dict[str, Array]:
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
        with self._lock:
            if session is not None:
                self._session(session)
                self._sessions = {**self._sessions, session: loaded(self.graph, state)}
            elif len(self._sessions) == 1 and is_of_one(state):
                self._sessions = {number: loaded(self.graph, state) for number in self._sessions}
            else:
                sessions = {number: loaded(self.graph, each) for number, each in sorted(by_session(state).items())}
                self._sessions, self._next = sessions, max(self._next, 1 + max(sessions, default=0))

    @property
    def state_bytes(self) -> int:
        """Bytes of the arrays of one session's state, once no window reaches its start any more."""
        return self.graph.state_bytes

    # -- latency -------------------------------------------------------------------------------------------------

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
        """Return the outputs that are final with this chunk: [N, C', m] for [N, C, n], or by session.

        Sessions that a dictionary does not name pause. Raises ShapeError or DtypeError for chunks that do not fit,
        ArgumentError for unknown sessions and those that have ended.
        """
        return self._advance(chunk, False)

    def flush(self, session: int | None = None) -> Any:
        """Return the outputs that are left, at the end of a session, or of all."""
        none = np.empty((self.graph.channels[0], 0), self.graph.dtype)
        if session is not None:
            return self._advance({session: none}, True)[session]
        return self._advance(np.broadcast_to(none, (len(self._sessions), *none.shape)), True)

    def _advance(self, chunk: Any, ended: bool) -> Any:
        together = not isinstance(chunk, Mapping)
        with self._lock:
            states = self._sessions
            if together:
                array = np.asarray(chunk)
                if array.ndim != 3 or len(array) != len(states):
                    needed = (
                        f"the chunk has shape {array.shape}; [{len(states)}, {self.graph.channels[0]}, n] is needed"
                    )
                    hint = f"; {open_sessions_hint(len(array), len(states))}" if array.ndim == 3 else ""
                    raise ShapeError(needed + hint)
                chunks = dict(zip(states, array, strict=True))
            else:
                chunks = {number: np.asarray(each) for number, each in chunk.items()}
            groups: dict[tuple[int, int], list[int]] = {}
            for number, each in chunks.items():
                state = self._session(number)
                if state.ended:
                    raise ArgumentError(f"session {number} has ended. Write stream.reset({number}) before a new input")
                self._check(each, "the chunk")
                groups.setdefault((self.graph.waiting_turn(state.received), each.shape[1]), []).append(number)
            self._blocks.reclaim(states)
            outputs: dict[int, Array] = {}
            done: dict[int, SessionState] = {}
            parts: list[Array] = []
            for (_, count), numbers in groups.items():
                at = 0
                for size in self._programs.batches(len(numbers), count):
                    batch = numbers[at : at + size]
                    made, following = self._run(batch, chunks, ended, together)
                    outputs.update(zip(batch, made, strict=True))
                    done.update(zip(batch, following, strict=True))
                    parts.append(made)
                    at += size
            result: Any = outputs
            if together:
                result = parts[0] if len(parts) == 1 else self._stacked([outputs[number] for number in states])
            self._blocks.retire((number, states[number]) for number in done)
            # the only change, after which nothing can fail
            self._sessions = {**states, **done}
            return result

    def _check(self, chunk: Array, name: str) -> None:
        """Raise ShapeError or DtypeError for a chunk of another form."""
        channels = self.graph.channels[0]
        if chunk.ndim != 2 or len(chunk) != channels:
            raise ShapeError(f"{name} of a session has shape {chunk.shape}; ({channels}, n) is needed")
        if chunk.dtype != self.graph.dtype:
            raise DtypeError(
                f"{name} is {chunk.dtype}; {self.graph.dtype} is needed. Write {name.split()[-1]}.astype"
                f'("{self.graph.dtype}")'
            )

    def _run(
        self,
        numbers: list[int],
        chunks: Mapping[int, Array],
        ended: bool,
        together: bool,
    ) -> tuple[Any, list[SessionState]]:
        """Return the outputs [C', m] and the next states of sessions at one place in time, with chunks of one length.

        The outputs are one array [sessions, C', m] if they stay together.
        """
        graph = self.graph
        first = states = [self._sessions[number] for number in numbers]
        received, count = states[0].received, chunks[numbers[0]].shape[1]
        total, begin = received + count, graph.used(received)
        end = total if ended else graph.used(total)
        inputs = [chunks[number] for number in numbers]
        if begin < received:
            inputs = [np.concatenate([s.waiting(graph), x], 1) for s, x in zip(states, inputs, strict=True)]
        programs: list[tuple[Program, int]] = []
        at = made = 0
        # without any input there is no output
        for length, last in self._programs.lengths(end - begin, ended) if total and (ended or end > begin) else ():
            programs.append((self._programs.program(begin + at, length, last, len(numbers)), at))
            at, made = at + length, made + programs[-1][0].made
        shape = graph.channels[-1], made
        results = (
            empty((len(numbers), *shape), graph.dtype) if together else [empty(shape, graph.dtype) for _ in numbers]
        )
        rest, made = (total - end) * graph.channels[0] * graph.dtype.itemsize, 0
        for turn, (program, at) in enumerate(programs, 1):
            size = program.layouts[1].size + (rest if turn == len(programs) else 0)
            following = self._blocks.following(states, program.ended, size)
            program.run(
                states,
                [x[:, at : at + program.count] for x in inputs],
                following,
                [result[:, made : made + program.made] for result in results],
                begin + at - program.received,
            )
            made += program.made
            if states is not first:
                self._blocks.recycle(states)
            states = following
        if not programs:  # nothing happens, but for inputs that wait
            kept = 0 if ended else graph.window_bytes(begin)
            states = self._blocks.following(states, ended, kept + (0 if ended else rest))
            for state, before in zip(states, first, strict=True):
                state.block[:kept] = before.block[:kept]
        for state, x in zip(states, inputs, strict=True):
            state.received += count  # sessions at one place in time may have received more than the first, by periods
            if rest:
                state.waiting(graph)[...] = x[:, end - begin :]
        return results, states

    def _stacked(self, results: list[Array]) -> Array:
        """Return the outputs [N, C', m] of all sessions. Raises ShapeError if they are not of one length."""
        lengths = {result.shape[1] for result in results}
        if len(lengths) > 1:
            raise ShapeError(
                f"the sessions are at different places: they have {', '.join(map(str, sorted(lengths)))} samples. "
                "Write stream.push({session: chunk, ...}), or stream.flush(session)"
            )
        return np.stack(results) if results else empty((0, self.graph.channels[-1], 0), self.graph.dtype)


_streams: weakref.WeakSet[Stream] = weakref.WeakSet()


def _after_fork() -> None:
    """Give streams locks that no thread of the parent has."""
    for stream in _streams:
        stream._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
