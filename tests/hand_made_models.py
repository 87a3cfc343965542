"""Layers and inventories of models made by hand, for the tests of checks, traps and pages."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, StoredArray


def stored(array: Any, **facts: Any) -> StoredArray:
    values = np.asarray(array)
    return StoredArray(values.shape, values.dtype.name, lambda: values, nbytes=values.nbytes, **facts)


def layer(weight: Any = None, **facts: Any) -> ModelLayer:
    """Return an ONNX layer with this weight, 8 -> 4 channels and kernel 4 by default."""
    if weight is None:
        weight = np.random.default_rng(0).standard_normal((8, 4, 4, 4)).astype(np.float32)
    known: dict[str, Any] = {
        "name": "up",
        "place": "node 3 of 9",
        "op": "ConvTranspose",
        "dialect": "onnx",
        "arguments": {"strides": [2, 2], "pads": [1, 1, 1, 1]},
        "input_shape": (1, 8, 16, 24),
        "output_shape": (1, 4, 32, 48),
    }
    return ModelLayer(**{**known, "weight": weight if isinstance(weight, StoredArray) else stored(weight), **facts})


def inventory(*layers: ModelLayer, **facts: Any) -> ModelInventory:
    return ModelInventory("model.onnx", "ONNX", layers or (layer(),), **facts)
