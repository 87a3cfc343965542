"""Shapes of the values of an ONNX graph."""

from __future__ import annotations

from typing import Any

from tconv.models.inventory.model_layer import Size
from tconv.models.readers.onnx_graph.constants import Constants
from tconv.models.readers.onnx_graph.stored import dtype_name


class Shapes:
    """Shapes of a graph by value of onnx_ir."""

    def __init__(self, model: Any, constants: Constants) -> None:
        self._model, self._constants = model, constants

    def of(self, value: Any) -> tuple[Size, ...] | None:
        """Return the sizes of a value; None if they are not known."""
        return None if value is None else sizes_of(value.shape)

    def dtype(self, value: Any) -> str:
        """Return the type of a value's numbers, "" if it is not known."""
        return "" if value is None else dtype_name(value.dtype)


def sizes_of(shape: Any) -> tuple[Size, ...] | None:
    """Return a shape of onnx_ir as sizes: numbers, names, and None for the rest."""
    if shape is None:
        return None
    return tuple(size if isinstance(size, int) else _name(size.value) for size in shape)


def _name(symbol: str | None) -> str | None:
    return None if symbol in (None, "", "?", "-1") or str(symbol).startswith("unk__") else symbol
