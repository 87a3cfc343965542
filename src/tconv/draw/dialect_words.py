"""Stride and dilation of a layer in the words of a dialect.

The picture that compares dialects and the architecture add them to the words of their callers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconv.dialects import Dialect
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

STRIDES = ("input_dilation", "strides", "stride")
_DILATIONS = ("kernel_dilation", "dilations", "dilation_rate", "rhs_dilation", "dilation")
"""Names of the two arguments in the dialects; the first that a dialect has is meant."""
_AXES = "dhw"


def layer_words(dialect: Dialect, layer: Geometry, native: Mapping[str, Any]) -> dict[str, Any]:
    """Return stride and dilation in the dialect's words, those that the call `native` does not have itself.

    >>> import tconv
    >>> layer_words(tconv.dialect("keras"), Geometry((3, 3), 2), {})
    {'strides': (2, 2)}
    >>> layer_words(tconv.dialect("ncnn"), Geometry((3, 3), 2), {"stride_h": 1})
    {'stride_w': 2}

    Raises ArgumentError for a dilation that the dialect has no word for.
    """
    known = dialect.argument_names()
    words: dict[str, Any] = {}
    for name, values, family in (("stride", layer.stride, STRIDES), ("dilation", layer.dilation, _DILATIONS)):
        own = next((word for word in family if word in known), None)
        axes = {f"{name}_{axis}": value for axis, value in zip(_AXES[-layer.ndim :], values, strict=False)}
        found = {own: values} if own else axes if len(axes) == layer.ndim and axes.keys() <= set(known) else {}
        if not found and max(values) > 1:
            raise ArgumentError(
                f"{name} is {values}, which the {dialect.name} dialect has no word for. Write the calls to compare "
                f"without that of {dialect.name}, or {name}=1"
            )
        if max(values) > 1:
            words |= {word: value for word, value in found.items() if word not in native}
    return words
