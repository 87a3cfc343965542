"""Explanation: causes that together make the call give the other output, and the order of several explanations.

The search returns explanations, and `finding_builder` writes them for the report.
"""

from __future__ import annotations

from dataclasses import dataclass

from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes import crop_names
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.causes.crop_rule import CropPairs, Rule


@dataclass(frozen=True, eq=False)
class Explanation:
    """Causes that together make a call give the output to explain."""

    causes: tuple[Cause, ...]
    call: CallModel
    """The call with the causes that change it."""
    error: float
    """Largest distance from the output."""
    rules: tuple[Rule, ...] = ()
    """Names of the crop, if the crop is one of the causes."""
    given_crop: CropPairs = ()
    """Crop of the given call."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the causes."""
        return tuple(cause.name for cause in self.causes)

    def crop_text(self, rule: Rule) -> str:
        """Return the text for the crop under the name of this rule."""
        return f"the crop is {_shown(rule.crop)} instead of {_shown(self.given_crop)}: {rule.text}"


def _shown(crop: CropPairs) -> str:
    return str(crop[0]) if len(set(crop)) == 1 else str(crop)


_ORDER = ("crop", "weight", "bias", "rounding", "grid", "x", "result", "border", "scale", "fault", "places")


def rank(explanation: Explanation) -> tuple[float, ...]:
    """Return a sort key: the parts that are usually wrong come first, crops without a name last."""
    parts = [_ORDER.index(cause.part) for cause in explanation.causes]
    return (has_unnamed_crop(explanation), max(parts), sum(parts))


def is_wrong_part(cause: Cause) -> bool:
    """Return True if a cause states only where an output is wrong, and nothing about its numbers there."""
    return cause.part == "result" and cause.change is None and cause.inverse is None


def has_unnamed_crop(explanation: Explanation) -> bool:
    """Return True if the crop is known by its numbers only."""
    return any(cause.part == "crop" for cause in explanation.causes) and crop_names.is_unnamed(explanation.rules[0])
