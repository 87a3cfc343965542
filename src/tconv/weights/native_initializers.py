"""Initial weights in the layout of any dialect, for the initializers of the faces.

The numbers are those of `tconv.weights.initializers`, whose weights are canonical. A framework draws its own random
numbers, which are placed by an array of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import Ints, entries_of, ints_of, shown
from tconv._arrays import Array
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError, ShapeError
from tconv.weights.initializers import bilinear_weight, equal_phases, he_deviation, small_shape


def bilinear_in(dialect: str, shape: Any, stride: Ints, groups: int = 1, **layout: Any) -> Array:
    """Return `bilinear` as a weight of this shape in a dialect's layout, in float64.

    >>> bilinear_in("keras", (4, 1, 1), 2)[:, 0, 0] * 4
    array([1., 3., 3., 1.])

    `layout` are the dialect's arguments that change the layout of a weight. Raises the errors of `bilinear`.
    """
    canonical, _ = _shapes(dialect, shape, groups, layout)
    weight = bilinear_weight(canonical, stride, groups)
    return find_dialect(dialect).to_native(weight, groups, **layout)


class EqualPhases(NamedTuple):
    """Placing of random numbers in the weight of `icnr`."""

    small: tuple[int, ...]
    """Shape of the random numbers, in the layout of the dialect."""
    positions: Array
    """Array of the weight's shape: 0 where the weight is 0, else 1 + the position in the flattened random numbers."""
    deviation: float
    """Standard deviation of He's normal distribution."""


def equal_phases_in(dialect: str, shape: Any, stride: Ints, groups: int = 1, **layout: Any) -> EqualPhases:
    """Return how random numbers fill the weight of `icnr` of this shape in a dialect's layout.

    >>> placing = equal_phases_in("keras", (5, 1, 1), 2)
    >>> placing.small, placing.positions.ravel()
    ((2, 1, 1), array([1, 1, 2, 2, 0]))

    Raises the errors of `icnr`.
    """
    canonical, strides = _shapes(dialect, shape, groups, layout, stride)
    small = small_shape(canonical, strides, groups)
    speaker = find_dialect(dialect)
    native = speaker.to_native(np.empty(small, bool), groups, **layout).shape
    numbers = np.arange(1, 1 + int(np.prod(native))).reshape(native)
    placed = equal_phases(speaker.to_canonical(numbers, groups, **layout), canonical[2:], strides)
    return EqualPhases(native, speaker.to_native(placed, groups, **layout), he_deviation(small, groups))


def _shapes(
    dialect: str, shape: Any, groups: int, layout: dict[str, Any], stride: Ints = 1
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the canonical shape of a native one, and the stride of each axis. Raises ShapeError, ArgumentError."""
    entries: Sequence[Any] | None = entries_of(shape)
    if entries is None:
        raise ShapeError(f"shape is {shown(shape)}; the shape of a weight is needed. Write (4, 4, 64, 64)")
    native = ints_of(entries, "shape", len(entries), least=1)
    speaker = find_dialect(dialect)
    for name in layout:
        if name not in speaker.layout_arguments:
            raise ArgumentError(f"{name}= changes no weight layout of {dialect}. Write the call without {name}=")
    canonical = speaker.to_canonical(np.broadcast_to(False, native), groups, **layout).shape
    return canonical, ints_of(stride, "stride", len(canonical) - 2, least=1)
