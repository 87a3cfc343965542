"""Readers of one rule, condition or layer of a profile, from the tables of its TOML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from tconv._arguments import shown
from tconv.targets.conditions import COMPARISONS, Combined, Compared, Condition, LimitComparison
from tconv.targets.expressions import Expression, expression_of
from tconv.targets.layer_facts import LayerFacts
from tconv.targets.profile import TRANSPOSED, Rule
from tconv.targets.quantities import FLAGS

DEEPEST = 4
"""Levels of any_of and all_of inside each other."""
LONGEST_LIST = 1000
LARGEST_NUMBER = 2**53

_OWN_KEYS = ("key", "when", "source", "note", "operation", "accepted", "shows")
_CONDITION_KEYS = ("quantity", *COMPARISONS, "any_of", "all_of")


class RuleError(Exception):
    """Mistake in a rule, without the name of its file."""


def rule_of(table: Mapping[str, Any], sources: Sequence[str]) -> Rule:
    """Return the rule of one [[rule]] table. Raises RuleError."""
    key = table.get("key")
    if not isinstance(key, str) or not key:
        raise RuleError(f'the rule has key {shown(key)}; a name is needed. Write key = "stride"')
    try:
        for name in ("source", "note", "operation", "accepted"):
            if not isinstance(table.get(name, ""), (str, int) if name == "source" else str):
                raise RuleError(f'{name} is {shown(table[name])}; a text is needed. Write {name} = "..."')
        conditions = {name: value for name, value in table.items() if name not in _OWN_KEYS}
        return Rule(
            key=key,
            condition=condition_of(conditions),
            when=_when(table["when"]) if "when" in table else None,
            operation=table.get("operation", TRANSPOSED),
            source=_source(table.get("source", 1), sources),
            note=table.get("note", ""),
            accepted=table.get("accepted", ""),
            shows=_shows(table.get("shows", [])),
        )
    except RuleError as mistake:
        raise RuleError(f"rule {key!r}: {mistake}") from None


def _source(value: str | int, sources: Sequence[str]) -> str:
    """Return a rule's source: its own text, or the number of one in the list, counted from 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not 1 <= value <= len(sources):
        raise RuleError(f"source is {shown(value)}; 1 to {len(sources)} are in the list of sources. Write source = 1")
    return sources[value - 1]


def _shows(value: Any) -> tuple[Expression, ...]:
    """Return the quantities that a rule's limit shows."""
    if not isinstance(value, list) or len(value) > LONGEST_LIST:
        raise RuleError(f'shows is {shown(value)}; a list of quantities is needed. Write shows = ["kernel", "stride"]')
    return tuple(_expression(entry, "shows") for entry in value)


def _when(value: Any) -> Condition:
    """Return the condition under which a rule applies: one table, or a list of them that all hold."""
    if isinstance(value, list):
        return condition_of({"all_of": value}, place="when: ")
    if not isinstance(value, dict):
        raise RuleError(
            f'when is {shown(value)}; a condition is needed. Write when = {{ quantity = "ndim", equal = 1 }}'
        )
    return condition_of(value, place="when: ")


def condition_of(table: Mapping[str, Any], depth: int = 0, place: str = "") -> Condition:
    """Return the condition of a table: comparisons of one quantity, or any_of or all_of with a list of conditions."""
    for name in table:
        if name not in _CONDITION_KEYS:
            raise RuleError(f"{place}{name!r} is no key of a rule{_hint(name, (*_CONDITION_KEYS, *_OWN_KEYS))}")
    groups = [name for name in ("any_of", "all_of") if name in table]
    if groups:
        if len(table) > 1:
            raise RuleError(f"{place}{groups[0]} stands beside {', '.join(set(table) - {groups[0]})}; write it alone")
        return _combined(table[groups[0]], groups[0], depth, place)
    return _compared(table, place)


