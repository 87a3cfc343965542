"""Reading of a call in lax's words: its arguments become a `Geometry` and layouts, or an error while JAX traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tconv._arguments import int_of, ints_of, pairs_of
from tconv.dialects import NativeCall, WeightLayout, dialect
from tconv.dialects.channel_mismatch import suggest_layout, without_dialect
from tconv.errors import ArgumentError, ArrayError, DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.jax.call_layouts import channels
from tconv.jax.primitives import common_dtype
from tconv.operator.call_reading import arguments_key

_MOST = 512
_EXAMPLES = {"lhs": "ones((1, 8, 8, 3))", "rhs": "ones((4, 4, 3, 8))"}
_KINDS = (jnp.integer, jnp.floating, jnp.complexfloating)
_read_calls: dict[Any, NativeCall] = {}


def read(x: Any, weight: Any, bias: Any, lax: dict[str, Any], groups: Any, extra: Any, crop: Any) -> NativeCall:
    """Return the meaning of a call. `lax` has the arguments of jax.lax.conv_transpose, `extra` is output_padding.

    Raises the errors of the "jax" dialect, and ShapeError for sizes that do not fit.
    """
    shapes = tuple(x.shape), tuple(weight.shape), None if bias is None else tuple(bias.shape)
    key = _key(shapes, {**lax, "groups": groups, "extra": extra, "crop": crop})
    call = None if key is None else _read_calls.get(key)
    if call is None:
        call = _checked(*shapes, lax, groups, extra, crop)
        if key is not None:
            if len(_read_calls) >= _MOST:
                _read_calls.clear()
            _read_calls[key] = call
    return call


def _key(shapes: Any, arguments: dict[str, Any]) -> Any:
    """Return a key of all that the meaning of a call depends on; None for arguments that are read every time."""
    given: dict[str, Any] = {}
    switches = []
    for name, value in arguments.items():
        if type(value) is bool:
            switches.append((name, value))
        elif name == "dimension_numbers" and type(value) in (list, tuple) and all(type(one) is str for one in value):
            given[name] = " ".join(value)
        elif value is not None:
            # a list means the same as a tuple, but not as the pairs of use_consistent_padding
            given[name] = tuple(value) if type(value) is list and name != "padding" else value
    key = arguments_key("jax", None, given)
    return None if key is None else (shapes, key, *switches)


def _checked(
    x_shape: Any, weight_shape: Any, bias_shape: Any, lax: dict[str, Any], groups: Any, extra: Any, crop: Any
) -> NativeCall:
    speaker = dialect("jax")
    if crop is not None:
        if lax["padding"] is not None:
            raise ArgumentError(f"padding is {lax['padding']!r}, and crop={crop!r} was given. Write padding=None")
        lax = {**lax, "padding": "VALID"}
    try:
        call = speaker.read(x_shape, weight_shape, lax)
    except ArgumentError as error:
        if lax["padding"] is None and str(error).startswith("padding is None"):
            raise ArgumentError(f"{error}, or crop=0 for the full output") from None
        raise
    g = call.geometry
    if crop is not None:
        g = replace(g, crop=pairs_of(crop, "crop", g.ndim))
    if extra is not None:
        more = ints_of(extra, "output_padding", g.ndim, least=0)
        g = replace(g, crop=tuple((lo, hi - one) for (lo, hi), one in zip(g.crop, more, strict=True)))
    # as in lax, transpose_kernel=True has the weight of the convolution, whose outputs are the channels of x
    grouped = "I" if lax["transpose_kernel"] else "O"
    weight = WeightLayout(call.weight.axes, grouped, call.weight.flip)
    g = replace(g, groups=int_of(groups, "feature_group_count", least=1, example="feature_group_count=1"))
    call = replace(call, geometry=g, weight=weight)
    _check_channels(call, x_shape, weight_shape, bias_shape)
    sizes = call.data.sizes(x_shape)[2]
    if all(isinstance(size, int) for size in sizes):  # others are symbols of `jax.export`
        g.output_shape(sizes)
    return call


def _check_channels(call: NativeCall, x_shape: Any, weight_shape: Any, bias_shape: Any) -> None:
    g, layout = call.geometry, call.weight
    whole = layout.sizes(weight_shape)[layout.grouped]
    if whole % g.groups:
        side = "input" if layout.grouped == "I" else "output"
        raise ShapeError(
            f"rhs {weight_shape} has {whole} {side} channels, which feature_group_count={g.groups} does not divide. "
            f"Use a number of groups that divides {whole}, for example feature_group_count=1"
        )
    needed, outputs = channels(layout, weight_shape, g.groups)
    given = call.data.sizes(x_shape)[1]
    if given != needed:
        ungrouped = g.groups == 1
        raise ShapeError(
            f"rhs {weight_shape} has {needed} input channels as JAX reads it{_with_groups(g)}; lhs {x_shape} has "
            f"{given}. "
            + (
                without_dialect(suggest_layout(dialect("jax"), call, x_shape, weight_shape, "jax"))
                if ungrouped
                else f"With {g.groups} groups rhs is {_of_groups(layout)}. Use a weight or an input of this layout"
            )
        )
    if outputs == 0:
        raise ShapeError(f"rhs {weight_shape} has no output channels; at least one is needed. Use C_out > 0")
    if bias_shape not in (None, (outputs,)):
        raise ShapeError(
            f"bias has shape {bias_shape}; one number per output channel is needed: ({outputs},). Write "
            f"bias=bias.reshape({outputs})"
        )


def _with_groups(g: Geometry) -> str:
    return "" if g.groups == 1 else f" with feature_group_count={g.groups}"


def _of_groups(layout: WeightLayout) -> str:
    other = "I" if layout.grouped == "O" else "O"
    names = {"I": "C_in", "O": "C_out"}
    return layout.describe().replace(names[other], f"{names[other]}/groups")


def array_of(value: Any, name: str) -> Any:
    """Return an array of JAX or NumPy as one of JAX, or a tracer. Raises ArrayError for anything else."""
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        try:
            return jnp.asarray(value)
        except TypeError:
            raise DtypeError(
                f"{name} is {value.dtype}, which JAX does not have. Write {name}.astype('float32')"
            ) from None
    if hasattr(value, "__jax_array__"):  # the variables of Flax, for example
        return jnp.asarray(value)
    kind = type(value)
    if isinstance(value, Mapping):
        advice = 'params["kernel"] for rhs, and bias=params["bias"], for example'
    elif value is None or isinstance(value, (str, bytes)) or callable(value):
        advice = f"{name}=jnp.{_EXAMPLES.get(name, 'zeros(8)')}, for example"
    else:
        advice = f"jnp.asarray({name})"
    raise ArrayError(
        f"{name} is a {kind.__module__}.{kind.__qualname__}; an array of JAX or NumPy is needed. Write {advice}"
    )


def bias_of(value: Any, x: Any, dtype: Any) -> Any:
    """Return a bias in the dtype of the output; a list or a number becomes an array of it."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        try:
            return jnp.asarray(value, dtype)
        except (TypeError, ValueError):
            raise ArrayError(f"bias is {value!r}; an array or a list of numbers is needed") from None
    bias = array_of(value, "bias")
    if bias.dtype not in (x.dtype, dtype):
        raise DtypeError(f"bias is {bias.dtype}, and lhs {x.dtype}; one dtype is needed. Write bias.astype('{dtype}')")
    return bias.astype(dtype)


