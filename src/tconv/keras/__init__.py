"""Keras 3 with tconv, on TensorFlow, JAX and PyTorch: layers, initializers, `accelerate` and `stream` for models.

>>> import keras, tconv.keras
>>> layer = tconv.keras.Conv2DTranspose(32, 4, strides=2, padding="same", groups=4)
>>> layer(keras.ops.ones((1, 28, 28, 64))).shape == (1, 56, 56, 32)
True
"""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import keras as _keras  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.keras", "keras", "keras") from None

from tconv.acceleration.report import LayerReport, Report
from tconv.keras import initializers
from tconv.keras.layers import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from tconv.keras.model_acceleration import accelerate, restore
from tconv.keras.model_stream import ModelStream, ModelWindowStream, stream

__all__ = [
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "LayerReport",
    "ModelStream",
    "ModelWindowStream",
    "Report",
    "accelerate",
    "initializers",
    "restore",
    "stream",
]
