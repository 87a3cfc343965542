"""Initializers for Keras: `Bilinear` (linear interpolation) and `ICNR` (no checkerboard).

Both are registered, so that a layer's configuration and a saved model contain them.
"""

from __future__ import annotations

from typing import Any

import keras

from tconv._arguments import Ints
from tconv.errors import ShapeError
from tconv.weights.native_initializers import bilinear_in, equal_phases_in


@keras.saving.register_keras_serializable(package="tconv")
class Bilinear(keras.initializers.Initializer):  # type: ignore[misc]
    """Linear interpolation in every channel, for kernels [*kernel, C_out/groups, C_in] of Keras' transposed layers.

    >>> import keras, numpy as np, tconv.keras
    >>> up = keras.layers.Conv2DTranspose(
    ...     3, 4, 2, "same", use_bias=False, kernel_initializer=tconv.keras.initializers.Bilinear(2)
    ... )
    >>> y = up(np.full((1, 4, 4, 3), 7, np.float32))
    >>> np.asarray(y)[0, 2, 2].tolist()
    [7.0, 7.0, 7.0]

    `strides` are the layer's, an int or one per axis. The result of a call with a shape is a tensor of Keras' backend,
    so in TensorFlow `tf.Variable(Bilinear(2)((4, 4, 3, 3)))` works without a layer.

    Formula and errors: `tconv.initializers.bilinear`.
    """

    def __init__(self, strides: Ints, groups: int = 1) -> None:
        self.strides, self.groups = strides, groups

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Return the kernel of this shape; `dtype` is Keras' float by default."""
        weight = bilinear_in("keras", tuple(shape), self.strides, self.groups)
        dtype = _dtype(dtype)
        return keras.ops.convert_to_tensor(weight.astype("float64" if dtype == "float64" else "float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras stores them."""
        return {"strides": self.strides, "groups": self.groups}


@keras.saving.register_keras_serializable(package="tconv")
class ICNR(keras.initializers.Initializer):  # type: ignore[misc]
    """Random numbers that are equal in all phases, so that there is no checkerboard before training.

    >>> import keras, numpy as np, tconv.keras
    >>> up = keras.layers.Conv2DTranspose(3, 4, 2, kernel_initializer=tconv.keras.initializers.ICNR(2, seed=0))
    >>> y = np.asarray(up(np.ones((1, 5, 5, 8), np.float32)))
    >>> bool(np.allclose(y[:, ::2], y[:, 1::2], atol=1e-6))
    True

    `initializer` makes the small kernel [*(kernel div strides), C_out/groups, C_in]: an initializer of Keras, its name
    or its configuration; by default it is He's normal distribution with `seed`. (Keras' own "he_normal" takes C_out for
    the number of inputs of such a kernel.) `strides` and `groups` are those of `Bilinear`.

    Formula and errors: `tconv.initializers.icnr`.
    """

    def __init__(self, strides: Ints, groups: int = 1, initializer: Any = None, seed: Any = None) -> None:
        self.strides, self.groups = strides, groups
        self._random = keras.initializers.RandomNormal(seed=seed)  # for its rules of seeds
        self.initializer = None if initializer is None else keras.initializers.get(initializer)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Return the kernel of this shape; `dtype` is Keras' float by default."""
        dtype = _dtype(dtype)
        placing = equal_phases_in("keras", tuple(shape), self.strides, self.groups)
        if self.initializer is None:
            small = keras.random.normal(placing.small, 0.0, placing.deviation, dtype, self._random.seed)
        else:
            small = self.initializer(placing.small, dtype=dtype)
        if tuple(small.shape) != placing.small:
            raise ShapeError(
                f"the initializer returned {tuple(small.shape)}; {placing.small} is needed. Write "
                'initializer="he_normal", for example'
            )
        numbers = keras.ops.concatenate([keras.ops.zeros((1,), dtype), keras.ops.reshape(small, (-1,))])
        return keras.ops.take(numbers, placing.positions)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras stores them."""
        inner = None if self.initializer is None else keras.initializers.serialize(self.initializer)
        seed = self._random.get_config()["seed"]
        return {"strides": self.strides, "groups": self.groups, "initializer": inner, "seed": seed}


def _dtype(dtype: Any) -> str:
    """Return the name of a dtype, Keras' float for None."""
    return str(keras.config.floatx() if dtype is None else keras.backend.standardize_dtype(dtype))
