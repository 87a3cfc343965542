"""Names of JAX that it does not document, asked for here and nowhere else; each has a fallback or a plain error.

Importing this module imports JAX.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

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
_lower_fun, register_lowering = (_needed("jax.interpreters.mlir", name) for name in ("lower_fun", "register_lowering"))


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


def as_one_operation(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function whose program `jax_debug_nans` takes for one operator: it names it, and does not run it again.

    Without the mark, which JAX gives the programs of its own operators, it would call the same program without end.
    """

    def operation(*operands: Any) -> Any:
        return function(*operands)

    operation.__name__ = operation.__qualname__ = name
    operation._apply_primitive = True  # type: ignore[attr-defined]
    return operation


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


# -- arrays whose type says how they are spread over devices: those of a mesh with explicit axes -----------------------


def spread_over(operands: Sequence[Any], batch_axes: Sequence[int], batch_axis: int | None, ndim: int) -> Any:
    """Return the sharding of a result with this many axes, whose batch is spread as that of the operands.

    `batch_axes` are those of the operands, -1 for one without; `batch_axis` is that of the result. None outside of a
    mesh. Raises ArgumentError for an operand that is spread along another axis.
    """
    meshes = [each.sharding.mesh for each in operands if hasattr(each, "sharding") and not each.sharding.mesh.empty]
    if not meshes:
        return None
    batches = []
    for each, batch in zip(operands, batch_axes, strict=True):
        spec = [*each.sharding.spec, *[None] * (each.ndim - len(each.sharding.spec))]
        others = [name for axis, name in enumerate(spec) if axis != batch and name is not None]
        if others:
            raise ArgumentError(
                f"an array of shape {each.shape} is spread over the mesh axis {others[0]!r}, and not along its batch. "
                "Write jax.reshard(array, jax.P()), or call tconv.jax inside of jax.shard_map"
            )
        batches += [] if batch < 0 else [spec[batch]]
    spec = [batches[0] if axis == batch_axis else None for axis in range(ndim)]
    return NamedSharding(meshes[0], PartitionSpec(*spec))


def spread_like(array: Any, sharding: Any) -> Any:
    """Return an array with the sharding that `spread_over` returned."""
    reshard = getattr(jax, "reshard", None) or getattr(jax.sharding, "reshard", None)
    return array if sharding is None or not any(sharding.spec) or reshard is None else reshard(array, sharding)


def lower_standard(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the lowering of a function of arrays. XLA decides how its steps are spread, where they are."""
    rule = _lower_fun(function, multiple_results=False)

    def lowered(context: Any, *operands: Any, **parameters: Any) -> Any:
        return rule(context.replace(avals_in=[_not_spread(aval) for aval in context.avals_in]), *operands, **parameters)

    return lowered


def _not_spread(aval: Any) -> Any:
    spec = getattr(getattr(aval, "sharding", None), "spec", ())
    return jax.core.ShapedArray(aval.shape, aval.dtype, weak_type=aval.weak_type) if any(spec) else aval
