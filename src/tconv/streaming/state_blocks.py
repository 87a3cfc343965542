"""Blocks of memory for the states of sessions: a push writes the next state into one that an earlier push left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tconv._arrays import Array
from tconv.streaming.session import SessionState

_LEAST = 1 << 20
"""Bytes of free blocks that are always kept."""
_SETS = 4
"""Free blocks of all sizes have at most so many times the bytes of the sessions."""


class StateBlocks:
    """Blocks that no session uses, by their bytes; the sizes that were freed last come last."""

    def __init__(self) -> None:
        self._free: dict[int, list[Array]] = {}
        self._bytes, self._most = 0, _LEAST
        self._sessions: Mapping[int, SessionState] = {}
        self._retired: list[tuple[int, SessionState]] = []

    def retire(self, states: Iterable[tuple[int, SessionState]]) -> None:
        """Note states of sessions that are about to get their next ones."""
        self._retired = list(states)

    def reclaim(self, sessions: Mapping[int, SessionState]) -> None:
        """Take the blocks of retired states, except of sessions that did not get their next ones after all."""
        retired, self._retired, self._sessions = self._retired, [], sessions
        for number, state in retired:
            if sessions.get(number) is not state:
                self._put(state.block)

    def _put(self, block: Array) -> None:
        if not block.size or block.base is not None:
            return  # a part of another one
        if self._bytes + block.size > self._most:
            self._shrink(block.size)
        blocks = self._free.pop(block.size, [])
        blocks.append(block)
        self._free[block.size] = blocks
        self._bytes += block.size

    def _shrink(self, more: int) -> None:
        """Drop the sizes that were freed the longest ago: sessions that begin have many, one after another."""
        self._most = max(_LEAST, _SETS * sum(state.block.size for state in self._sessions.values()))
        self._bytes = sum(size * len(blocks) for size, blocks in self._free.items())
        while self._free and self._bytes + more > self._most:
            size = next(iter(self._free))
            self._bytes -= size * len(self._free.pop(size))

    def following(self, states: Sequence[SessionState], ended: bool, size: int) -> list[SessionState]:
        """Return a state of so many bytes, which are not set, for each of these, with the samples it has received."""
        return [SessionState(state.received, ended, self._block(size)) for state in states]

    def _block(self, size: int) -> Array:
        free = self._free.get(size)
        if not free:
            return np.empty(size, np.uint8)
        self._bytes -= size
        block = free.pop()
        if not free:
            del self._free[size]
        return block

    def recycle(self, states: Iterable[SessionState]) -> None:
        """Take the blocks of states that no session ever had."""
        for state in states:
            self._put(state.block)
