"""TensorFlow's tensors and variables."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tconv._arrays.library import Array, Library, loaded_kinds
from tconv._arrays.tensorflow_names import is_watched
from tconv.errors import ArrayError


def _read(tensor: Any) -> Any:
    """Return the tensor of a Variable, which a tape watches, and other tensors as they are."""
    return tensor.value() if hasattr(tensor, "read_value") else tensor


def _take(tensor: Any, name: str) -> Array:
    tensor = _read(tensor)
    if not hasattr(tensor, "numpy"):
        raise ArrayError(
            f"{name} is a symbolic TensorFlow tensor, which has no values yet. Write the call outside tf.function, "
            "or tf.numpy_function around it, or tconv.tensorflow.conv_transpose inside"
        )
    if is_watched(tensor):
        raise ArrayError(
            f"{name} is watched by a tf.GradientTape or ForwardAccumulator, which would lose it here. Write "
            f"tf.stop_gradient({name}), or the call outside the tape, or tconv.tensorflow.conv_transpose to train"
        )
    return np.asarray(tensor.numpy())


def _give(array: Array) -> Any:
    return sys.modules["tensorflow"].convert_to_tensor(array)


def _needs_adapter(tensor: Any) -> bool:
    """Return True if a function is being traced, whatever the tensor is, or a tape or accumulator watches it.

    A function captures an eager tensor as an argument, through which gradients flow that a constant would end.
    """
    return not sys.modules["tensorflow"].executing_eagerly() or is_watched(_read(tensor))


LIBRARY = Library(
    lambda: loaded_kinds("tensorflow", "Tensor", "Variable"),
    _take,
    _give,
    None,
    "tf",
    "tf.cast({name}, {dtype})",
    "tf.convert_to_tensor({name})",
    "tf.transpose({name}, {axes})",
    "tconv.tensorflow.dialect_calls:run",
    _needs_adapter,
)
