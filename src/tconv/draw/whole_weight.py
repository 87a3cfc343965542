"""Weight of a whole layer in a dialect's layout, as the explorer's page takes it: its kernel, channels and numbers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tconv import _textbook_arguments
from tconv._arguments import int_of
from tconv._arrays import Array
from tconv.dialects.base import Dialect
from tconv.dialects.layouts import WeightLayout
from tconv.draw.explorer_limits import MOST_NUMBERS, page_limits
from tconv.errors import ShapeError

_BARE_AXES = 2
"""Most axes of an array that is the taps of one channel alone: the page draws no volumes."""


class WholeWeight(NamedTuple):
    """Weight in a dialect's layout, and that layout for a layer without groups.

    >>> import numpy as np, tconv
    >>> found = read_whole_weight(np.zeros((3, 3, 6, 4)), tconv.dialect("keras"), {})
    >>> found.kernel, found.canonical(1).shape
    ((3, 3), (4, 6, 3, 3))
    """

    array: Array
    rules: Dialect
    layout: WeightLayout
    native: dict[str, Any]

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial sizes."""
        return self.layout.kernel(self.array.shape)

    def canonical(self, groups: int) -> Array:
        """Return the weight as [C_in, C_out/groups, *kernel], not flipped.

        Raises ShapeError for a weight that does not have these groups, and for one with more channels or numbers than
        the page draws, and proposes a part of it.
        """
        weight = self.rules.to_canonical(self.array, groups, **self.native)
        most = page_limits()["channels"]
        if max(weight.shape[0], weight.shape[1] * groups) <= most and weight.size <= MOST_NUMBERS:
            return weight
        raise ShapeError(
            f"w has shape {self.array.shape}, {weight.shape[0]} input and {weight.shape[1] * groups} output channels; "
            f"the page draws at most {most}, and {MOST_NUMBERS} numbers. {self._instead(groups, most)}"
        )

    def _instead(self, groups: int, most: int) -> str:
        if groups > 1:
            return "Use the weight of fewer groups, or its sizes alone"
        taps = math.prod(self.kernel)
        most = min(most, math.isqrt(MOST_NUMBERS // taps)) if taps <= MOST_NUMBERS else 0
        if most == 0:
            return "Use its sizes alone"
        parts = [":" if isinstance(axis, int) else f":{most}" for axis in self.layout.axes]
        while parts[-1] == ":":
            parts.pop()
        return f"Write a part of it, w[{', '.join(parts)}]"


def read_whole_weight(w: Any, rules: Dialect, native: dict[str, Any]) -> WholeWeight | None:
    """Return the weight of a whole layer, or None for taps alone: at most two axes, or sizes without an array.

    `native` are the dialect's own arguments, of which some set the layout. Raises ShapeError for another number of axes
    and for one without an element.
    """
    if w is None:
        return None
    _, (array, _) = _textbook_arguments.take(w=w)
    if array.ndim <= _BARE_AXES:
        return None
    groups = int_of(native.get("groups", 1), "groups", least=1)  # OpenVINO has an axis for them
    usual = rules.weight_layout(2, groups=groups)
    ndim = array.ndim - len(usual.axes) + 2
    if ndim not in (1, 2) or array.size == 0:
        raise ShapeError(
            f"w has shape {array.shape}; a bare kernel of 1 or 2 axes is needed, or the weight of a whole layer of "
            f"{rules.framework}, {usual.describe()} in 2-D. Use an array of one of these"
        )
    words = {name: native[name] for name in rules.layout_arguments if name in native}
    return WholeWeight(array, rules, rules.weight_layout(ndim, groups=groups, **words), words)
