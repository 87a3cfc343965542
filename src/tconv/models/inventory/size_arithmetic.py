"""Sizes that a model computes from the sizes of its input: "2*height", by the operations of TensorFlow's graphs.

A size is a number, a text of `symbols`, or None where that does not say it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tconv.models.inventory.model_layer import Size
from tconv.models.inventory.symbols import minus, plus, quotient, times

Terms = Size | list[Size]
"""A scalar, or the entries of a vector."""

_MOST = 64  # operations and entries, far above what a shape needs


_ARITHMETIC: dict[str, Callable[[Size, Size], Size]] = {
    "add": plus,
    "addv2": plus,
    "sub": minus,
    "mul": times,
    "floordiv": quotient,
}
_SAME = ("cast", "identity", "reshape", "squeeze", "stopgradient", "ensureshape")


class Formula(NamedTuple):
    """An operation as this module needs it."""

    op: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]


class SizeArithmetic:
    """Evaluation of values that depend on sizes alone; its arguments are functions of a value of the graph.

    `formula` returns the operation that computes a value, `constant` the numbers of one, `shape` its known shape as
    terms; each of them None where there is none.
    """

    def __init__(
        self,
        formula: Callable[[Any], Formula | None],
        constant: Callable[[Any], Terms],
        shape: Callable[[Any], Sequence[Size] | None],
    ) -> None:
        self._formula, self._constant, self._shape = formula, constant, shape
        self._left = 0

    def __call__(self, value: Any) -> list[Size] | None:
        """Return the entries of a vector; None if they do not follow from sizes."""
        self._left = _MOST
        found = self._terms(value)
        return found if isinstance(found, list) else None

    def _terms(self, value: Any) -> Terms:
        self._left -= 1
        if self._left < 0:
            return None
        if (known := self._constant(value)) is not None:
            return known if not isinstance(known, list) or len(known) <= _MOST else None
        made = self._formula(value)
        return None if made is None else self._computed(made)

    def _computed(self, made: Formula) -> Terms:
        op = made.op.replace("_", "").lower()
        if op == "shape":
            sizes = self._shape(made.inputs[0]) if made.inputs else None
            return None if sizes is None else list(sizes)
        given = [self._terms(each) for each in made.inputs[:_MOST]]
        if op in ("pack", "concatenation", "concatv2"):
            return _joined(op, given)
        if not given:
            return None
        if op in _SAME:
            return given[0]
        if op == "expanddims":
            return given[0] if isinstance(given[0], list) else [given[0]]
        if op == "stridedslice" and len(given) == 4:
            return _sliced(given, made.attributes)
        if op in ("gather", "gatherv2") and len(given) > 1 and isinstance(given[0], list):
            entries = given[0]
            return _picked(entries, given[1])
        if op in _ARITHMETIC and len(given) == 2:
            return _combined(_ARITHMETIC[op], given[0], given[1])
        return None


def _joined(op: str, given: list[Terms]) -> Terms:
    if op == "concatv2":
        given = given[:-1]
    joined: list[Size] = []
    for each in given:
        if isinstance(each, list) == (op == "pack"):
            return None
        joined += each if isinstance(each, list) else [each]
    return joined if len(joined) <= _MOST else None


def _combined(rule: Callable[[Size, Size], Size], a: Terms, b: Terms) -> Terms:
    if not isinstance(a, list) and not isinstance(b, list):
        return rule(a, b)
    length = max(len(each) for each in (a, b) if isinstance(each, list))
    first, second = (each * length if len(each) == 1 else each for each in (_listed(a), _listed(b)))
    return [rule(*pair) for pair in zip(first, second, strict=True)] if len(first) == len(second) else None


def _listed(terms: Terms) -> list[Size]:
    return terms if isinstance(terms, list) else [terms]


def _picked(entries: list[Size], places: Terms) -> Terms:
    if isinstance(places, list):
        return [_picked(entries, place) for place in places]  # type: ignore[misc]
    return entries[places] if isinstance(places, int) and -len(entries) <= places < len(entries) else None


def _sliced(given: list[Terms], masks: Mapping[str, Any]) -> Terms:
    entries, *limits = given
    if not isinstance(entries, list) or not all(isinstance(each, list) and len(each) == 1 for each in limits):
        return None
    begin, end, step = (each[0] for each in limits if isinstance(each, list))
    if not (isinstance(begin, int) and isinstance(end, int) and isinstance(step, int) and step):
        return None
    flags = {name.replace("_", "").lower(): int(value or 0) & 1 for name, value in masks.items() if "ask" in name}
    if flags.get("shrinkaxismask"):
        return _picked(entries, begin)
    if flags.get("ellipsismask") or flags.get("newaxismask"):
        return None
    return entries[None if flags.get("beginmask") else begin : None if flags.get("endmask") else end : step]