def _combined(entries: Any, group: str, depth: int, place: str) -> Combined:
    """Return alternatives, or conditions that all hold."""
    if depth >= DEEPEST:
        raise RuleError(f"{place}any_of and all_of are nested more than {DEEPEST} deep")
    if not isinstance(entries, list) or not entries or len(entries) > LONGEST_LIST:
        raise RuleError(
            f"{place}{group} is {shown(entries)}; a list of conditions is needed. Write "
            f"{group} = [{{ quantity = ... }}, ...]"
        )
    conditions: list[Condition] = []
    for entry in entries:
        if isinstance(entry, list):
            conditions.append(_combined(entry, "all_of", depth + 1, place))
        elif isinstance(entry, dict):
            conditions.append(condition_of(entry, depth + 1, place))
        else:
            raise RuleError(
                f'{place}{group} has {shown(entry)}; a condition is needed. Write {{ quantity = "stride", max = 2 }}'
            )
    return Combined(tuple(conditions), group == "any_of")


def _compared(table: Mapping[str, Any], place: str) -> Compared:
    """Return the comparisons of one quantity."""
    if "quantity" not in table:
        raise RuleError(f'{place}quantity is missing; the limited number is needed. Write quantity = "stride"')
    left = _expression(table["quantity"], f"{place}quantity")
    comparisons = tuple(_comparison(name, value, left, place) for name, value in table.items() if name != "quantity")
    if not comparisons:
        raise RuleError(
            f"{place}{left.text} is compared with nothing; one of {', '.join(COMPARISONS)} is needed. Write max = 2"
        )
    return Compared(left, comparisons)


