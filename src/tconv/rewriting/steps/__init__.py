"""Registry of the exact steps by name. A new step is one class and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from tconv.rewriting.steps import (
    conv_depth_to_space,
    dilation,
    explicit_pads,
    groups,
    matmul,
    no_bias,
    output_padding,
    overlap_add,
    phases,
    split_kernel,
    split_stride,
    two_dimensional,
    zero_insertion,
)
from tconv.rewriting.steps.step import RewriteStep

_MEMBERS: tuple[RewriteStep, ...] = (
    output_padding.STEP,
    explicit_pads.STEP,
    explicit_pads.NO_PADS,
    no_bias.STEP,
    split_stride.ZERO_TAPS,
    dilation.STEP,
    dilation.TO_KERNEL,
    groups.STEP,
    groups.SPLIT,
    split_kernel.STEP,
    split_stride.STEP,
    two_dimensional.STEP,
    matmul.STEP,
    phases.STEP,
    conv_depth_to_space.STEP,
    overlap_add.STEP,
    zero_insertion.STEP,
)

STEPS: Mapping[str, RewriteStep] = {step.name: step for step in _MEMBERS}
"""Steps by name, those first that change least."""
