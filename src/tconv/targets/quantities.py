"""Quantities of a transposed convolution that a rule can limit: their names, values, and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Literal

from tconv.targets.layer_facts import LayerFacts

Number = int | None
"""None for a size that varies."""
Value = int | str | bool | None
Kind = Literal["one", "axes", "ends"]
"""One value; one per spatial axis; or one for the beginning of each axis, then one for the end of each."""


@dataclass(frozen=True)
class Values:
    """Values of a quantity or expression, and what they belong to."""

    entries: tuple[Value, ...]
    kind: Kind = "one"

    @property
    def numbers(self) -> tuple[Number, ...]:
        """Entries as numbers."""
        return tuple(entry if entry is None else int(entry) for entry in self.entries)

    def entry(self, index: int) -> Value:
        """Return the value that belongs to entry `index` of a quantity with as many entries, or more."""
        return self.entries[index % len(self.entries)]


@dataclass(frozen=True)
class Quantity:
    """One quantity: its values for a layer, the words of a message, and the value on an axis that the layer lacks."""

    values: Callable[[LayerFacts], Values]
    words: str
    absent: int | None = None
    """Value of `.h` and `.d` on layers with fewer axes; None for quantities without parts."""
    owner: str = ""
    """Words in front of a part's, as in "the input's height", if they differ."""


def _one(words: str, value: Callable[[LayerFacts], Value]) -> Quantity:
    """Return a quantity of the whole layer."""
    return Quantity(lambda facts: Values((value(facts),)), words)


def _axes(
    words: str, absent: int, sizes: Callable[[LayerFacts], tuple[Number, ...] | None], owner: str = ""
) -> Quantity:
    """Return a quantity with one value per spatial axis."""

    def values(facts: LayerFacts) -> Values:
        """Return the sizes, or an unknown one per axis."""
        return Values(tuple(sizes(facts) or (None,) * facts.ndim), "axes")

    return Quantity(values, words, absent, owner)


def _extents(facts: LayerFacts) -> tuple[int, ...]:
    """Return d*(k - 1) + 1 per axis."""
    return tuple(d * (k - 1) + 1 for k, d in zip(facts.kernel, facts.dilation, strict=True))


QUANTITIES = {
    "ndim": _one("ndim", lambda facts: facts.ndim),
    "kernel": _axes("kernel", 1, lambda facts: facts.kernel),
    "extent": _axes("the kernel with its dilation", 1, _extents),
    "stride": _axes("stride", 1, lambda facts: facts.stride),
    "dilation": _axes("dilation", 1, lambda facts: facts.dilation),
    "pads": Quantity(lambda facts: Values((*facts.pads_begin, *facts.pads_end), "ends"), "the pad", 0),
    "pads_begin": _axes("the pad at the beginning", 0, lambda facts: facts.pads_begin),
    "pads_end": _axes("the pad at the end", 0, lambda facts: facts.pads_end),
    "output_padding": _axes("output_padding", 0, lambda facts: facts.output_padding),
    "input": _axes("the input's size", 1, lambda facts: facts.input, "the input"),
    "output": _axes("the output's size", 1, lambda facts: facts.output, "the output"),
    "groups": _one("groups", lambda facts: facts.groups),
    "in_channels": _one("in_channels", lambda facts: facts.in_channels),
    "out_channels": _one("out_channels", lambda facts: facts.out_channels),
    "in_channels_per_group": _one("in_channels per group", lambda facts: facts.in_channels // max(facts.groups, 1)),
    "out_channels_per_group": _one("out_channels per group", lambda facts: facts.out_channels // max(facts.groups, 1)),
    "batch": _one("the batch", lambda facts: facts.batch),
    "dtype": _one("dtype", lambda facts: facts.dtype),
    "auto_pad": _one("auto_pad", lambda facts: facts.auto_pad),
    "weight_scales": _one("weight_scales", lambda facts: facts.weight_scales),
    "output_shape": _one("output_shape", lambda facts: facts.output_shape),
    "constant_weight": _one("constant_weight", lambda facts: facts.constant_weight),
    "bias": _one("bias", lambda facts: facts.bias),
    "constant_bias": _one("constant_bias", lambda facts: facts.constant_bias),
}
"""All quantities by the name that rules use."""

TEXTS = ("dtype", "auto_pad", "weight_scales")
"""Quantities whose value is a text."""

FLAGS = {
    "output_shape": ("an output_shape", "no output_shape"),
    "constant_weight": ("a constant weight", "a weight that is computed at run time"),
    "bias": ("a bias", "no bias"),
    "constant_bias": ("a constant bias", "a bias that is computed at run time"),
}
"""Quantities that are true or false, and the words for both."""

PARTS: dict[str, tuple[int | None, str]] = {
    "w": (-1, "width"),
    "h": (-2, "height"),
    "d": (-3, "depth"),
    "product": (None, "product"),
    "sum": (None, "sum"),
    "largest": (None, "largest"),
    "smallest": (None, "smallest"),
}
"""Parts of a quantity with several entries: one axis counted from the last, or one number from all entries."""

_FOLDS: dict[str, Callable[[tuple[int, ...]], int]] = {"product": prod, "sum": sum, "largest": max, "smallest": min}


def part_of(quantity: Quantity, part: str, facts: LayerFacts) -> Values:
    """Return one part of a quantity; on an axis that the layer lacks, the value that changes nothing.

    >>> row = LayerFacts((4,), (2,), (1,), (0,), (0,), (0,), 1, 8, 8)
    >>> part_of(QUANTITIES["kernel"], "h", row), part_of(QUANTITIES["kernel"], "product", row)
    (Values(entries=(1,), kind='one'), Values(entries=(4,), kind='one'))
    """
    values = quantity.values(facts)
    numbers = values.numbers
    axis = PARTS[part][0]
    if axis is None:
        known = tuple(number for number in numbers if number is not None)
        return Values((_FOLDS[part](known) if len(known) == len(numbers) else None,))
    columns = [numbers] if values.kind == "axes" else [numbers[: facts.ndim], numbers[facts.ndim :]]
    return Values(tuple(column[axis] if -axis <= len(column) else quantity.absent for column in columns))
