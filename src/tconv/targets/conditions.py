"""Conditions of rules: comparisons of quantities, and alternatives; each judges a layer, and says itself in words.

A verdict is True, False, or None where a size that varies leaves it open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tconv.targets.expressions import Expression
from tconv.targets.layer_facts import LayerFacts
from tconv.targets.quantities import FLAGS, Kind, Value, Values

Verdict = bool | None


def every(verdicts: Sequence[Verdict]) -> Verdict:
    """Return True if all are, False if one is, else None.

    >>> every([True, None]), every([None, False])
    (None, False)
    """
    return False if False in verdicts else None if None in verdicts else True


def some(verdicts: Sequence[Verdict]) -> Verdict:
    """Return True if one is, False if none can be, else None."""
    return True if True in verdicts else None if None in verdicts else False


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "min": lambda a, b: a >= b,
    "max": lambda a, b: a <= b,
    "above": lambda a, b: a > b,
    "below": lambda a, b: a < b,
    "multiple_of": lambda a, b: b != 0 and a % b == 0,
}

_WORDS = {
    "equal": "",
    "not_equal": "anything but ",
    "min": "at least ",
    "max": "at most ",
    "above": "more than ",
    "below": "less than ",
    "multiple_of": "multiples of ",
    "in": "",
    "not_in": "anything but ",
}

COMPARISONS = (*_COMPARE, "in", "not_in", "all_equal", "fixed")
"""Comparisons that a rule can write behind a quantity."""


def _listed(choices: Sequence[Value]) -> str:
    """Return choices as text: "1, 2 or 4", and runs of numbers as "1 to 8"."""
    numbers = [choice for choice in choices if isinstance(choice, int)]
    if len(numbers) == len(choices) > 3 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]} to {numbers[-1]}"
    texts = [str(choice) if choice != "" else "none" for choice in choices]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


@dataclass(frozen=True)
class LimitComparison:
    """One comparison: with an expression, with a list of values, or of all entries with each other."""

    name: str
    right: Expression | tuple[Value, ...] | None = None

    def verdicts(self, left: Values, facts: LayerFacts) -> tuple[Verdict, ...]:
        """Return one verdict per entry of the left side."""
        if self.name == "fixed":
            return tuple(entry is not None for entry in left.entries)
        if self.name == "all_equal":
            known = {entry for entry in left.entries if entry is not None}
            return ((None if None in left.entries and len(known) < 2 else len(known) < 2),) * len(left.entries)
        if isinstance(self.right, tuple):
            choices, wanted = self.right, self.name == "in"
            return tuple(None if entry is None else (entry in choices) == wanted for entry in left.entries)
        assert self.right is not None
        right = self.right.values(facts)
        return tuple(self._verdict(entry, right.entry(index)) for index, entry in enumerate(left.entries))

    def _verdict(self, entry: Value, other: Value) -> Verdict:
        """Return the verdict on one number."""
        return None if entry is None or other is None else _COMPARE[self.name](int(entry), int(other))

    def words(self, facts: LayerFacts | None = None, index: int = 0) -> str:
        """Return what it accepts: "at most 31", or with a layer's number "at most 3 (kernel - 1)"."""
        if self.name == "fixed":
            return "a fixed number"
        if self.name == "all_equal":
            return "one number for all axes"
        if isinstance(self.right, tuple):
            return f"{_WORDS[self.name]}{_listed(self.right)}"
        assert self.right is not None
        right = self.right
        if right.number is not None:
            return f"{_WORDS[self.name]}{right.text}"
        value = None if facts is None else right.values(facts).entry(index)
        if value is not None:
            return f"{_WORDS[self.name]}{value} ({right.text})"
        return f"{_WORDS[self.name] or 'equal to '}{right.text}"


def _joined(comparisons: Sequence[LimitComparison], facts: LayerFacts | None = None, index: int = 0) -> str:
    """Return what several comparisons accept together: "1 to 31", "at least 2 and multiples of 4"."""
    ends = {each.name: each for each in comparisons if each.name in ("min", "max")}
    rest = [each for each in comparisons if len(ends) < 2 or each.name not in ends]
    texts = [each.words(facts, index) for each in rest]
    if len(ends) == 2:
        low, high = (ends[name].words(facts, index).partition(" ")[2].partition(" ")[2] for name in ("min", "max"))
        texts.insert(0, f"{low} to {high}")
    return " and ".join(texts)


def _number_of(accepted: str) -> str:
    """Return "is" or "are" for what is accepted."""
    several = (" to ", " or ", "multiples ", " and ")
    return "are" if any(word in accepted for word in several) else "is"


def _place(kind: Kind, indices: Sequence[int], ndim: int) -> str:
    """Return where broken entries lie; "" if that is everywhere."""
    count = ndim * (2 if kind == "ends" else 1)
    if kind == "one" or len(indices) == count:
        return ""
    ends = ("at the beginning of ", "at the end of ") if kind == "ends" else ("on ",)
    return " " + " and ".join(f"{ends[index // ndim]}axis {index % ndim}" for index in indices)


