"""JAX's transposed convolution on tconv's kernel, inside of compiled programs and with all derivatives.

>>> import jax, tconv.jax
>>> x, w = jax.numpy.ones((1, 8, 8, 3)), jax.numpy.ones((4, 4, 3, 2))        # [N, h, w, C], [kh, kw, C_in, C_out]
>>> jax.jit(lambda x, w: tconv.jax.conv_transpose(x, w, (2, 2), "SAME"))(x, w).shape  # as jax.lax.conv_transpose
(1, 16, 16, 2)
"""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import jax as _jax  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.jax", "jax", "jax") from None

from tconv.jax import initializers
from tconv.jax.ffi_handler import register_handler
from tconv.jax.functional import CallPlan, conv_transpose, plan
from tconv.jax.layer_calls import intercept

__all__ = ["CallPlan", "conv_transpose", "initializers", "intercept", "plan", "register_handler"]
