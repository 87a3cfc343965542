"""TensorFlow's transposed convolution on tconv's kernel, inside of graphs and with gradients."""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import tensorflow as _tensorflow  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.tensorflow", "tensorflow", "tensorflow") from None
