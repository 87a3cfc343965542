"""Initializers for layers on JAX: `bilinear` (linear interpolation) and `icnr` (no checkerboard).

Both return functions (key, shape, dtype) as those of jax.nn.initializers: kernel_init of Flax's layers. `dialect` says
in which layout the shape is, "flax" by default: [*kernel, C_in, C_out], with the taps reversed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from tconv._arguments import Ints
from tconv.errors import ArgumentError, ShapeError
from tconv.weights.native_initializers import bilinear_in, equal_phases_in


class Initializer(Protocol):
    """A function that makes the initial weight of a layer, as those of jax.nn.initializers."""

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        """Return a weight of this shape; `dtype` is JAX's default float if it is None."""


def bilinear(stride: Ints, groups: int = 1, *, dialect: str = "flax", **layout: Any) -> Initializer:
    """Return an initializer of linear interpolation in every channel.

    >>> import jax, jax.numpy as jnp, tconv.jax
    >>> weight = tconv.jax.initializers.bilinear(2)(None, (4, 4, 1, 1), jnp.float32)
    >>> (weight[0, :, 0, 0] * 16).tolist()
    [1.0, 3.0, 3.0, 1.0]

    `stride` is the layer's, an int or one per axis. `dialect` and its arguments of the layout say what a shape means:
    "flax" [*kernel, C_in, C_out] (with transpose_kernel=True [*kernel, C_out, C_in]), "haiku" [*kernel, C_out, C_in],
    "equinox" [C_out, C_in/groups, *kernel], "jax" by its dimension_numbers. The key is not used and may be None.

    Formula and errors: `tconv.initializers.bilinear`. They are raised when the initializer is called with a shape.
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        weight = bilinear_in(dialect, shape, stride, groups, **layout)
        return _placed(jnp.asarray(weight, float if dtype is None else dtype), out_sharding)

    return init


def icnr(
    stride: Ints,
    groups: int = 1,
    init: Callable[..., Any] | None = None,
    *,
    dialect: str = "flax",
    **layout: Any,
) -> Initializer:
    """Return an initializer of random numbers that are equal in all phases, so that there is no checkerboard.

    >>> import jax, jax.numpy as jnp, tconv, tconv.jax
    >>> weight = tconv.jax.initializers.icnr(2)(jax.random.key(0), (4, 4, 8, 3), jnp.float32)
    >>> y = tconv.conv_transpose(jnp.ones((1, 5, 5, 8)), weight, dialect="flax", strides=2, padding="VALID")
    >>> bool(jnp.allclose(y[:, ::2], y[:, 1::2], atol=1e-6))
    True

    `init` makes the small weight, of the same layout and the kernel (kernel div stride): an initializer of
    jax.nn.initializers, or any function (key, shape, dtype). By default it is He's normal distribution. `stride`,
    `dialect` and `layout` are those of `bilinear`. It can be called inside of jit, as layers are.

    Formula and errors: `tconv.initializers.icnr`.
    """
    if not (init is None or callable(init)):
        raise ArgumentError(
            f"init is {init!r}; a function (key, shape, dtype) is needed. Write init=jax.nn.initializers.he_normal()"
        )

    def draw(key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = jax.dtypes.canonicalize_dtype(float if dtype is None else dtype)
        placing = equal_phases_in(dialect, shape, stride, groups, **layout)
        if init is None:
            small = jax.random.normal(key, placing.small, dtype) * jnp.asarray(placing.deviation, dtype)
        else:
            small = jnp.asarray(init(key, placing.small, dtype))
        if small.shape != placing.small:
            raise ShapeError(
                f"init returned {small.shape}; {placing.small} is needed. Write init=jax.nn.initializers.he_normal()"
            )
        numbers = jnp.concatenate([jnp.zeros(1, dtype), small.astype(dtype).ravel()])
        return _placed(numbers[placing.positions], out_sharding)

    return draw


def _placed(weight: jax.Array, sharding: Any) -> jax.Array:
    """Return the weight with the sharding that the caller of an initializer asks for, if any."""
    return weight if sharding is None else jax.device_put(weight, sharding)
