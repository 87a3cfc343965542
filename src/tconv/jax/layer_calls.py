"""Calls of Flax Linen's and Haiku's transposed layers on tconv, through the interceptors that both libraries have.

An interceptor sees every call of a layer's method for as long as a context lasts. It changes no function of JAX, so no
other code is affected, and a program that jit has compiled before stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.jax.jax_names import canonical_precision
from tconv.jax.operator import apply


class _LayerCall(NamedTuple):
    """Arrays and words of a layer, as its own call would use them."""

    dialect: str
    x: Any
    weight: Any
    bias: Any
    words: dict[str, Any]
    precision: Any


def intercept(call: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any], context: Any) -> Any:
    """Run transposed layers on tconv: an interceptor for flax.linen.intercept_methods and haiku.intercept_methods.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, tconv.jax
    >>> model, x = nn.ConvTranspose(32, (4, 4), (2, 2)), jnp.ones((1, 8, 8, 64))
    >>> variables = model.init(jax.random.key(0), x)
    >>> @jax.jit
    ... def decode(variables, x):
    ...     with nn.intercept_methods(tconv.jax.intercept):       # inside of the function that is compiled
    ...         return model.apply(variables, x)
    >>> decode(variables, x).shape
    (1, 16, 16, 32)

    It takes flax.linen.ConvTranspose, haiku.ConvNDTranspose and the layers built on them. Parameters, dtypes, batch
    axes, masks and errors are the layer's own. What tconv does not compute stays with the layer: the call that creates
    its parameters, padding "CIRCULAR", a preferred_element_type, and subclasses with a call of their own.
    """
    layer = context.module
    read = _READERS.get(_class_of_call(type(layer))) if context.method_name == "__call__" else None
    given = [*arguments, *(value for name, value in named.items() if name == "inputs")]
    found = read(layer, given[0], named) if read is not None and given else None
    y = None if found is None else _run(found)
    return call(*arguments, **named) if y is None else y


def _class_of_call(kind: type) -> tuple[str, str]:
    """Return the package and the name of the class that defines the call of a layer."""
    owner = next((base for base in kind.__mro__ if "__call__" in vars(base)), kind)
    return owner.__module__.partition(".")[0], owner.__name__


def _of_flax(layer: Any, x: Any, named: dict[str, Any]) -> _LayerCall | None:
    if layer.preferred_element_type is not None or not layer.has_variable("params", "kernel"):
        return None
    own = sys.modules["flax"].core.meta.unbox(layer.variables["params"])
    weight, bias = own["kernel"], own.get("bias") if layer.use_bias else None
    kernel = (layer.kernel_size,) if isinstance(layer.kernel_size, int) else tuple(layer.kernel_size)
    channels = (layer.features, jnp.shape(x)[-1])
    needed = (*kernel, *(channels if layer.transpose_kernel else reversed(channels)))
    shapes = [weight.shape, needed if layer.mask is None else layer.mask.shape]
    if shapes != [needed] * 2 or (layer.use_bias and (bias is None or bias.shape != (layer.features,))):
        return None  # the layer has an error for it
    weight = weight if layer.mask is None else weight * layer.mask
    x, weight, bias = layer.promote_dtype(x, weight, bias, dtype=layer.dtype)
    words = {
        "strides": layer.strides,
        "padding": layer.padding,
        "kernel_dilation": layer.kernel_dilation,
        "transpose_kernel": layer.transpose_kernel,
    }
    return _LayerCall("flax", x, weight, bias, words, layer.precision)


def _of_haiku(layer: Any, x: Any, named: dict[str, Any]) -> _LayerCall | None:
    haiku = sys.modules["haiku"]
    x = jnp.asarray(x)
    if haiku.running_init() or not layer.num_spatial_dims + 1 <= x.ndim <= layer.num_spatial_dims + 2:
        return None
    channels = x.shape[layer.channel_index]
    shape = (*layer.kernel_shape, layer.output_channels, channels)
    if layer.mask is not None and layer.mask.shape != shape:
        return None  # the layer has an error for it
    weight = haiku.get_parameter("w", shape, x.dtype)
    weight = weight if layer.mask is None else weight * layer.mask
    bias = None
    if layer.with_bias:
        one = () if layer.channel_index == -1 else (1,) * layer.num_spatial_dims
        bias = haiku.get_parameter("b", (layer.output_channels, *one), x.dtype).reshape(-1)
    words = {"stride": layer.stride, "padding": layer.padding, "data_format": layer.data_format}
    words |= {} if layer.output_shape is None else {"output_shape": layer.output_shape}
    return _LayerCall("haiku", x, weight, bias, words, named.get("precision"))


_READERS = {("flax", "ConvTranspose"): _of_flax, ("haiku", "ConvNDTranspose"): _of_haiku}


def _run(given: _LayerCall) -> Any:
    """Return the layer's output; None for a call that tconv would refuse, whose error is the layer's."""
    x, weight, bias = given.x, given.weight, given.bias
    ndim = weight.ndim - 2
    batch = x.shape[: x.ndim - ndim - 1]
    if given.dialect == "flax":  # which joins all batch axes
        x = x.reshape(-1, *x.shape[len(batch) :])
    try:
        call = dialect(given.dialect).read(x.shape, weight.shape, given.words)
    except TconvError:
        return None
    if call.data.sizes(x.shape)[1] != call.weight.sizes(weight.shape)["I"] or weight.dtype != x.dtype:
        return None
    bias = bias if bias is None or bias.dtype == x.dtype else bias.astype(x.dtype)
    precision = canonical_precision(given.precision)
    y = apply(x, weight, bias, call.geometry, call.data, call.weight, call.result, precision=precision)
    return y.reshape(*batch, *y.shape[1:]) if given.dialect == "flax" else y
