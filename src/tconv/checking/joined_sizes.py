"""Sizes of tensors that an operation joins: equal for every input, or only for some sizes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tconv.models.inventory.model_layer import Neighbour
from tconv.models.inventory.symbols import evaluate, symbols_in

_LONGEST_PERIOD = 64
_FIRST, _LAST = 192, 448
"""Numbers that are tried for a name: three whole periods, behind those where a border decides."""


@dataclass(frozen=True)
class Mismatch:
    """Two sizes of one axis that are not equal for every input."""

    axis: int
    first: str
    second: str
    fits: str
    """Condition for equal sizes: "h % 4 is 1"; "no size" if there is none; "" if it is not known."""


def mismatches_of(join: Neighbour) -> tuple[Mismatch, ...] | None:
    """Return the axes on which the inputs of a join differ for some sizes; none if they are always equal.

    None if the file does not tell the sizes of all inputs.
    """
    shapes = [shape for shape in join.input_shapes if shape is not None]
    if not shapes or len(shapes) < len(join.inputs) or len({len(shape) for shape in shapes}) > 1:
        return None
    rank, told, found = len(shapes[0]), True, []
    joined = join.attributes.get("axis", join.attributes.get("dim"))
    for axis in range(rank):
        if isinstance(joined, int) and axis == joined % rank:
            continue
        sizes = [shape[axis] for shape in shapes if shape[axis] != 1]
        names = [size for size in sizes if isinstance(size, str)]
        told = told and (not names or len(names) == len(sizes)) and None not in sizes
        pairs = ((names[0], other, equality(names[0], other)) for other in names[1:])
        found += [Mismatch(axis, *pair) for pair in pairs if pair[2] != "always"][:1]
    return tuple(found) if found or told else None


def equality(first: str, second: str) -> str:
    """Return the condition for which two sizes are equal: "always", "h % 4 is 1 or 2", "no size", "" if not known.

    >>> equality("2*(h//2)", "h"), equality("2*((h - 1)//4) + 1", "((h - 1)//2) + 1"), equality("2*h", "2*h")
    ('h % 2 is 0', 'h % 4 is 1 or 2', 'always')
    """
    if first == second:
        return "always"
    names = tuple(dict.fromkeys((*symbols_in(first), *symbols_in(second))))
    if len(names) != 1:
        return ""
    numbers = range(_FIRST, _LAST)
    pairs = [(evaluate(first, {names[0]: n}), evaluate(second, {names[0]: n})) for n in numbers]
    if any(None in pair for pair in pairs):
        return ""
    equal = [a == b for a, b in pairs]
    if all(equal):
        return "always"
    if not any(equal):
        return "no size"
    for period in range(2, _LONGEST_PERIOD + 1):
        if all(equal[at] == equal[at % period] for at in range(len(equal))):
            rests = sorted((_FIRST + at) % period for at in range(period) if equal[at])
            return f"{names[0]} % {period} is {listed(rests)}"
    return ""


def listed(numbers: Sequence[int]) -> str:
    """Return numbers as text: "1, 2 or 3"."""
    texts = list(map(str, numbers))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
