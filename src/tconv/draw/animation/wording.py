"""Sentences of the animations: the call, the crop and the sums, with their numbers.

The views write their titles, notes and captions with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv.draw.animation.animated_operator import AnimatedOperator, Index
from tconv.draw.array_grid import brackets, by
from tconv.draw.cell_board import short
from tconv.draw.output_canvas import Product
from tconv.geometry import Geometry

_WIDEST = 76  # characters of a line


def title(way: str, operation: AnimatedOperator) -> str:
    """Return the settings with their sizes: "Scatter: kernel 3 × 3, stride 2: 3 × 3 → 7 × 7"."""
    g = operation.geometry
    sizes = f"{by(operation.x.shape)} → {by(operation.output_shape)}"
    return f"{way}: kernel {by(g.kernel)}, {settings(g)}: {sizes}"


def settings(g: Geometry) -> str:
    """Return stride, crop and dilation in words, without those that do nothing."""
    words = [f"stride {_compact(g.stride)}"]
    extra = [lo - hi for lo, hi in g.crop]
    limits = map(max, g.stride, g.dilation)
    if all(lo >= 0 and 0 <= op < limit for (lo, _), op, limit in zip(g.crop, extra, limits, strict=True)):
        words += [f"padding {_compact([lo for lo, _ in g.crop])}"] if any(lo for lo, _ in g.crop) else []
        words += [f"output_padding {_compact(extra)}"] if any(extra) else []
    else:
        words.append("crop " + ", ".join(f"({lo}, {hi})" for lo, hi in dict.fromkeys(g.crop)))
    if max(g.dilation) > 1:
        words.append(f"dilation {_compact(g.dilation)}")
    return ", ".join(words)


def _compact(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else by(tuple(values))


def crop_notes(operation: AnimatedOperator) -> list[str]:
    """Return what the hatched and the dashed cells are, where there are some."""
    notes = []
    if operation.is_cropped:
        notes.append("Hatched: cut off by padding. The output is what the bold frame keeps.")
    if operation.is_extended:
        notes.append("Dashed: rows that the output has beyond the full result. No input reaches them.")
    return notes


def factor(value: Any) -> str:
    """Return a number as a factor of a product: in parentheses if it has a sign."""
    text = short(value)
    return f"({text})" if text.startswith("-") or text.endswith("j") else text


def sum_lines(operation: AnimatedOperator, output: Index, products: Sequence[Product]) -> tuple[str, str]:
    """Return an output element as the sum of its products, in names and in numbers, each at most one line long."""
    name, value = f"y{brackets(output)}", short(operation.output[output])
    if not products:
        return f"{name} = 0: no input reaches it", "With a bias it would hold the bias alone."
    names = [f"x{brackets(i)}·w{brackets(t)}" for i, t in products]
    terms = [f"{factor(operation.x[i])}·{factor(operation.w[t])}" for i, t in products]
    return f"{name} = {_joined(names, 0)}", f"= {_joined(terms, len(value) + 3)} = {value}"


def _joined(terms: Sequence[str], used: int) -> str:
    """Return a sum; of one that is too long, the first terms, their number and the last."""
    text = " + ".join(terms)
    if len(text) + used <= _WIDEST:
        return text
    kept = len(terms) - 2
    while kept > 1 and len(" + ".join(terms[:kept])) + len(terms[-1]) + used + 16 > _WIDEST:
        kept -= 1
    return f"{' + '.join(terms[:kept])} + … ({len(terms)} products) … + {terms[-1]}"
