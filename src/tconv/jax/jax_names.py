"""Names of JAX that it does not document, asked for here and nowhere else; each has a fallback or a plain error.

Importing this module imports JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import jax

from tconv.errors import MissingExtraError


def _needed(module: str, name: str) -> Any:
    """Return an object of JAX. Raises MissingExtraError where a release does not have it."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        wanted = f"tconv.jax uses {module}.{name}, which JAX {jax.__version__} does not have. It"
        raise MissingExtraError(wanted, "another release of JAX", "jax") from None


Primitive = _needed("jax.extend.core", "Primitive")
defbilinear, defjvp = (_needed("jax.interpreters.ad", name) for name in ("defbilinear", "defjvp"))
is_undefined_primal = _needed("jax.interpreters.ad", "is_undefined_primal")
primitive_transposes = _needed("jax.interpreters.ad", "primitive_transposes")
Zero = _needed("jax.interpreters.ad", "Zero")
primitive_batchers = _needed("jax.interpreters.batching", "primitive_batchers")
lower_fun, register_lowering = (_needed("jax.interpreters.mlir", name) for name in ("lower_fun", "register_lowering"))


def _match_varying() -> Any:
    for name in ("auto_insert_reshard", "standard_insert_pvary", "standard_insert_pbroadcast"):
        try:
            return _needed("jax._src.core", name)
        except MissingExtraError:
            continue
    return lambda *arrays: arrays  # releases before `check_vma` do not ask for it


_match = _match_varying()


def match_varying(*arrays: Any) -> tuple[Any, ...]:
    """Return arrays that vary over the same axes of `jax.shard_map`, as every operator of JAX needs them."""
    return tuple(_match(*arrays))
