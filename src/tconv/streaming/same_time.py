"""Base of the steps of a stream whose output samples read the input sample at their own time."""

from __future__ import annotations

from collections.abc import Sequence

from tconv._arrays import Array


class SameTime:
    """TimeStep with one input, as long as the output; without state unless `new_memory` says otherwise."""

    def extent(self, sizes: Sequence[int]) -> int:
        """Return the length of the input."""
        return sizes[0]

    def source(self, number: int, outputs: slice, sizes: Sequence[int]) -> slice:
        """Return the same samples."""
        return outputs

    def first(self, output: int) -> int:
        """Return the same sample."""
        return output

    def new_memory(self) -> tuple[Array, ...]:
        """Return the recurrent state before the first sample: none."""
        return ()
