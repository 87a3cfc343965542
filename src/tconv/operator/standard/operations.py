"""Operations on a framework's arrays from which the operator, its adjoint and its weight gradient are built.

Arrays are channels last here: x [N, *spatial, C], weights [groups, *kernel, C_in/groups, C_out/groups]. A size is an
int, or what the framework has in place of one while it is not known: a symbol or a scalar tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Size = Any
"""An int, or a symbol or scalar tensor of the framework."""


class Operations(Protocol):
    """Operations of a framework. `conv` and `correlate` accumulate 16-bit floats in 32 bits."""

    def sizes(self, x: Any) -> tuple[Size, ...]:
        """Return the sizes of an array, ints where they are known."""

    def reshape(self, x: Any, sizes: Sequence[Size]) -> Any:
        """Return the array in C order with these sizes."""

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """Return the array with its axes in this order."""

    def flip(self, x: Any, axes: Sequence[int]) -> Any:
        """Return the array reversed along these axes."""

    def pad(self, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
        """Return the array with this many zeros before and after, for each axis; below 0, with fewer elements."""

    def slice(self, x: Any, starts: Sequence[int], sizes: Sequence[Size], steps: Sequence[int]) -> Any:
        """Return `sizes` elements from `starts`, `steps` apart, for each axis."""

    def concatenate(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays one after the other along an axis."""

    def zeros(self, sizes: Sequence[Size], like: Any) -> Any:
        """Return zeros of an array's dtype."""

    def conv(
        self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]
    ) -> Any:
        """Return the convolution of x [N, *n, groups*C] and w [groups, *k, C, O] as [N, *m, groups*O], unflipped."""

    def correlate(self, x: Any, y: Any) -> Any:
        """Return the sums over positions of x [N, *n, g, C] times y [N, *n, g, O], as [g, C, O]."""
