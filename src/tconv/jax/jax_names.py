"""Names of JAX that it does not document, asked for here and nowhere else; each has a fallback or a plain error.

Importing this module imports JAX.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import Any

import jax

from tconv.errors import ArgumentError, MissingExtraError


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


def is_exported(context: Any) -> bool:
    """Return True while `jax.export` lowers a program; also in a release that does not tell."""
    return bool(getattr(context.module_context.lowering_parameters, "for_export", True))


def canonical_precision(precision: Any) -> Any:
    """Return lax's precision as a key. Raises ArgumentError for a value that is none, where this release tells."""
    try:
        canonical = _needed("jax._src.lax.lax", "canonicalize_precision")
    except MissingExtraError:
        return tuple(precision) if isinstance(precision, list) else precision
    try:
        return canonical(precision)
    except ValueError:
        raise ArgumentError(
            f'precision is {precision!r}; None, a string as "highest" or a jax.lax.Precision is needed. Write '
            "precision=None"
        ) from None


def precision_context(precision: Any) -> Any:
    """Return a context in which JAX's operators have a canonical precision; the higher one of two."""
    pair = precision if isinstance(precision, tuple) else (precision,)
    known = [name for name in ("HIGHEST", "HIGH", "DEFAULT") if getattr(jax.lax.Precision, name) in pair]
    return jax.default_matmul_precision(known[0].lower()) if known else contextlib.nullcontext()
