"""`tconv.conv_transpose` and `tconv.conv` on JAX's tracers: inside of jit, grad, vmap, scan and the other transforms.

The arguments of any dialect are translated, and the call runs on JAX's primitives of `tconv.jax.operator`.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from tconv._arrays import refuse_narrow_jax
from tconv.errors import DtypeError
from tconv.jax import operator
from tconv.operator.call_reading import GivenCall
from tconv.operator.traced_call import Face, read_traced_call


def run(given: GivenCall) -> jax.Array:
    """Run a call of any dialect on JAX's primitives, after the checks of `tconv.conv_transpose`."""
    call, (x, weight, bias) = read_traced_call(_FACE, given), given[:3]
    if call.is_integer:  # sums of integers are int64 in all of tconv
        refuse_narrow_jax(np.dtype(np.int64))
        x, weight, bias = (None if each is None else each.astype("int64") for each in (x, weight, bias))
    y: jax.Array
    if given.adjoint:
        y = operator.adjoint(x, weight, call.geometry, call.data, call.weight, call.result)
    else:
        y = operator.apply(x, weight, bias, call.geometry, call.data, call.weight, call.result)
    return y


def _described(array: jax.Array, name: str) -> tuple[tuple[Any, ...], np.dtype[Any]]:
    """Return an array's shape, with symbols of jax.export in it, and dtype. Raises DtypeError for random keys."""
    try:
        return tuple(array.shape), np.dtype(array.dtype)
    except TypeError:
        raise DtypeError(
            f"{name} has dtype {array.dtype}; numbers are needed. Write jax.random.normal({name}, shape)"
        ) from None


_FACE = Face(
    "jax",
    "JAX's primitives",
    (jax.Array,),
    _described,
    "the call outside of the transform",
    "jax.export with numbers as the sizes of {name}",
)
