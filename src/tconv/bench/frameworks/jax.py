"""JAX inside `jax.jit`: its own operator, tconv's, the plain rewrite, and tconv's operators for other platforms."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tconv import dialect
from tconv.bench.frameworks import layer_sides
from tconv.bench.frameworks.interface import OWN, Case, Sides
from tconv.bench.frameworks.layer_sides import LayerFramework, Operator
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

STANDARD = "standard"
"""Side of tconv's polyphase form in XLA's own operators, which runs under `jax.export` and on other platforms."""


def _start(threads: int, backend: str) -> None:
    # XLA reads its number of threads from NPROC, which the worker's environment contains
    jax: Any = import_module("jax")
    jax.config.update("jax_platforms", "cpu")


class Jax(LayerFramework):
    """The operators of JAX."""

    stock: ClassVar[str] = "jax"

    def operators(self, layer: Layer, weight: Array, layout: str) -> dict[str, Callable[[], Operator]]:
        return {
            self.stock: lambda: _own(layer, weight, layout),
            OWN: lambda: _tconv(layer, weight, layout),
            layer_sides.REWRITE: lambda: _rewrite(layer, weight, layout),
            STANDARD: lambda: _standard(layer, weight, layout),
        }

    def array(self, numbers: Array) -> Any:
        return import_module("jax").device_put(numbers)

    def numpy(self, output: Any) -> Array:
        return np.asarray(output)

    def forward(self, call: Callable[..., Any], x: Any, w: Any, compiled: bool) -> Callable[[], Any]:
        run = import_module("jax").jit(call) if compiled else call
        return lambda: run(x, w).block_until_ready()

    def training(
        self, call: Callable[..., Any], x: Any, w: Any, cotangent: Any, forward: bool
    ) -> Callable[[Any], tuple[Any, Any]]:
        jax: Any = import_module("jax")

        def loss(x: Any, w: Any, cotangent: Any) -> Any:
            return (call(x, w) * cotangent).sum()

        def step(x: Any, w: Any, cotangent: Any, rate: Any) -> Any:
            if forward:
                value, (dx, dw) = jax.value_and_grad(loss, (0, 1))(x, w, cotangent)
            else:
                value, (dx, dw) = 0, jax.grad(loss, (0, 1))(x, w, cotangent)
            return value, dx, dw, w - rate * dw

        weights, compiled = [w], jax.jit(step)

        def run(rate: Any) -> tuple[Any, Any]:
            _, dx, dw, weights[0] = jax.block_until_ready(compiled(x, weights[0], cotangent, rate))
            return dx, dw

        return run


def _specs(layer: Layer, layout: str) -> tuple[str, str, str]:
    axes = "DHW"[-layer.geometry.ndim :]
    data = f"N{axes}C" if layout == "last" else f"NC{axes}"
    return data, f"{axes}IO", data


def _arguments(layer: Layer, layout: str) -> dict[str, Any]:
    """Return the arguments of jax.lax.conv_transpose for one group."""
    g = layer.geometry
    native = dialect("jax").arguments(type(g)(g.kernel, g.stride, g.crop, g.dilation), input=layer.input_shape)
    return {**native, "dimension_numbers": _specs(layer, layout)}


def _grouped(weight: Array, groups: int) -> tuple[Array, Callable[[Array], Array]]:
    """Return a weight [C_in, C_out/g, *k] as [*k, C_in/g, C_out], flipped, and the conversion back."""
    axes = weight.ndim - 2
    taps = tuple(range(axes))
    split = weight.reshape(groups, -1, *weight.shape[1:])  # [G, I, O, *k]
    moved = np.flip(split.transpose(*range(3, 3 + axes), 1, 0, 2), taps)

    def canonical(w: Array) -> Array:
        split = np.flip(w, taps).reshape(*w.shape[:-1], groups, -1)  # [*k, I, G, O]
        return split.transpose(axes + 1, axes, axes + 2, *taps).reshape(weight.shape)

    return moved.reshape(*moved.shape[: axes + 1], -1), canonical


def _own(layer: Layer, weight: Array, layout: str) -> Operator:
    """Return lax.conv_transpose, or with groups, which it lacks, the convolution that it calls."""
    lax, g = import_module("jax").lax, layer.geometry
    if g.groups == 1:
        arguments = _arguments(layer, layout)
        return Operator(lambda x, w: lax.conv_transpose(x, w, **arguments), *_grouped(weight, 1))

    def call(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            w,
            window_strides=(1,) * g.ndim,
            padding=[(e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(g.extent, g.crop, strict=True)],
            lhs_dilation=g.stride,
            rhs_dilation=g.dilation,
            dimension_numbers=_specs(layer, layout),
            feature_group_count=g.groups,
        )

    return Operator(call, *_grouped(weight, g.groups))


def _tconv(layer: Layer, weight: Array, layout: str) -> Operator:
    operator, groups = import_module("tconv.jax").conv_transpose, layer.geometry.groups
    arguments = _arguments(layer, layout) | ({"feature_group_count": groups} if groups > 1 else {})
    return Operator(lambda x, w: operator(x, w, **arguments), *_grouped(weight, groups))


def _standard(layer: Layer, weight: Array, layout: str) -> Operator:
    """Return tconv's operators in XLA's own, with their gradients."""
    jax: Any = import_module("jax")
    standard: Any = import_module("tconv.jax.standard")
    g, words = layer.geometry, dialect("jax")
    numbers = {"dimension_numbers": _specs(layer, layout)}
    data, kind = words.data_layout(g.ndim, g.ndim + 2, **numbers), words.weight_layout(g.ndim, **numbers)

    def forward(x: Any, w: Any) -> Any:
        return standard.conv_transpose(x, w, g, data, kind, data)

    def gradients(saved: Any, dy: Any) -> Any:
        x, w = saved
        return standard.conv(dy, w, g, data, kind, data), standard.weight_gradient(x, dy, g, data, data, kind)

    operator = jax.custom_vjp(forward)
    operator.defvjp(lambda x, w: (forward(x, w), (x, w)), gradients)
    return Operator(operator, words.to_native(weight, g.groups), lambda w: words.to_canonical(w, g.groups))


def _rewrite(layer: Layer, weight: Array, layout: str) -> Operator:
    jax: Any = import_module("jax")
    g, padding = layer.geometry, [(zeros, zeros) for zeros in layer_sides.padded_taps(layer)]

    def conv(x: Any, w: Any) -> Any:
        numbers = _specs(layer, layout)
        return jax.lax.conv_general_dilated(
            x, w, (1,) * g.ndim, padding, dimension_numbers=numbers, feature_group_count=g.groups
        )

    return layer_sides.rewrite(layer, weight, layout, conv, jax.numpy.reshape, jax.numpy.transpose)


def _build(kind: str, case: Case) -> Sides:
    import_module("jax").config.update("jax_enable_x64", case.dtype == "float64")
    if layer_sides.layer_of(kind, case.name).geometry.ndim > 3:
        raise UnableError("the cases of layers have 1 to 3 axes")
    return Jax().sides(kind, case)


FRAMEWORK = layer_sides.framework_of_layers("JAX", ("jax", "jaxlib"), _start, _build)