def _expression(value: Any, name: str) -> Expression:
    """Return a number or a text as an expression."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise RuleError(
            f"{name} is {shown(value)}; a whole number or a quantity is needed. Write "
            f'{name.split(": ")[-1]} = 2 or "kernel - 1"'
        )
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise RuleError(f"{name} is {shown(value)}; numbers of at most 2**53 are read")
    try:
        return expression_of(value)
    except ValueError as error:
        raise RuleError(f"{name} is {shown(value)}: {error}") from None


def _comparison(name: str, value: Any, left: Expression, place: str) -> LimitComparison:
    """Return one comparison, whose right side fits the quantity on its left."""
    if name in ("all_equal", "fixed"):
        if value is not True:
            raise RuleError(
                f"{place}{name} is {shown(value)}; it can only be true. Write {name} = true, or leave it out"
            )
        return LimitComparison(name)
    if left.is_flag or left.is_text:
        return _choice(name, value, left, place)
    if name in ("in", "not_in"):
        _check_list(name, value, int, place, "[1, 2]")
        return LimitComparison(name, tuple(value))
    return LimitComparison(name, _expression(value, f"{place}{name}"))


def _choice(name: str, value: Any, left: Expression, place: str) -> LimitComparison:
    """Return the comparison of a text or of a quantity that is true or false."""
    kind, example = (
        (bool, "true") if left.quantity in FLAGS else (str, '"int8"' if left.quantity == "dtype" else '"..."')
    )
    if name in ("in", "not_in") and kind is str:
        _check_list(name, value, str, place, f"[{example}]")
        return LimitComparison(name, tuple(value))
    if name not in (("equal",) if kind is bool else ("equal", "not_equal")) or not isinstance(value, kind):
        raise RuleError(f"{place}{left.text} {name} {shown(value)} cannot be compared. Write equal = {example}")
    return LimitComparison("not_in" if name == "not_equal" else "in", (value,))


def _check_list(name: str, value: Any, kind: type, place: str, example: str) -> None:
    """Refuse what is no list of numbers or texts."""
    good = isinstance(value, list) and value and len(value) <= LONGEST_LIST
    if not good or not all(type(entry) is kind for entry in value):
        words = "whole numbers" if kind is int else "texts"
        raise RuleError(f"{place}{name} is {shown(value)}; a list of {words} is needed. Write {name} = {example}")


def _hint(word: str, words: Sequence[str]) -> str:
    """Return the advice for a word that does not exist."""
    import difflib  # for the message alone

    close = difflib.get_close_matches(word, words, 1)
    return f". Write {close[0]}" if close else f"; there are {', '.join(words)}"


# -- layers ------------------------------------------------------------------------------------------------------

_PER_AXIS = {"stride": 1, "dilation": 1, "pads_begin": 0, "pads_end": 0, "output_padding": 0}
_FIELDS = {each.name: each for each in fields(LayerFacts)}


def _is_count(value: Any, least: int) -> bool:
    """Return True for a whole number of at least `least`."""
    return type(value) is int and least <= value <= LARGEST_NUMBER


def layer_of(table: Mapping[str, Any]) -> LayerFacts:
    """Return the layer of an [accepts] or [refuses] table: `kernel` sets the number of axes, the rest has defaults.

    >>> layer_of({"kernel": [4, 4], "stride": 2, "pads": 1, "input": [8, 8]}).output
    (16, 16)
    """
    for name in table:
        if name not in _FIELDS and name != "pads":
            raise RuleError(f"{name!r} is no number of a layer{_hint(name, [*_FIELDS, 'pads'])}")
    kernel = table.get("kernel")
    if not isinstance(kernel, list) or not 1 <= len(kernel) <= 8 or not all(_is_count(size, 1) for size in kernel):
        raise RuleError(f"kernel is {shown(kernel)}; one size per spatial axis is needed. Write kernel = [4, 4]")
    ndim = len(kernel)
    if "pads" in table:
        pads = _sizes(table["pads"], 2 * ndim, "pads", -LARGEST_NUMBER)
        table = {**table, "pads_begin": list(pads[:ndim]), "pads_end": list(pads[ndim:])}
    axes: dict[str, Any] = {
        name: _sizes(table.get(name, least), ndim, name, least if least else -LARGEST_NUMBER)
        for name, least in _PER_AXIS.items()
    }
    counts = {name: table.get(name, usual) for name, usual in (("groups", 1), ("in_channels", 8), ("out_channels", 8))}
    for name, value in {**counts, "batch": table.get("batch", 1)}.items():
        if not _is_count(value, 1):
            raise RuleError(f"{name} is {shown(value)}; a whole number of at least 1 is needed. Write {name} = 8")
    varies = table.get("input") == "varies"
    sizes = None if "input" not in table or varies else _sizes(table["input"], ndim, "input", 1)
    output = None if sizes is None else _output(sizes, tuple(kernel), axes)
    rest = {name: _plain(name, value) for name, value in table.items() if name in _PLAIN}
    return LayerFacts(tuple(kernel), **axes, **counts, batch=table.get("batch", 1), input=sizes, output=output, **rest)


_PLAIN: dict[str, type] = {
    **dict.fromkeys(("dtype", "auto_pad", "weight_scales"), str),
    **dict.fromkeys(("output_shape", "constant_weight", "bias", "constant_bias"), bool),
}


def _plain(name: str, value: Any) -> Any:
    """Return a text or a boolean of a layer."""
    if not isinstance(value, _PLAIN[name]):
        words, example = ("true or false", "true") if _PLAIN[name] is bool else ("a text", '"int8"')
        raise RuleError(f"{name} is {shown(value)}; {words} is needed. Write {name} = {example}")
    return value


def _sizes(value: Any, count: int, name: str, least: int) -> tuple[int, ...]:
    """Return one number per axis from one number for all, or from a list."""
    numbers = [value] * count if type(value) is int else value
    if (
        not isinstance(numbers, list)
        or len(numbers) != count
        or not all(_is_count(number, least) for number in numbers)
    ):
        raise RuleError(
            f"{name} is {shown(value)}; one whole number, or a list of {count} is needed. Write {name} = {[2] * count}"
        )
    return tuple(numbers)


def _output(sizes: Sequence[int], kernel: Sequence[int], axes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Return the size of the output."""
    rows = zip(sizes, kernel, *(axes[name] for name in _PER_AXIS), strict=True)
    length: Callable[..., int] = lambda n, k, s, d, lo, hi, extra: s * (n - 1) + d * (k - 1) + 1 + extra - lo - hi  # noqa: E731
    return tuple(length(*row) for row in rows)