def shown(values: Sequence[Value]) -> str:
    """Return values as a message shows them: one if all are equal, else "3x5"; "?" for a size that varies."""
    texts = ["?" if value is None else str(value) if value != "" else "none" for value in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _axes_text(number: str) -> str:
    """Return "1 spatial axis" or "2 spatial axes"."""
    return f"{number} spatial {'axis' if number == '1' else 'axes'}"


def value_text(quantity: Expression, facts: LayerFacts) -> str:
    """Return a quantity with its value for a layer: "stride is 2x1", "the input's height varies"."""
    entries = quantity.values(facts).entries
    if quantity.quantity == "ndim":
        return f"the layer has {_axes_text(str(entries[0]))}"
    if quantity.is_flag:
        return f"the layer has {FLAGS[quantity.quantity][not entries[0]]}"
    return f"{quantity.words} {'varies' if set(entries) == {None} else f'is {shown(entries)}'}"


@dataclass(frozen=True)
class Compared:
    """Condition on one quantity or expression: every comparison holds for every entry."""

    left: Expression
    comparisons: tuple[LimitComparison, ...]

    def _entries(self, facts: LayerFacts) -> tuple[Values, list[Verdict]]:
        """Return the values, and a verdict for each."""
        left = self.left.values(facts)
        columns = [comparison.verdicts(left, facts) for comparison in self.comparisons]
        return left, [every(column) for column in zip(*columns, strict=True)]

    def verdict(self, facts: LayerFacts) -> Verdict:
        """Return True if it holds on all axes."""
        return every(self._entries(facts)[1])

    def given(self, facts: LayerFacts) -> str:
        """Return what the layer has: "stride is 3 on axis 0"."""
        left, verdicts = self._entries(facts)
        whole = self.left.is_flag or self.left.quantity == "ndim"
        if whole or any(comparison.name == "all_equal" for comparison in self.comparisons):
            return value_text(self.left, facts)
        broken = self._broken(verdicts)
        place = _place(left.kind, broken, facts.ndim)
        entries = [left.entries[index] for index in broken]
        return f"{self.left.words} {'varies' if set(entries) == {None} else f'is {shown(entries)}'}{place}"

    def _broken(self, verdicts: list[Verdict]) -> list[int]:
        """Return the entries that break it, or that are open if none does; all of them if it holds."""
        for kind in (False, None):
            found = [index for index, verdict in enumerate(verdicts) if verdict is kind]
            if found:
                return found
        return list(range(len(verdicts)))

    def accepted(self, facts: LayerFacts) -> str:
        """Return what is accepted instead, with the layer's numbers: "at most 3 (kernel - 1) is accepted"."""
        if self.left.is_flag:
            return f"{self._flag_words()} is accepted"
        broken = self._broken(self._entries(facts)[1])
        # an axis that another one's limit differs from gets its own number
        texts = list(dict.fromkeys(_joined(self.comparisons, facts, index) for index in broken))
        plural = self.left.quantity == "ndim" and texts[-1][-2:] not in ("1", " 1")
        return f"{', '.join(texts)} {'are' if plural else _number_of(texts[-1])} accepted"

    def _flag_words(self) -> str:
        """Return the words for what is true or false."""
        right = self.comparisons[0].right
        wanted = isinstance(right, tuple) and right[0] is True
        return FLAGS[self.left.quantity][not wanted]

    def words(self, verb: str = " ") -> str:
        """Return the condition without a layer: "kernel at most 31", or with the `verb` " is " between."""
        if self.left.is_flag:
            return self._flag_words()
        if self.left.quantity == "ndim":
            return _axes_text(_joined(self.comparisons))
        return f"{self.left.words}{verb}{_joined(self.comparisons)}"


@dataclass(frozen=True)
class Combined:
    """Several conditions: all of them, or any of them."""

    conditions: tuple[Condition, ...]
    any: bool = False

    def verdict(self, facts: LayerFacts) -> Verdict:
        """Return True if all hold, or if any does."""
        verdicts = [condition.verdict(facts) for condition in self.conditions]
        return some(verdicts) if self.any else every(verdicts)

    def given(self, facts: LayerFacts) -> str:
        """Return what the layer has in every condition that does not hold, once per quantity."""
        failing = [condition for condition in self.conditions if condition.verdict(facts) is not True]
        texts = (text for condition in failing for text in condition.given(facts).split(", "))
        return ", ".join(dict.fromkeys(texts))

    def accepted(self, facts: LayerFacts) -> str:
        """Return what is accepted instead."""
        if not self.any:
            failing = [condition for condition in self.conditions if condition.verdict(facts) is not True]
            return ", ".join(dict.fromkeys(condition.accepted(facts) for condition in failing))
        return f"{self.words()} are accepted"

    def words(self, verb: str = " ") -> str:
        """Return the conditions without a layer."""
        return (" or " if self.any else " and ").join(condition.words(verb) for condition in self.conditions)


Condition = Compared | Combined
