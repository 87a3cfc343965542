"""TensorFlow's transposed convolution on tconv's kernel: eager, in `tf.function`, and with gradients of any order.

>>> import tensorflow as tf, tconv.tensorflow
>>> x, filters = tf.ones((1, 8, 8, 64)), tf.ones((4, 4, 32, 64))
>>> tconv.tensorflow.conv_transpose(x, filters, [1, 16, 16, 32], strides=2).shape
TensorShape([1, 16, 16, 32])
"""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import tensorflow as _tensorflow  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.tensorflow", "tensorflow", "tensorflow") from None

from tconv.tensorflow import vectorization as _vectorization  # registers its rule  # noqa: F401
from tconv.tensorflow.functional import conv_transpose
from tconv.tensorflow.method_plan import CallPlan, plan
from tconv.tensorflow.tracing_context import standard_operators

__all__ = ["CallPlan", "conv_transpose", "plan", "standard_operators"]


def __getattr__(name: str) -> object:
    if name in ("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"):
        raise AttributeError(
            f"tconv.tensorflow has no {name}: conv_transpose is for 1, 2 and 3 dimensions, by the filters' axes. Write "
            "tconv.tensorflow.conv_transpose with the same arguments"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