def result_dtype(x: Any, weight: Any, preferred: Any) -> np.dtype[Any]:
    """Return the dtype of the output, by the rules of lax. Raises DtypeError."""
    if x.dtype != weight.dtype:
        common = common_dtype(x.dtype, weight.dtype)  # never that of integers for a float array: it would lose all
        others = [name for name, each in (("lhs", x), ("rhs", weight)) if each.dtype != common]
        text = " and ".join(f"{name}.astype('{common}')" for name in others)
        raise DtypeError(f"lhs is {x.dtype}, and rhs {weight.dtype}; one dtype is needed. Write {text}")
    if preferred is None:
        own: np.dtype[Any] = np.dtype(x.dtype)
        return own
    try:
        dtype: np.dtype[Any] = np.dtype(jax.dtypes.canonicalize_dtype(preferred))
    except TypeError:
        raise DtypeError(
            f"preferred_element_type is {preferred!r}, which is no dtype. Write preferred_element_type=jnp.float32"
        ) from None
    of_x, wanted = (next((kind for kind in _KINDS if jnp.issubdtype(each, kind)), None) for each in (x.dtype, dtype))
    signs = [jnp.issubdtype(each, jnp.signedinteger) for each in (x.dtype, dtype)]
    same = of_x in (None, wanted) and not (of_x is jnp.integer and signs == [True, False])
    if not (same or (of_x is jnp.integer and wanted is jnp.floating)) or dtype.itemsize < x.dtype.itemsize:
        raise DtypeError(
            f"preferred_element_type is {dtype}, and lhs {x.dtype}; a dtype of the same kind that is not narrower is "
            f"needed, or a float for integers. Write preferred_element_type='{x.dtype}'"
        )
    return dtype
