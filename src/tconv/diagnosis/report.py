"""Result of a diagnosis: its findings, best first, its notes, and the report as text.

`diagnose` returns a `Diagnosis`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tconv._arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Finding:
    """One explanation: one or two causes that together turn one output into the other."""

    causes: tuple[str, ...]
    """Names of the causes, short and stable."""
    text: str
    """Description of what happened, in one sentence."""
    fix: str
    """A line of Python that fixes it; "" if there is none."""
    residual: float
    """Largest remaining distance, in units of the output's root mean square."""
    also: tuple[str, ...] = ()
    """Other names of the same cause: framework rules and listed faults with the same effect."""
    sources: tuple[str, ...] = ()
    """Issues that describe it, owner/repo#number."""
    certain: bool = True
    """False if it explains most of a rounding error, or its statistics, but not every number."""


@dataclass(frozen=True)
class Diagnosis:
    """Explanation of the difference of two outputs. `print` it; `findings` fit equally well and come best first."""

    verdict: str
    """"equal", "found", "likely" (rounding explains most of it, or its statistics), "none" (no cause that was tried
    fits), or "untellable" (the outputs have too little information)."""
    findings: tuple[Finding, ...]
    before: float | None
    """Largest difference of the two outputs, in units of expected's root mean square; None if their shapes differ."""
    rounding: float
    """Largest difference that rounding alone explains, in the same units."""
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Shapes of got and expected, as they were given."""
    notes: tuple[str, ...] = ()
    """Further facts: the output that the call describes, NaNs, causes that cannot be seen in these numbers."""
    tried: str = ""
    """Number of causes and hypotheses tried, and the time in seconds."""
    outputs: tuple[Array, Array] | None = field(default=None, repr=False, compare=False)
    """Got and expected as [N, C, *spatial], for the picture."""

    @property
    def cause(self) -> str | None:
        """Name of the first finding, its causes joined by " + "; None if there is none."""
        return " + ".join(self.findings[0].causes) if self.findings else None

    @property
    def fix(self) -> str:
        """Fix of the first finding; "" if there is none."""
        return self.findings[0].fix if self.findings else ""

    def draw(self, ax: Axes | None = None, *, theme: str = "light") -> Axes:
        """Draw the difference: `tconv.draw.difference(got, expected)`, with both arrays in one layout."""
        from tconv.draw import difference  # here, because matplotlib is optional

        assert self.outputs is not None
        return difference(*self.outputs, title=self.cause or self.verdict, ax=ax, theme=theme)

    def __str__(self) -> str:
        lines = [self._headline()]
        lines += [f"          {line}" for line in self._details()]
        lines.append(f"residual  {self._residual()}")
        if self.fix:
            lines.append(f"fix       {self.fix}")
        for other in self.findings[1:4]:
            lines.append(f"fits too  {other.text}")
            if other.fix and other.fix != self.fix:
                lines.append(f"          {other.fix}")
        if len(self.findings) > 4:
            lines.append(
                f"          and {len(self.findings) - 4} more: "
                f"{', '.join(' + '.join(f.causes) for f in self.findings[4:])}"
            )
        lines += [f"note      {note}" for note in self.notes]
        lines.append(f"tried     {self.tried}")
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.verdict == "equal":
            return "equal     got and expected agree to within rounding"
        if self.verdict == "untellable":
            return "unclear   these outputs have too little information to name a cause"
        if not self.findings:
            return "unknown   no cause that was tried turns one output into the other"
        return f"{'cause ' if self.findings[0].certain else 'likely'}    {self.findings[0].text}"

    def _details(self) -> list[str]:
        if not self.findings:
            return []
        first = self.findings[0]
        details = []
        if first.also:
            more = f"; and {len(first.also) - 5} more" if len(first.also) > 5 else ""
            details.append(f"also known as: {'; '.join(first.also[:5])}{more}")
        if first.sources:
            details.append(f"seen in {', '.join(first.sources)}")
        return details

    def _residual(self) -> str:
        if self.before is None:
            before = f"shapes {self.shapes[0]} and {self.shapes[1]} differ"
        else:
            before = "no place is finite in both" if math.isnan(self.before) else f"{self.before:.2g} before"
        after = f", {self.findings[0].residual:.2g} after" if self.findings else ""
        return f"{before}{after}; rounding is up to {self.rounding:.1g} (of the root mean square of expected)"


def joined(texts: list[str]) -> str:
    """Return texts as one list: a, b and c."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def in_rms(value: float, rms: float) -> float:
    """Return a distance in units of a root mean square."""
    return value / rms if rms > 0 else (0.0 if value == 0 else float("inf"))
