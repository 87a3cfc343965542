"""Commands of a program: calls of compiled code, joined where they follow each other, and functions of Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tconv._arrays import Array
from tconv.kernels.simd.availability import reason_unavailable

Command = Callable[[int], Any]
"""Part of a program: it is called with the distance of its place in time from the program's, in samples received."""


class Commands:
    """Commands in the order in which they run; calls of compiled code that follow each other become one."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._sequence: Any = None
        self.compiled = reason_unavailable() is None
        """True where compiled code can run"""

    def add(self, command: Command) -> None:
        """Add a command in Python."""
        self._close()
        self._commands.append(command)

    @property
    def sequence(self) -> Any:
        """The sequence of compiled calls that is being written."""
        if self._sequence is None:
            from tconv.kernels.simd.call_sequence import CallSequence

            self._sequence = CallSequence()
        return self._sequence

    def copy(self, table: Array, offset: int, array: Array, size: int, into: bool) -> None:
        """Add copies of `size` bytes between array[b] and the address table[b] + offset."""
        if self.compiled:
            self.sequence.add_copies(table, offset, array, size, into)
            return

        def copy(distance: int) -> None:
            for address, part in zip(table.tolist(), array, strict=True):
                ours, theirs = part.ctypes.data, address + offset
                ctypes.memmove(*((ours, theirs) if into else (theirs, ours)), size)

        self.add(copy)

    def _close(self) -> None:
        if self._sequence is not None:
            run = self._sequence.run
            self._commands.append(lambda distance: run())
            self._sequence = None

    def finish(self) -> list[Command]:
        """Return the commands."""
        self._close()
        return self._commands
