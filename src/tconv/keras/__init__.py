"""Keras 3 with tconv: initializers of transposed convolutions.

>>> import tconv.keras
>>> tconv.keras.initializers.Bilinear(strides=2)((4, 1, 1)).shape
TensorShape([4, 1, 1])
"""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import keras as _keras  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.keras", "keras", "keras") from None

from tconv.keras import initializers

__all__ = ["initializers"]
