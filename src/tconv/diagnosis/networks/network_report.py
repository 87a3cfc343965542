"""Result of comparing two networks, as text and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.networks.agreement import Reference, agree, arrangements, worst
from tconv.diagnosis.networks.fused_operations import FusionFault
from tconv.diagnosis.report import Diagnosis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class NetworkDiagnosis:
    """Answer for two networks. `print` it."""

    names: tuple[str, str]
    """Names of the two networks."""
    verdict: str
    """"equal", "elsewhere" (the difference begins in another operation), "fused" (each operation alone agrees, and a
    runtime is wrong where it fuses some), "untellable" (the outputs do not depend on the input), or the verdict on the
    first transposed convolution that differs: "found", "likely", "none"."""
    before: float | None
    """Largest difference of the outputs, in units of the root mean square of expected's, or of 1 where `function` is
    named; None if shapes differ."""
    rounding: float
    """Largest difference that rounding explains, in the same units."""
    shapes: tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]
    """Shapes of the outputs of both."""
    place: str = ""
    """The operations of both networks where they part."""
    calls: tuple[str, ...] = ()
    """The transposed convolution of each network, with what belongs to it."""
    layer: Diagnosis | None = None
    """Cause of the difference there."""
    notes: tuple[str, ...] = ()
    outputs: tuple[Array, Array] | None = None
    """The first outputs, for the picture."""
    fusion: FusionFault | None = None
    """Operations that a runtime fuses wrongly, for the verdict "fused"."""
    function: str = ""
    """Function that gives the output and is at most 1, "Sigmoid" for example, where it is judged on that scale."""

    def draw(self, ax: Axes | None = None, *, theme: str = "light") -> Axes:
        """Draw the difference of the layer, or of the first outputs where no layer is named."""
        from tconv.draw import difference  # here, because matplotlib is optional

        if self.layer is not None and self.layer.outputs is not None:
            return self.layer.draw(ax, theme=theme)
        assert self.outputs is not None
        pictures = [each.reshape(1, 1, *each.shape) if each.ndim < 3 else each for each in self.outputs]
        return difference(*pictures, title=self.verdict, ax=ax, theme=theme)

    def __str__(self) -> str:
        lines = [self._headline()]
        if self.place:
            lines.append(f"begins    {self.place}")
        lines += [f"          {call}" for call in self.calls]
        if self.layer is not None:
            lines.append(f"          {self._meaning()}")
            lines += str(self.layer).splitlines()
        return "\n".join(lines + [f"note      {note}" for note in self.notes])

    def _meaning(self) -> str:
        """Return the meaning of the words "got" and "expected" in the diagnosis of a layer."""
        if self.fusion is not None:
            return f"got is {self.fusion.network} as a whole; expected is the same with all tensors as outputs"
        return f"got is {self.names[0]}; expected, which is taken as right, is {self.names[1]}"

    def _headline(self) -> str:
        both = " and ".join(self.names)
        counts = f"{len(self.shapes[0])} output{'s' * (len(self.shapes[0]) != 1)}"
        shapes = ", ".join(str(list(shape)) for shape in self.shapes[0][:3])
        if self.verdict == "equal":
            return f"equal     {both} agree to within rounding: {counts} {shapes}; {self._size()}"
        if self.verdict == "untellable":
            return f"unclear   {both} cannot be compared on this input: {self._size()}"
        if self.before is None:
            others = ", ".join(str(list(shape)) for shape in self.shapes[1][:3])
            return f"differs   {both}: outputs {shapes} and {others}"
        return f"differs   {both}: {counts} {shapes}; {self._size()}"

    def _size(self) -> str:
        if self.before is None or math.isnan(self.before):
            return "no number is finite in both"
        scale = f"1, the most that its {self.function} gives" if self.function else "the root mean square"
        return f"largest difference {self.before:.2g} of {scale}, rounding is up to {self.rounding:.1g}"

    def facts(self) -> dict[str, Any]:
        """Return all but the arrays, for JSON."""
        facts: dict[str, Any] = {
            "layer": self.place or None,
            "verdict": self.verdict,
            "cause": None,
            "fix": "",
            "outputs": {
                "before": self.before,
                "rounding": self.rounding,
                "shapes": self.shapes,
                "function": self.function,
            },
            "calls": self.calls,
            "network_notes": self.notes,
            "fused": None if self.fusion is None else self.fusion.facts(),
        }
        if self.layer is not None:
            names = ("verdict", "cause", "fix", "before", "rounding", "shapes", "notes", "tried")
            facts |= {name: getattr(self.layer, name) for name in names}
            facts["findings"] = [asdict(finding) for finding in self.layer.findings]
            facts["verdict"] = self.verdict
        else:
            facts |= {"before": self.before, "rounding": self.rounding}
        return facts


def largest(one: Array, two: Array, scale: float | None = None) -> float | None:
    """Return the largest difference of two outputs of one shape in root mean squares of the second, or in `scale`."""
    if one.shape != two.shape:
        return None
    a, b = (np.asarray(each, np.float64) for each in (one, two))
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.any():
        return math.nan
    rms = float(np.sqrt((b[finite] ** 2).mean())) if scale is None else scale
    gap = float(np.abs(a - b)[finite].max())
    return gap / rms if rms > 0 else (0.0 if gap == 0 else math.inf)


def output_size(one: Reference, two: Array, function: str) -> tuple[float | None, float, str]:
    """Return the largest difference and limit of an output in units of its root mean square, or of a function's 1.

    Limits are per channel: where the largest difference is below the largest limit, and another one beyond its own,
    that one is returned.
    """
    best: tuple[float, Array] | None = None
    for arranged in arrangements(two, one.values.shape):
        gap = largest(one.values, arranged, 1.0 if function else None)
        if gap is not None and (best is None or gap < best[0]):
            best = gap, arranged
    rms = float(np.sqrt(np.mean(np.square(np.nan_to_num(np.asarray(two, np.float64)))))) if two.size else 0.0
    scale = 1.0 if function else rms
    limit = float(np.max(one.limit, initial=0))
    if best is None or not scale:
        return None if best is None else best[0], 0.0, function
    if best[0] * scale <= limit and not agree(one, two):
        gap, limit = worst(one, best[1])
        return gap / scale, limit / scale, function
    return best[0], limit / scale, function
