"""Layers without output_padding."""

from __future__ import annotations

from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.crops import append, append_layer, safe, with_crop, with_taps_around
from tconv.rewriting.steps.step import RewriteStep, Variant


class NoOutputPadding(RewriteStep):
    """Smaller pad at the end instead of output_padding; rows beyond the kernel's reach hold only bias and are padded.

    `rows` "pad" writes those rows by a pad, or as zeros in front of the bias; "taps" by zeros at the kernel's end,
    which needs no other operation and is exact in every dtype, but multiplies them.
    """

    name = "no-output-padding"
    summary = "output_padding as a smaller pad at the end, or as rows of bias"

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        return ({"rows": "pad"}, {"rows": "taps"}) if _extends(operation) else ({"rows": "pad"},)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        return [] if any(operation.output_padding) or _extends(operation) else ["it has no output_padding"]

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        if variant["rows"] == "taps":
            counts = [tuple(-(min(0, side) // d) for side in pair) for pair, d in zip(g.crop, g.dilation, strict=True)]
            append(builder, with_taps_around(operation, [(front, behind) for front, behind in counts]))
        elif not _extends(operation):
            append(builder, with_crop(operation, g.crop))
        else:
            append_layer(builder, operation, [safe(pair, e) for pair, e in zip(g.crop, g.extent, strict=True)])


def _extends(operation: ConvTranspose) -> bool:
    """Return True if the output has rows that no tap reaches."""
    return any(min(pair) < 0 for pair in operation.geometry.crop)


STEP = NoOutputPadding()
