"""State of one session of a stream, and its form as plain arrays, which move between processes and machines."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, ShapeError
from tconv.streaming.stream_graph import Moment, StreamGraph

VERSION = 1
"""Version of the form of saved states."""


class StateLayout:
    """Places of everything in the block of a state: samples of each value [samples, C], and recurrent state."""

    def __init__(self, graph: StreamGraph, moment: Moment, ended: bool = False) -> None:
        self.held = [0] * len(graph.channels) if ended else moment.held
        self.values: list[int] = []
        """offset of each value"""
        self.memory: list[list[int]] = []
        """offsets of the arrays of each node"""
        at = 0
        for place, samples in enumerate(self.held):
            self.values.append(at)
            at += math.prod(graph.value_shape(place, samples)) * graph.dtype.itemsize
        for node in graph.nodes:
            self.memory.append([])
            for array in () if ended else node.step.new_memory():
                self.memory[-1].append(at)
                at += array.nbytes
        self.size = at


class SessionState:
    """Samples received, and a block of bytes: the samples that outputs still to come read, and recurrent state.

    Nothing changes a state once it is complete: a push makes the next one, so that a push that fails leaves the session
    as it was.
    """

    __slots__ = ("address", "block", "ended", "received")

    def __init__(self, received: int, ended: bool, block: Array) -> None:
        self.received, self.ended, self.block = received, ended, block
        self.address: int = block.ctypes.data

    def contents(self, graph: StreamGraph) -> dict[str, Array]:
        """Return views of everything: "value_V" [C, samples], "memory_N_M" of node N, and "inputs_waiting"."""
        layout = StateLayout(graph, graph.moment(graph.used(self.received)), self.ended)
        found: dict[str, Array] = {}
        if (waiting := self.waiting(graph)).size:
            found["inputs_waiting"] = waiting
        for place, (offset, samples) in enumerate(zip(layout.values, layout.held, strict=True)):
            if samples:
                shape = graph.value_shape(place, samples)
                found[f"value_{place}"] = self._view(offset, graph.dtype, shape).T
        for number, (node, offsets) in enumerate(zip(graph.nodes, layout.memory, strict=True), 1):
            for turn, (offset, array) in enumerate(zip(offsets, node.step.new_memory(), strict=False)):
                found[f"memory_{number}_{turn}"] = self._view(offset, array.dtype, array.shape)
        return found

    def waiting(self, graph: StreamGraph) -> Array:
        """Return a view of the inputs [C, n] that wait for more, at the end of the block."""
        count = 0 if self.ended else self.received - graph.used(self.received)
        shape = graph.value_shape(0, count)
        return self._view(self.block.size - math.prod(shape) * graph.dtype.itemsize, graph.dtype, shape).T

    def _view(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        size = math.prod(shape) * dtype.itemsize
        return self.block[offset : offset + size].view(dtype).reshape(shape)


def check_session(number: Any, known: Collection[int]) -> None:
    """Raise ArgumentError for a number that is not that of a session."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number not in known:
        numbers = ", ".join(map(str, known)) or "none"
        raise ArgumentError(
            f"there is no session {shown(number)}; the sessions are {numbers}. Write stream.open() for a new one"
        )


def open_sessions_hint(given: int, known: int) -> str:
    """Return what to write for a chunk of another number of sessions than are open."""
    if not known:
        return "no session is open. Write stream.open()"
    if given > known:
        return f"it has {given} sessions. Write batch={given} where the stream is made, or stream.open() for more"
    return f"it has {given} sessions. Write stream.push({{session: chunk}}) for some of the sessions"


def new_state(graph: StreamGraph) -> SessionState:
    """Return the state before the first sample."""
    state = empty_state(graph, 0, False)
    arrays = state.contents(graph)
    for number, node in enumerate(graph.nodes, 1):
        for turn, array in enumerate(node.step.new_memory()):
            arrays[f"memory_{number}_{turn}"][...] = array
    return state


def checksum(arrays: Mapping[str, Array]) -> Array:
    """Return a digest of the names and numbers of a state, but for its own: 8 bytes."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(arrays.keys() - {"checksum"}):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.name} {array.shape} ".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return np.frombuffer(digest.digest(), np.uint8).copy()


def saved(graph: StreamGraph, state: SessionState) -> dict[str, Array]:
    """Return a state as arrays of their own: a header, the samples of each value that has some, recurrent state."""
    arrays: dict[str, Array] = {
        "version": np.array(VERSION, np.int64),
        "graph": np.frombuffer(bytes.fromhex(graph.fingerprint), np.uint8).copy(),
        "received": np.array(state.received, np.int64),
        "ended": np.array(state.ended),
    }
    arrays |= {name: array.copy(order="C") for name, array in state.contents(graph).items()}
    return {"checksum": checksum(arrays), **arrays}


def loaded(graph: StreamGraph, arrays: Any) -> SessionState:
    """Return the state of saved arrays. Raises ArgumentError or ShapeError for those of another stream or form."""
    _check_dictionary(arrays)
    given = {str(name): np.asarray(arrays[name]) for name in arrays}
    if missing := [name for name in ("version", "graph", "received", "ended", "checksum") if name not in given]:
        raise ArgumentError(f"the state has no {', '.join(missing)}; the dictionary of stream.state() is needed")
    is_as_saved = np.array_equal(given.pop("checksum"), checksum({name: given[name] for name in given}))
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
    wanted = state.contents(graph)
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
    if not is_as_saved:
        raise ArgumentError(
            "the state is not as it was saved: its numbers do not have its checksum. Restore what stream.state() "
            "returned"
        )
    for name, array in wanted.items():
        array[...] = given[name]
    return state


def is_of_one(arrays: Any) -> bool:
    """Return True for the arrays of a single session's state, whose names have no number of it."""
    _check_dictionary(arrays)
    return not any("." in str(name) for name in arrays)


def _check_dictionary(arrays: Any) -> None:
    if not isinstance(arrays, Mapping) and not hasattr(arrays, "files"):
        raise ArgumentError(f"the state is {type(arrays).__name__}; the dictionary of stream.state() is needed")


def by_session(arrays: Any) -> dict[int, dict[str, Any]]:
    """Return the arrays of each session of a state of several. Raises ArgumentError for other names."""
    _check_dictionary(arrays)
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
    """Return a state whose numbers are not set."""
    size = 0 if ended else graph.state_bytes_after(received)
    return SessionState(received, ended, np.empty(size, np.uint8))
