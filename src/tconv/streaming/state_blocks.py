"""Blocks of memory for the states of sessions: a push writes the next state into one that an earlier push left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tconv._arrays import Array
from tconv.streaming.session import SessionState

_MOST_SIZES = 32


class StateBlocks:
    """Blocks that no session uses, by their bytes."""

    def __init__(self) -> None:
        self._free: dict[int, list[Array]] = {}
        self._retired: list[tuple[int, SessionState]] = []

    def retire(self, states: Iterable[tuple[int, SessionState]]) -> None:
        """Note states of sessions that are about to get their next ones."""
        self._retired = list(states)

    def reclaim(self, sessions: Mapping[int, SessionState]) -> None:
        """Take the blocks of retired states, except of sessions that did not get their next ones after all."""
        retired, self._retired = self._retired, []
        for number, state in retired:
            if sessions.get(number) is not state:
                self._put(state.block)

    def _put(self, block: Array) -> None:
        if block.base is not None:
            return  # a part of another one
        if block.size not in self._free and len(self._free) >= _MOST_SIZES:
            self._free.clear()
        self._free.setdefault(block.size, []).append(block)

    def following(self, states: Sequence[SessionState], count: int, ended: bool, size: int) -> list[SessionState]:
        """Return a state of so many bytes, which are not set, after `count` more samples of each of these."""
        free = self._free.get(size, [])
        return [
            SessionState(state.received + count, ended, free.pop() if free else np.empty(size, np.uint8))
            for state in states
        ]

    def recycle(self, states: Iterable[SessionState]) -> None:
        """Take the blocks of states that no session ever had."""
        for state in states:
            self._put(state.block)
