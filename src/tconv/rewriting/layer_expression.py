"""Layers of an inventory as expressions, with the crop as their file writes it, in any dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arguments import ints_of
from tconv._arrays import Array
from tconv.dialects import DataLayout, Dialect, NativeCall, dialect
from tconv.errors import RewriteError, TconvError
from tconv.models.inventory.computed_sizes import sized_arguments
from tconv.models.inventory.model_layer import ModelLayer
from tconv.rewriting.expression import Expression
from tconv.rewriting.expression import layer as layer_of
from tconv.rewriting.operations import Constant

_RULES = {"SAME": "SAME_UPPER", "SAME_UPPER": "SAME_UPPER", "SAME_LOWER": "SAME_LOWER", "VALID": "VALID"}
_GROUPS = ("group", "groups", "feature_group_count")


def expression_of(layer: ModelLayer) -> Expression:
    """Return a layer as an expression of one transposed convolution; its weights are read when they are needed.

    Arrays of the expression are canonical, whatever the layer's dialect. Sizes that the file does not tell are None.
    Raises RewriteError for a layer whose weight is not known, or whose arguments have no meaning.
    """
    weight, bias = layer.weight, layer.bias
    if weight is None:
        raise RewriteError("; ".join(layer.limitations) or "its weight is not in the file")
    rules, arguments = dialect(layer.dialect), dict(layer.arguments)
    ndim = len(weight.shape) - len(rules.weight_pattern.replace("*", ""))
    if ndim < 1:
        raise RewriteError(f"its weight has shape {weight.shape}, with no spatial axis")
    output_shape = _output_shape(layer, arguments, ndim)
    if output_shape is None and arguments.get("auto_pad", "NOTSET") != "NOTSET":
        arguments.pop("pads", None)  # exporters write both; the rule is the one that counts
    try:
        call, sizes = _read(layer, rules, arguments, ndim)
        g = call.geometry
        named, grouped = call.weight.sizes(tuple(weight.shape)), call.weight.grouped
        in_channels = named["I"] * (g.groups if grouped in ("O", "G") else 1)
        out_channels = named["O"] * (g.groups if grouped in ("I", "G") else 1)
        shape = (in_channels, out_channels // g.groups, *g.kernel)
        canonical = Constant(shape, _dtype(weight.dtype), lambda: _canonical(weight.read(), call))
        shift = None
        if bias is not None:
            shift = Constant((out_channels,), _dtype(weight.dtype), lambda: _flat(bias.read(), weight.dtype))
        words: dict[str, Any] = {"auto_pad": _RULES.get(str(_rule(arguments)).upper(), "NOTSET")}
        extra = _output_padding(arguments, ndim)
        if any(extra):
            words["output_padding"] = extra
        if output_shape is not None:
            words["output_shape"] = output_shape
        return layer_of(canonical, shift, g, (sizes[0], in_channels, *sizes[1:]), **words)
    except (TconvError, TypeError, ValueError, KeyError) as error:
        raise RewriteError(f"its arguments cannot be read: {error}") from None


def _output_shape(layer: ModelLayer, arguments: Mapping[str, Any], ndim: int) -> tuple[int, ...] | None:
    """Return the size of the output that the file has instead of pads."""
    given = arguments.get("output_shape")
    return tuple(given)[-ndim:] if given and layer.dialect == "onnx" else None


def _read(
    layer: ModelLayer, rules: Dialect, arguments: dict[str, Any], ndim: int
) -> tuple[NativeCall, tuple[int | None, ...]]:
    """Return the meaning of the call, and (batch, *spatial) of x, None where the file does not tell."""
    assert layer.weight is not None
    layouts = {name: value for name, value in arguments.items() if name in rules.layout_arguments}
    weights = rules.weight_layout(ndim, **layouts)
    data = rules.data_layout(ndim, len(layer.input_shape or ()) or ndim + 2, **layouts)
    sizes = _sizes(layer, data, ndim)
    groups = next((arguments[name] for name in _GROUPS if name in arguments), 1)
    shape = tuple(layer.weight.shape)
    channels = weights.sizes(shape)["I"] * (groups if weights.grouped == "O" else 1)
    sample = (sizes[0] or 1, channels, *(7 if size is None else size for size in sizes[1:]))
    x = data.native_shape(sample)
    return rules.read(x, shape, sized_arguments(replace(layer, arguments=arguments), x)), sizes


def _sizes(layer: ModelLayer, data: DataLayout, ndim: int) -> tuple[int | None, ...]:
    shape = layer.input_shape
    if shape is None or len(shape) != len(data.axes):
        return (None,) * (ndim + 1)
    named: dict[Any, Any] = dict(zip(data.axes, shape, strict=True))
    ordered = [named.get("N", 1), *(named[axis] for axis in range(ndim))]
    return tuple(size if isinstance(size, int) and size > 0 else None for size in ordered)


def _canonical(stored: Array, call: NativeCall) -> Array:
    return call.weight.canonical(np.asarray(stored), call.geometry.groups)


def _flat(stored: Array, dtype: str) -> Array:
    return np.asarray(stored).reshape(-1).astype(_dtype(dtype))


def _rule(arguments: Mapping[str, Any]) -> Any:
    return arguments.get("auto_pad") or arguments.get("padding") or "NOTSET"


def _output_padding(arguments: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    given = arguments.get("output_padding")
    return ints_of(given, "output_padding", ndim, least=0) if given not in (None, [], ()) else (0,) * ndim


def _dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)
