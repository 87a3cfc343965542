"""Record of a trap: something about a model that goes wrong, is refused or is slow somewhere, and the way around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["wrong", "refused", "slow", "note"]

SEVERITIES: tuple[Severity, ...] = ("wrong", "refused", "slow", "note")
"""Severities, the gravest first."""


@dataclass(frozen=True)
class Trap:
    """Trap of one layer, or of the whole file."""

    key: str
    """Name of the trap in `tconv.checking.traps.TRAPS`: "frozen-output-padding"."""
    layer: str
    """Name of the layer; "" for the whole file."""
    severity: Severity
    """"wrong" for other numbers without an error, "refused" for an error, "slow", "note"."""
    what: str
    """Sentence with the numbers of this file."""
    who: str
    """Runtimes and versions that are hit."""
    source: str
    """An issue, owner/repo#number, a document, or "observed" with the version."""
    instead: str
    """Line or setting to write in its place."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Numbers of `what`, for programs and pictures."""

    def facts(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        names = ("key", "layer", "severity", "what", "who", "source", "instead")
        return {name: getattr(self, name) for name in names} | {"numbers": dict(self.numbers)}
