"""Causes that are tried one by one and in pairs: each changes the call or its result in one fixed way.

A new cause is yielded by the file of its family; a new family is a new file and its line in `FAMILIES`. Crops are
tried all at once, so `crop_names.py` holds names for crops instead of causes.
"""

from __future__ import annotations

from tconv.diagnosis.causes import array_layout, biases, fault_effects, precision, stride_dilation, weights

FAMILIES = (
    weights.causes,
    stride_dilation.causes,
    biases.causes,
    array_layout.causes,
    precision.causes,
    fault_effects.causes,
)
"""Functions from a `CauseContext` to its causes. The part of a cause decides how it is combined with others."""
