"""`NativeStream`: a stream whose chunks are arrays of a library, in a layout of a dialect, with any spatial axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tconv._arguments import int_of, sample_rate_of, shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, ShapeError
from tconv.streaming.chunk_layout import ChunkLayout
from tconv.streaming.report import StreamReport
from tconv.streaming.session import check_session
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph

Sizes = tuple[int, ...]
_LARGEST = 1 << 31
"""Largest size of an axis behind time in a state; NumPy's arrays end where all of them together pass 1 << 63."""


class NativeStream:
    """Sessions that push chunks and get the bits of the whole. `tconv.stream` returns it.

    `push(chunk)` takes a batch, one entry per session, or {session: chunk} with any of them: the others pause. Chunks
    have any length, 0 too; what they return is final. Outputs that still wait for inputs come later, or with
    `flush()`, which ends a session until its `reset()`. `stream(x)` is the output of a whole x, computed at once.

    `graph_for` returns the graph for the sizes of the spatial axes behind time, which the first chunk has, and the
    sizes of those of the output.
    """

    def __init__(
        self,
        graph_for: Callable[[Sizes], tuple[StreamGraph, Sizes]],
        layout: ChunkLayout,
        *,
        batch: int = 1,
        sample_rate: float | None = None,
    ) -> None:
        count = int_of(batch, "batch", least=0, example="batch=1")
        if not layout.has_batch and count != 1:
            raise ArgumentError(f"batch is {count}; chunks {layout.text()} have no axis for it. Write batch=1")
        self._graph_for, self._layout, self._of_one = graph_for, layout, layout.of_one
        self.sample_rate = sample_rate_of(sample_rate)
        self._sessions, self._next = list(range(count)), count
        self._stream: Stream | None = None
        self._rest: Sizes = ()
        self._made: Sizes = ()
        self._begun = False
        """True once the sizes behind time are those of a session that has begun"""
        if layout.ndim == 1:
            self._open(())

    def __repr__(self) -> str:
        return f"<stream {self._layout.text()} of {self._layout.dtype}, {len(self._sessions)} sessions>"

    def with_sessions(self, batch: int) -> NativeStream:
        """Return so many new sessions of the same layer; both have one packed weight."""
        return NativeStream(self._graph_for, self._layout, batch=batch, sample_rate=self.sample_rate)

    @property
    def time_axis(self) -> int:
        """Axis of time in chunks and outputs."""
        return self._layout.data.axes.index(0)

    @property
    def has_batch(self) -> bool:
        """True if chunks have an axis of sessions, the first."""
        return self._layout.has_batch

    # -- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> tuple[int, ...]:
        """Numbers of the sessions that are open, in the order of a batch."""
        return tuple(self._sessions)

    def open(self) -> int:
        """Return the number of a new session, the last one of a batch."""
        number = self._next if self._stream is None else self._stream.open()
        self._sessions.append(number)
        self._next = number + 1
        return number

    def close(self, session: int) -> None:
        """Drop a session."""
        check_session(session, self._sessions)
        if self._stream is not None:
            self._stream.close(session)
        self._sessions.remove(session)

    def reset(self, session: int | None = None) -> None:
        """Begin a session, or all, anew. When all do, the sizes of the axes behind time may change."""
        if session is not None:
            check_session(session, self._sessions)
        if self._stream is not None:
            self._stream.reset(session)
        if session is None or len(self._sessions) == 1:
            self._begun = False

    def _open(self, rest: Sizes) -> Stream:
        """Return the stream for these sizes behind time, with the sessions that are open."""
        if self._stream is None or rest != self._rest:
            graph, made = self._graph_for(rest)
            stream = Stream(graph, self._next, sample_rate=self.sample_rate, sessions=self._sessions)
            self._stream, self._rest, self._made = stream, rest, made
        return self._stream

    def _for(self, rest: Sizes) -> Stream:
        if self._begun and rest != self._rest:
            raise ShapeError(
                f"the chunk has sizes {rest} behind time; the stream began with {self._rest}. Write stream.reset() "
                "before chunks of other sizes"
            )
        return self._open(rest)

    def _opened(self, name: str) -> Stream:
        if self._stream is None:
            raise ArgumentError(
                f"{name} depends on the sizes of the axes behind time, which the first chunk has. Write "
                "stream.push(chunk) first"
            )
        return self._stream

    # -- chunks --------------------------------------------------------------------------------------------------

    def push(self, chunk: Any) -> Any:
        """Return the outputs that are final with this chunk, in the layout and library of the chunks.

        Raises ShapeError, DtypeError, ArrayError, and ArgumentError after `flush`; nothing has changed then.
        """
        if isinstance(chunk, Mapping):
            return self._push_some(chunk)
        array = self._layout.take(chunk, len(self._sessions))
        made = self._for(array.shape[3:]).push(_folded(array))
        self._begun = self._begun or array.shape[2] > 0
        return self._layout.give(self._unfolded(made, self._made))

    def _push_some(self, chunks: Mapping[int, Any]) -> dict[int, Any]:
        taken: dict[int, Array] = {}
        for session, chunk in chunks.items():
            check_session(session, self._sessions)
            taken[session] = self._of_one.take(chunk, None, f"the chunk of session {session}")
        sizes = {array.shape[3:] for array in taken.values()}
        if len(sizes) > 1:
            raise ShapeError(f"the chunks have the sizes {sorted(sizes)} behind time. Write chunks of one size")
        if not taken:
            return {}
        stream = self._for(sizes.pop())
        made = stream.push({session: _folded(array)[0] for session, array in taken.items()})
        self._begun = self._begun or any(array.shape[2] for array in taken.values())
        return {number: self._of_one.give(self._unfolded(each[None], self._made)) for number, each in made.items()}

    def flush(self, session: int | None = None) -> Any:
        """Return the outputs that are left, at the end of a session, or of all. They take no chunk until `reset`."""
        if session is not None:
            check_session(session, self._sessions)
        made = self._opened("flush").flush(session)
        if session is None:
            return self._layout.give(self._unfolded(made, self._made))
        return self._of_one.give(self._unfolded(made[None], self._made))

    def __call__(self, x: Any) -> Any:
        """Return the output of whole inputs, of any batch, computed at once: the bits of all chunks together."""
        array = self._layout.take(x, None, "x")
        rest = array.shape[3:]
        if self._stream is not None and rest == self._rest:
            graph, made = self._stream.graph, self._made
        else:
            graph, made = self._graph_for(rest)
        whole = graph.whole(np.ascontiguousarray(_folded(array))[:, :, None])[:, :, 0]
        return self._layout.give(self._unfolded(whole, made))

    def _unfolded(self, made: Array, sizes: Sizes) -> Array:
        """Return outputs [N, C' * rest', m] as canonical [N, C', m, *rest']."""
        if not sizes:
            return made
        return np.moveaxis(made.reshape(len(made), self._layout.out_channels, *sizes, made.shape[2]), -1, 2)

    # -- states and facts ----------------------------------------------------------------------------------------

    def state(self, session: int | None = None) -> dict[str, Array]:
        """Return the state of a session, or of all, as NumPy arrays, for `restore` here or in another process.

        `numpy.savez(file, **stream.state())` writes it.
        """
        if session is not None:
            check_session(session, self._sessions)
        state = self._opened("the state").state(session)
        return {**state, "sizes": np.array(self._rest, np.int64)} if self._rest else state

    def restore(self, state: Any, session: int | None = None) -> None:
        """Go on where a state was saved; without a session, with the sessions that it has.

        Raises ArgumentError or ShapeError for the state of another layer; nothing has changed then.
        """
        if session is not None:
            check_session(session, self._sessions)
        if not (isinstance(state, Mapping) or hasattr(state, "files")) or not len(state):
            raise ArgumentError(f"the state is {shown(state)}; the arrays of stream.state() are needed")
        arrays = {str(name): state[name] for name in state}
        rest = self._sizes_of(arrays)
        before = self._stream, self._rest, self._made
        try:
            stream = self._open(rest) if session is None else self._for(rest)
            stream.restore(arrays, session)
        except BaseException:
            self._stream, self._rest, self._made = before
            raise
        self._begun = True
        numbers = {int(name.partition(".")[0]) for name in arrays if "." in name} if session is None else set()
        if numbers:
            self._sessions, self._next = sorted(numbers), max(self._next, *(number + 1 for number in numbers))

    def _sizes_of(self, arrays: dict[str, Any]) -> Sizes:
        """Return the sizes behind time of a saved state, and remove them from it."""
        if self._layout.ndim == 1:
            return ()
        sizes = np.asarray(arrays.pop("sizes", ()))
        is_one_each = sizes.shape == (self._layout.ndim - 1,) and sizes.dtype.kind in "iu"
        if not is_one_each or not 1 <= sizes.min() <= sizes.max() <= _LARGEST:
            raise ArgumentError(
                "the state has no sizes of the axes behind time; that of a stream with as many axes is needed. Write "
                "stream.restore(state) with what stream.state() returned"
            )
        return tuple(map(int, sizes))

    @property
    def latency(self) -> int:
        """Samples of the output that are withheld: n inputs give n times the rate of them, less these."""
        return self._for_facts().latency

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the latency; None without the `sample_rate` of the output."""
        return self._for_facts().latency_ms

    @property
    def state_bytes(self) -> int:
        """Bytes of the state of one session in steady state: the window of inputs."""
        return self._opened("state_bytes").state_bytes

    @property
    def report(self) -> StreamReport:
        """Report of latency, context and state; `print` shows it."""
        return StreamReport(self._opened("the report").graph, sample_rate=self.sample_rate)

    def _for_facts(self) -> Stream:
        """Return the stream, or one for some sizes behind time: facts along time do not depend on them."""
        for size in (7, 64, 1024) if self._stream is None else ():
            try:
                graph, _ = self._graph_for((size,) * (self._layout.ndim - 1))
                return Stream(graph, 1, sample_rate=self.sample_rate)
            except ShapeError:  # nothing is left of an axis so short
                continue
        return self._opened("the latency")


def _folded(array: Array) -> Array:
    """Return canonical [N, C, n, *rest] as [N, C * rest, n]."""
    if array.ndim == 3:
        return array
    size = math.prod(array.shape[1:2] + array.shape[3:])
    return np.moveaxis(array, 2, -1).reshape(len(array), size, array.shape[2])
