"""Targets: a runtime or chip, the rules of its transposed convolutions, and the limits that a layer breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tconv.targets.conditions import Compared, Condition, value_text
from tconv.targets.expressions import Expression
from tconv.targets.layer_facts import LayerFacts

DEFAULT_OPERATIONS = (
    *("conv", "depth_to_space", "matmul", "pad", "slice", "concat", "split", "add", "mul"),
    *("reshape", "transpose", "squeeze", "unsqueeze"),
)
"""Operations that a target is taken to have if its profile does not say otherwise."""

TRANSPOSED = "conv_transpose"


@dataclass(frozen=True)
class Limit:
    """One limit of a target that a layer breaks."""

    key: str
    """Name of the rule: "stride"."""
    text: str
    """Layer's number and the accepted ones: "stride is 3; 1 or 2 are accepted"."""
    source: str
    """Document or code that states the rule."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Rule:
    """One rule of a target: where it applies, and what it accepts."""

    key: str
    condition: Condition
    when: Condition | None = None
    """Condition under which the rule applies; always if it is None."""
    operation: str = TRANSPOSED
    source: str = ""
    note: str = ""
    """Words that follow the numbers of its limit."""
    accepted: str = ""
    """Words for what it accepts, where its conditions are hard to read: "the pads of SAME or VALID"."""
    shows: tuple[Expression, ...] = ()
    """Quantities that its limit shows; those of its broken conditions if there are none."""

    def verdict(self, facts: LayerFacts) -> bool | None:
        """Return False if the layer breaks it, None if a size that varies leaves it open, else True."""
        applies = True if self.when is None else self.when.verdict(facts)
        holds = self.condition.verdict(facts)
        if applies is False or holds is True:
            return True
        return None if applies is None else holds

    def limit(self, facts: LayerFacts) -> Limit:
        """Return the limit in numbers, for a layer that breaks it or leaves it open."""
        note = f" ({self.note})" if self.note else ""
        given = ", ".join(value_text(each, facts) for each in self.shows) or self.condition.given(facts)
        accepted = f"{self.accepted} are accepted" if self.accepted else self.condition.accepted(facts)
        return Limit(self.key, f"{given}; {accepted}{self._where}{note}", self.source)

    def words(self) -> str:
        """Return the rule in one line: "stride 1 or 2"."""
        return (self.accepted or self.condition.words()) + self._where

    @property
    def _where(self) -> str:
        """Words for where it applies: " where dtype int8", " with an output_shape"."""
        if self.when is None:
            return ""
        possessed = isinstance(self.when, Compared) and (self.when.left.is_flag or self.when.left.quantity == "ndim")
        return f" with {self.when.words()}" if possessed else f" where {self.when.words(' is ')}"


@dataclass(frozen=True)
class Target:
    """Runtime or chip, and the transposed convolutions that it accepts.

    >>> from tconv.targets import LayerFacts, target
    >>> layer = LayerFacts((4, 4), (3, 3), (1, 1), (1, 1), (1, 1), (0, 0), 1, 8, 8, dtype="int8")
    >>> [limit.text for limit in target("ethos-u").limits_against(layer)]
    ['stride is 3; 1 or 2 are accepted']
    """

    name: str
    title: str
    version: str
    """Version of the target, or of the document, that was read."""
    date: str
    """Day on which the rules were checked at their source, as "2026-11-29"."""
    sources: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    aliases: tuple[str, ...] = ()
    checked: str = ""
    """Note if a source was not reached on that day; "" if all were read."""
    note: str = ""
    operations: Mapping[str, bool] = field(default_factory=dict, hash=False)
    """True for operations that the source says it has, False for those that it lacks; others are taken as usual."""
    accepts: LayerFacts | None = None
    """Layer that it accepts; None if it accepts none."""
    refuses: LayerFacts | None = None
    refused_by: tuple[str, ...] = ()
    """Keys of the rules that refuse that layer."""

    def limits_against(self, facts: LayerFacts, operation: str = TRANSPOSED) -> tuple[Limit, ...]:
        """Return every limit that a layer breaks; none if the target accepts it.

        `operation` "conv" asks for the limits of an ordinary convolution with these numbers, where they are known.
        Sizes that vary break no limit; `open_limits` has the rules that depend on them.
        """
        if not self.accepts_operation(operation):
            name = "transposed convolution" if operation == TRANSPOSED else operation
            return (Limit("operator", f"there is no {name}", self.sources[0]),)
        rules = self._rules(operation)
        return tuple(rule.limit(facts) for rule in rules if rule.verdict(facts) is False)

    def open_limits(self, facts: LayerFacts, operation: str = TRANSPOSED) -> tuple[Limit, ...]:
        """Return the limits that depend on a size of the layer that varies."""
        if not self.accepts_operation(operation):
            return ()
        return tuple(rule.limit(facts) for rule in self._rules(operation) if rule.verdict(facts) is None)

    def accepts_operation(self, kind: str) -> bool:
        """Return True if the target has an operation: "conv", "depth_to_space", "matmul" ...

        Operations that the profile does not name are taken as present if they are usual ones.

        >>> from tconv.targets import target
        >>> target("conv-only").accepts_operation("conv_transpose"), target("conv-only").accepts_operation("conv")
        (False, True)
        """
        return self.operations.get(kind, kind == TRANSPOSED or kind in DEFAULT_OPERATIONS)

    def _rules(self, operation: str) -> tuple[Rule, ...]:
        """Return the rules of one operation."""
        return tuple(rule for rule in self.rules if rule.operation == operation)

    @property
    def summary(self) -> str:
        """Its rules in one line."""
        if not self.accepts_operation(TRANSPOSED):
            return "no transposed convolution"
        return "; ".join(rule.words() for rule in self._rules(TRANSPOSED)) or "no limit is known"
