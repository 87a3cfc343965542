"""Bias as a sum behind the layer."""

from __future__ import annotations

from dataclasses import replace

from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.crops import append
from tconv.rewriting.steps.step import RewriteStep, Variant


class NoBias(RewriteStep):
    """Layer without bias, and an Add behind it."""

    name = "no-bias"
    summary = "the bias as an Add behind the layer"

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        return ["it has no bias"] if operation.bias is None else []

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        builder.add_bias(append(builder, replace(operation, bias=None)), operation.bias)


STEP = NoBias()
