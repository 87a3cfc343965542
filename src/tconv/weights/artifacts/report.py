"""Result of `checkerboard`: the score, the origin of the pattern, the remedies, and the report as text.

`checkerboard` returns it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.weights.artifacts.tones import Tone, described

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TONES = 4
VISIBLE = 0.02
"""Score below which the report calls a layer even: a pattern of 2 % of the output's root mean square."""


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """Share of the output that is a pattern of phases. `print` it.

    >>> import numpy as np, tconv
    >>> found = tconv.checkerboard(np.ones((1, 1, 3), np.float32), stride=2)  # taps meet twice in every other output
    >>> round(found.score, 3)
    0.316

    `score` is in [0, 1]: for inputs that are constant over space (or that have the channel means that were given), the
    root mean square of the differences between phases, over that of the whole output without bias. 0 is no
    checkerboard; 1 is nothing else. Channels of the input are assumed to be independent and of equal power.
    """

    score: float
    by_channel: Array
    """Score of each output channel of the last layer, [C_out]."""
    response: Array
    """Output [C_in, C_out, *period] for a constant 1 in each input channel, over one period of all strides."""
    layers: tuple[float, ...]
    """Score of each layer alone."""
    overlaps: tuple[tuple[tuple[int, ...], ...], ...]
    """Taps per phase, per layer and axis."""
    geometries: tuple[Geometry, ...] = field(repr=False)
    """Geometry of each layer; of a convolution before a pixel shuffle, that of the two together."""
    tones: tuple[Tone, ...] = ()
    """Frequencies of the pattern, the strongest first, for layers of one axis; empty for others."""
    sample_rate: float | None = None
    """Samples per second of the output, if they were given."""
    notes: tuple[str, ...] = ()
    """Description of each layer that is no transposed convolution; "" for the others."""
    arguments: tuple[str, ...] = ()
    """Arguments of each layer as source, each after a comma: ", stride=2, padding=1"."""

    @property
    def period(self) -> tuple[int, ...]:
        """Period of the pattern in outputs, per axis: the product of the strides."""
        return tuple(self.response.shape[2:])

    @property
    def gains(self) -> Array:
        """DC gain per phase and output channel, [C_out, *period]: root mean square over input channels."""
        return _rms(self.response)

    @property
    def spreads(self) -> Array:
        """Distance of each phase's gain from the mean over phases, [C_out, *period]: root mean square over inputs."""
        phases = tuple(range(1, self.response.ndim - 1))
        return _rms(plane - plane.mean(phases, keepdims=True) for plane in self.response)

    def draw(self, after: Checkerboard | None = None, *, ax: Axes | None = None, theme: str = "light") -> Axes:
        """Draw the response to a constant input, and beside it that of corrected weights."""
        response = import_module("tconv.draw").response  # by name, because draw is above weights
        axes: Axes = response(self, after, ax=ax, theme=theme)
        return axes

    def __str__(self) -> str:
        grade = "even" if self.score < VISIBLE else "a checkerboard"
        lines = [
            f"score     {self.score:.3f}: {self.score:.1%} of the output's root mean square is a pattern of "
            f"phases ({grade})"
        ]
        for number, (own, counts, g) in enumerate(zip(self.layers, self.overlaps, self.geometries, strict=True), 1):
            name = f"layer {number}" if len(self.layers) > 1 else "layer"
            same = all(len(set(row)) == 1 for row in counts)
            taps = "as many taps in every phase" if same else "uneven taps per phase"
            lines.append(f"{name:<10}{own:.3f} alone; kernel {g.kernel}, stride {g.stride}: {taps} {_listed(counts)}")
            if note := self._note(number - 1):
                lines.append(f"          {note}")
        if self.tones:
            heard = "; ".join(described(tone, self.sample_rate) for tone in self.tones[:_MOST_TONES])
            more = f"; and {len(self.tones) - _MOST_TONES} more" if len(self.tones) > _MOST_TONES else ""
            lines.append(f"tone      {heard} of the output's root mean square{more}")
        channels = self.by_channel
        lines.append(
            f"channels  worst {channels.max():.3f} (channel {int(channels.argmax())}), best {channels.min():.3f}"
        )
        if math.prod(self.period) <= 64:
            for name, numbers in (("gain", self.gains), ("spread", self.spreads)):
                rows = np.array2string(_rms(numbers), precision=3, separator=", ").replace("\n", "\n          ")
                origin = "" if name == "gain" else ", from the mean over phases"
                lines.append(f"{name:<10}per phase{origin}, root mean square over channels:\n          {rows}")
        lines += [f"remedy    {remedy}" for remedy in self._remedies()]
        return "\n".join(lines)

    def _note(self, layer: int) -> str:
        return self.notes[layer] if self.notes else ""

    def _remedies(self) -> list[str]:
        if self.score < VISIBLE:
            return []
        remedies = []
        for number, (own, counts, g) in enumerate(zip(self.layers, self.overlaps, self.geometries, strict=True), 1):
            where = f" (layer {number})" if len(self.layers) > 1 else ""
            if own < VISIBLE:
                continue
            if min(map(min, counts)) == 0:
                remedies.append(
                    f"phases without a tap cannot be corrected{where}: train with a kernel of at least the stride "
                    f"{g.stride}"
                )
                continue
            more = self.arguments[number - 1]
            remedies.append(
                f"weight = tconv.artifacts.equalise(weight{more}): the same gain in every phase, and the mean "
                f"gain unchanged{where}"
            )
            even = all(len(set(row)) == 1 for row in counts)
            multiple = (
                "" if even else f", best with a kernel that is a multiple of the stride {g.stride}, so that no tap is 0"
            )
            remedies.append(f"before training again: weight = tconv.artifacts.icnr(weight{more}){multiple}{where}")
        return remedies


def _rms(planes: Iterable[Array]) -> Array:
    """Return the root mean square over the first axis, computed one entry at a time."""
    powers: Any = 0
    count = 0
    for plane in planes:
        powers, count = powers + np.abs(plane) ** 2, count + 1
    root: Array = np.sqrt(powers / count)
    return root


def _listed(counts: tuple[tuple[int, ...], ...]) -> str:
    rows = [" ".join(map(str, row[:16])) + (" ..." if len(row) > 16 else "") for row in counts]
    return f"({rows[0]})" if len(set(rows)) == 1 else f"({' | '.join(rows)})"
