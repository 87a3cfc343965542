"""Registry of the operators of ONNX that are read: a family is a module, an operator an entry of its table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tconv.models.readers.onnx_network import (
    activations,
    arithmetic,
    channels,
    choices,
    convolutions,
    extents,
    layouts,
    resizing,
    statistics,
)

OPERATORS: dict[str, Callable[..., Any]] = {
    **convolutions.OPERATORS,
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **statistics.OPERATORS,
    **channels.OPERATORS,
    **choices.OPERATORS,
    **extents.OPERATORS,
    **resizing.OPERATORS,
    **layouts.OPERATORS,
}
"""Functions from a reader and a node to the value that the node computes, or to a list of them."""
