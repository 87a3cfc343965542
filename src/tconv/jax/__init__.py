"""JAX's transposed convolution on tconv's kernel, inside of compiled programs and with all derivatives."""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import jax as _jax  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.jax", "jax", "jax") from None
