"""What a diagnosis says: its findings, best first, and the same as text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tconv.diagnosis.canonical_call import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Finding:
    """One explanation: one or two causes that together turn one output into the other."""

    causes: tuple[str, ...]
    """Names of the causes, short and stable."""
    words: str
    """What happened, in a sentence."""
    fix: str
    """A line of Python that mends it, "" where there is none."""
    residual: float
    """Largest distance that remains, in units of the output's root mean square."""
    also: tuple[str, ...] = ()
    """Other names of the same thing: whose rule it is, listed faults that do it."""
    sources: tuple[str, ...] = ()
    """Issues that describe it, owner/repo#number."""
    certain: bool = True
    """False where a rounding is explained for the most part, or in its statistics."""


@dataclass(frozen=True)
class Diagnosis:
    """Why two outputs differ. `print` it; `findings` are best first, and fit equally well."""

    verdict: str
    """"equal", "found", "likely" (a rounding explains most of it, or its statistics), "none" (nothing that was tried
    fits), or "untellable" (the outputs say too little)."""
    findings: tuple[Finding, ...]
    before: float | None
    """Largest difference of the two outputs, in units of expected's root mean square; None if their shapes differ."""
    rounding: float
    """What rounding alone explains, in the same units."""
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Shapes of got and expected, as they were given."""
    notes: tuple[str, ...] = ()
    """What else is to be known: which of the two the call describes, NaNs, what cannot be seen in these numbers."""
    tried: str = ""
    """What was looked at, and how long that took."""
    outputs: tuple[Array, Array] | None = field(default=None, repr=False, compare=False)

    @property
    def cause(self) -> str | None:
        """Name of the first finding, its causes joined by " + "; None if there is none."""
        return " + ".join(self.findings[0].causes) if self.findings else None

    @property
    def fix(self) -> str:
        """The first finding's line; "" if there is none."""
        return self.findings[0].fix if self.findings else ""

    def draw(self, ax: Axes | None = None) -> Axes:
        """A picture of the difference: `tconv.draw.difference(got, expected)`, of arrays brought into one layout."""
        from tconv import draw

        assert self.outputs is not None
        return draw.difference(*self.outputs, title=self.cause or self.verdict, ax=ax)

    def __str__(self) -> str:
        lines = [self._headline()]
        lines += [f"          {words}" for words in self._details()]
        lines.append(f"residual  {self._residual()}")
        if self.fix:
            lines.append(f"fix       {self.fix}")
        for other in self.findings[1:4]:
            lines.append(f"fits too  {other.words}")
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
            return "unclear   these outputs say too little to name a cause"
        if not self.findings:
            return "unknown   none of these: nothing that was tried turns one output into the other"
        return f"{'cause ' if self.findings[0].certain else 'likely'}    {self.findings[0].words}"

    def _details(self) -> list[str]:
        if not self.findings:
            return []
        first = self.findings[0]
        found = []
        if first.also:
            more = f"; and {len(first.also) - 5} more" if len(first.also) > 5 else ""
            found.append(f"also known as: {'; '.join(first.also[:5])}{more}")
        if first.sources:
            found.append(f"seen in {', '.join(first.sources)}")
        return found

    def _residual(self) -> str:
        if self.before is None:
            before = f"shapes {self.shapes[0]} and {self.shapes[1]} differ"
        else:
            before = "no place is finite in both" if math.isnan(self.before) else f"{self.before:.2g} before"
        after = f", {self.findings[0].residual:.2g} after" if self.findings else ""
        return f"{before}{after}; rounding is up to {self.rounding:.1g} (of the root mean square of expected)"


def joined(words: list[str]) -> str:
    """The words in a row: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def of_rms(value: float, rms: float) -> float:
    """A distance in units of a root mean square."""
    return value / rms if rms > 0 else (0.0 if value == 0 else float("inf"))
