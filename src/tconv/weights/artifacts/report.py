"""What `checkerboard` answers: the score, where the pattern comes from, and what ends it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.geometry import Geometry
from tconv.weights.artifacts.arguments import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VISIBLE = 0.02
"""A pattern of 2 % of the output's root mean square; below it the report calls a layer even."""


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """How much of the output a pattern of phases is. `print` it.

    `score` is in [0, 1]: for inputs that are constant over space (or that have the channel means that were given), the
    root mean square of what differs between phases, over that of the whole output without bias. 0 is no checkerboard; 1
    is nothing but checkerboard. Channels of the input are taken as independent and of equal power.
    """

    score: float
    by_channel: Array
    """The same score of each output channel of the last layer, [C_out]."""
    response: Array
    """Output [C_in, C_out, *period] for a constant 1 in each input channel, over one period of all strides."""
    layers: tuple[float, ...]
    """The score of each layer by itself."""
    overlaps: tuple[tuple[tuple[int, ...], ...], ...]
    """Taps per phase, per layer and axis."""
    geometries: tuple[Geometry, ...] = field(repr=False)
    """Of each layer."""

    @property
    def period(self) -> tuple[int, ...]:
        """After how many outputs the pattern repeats, per axis: the product of the strides."""
        return tuple(self.response.shape[2:])

    @property
    def gains(self) -> Array:
        """DC gain per phase and output channel, [C_out, *period]: root mean square over input channels."""
        return _rms(self.response)

    @property
    def spreads(self) -> Array:
        """How far each phase's gain is from the mean over phases, [C_out, *period]: root mean square over inputs."""
        phases = tuple(range(1, self.response.ndim - 1))
        return _rms(plane - plane.mean(phases, keepdims=True) for plane in self.response)

    def draw(self, after: Checkerboard | None = None, *, ax: Axes | None = None) -> Axes:
        """The response to a constant input as a picture, and that of mended weights beside it."""
        from tconv import draw

        return draw.response(self, after, ax=ax)

    def __str__(self) -> str:
        grade = "even" if self.score < VISIBLE else "a checkerboard"
        lines = [
            f"score     {self.score:.3f}: {self.score:.1%} of the output's root mean square is a pattern of "
            f"phases ({grade})"
        ]
        for number, (own, counts, g) in enumerate(zip(self.layers, self.overlaps, self.geometries, strict=True), 1):
            name = f"layer {number}" if len(self.layers) > 1 else "layer"
            same = all(len(set(row)) == 1 for row in counts)
            words = "as many taps in every phase" if same else "uneven taps per phase"
            lines.append(
                f"{name:<10}{own:.3f} by itself; kernel {g.kernel}, stride {g.stride}: {words} {_listed(counts)}"
            )
        channels = self.by_channel
        lines.append(
            f"channels  worst {channels.max():.3f} (channel {int(channels.argmax())}), best {channels.min():.3f}"
        )
        if math.prod(self.period) <= 64:
            for name, numbers in (("gain", self.gains), ("spread", self.spreads)):
                rows = np.array2string(_rms(numbers), precision=3, separator=", ").replace("\n", "\n          ")
                words = "" if name == "gain" else ", from the mean over phases"
                lines.append(f"{name:<10}per phase{words}, root mean square over channels:\n          {rows}")
        lines += [f"remedy    {words}" for words in self._remedies()]
        return "\n".join(lines)

    def _remedies(self) -> list[str]:
        if self.score < VISIBLE:
            return []
        found = []
        for number, (own, counts, g) in enumerate(zip(self.layers, self.overlaps, self.geometries, strict=True), 1):
            where = f" (layer {number})" if len(self.layers) > 1 else ""
            if own < VISIBLE:
                continue
            if min(map(min, counts)) == 0:
                found.append(
                    f"phases without a tap cannot be mended{where}: train with a kernel of at least the stride "
                    f"{g.stride}"
                )
                continue
            found.append(
                f"weight = tconv.artifacts.equalise(weight, ...): every phase the same gain, the mean kept{where}"
            )
            even = all(len(set(row)) == 1 for row in counts)
            multiple = (
                ""
                if even
                else f", best with a kernel that is a multiple of the stride {g.stride}, which leaves no tap at 0"
            )
            found.append(f"before training anew: weight = tconv.artifacts.icnr(weight, ...){multiple}{where}")
        return found


def _rms(planes: Iterable[Array]) -> Array:
    """Root of the mean of the squares over the first axis, one entry of it at a time."""
    powers: Any = 0
    count = 0
    for plane in planes:
        powers, count = powers + np.abs(plane) ** 2, count + 1
    root: Array = np.sqrt(powers / count)
    return root


def _listed(counts: tuple[tuple[int, ...], ...]) -> str:
    rows = [" ".join(map(str, row[:16])) + (" ..." if len(row) > 16 else "") for row in counts]
    return f"({rows[0]})" if len(set(rows)) == 1 else f"({' | '.join(rows)})"
