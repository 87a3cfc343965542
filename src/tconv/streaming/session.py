"""State of one session of a stream, and its form as plain arrays, which move between processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, ShapeError
from tconv.streaming.stream_graph import StreamGraph

VERSION = 1
"""Version of the form of saved states."""


class SessionState:
    """Samples received, the samples of every value that outputs still to come read, and recurrent state.

    `held[v]` is [C, ..., T, ...] of value v, from sample `graph.moment(received).low[v]` on. Nothing changes a state
    once it is complete: a push makes the next one, so that a push that fails leaves the session as it was.
    """

    __slots__ = ("ended", "held", "memory", "received")

    def __init__(self, received: int, ended: bool, held: list[Array], memory: list[tuple[Array, ...]]) -> None:
        self.received, self.ended, self.held, self.memory = received, ended, held, memory

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in (*self.held, *(each for arrays in self.memory for each in arrays)))


def new_state(graph: StreamGraph) -> SessionState:
    """Return the state before the first sample."""
    held = [np.empty(graph.value_shape(place, 0), graph.dtype) for place in range(len(graph.channels))]
    return SessionState(0, False, held, [node.step.new_memory() for node in graph.nodes])


def saved(graph: StreamGraph, state: SessionState) -> dict[str, Array]:
    """Return a state as arrays of their own: a header, the samples of each value that has some, recurrent state."""
    arrays = {
        "version": np.array(VERSION, np.int64),
        "graph": np.frombuffer(bytes.fromhex(graph.fingerprint), np.uint8).copy(),
        "received": np.array(state.received, np.int64),
        "ended": np.array(state.ended),
    }
    return arrays | {name: array.copy() for name, array in _contents(state).items()}


def _contents(state: SessionState) -> dict[str, Array]:
    held: dict[str, Array] = {f"value_{place}": array for place, array in enumerate(state.held) if array.size}
    memory: dict[str, Array] = {
        f"memory_{number}_{turn}": array
        for number, arrays in enumerate(state.memory, 1)
        for turn, array in enumerate(arrays)
    }
    return held | memory


def loaded(graph: StreamGraph, arrays: Any) -> SessionState:
    """Return the state of saved arrays. Raises ArgumentError or ShapeError for those of another stream or form."""
    if not isinstance(arrays, Mapping) and not hasattr(arrays, "files"):
        raise ArgumentError(f"the state is {type(arrays).__name__}; the dictionary of stream.state() is needed")
    given = {str(name): np.asarray(arrays[name]) for name in arrays}
    if missing := [name for name in ("version", "graph", "received", "ended") if name not in given]:
        raise ArgumentError(f"the state has no {', '.join(missing)}; the dictionary of stream.state() is needed")
    version = given.pop("version")
    if version.shape or version.dtype.kind not in "iu" or int(version) != VERSION:
        raise ArgumentError(f"the state has version {version}; {VERSION} is needed. Save it with this version of tconv")
    print_ = given.pop("graph")
    if print_.dtype != np.uint8 or print_.tobytes().hex() != graph.fingerprint:
        raise ArgumentError(
            "the state is that of another stream: its layers, weights or dtype differ. Restore it into the stream of "
            "the same layers"
        )
    received, ended = given.pop("received"), given.pop("ended")
    if received.shape or received.dtype.kind not in "iu" or int(received) < 0:
        raise ArgumentError(f"the state has received = {received!r}; a number of samples is needed")
    if ended.shape or ended.dtype != np.bool_:
        raise ArgumentError(f"the state has ended = {ended!r}; True or False is needed")
    state = empty_state(graph, int(received), bool(ended))
    wanted = _contents(state)
    if given.keys() != wanted.keys():
        names = sorted(given.keys() ^ wanted.keys())
        raise ShapeError(
            f"the state of {int(received)} samples has other arrays than this stream needs: {', '.join(names)}"
        )
    for name, array in wanted.items():
        if given[name].shape != array.shape or given[name].dtype != array.dtype:
            raise ShapeError(
                f"{name} of the state is {given[name].dtype} {given[name].shape}; after {int(received)} samples "
                f"{array.dtype} {array.shape} is needed"
            )
    for name, array in wanted.items():
        array[...] = given[name]
    return state


def by_session(arrays: Any) -> dict[int, dict[str, Any]]:
    """Return the arrays of each session of a state of several. Raises ArgumentError for other names."""
    if not isinstance(arrays, Mapping) and not hasattr(arrays, "files"):
        raise ArgumentError(f"the state is {type(arrays).__name__}; the dictionary of stream.state() is needed")
    found: dict[int, dict[str, Any]] = {}
    for name in arrays:
        number, point, rest = str(name).partition(".")
        if not (number.isdecimal() and point):
            raise ArgumentError(
                f"the state has {name!r}, without the number of a session. Write stream.restore(state, session) for "
                "that of a single session"
            )
        found.setdefault(int(number), {})[rest] = arrays[name]
    return found


def empty_state(graph: StreamGraph, received: int, ended: bool) -> SessionState:
    """Return a state with arrays of the right shapes, whose numbers are not set."""
    sizes = [0] * len(graph.channels) if ended else graph.moment(received).held
    held = [np.empty(graph.value_shape(place, size), graph.dtype) for place, size in enumerate(sizes)]
    memory = [tuple(np.empty_like(array) for array in node.step.new_memory()) for node in graph.nodes]
    return SessionState(received, ended, held, [() for _ in memory] if ended else memory)
