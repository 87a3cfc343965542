"""Crops as pads in numbers that a target takes, and as slices."""

from __future__ import annotations

from dataclasses import replace

from tconv.rewriting.builder import Builder
from tconv.rewriting.expression import Expression
from tconv.rewriting.operations import ConvTranspose, Size, Sizes
from tconv.rewriting.steps.crops import append, append_layer, safe, with_crop, words_of
from tconv.rewriting.steps.step import RewriteStep, Variant, separate_bias


class ExplicitPads(RewriteStep):
    """Pads in numbers instead of a rule, an output_shape or negative pads; symmetric ones with a slice behind them.

    `form` "numbers" writes the crop as pads and output_padding, which may be unequal; "symmetric" makes the pads of an
    axis equal where output_padding can hold the difference; "slice" makes them equal and cuts the rest behind.
    """

    name = "explicit-pads"
    summary = "auto_pad, output_shape and unequal pads as equal pads and a slice"

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        return ({"form": "slice"}, {"form": "symmetric"}, {"form": "numbers"})

    def settled(self, operation: ConvTranspose, sizes: Sizes) -> ConvTranspose | None:
        return super().settled(operation, sizes) or operation

    def tried(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> tuple[list[str], Expression | None]:
        by_rule = operation.auto_pad != "NOTSET" or operation.output_shape is not None
        words = words_of(operation)
        form = variant.get("form", "slice")
        if not by_rule and all(lo >= 0 and hi >= 0 for lo, hi, _ in words):
            if form == "numbers":
                return ["its pads are numbers already"], None
            if all(lo == hi and op == 0 for lo, hi, op in words):
                return ["its pads are equal already, and there is no output_padding"], None
            if form == "symmetric" and all(lo == hi for lo, hi, _ in words):
                return ["its pads are equal already"], None
        return super().tried(operation, sizes, variant)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        if variant.get("form") == "slice":
            return []
        if operation.output_shape is not None:
            return ["its crop depends on the input's size, which varies, so that no pads are right for all"]
        g = operation.geometry
        reasons = []
        for axis, ((lo, hi), s) in enumerate(zip(g.crop, g.stride, strict=True)):
            extra = lo - hi if variant["form"] == "symmetric" else max(0, -hi)
            if lo < 0 or not 0 <= extra < s:
                wants = f"as output_padding is below {s}"
                reasons.append(f"its crop {(lo, hi)} on spatial axis {axis} needs other pads, {wants}")
        return reasons

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        form = variant["form"]
        if operation.output_shape is not None:
            _fixed_size(operation, builder)
        elif form == "slice":
            equal = [(min(pair), min(pair)) for pair in g.crop]
            append_layer(builder, operation, [safe(pair, e) for pair, e in zip(equal, g.extent, strict=True)])
        else:
            extra = tuple(lo - hi if form == "symmetric" else max(0, -hi) for lo, hi in g.crop)
            append(builder, replace(with_crop(operation, g.crop), output_padding=extra))


def _fixed_size(operation: ConvTranspose, builder: Builder) -> None:
    """Append the layer without a crop, and the slice of a given size, whose start depends on the input's."""
    g, wanted = operation.geometry, operation.output_shape
    assert wanted is not None
    extra = operation.output_padding or (0,) * g.ndim
    bias = separate_bias(operation.bias)
    y = append(builder, replace(with_crop(operation, [(0, 0)] * g.ndim), bias=bias.inside))
    pads: list[tuple[int, int]] = []
    starts: list[Size] = []
    stops: list[Size] = []
    for axis, (s, e, op, L) in enumerate(zip(g.stride, g.extent, extra, wanted, strict=True)):
        least = e - L + op  # the crop's total at n = 1; it is least + s*(n - 1)
        up = operation.auto_pad == "SAME_UPPER"
        smallest = least // 2 if up else least - least // 2
        front, behind = max(0, -smallest), max(0, -(least - op - smallest))
        pads.append((front, behind))
        offset = least - s + 2 * front + (0 if up else 1)
        starts.append(builder.size(0, axis + 2, s, offset, 2))
        stops.append(builder.size(0, axis + 2, s, offset + 2 * L, 2))
    y = builder.pad(y, [(0, 0), (0, 0), *pads], bias.value)
    axes = tuple(range(2, g.ndim + 2))
    y = builder.slices(y, axes, starts, stops)
    builder.add_bias(y, bias.behind)


class NoPads(RewriteStep):
    """Layer without pads: its crop is a slice of the whole output, and rows that hold only bias are a pad."""

    name = "no-pads"
    summary = "the whole output, cut by a slice"

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        plain = all(pair == (0, 0) for pair in operation.geometry.crop) and not any(operation.output_padding)
        return ["it has no pads"] if plain and operation.auto_pad == "NOTSET" else []

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        append_layer(builder, operation, [(0, 0)] * operation.geometry.ndim)


STEP, NO_PADS = ExplicitPads(), NoPads()
