"""Constants of an ONNX graph: stored numbers, and those that are computed from stored ones alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.inventory.model_layer import StoredArray
from tconv.models.readers.onnx_graph.stored import stored_array

SMALL = 4096
"""Most elements of a constant that is read for shapes and attributes."""


class Constants:
    """Constants of a graph by value of onnx_ir."""

    def __init__(self, path: Path, model: Any) -> None:
        self._path, self._model = path, model

    def of(self, value: Any) -> StoredArray | None:
        """Return a constant; None for a value that depends on the inputs."""
        tensor = _tensor(value)
        return None if tensor is None else stored_array(self._path, tensor)

    def small(self, value: Any) -> Array | None:
        """Return the numbers of a constant with few of them; None for any other value."""
        found = self.of(value)
        return None if found is None or np.prod(found.shape) > SMALL else found.read()


def _tensor(value: Any) -> Any:
    if value is None:
        return None
    node = value.producer()
    if node is None:
        return value.const_value
    if node.op_type != "Constant":
        return None
    import onnx_ir

    return onnx_ir.convenience.get_const_tensor(value)
