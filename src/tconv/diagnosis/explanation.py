"""A fit: causes that together make a call give the target; and which of several comes first."""

from __future__ import annotations

from dataclasses import dataclass

from tconv.diagnosis.canonical_call import Setting
from tconv.diagnosis.causes import crops
from tconv.diagnosis.causes.cause import Cause


@dataclass(frozen=True, eq=False)
class Fit:
    """Causes that together make a call give the target."""

    causes: tuple[Cause, ...]
    setting: Setting
    """The call with the causes that change it."""
    error: float
    """Largest distance from the target."""
    rules: tuple[crops.Rule, ...] = ()
    """Names of the crop, where that is one of the causes."""
    base: crops.Pairs = ()
    """The crop before that."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the causes."""
        return tuple(cause.name for cause in self.causes)

    def words(self, rule: crops.Rule) -> str:
        """The crop that was found, by the name of this rule."""
        return f"the crop is {_shown(rule.crop)} instead of {_shown(self.base)}: {rule.words}"


def _shown(crop: crops.Pairs) -> str:
    return str(crop[0]) if len(set(crop)) == 1 else str(crop)


_ORDER = ("crop", "weight", "bias", "rounding", "grid", "x", "result", "scale", "fault")


def rank(fit: Fit) -> tuple[float, ...]:
    """Named crops first, then the parts in the order in which they are usually wrong; crops without a name last."""
    parts = [_ORDER.index(cause.part) for cause in fit.causes]
    return (unnamed(fit), max(parts), sum(parts))


def unnamed(fit: Fit) -> bool:
    """Whether its crop has numbers, but no name."""
    return any(cause.name in ("crop shifted", "crop at the end") for cause in fit.causes)
