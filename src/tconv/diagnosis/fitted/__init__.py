"""Causes whose numbers are not tried but fitted: scales, orders and wrong parts are read off the two outputs.

A new one is a function from an `Observation` to causes, in a new file or one of these, and its line in `FAMILIES`.
"""

from __future__ import annotations

from tconv.diagnosis.fitted import (
    bias_values,
    borders,
    corrupted_parts,
    output_permutation,
    output_scales,
    quantization,
    rounding,
    weight_permutation,
    weight_scales,
)

FAMILIES = (
    quantization.quantized,
    output_permutation.reordered,
    output_permutation.phases_exchanged,
    output_permutation.blocks_exchanged,
    output_scales.scaled,
    output_scales.offset_before_activation,
    borders.continued_input,
    borders.mixed_input,
    borders.added_back,
    borders.continued_output,
    weight_scales.wrong_axis,
    weight_scales.taps,
    weight_permutation.permuted,
    rounding.one_operand,
    rounding.low_precision_layer,
    rounding.low_precision_sums,
    bias_values.in_places,
    corrupted_parts.corrupted,
    rounding.rounded_result,
    rounding.rounded_products,
)
"""Functions from an `Observation` to its causes, in the order in which they are tried: the first that fits is named."""

LAST = (corrupted_parts.mostly_corrupted, corrupted_parts.corrupted_at_low_precision)
"""Those that are tried where nothing else fits, neither one cause nor two."""
