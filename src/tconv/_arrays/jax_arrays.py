"""JAX's arrays, and its tracers inside of transforms."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tconv._arrays.library import Array, Library, loaded_kinds
from tconv.errors import ArrayError, DtypeError


def has_wide_jax() -> bool:
    """Return True if JAX has dtypes of 64 bits, which it has not by default."""
    return bool(sys.modules["jax"].config.jax_enable_x64)


def _is_tracer(array: Any) -> bool:
    return isinstance(array, sys.modules["jax"].core.Tracer)


def _take(array: Any, name: str) -> Array:
    if _is_tracer(array):
        raise ArrayError(
            f"{name} is a JAX tracer (inside jit, grad or vmap), which has no values. Write the call outside the "
            "transform, or tconv.jax.conv_transpose inside"
        )
    try:
        return np.asarray(array)
    except (RuntimeError, TypeError) as error:  # it was donated, belongs to other processes, or is a random key
        raise ArrayError(
            f"{name} is a JAX array whose numbers cannot be read here ({error}). Use an array of numbers that "
            "is not deleted and not spread over several processes"
        ) from None


def _give(array: Array) -> Any:
    refuse_narrow_jax(array.dtype)
    return sys.modules["jax"].numpy.asarray(array)


def refuse_narrow_jax(result: np.dtype[Any]) -> None:
    """Raise DtypeError for a result whose dtype JAX does not have without jax_enable_x64."""
    if result.name in ("int64", "float64", "complex128") and not has_wide_jax():
        raise DtypeError(
            f"the result is {result}, which JAX reduces to half its width by default (integers are summed in "
            'int64). Write jax.config.update("jax_enable_x64", True) first, or np.asarray(...) around the arguments'
        )


LIBRARY = Library(
    lambda: loaded_kinds("jax", "Array"),
    _take,
    _give,
    None,
    "jnp",
    "{name}.astype({dtype})",
    "jnp.asarray({name})",
    "jnp.transpose({name}, {axes})",
    "tconv.jax.dialect_calls:run",
    _is_tracer,
)
