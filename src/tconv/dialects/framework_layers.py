"""Layers of frameworks: their weight, bias and arguments in the words of a dialect, and sub-pixel shuffles.

A layer is recognised by the names of its classes and their modules, so that no framework is imported. Functions that
take a weight take such a layer, too. Weights are arrays of PyTorch and JAX; those of other frameworks become NumPy's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv.dialects import dialect as find_dialect
from tconv.dialects.base import OUTPUT_SIZE_ARGUMENTS, keywords
from tconv.errors import ArgumentError, ArrayError
from tconv.geometry import Geometry


class FrameworkLayer(NamedTuple):
    """Weight, bias and arguments of a convolution or transposed convolution of a framework, without gradients."""

    dialect: str
    weight: Any
    bias: Any
    arguments: dict[str, Any]
    """Native arguments of the dialect; those of an ordinary convolution by PyTorch's names."""
    is_transposed: bool
    kind: str
    """Class of the layer, for messages."""
    activation: str = ""
    """Name of the activation that the layer applies to its output; "" for none."""

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.arguments.get("groups", 1))


_TRANSPOSED = re.compile(r"ConvTranspose(\dd)?|Conv\dDTranspose")
_ORDINARY = re.compile(r"Conv(\dd)?|Conv\dD")
_WITHOUT_WEIGHT = re.compile("Norm|Activation|ReLU|ELU|SiLU|Swish|Mish|Sigmoid|Tanh|Softplus|Dropout|Identity|Input")
_ROOTS = ("torch", "keras", "tf_keras", "flax", "equinox", "paddle", "mlx", "tinygrad")


def _classes(layer: Any) -> list[tuple[str, str, str]]:
    """Return root package, module and name of the classes of an object that are a framework's."""
    named = [(base.__module__.partition(".")[0], base.__module__, base.__name__) for base in type(layer).__mro__]
    return [each for each in named if each[0] in _ROOTS]


def layer_of(given: Any, name: str) -> FrameworkLayer | None:
    """Return the layer that was given as `name`; None for any other object, arrays among them.

    Raises ArrayError for a layer whose weight does not exist yet.
    """
    for root, module, kind in _classes(given):
        transposed = _TRANSPOSED.fullmatch(kind) is not None
        if transposed or _ORDINARY.fullmatch(kind):
            if module.startswith("flax.linen"):
                raise ArrayError(
                    f"{name} is a flax.linen.{kind}, which has no weight of its own. Write params['kernel'] in its "
                    "place, and the arguments of the layer in the flax dialect"
                )
            layer = _READERS["keras" if root == "tf_keras" else root](given, name, kind)
            return layer._replace(is_transposed=transposed)
    return None


def refuse_other_modules(given: Any, name: str) -> None:
    """Raise ArrayError for a framework's module that is no convolution; arrays and other objects pass."""
    if callable(given) and not hasattr(given, "shape") and _classes(given):
        raise ArrayError(
            f"{name} is a {type(given).__name__}, which is no transposed convolution. Use a layer such as "
            "torch.nn.ConvTranspose2d, or a weight and its arguments"
        )


def taken(
    given: Any, name: str, dialect: str, native: dict[str, Any]
) -> tuple[Any, str, dict[str, Any], FrameworkLayer | None]:
    """Return weight, dialect and native arguments of a call whose weight may be a layer, and that layer, or None.

    Raises ArgumentError for arguments beside a layer, which has them, and for an ordinary convolution.
    """
    layer = layer_of(given, name)
    if layer is None:
        return given, dialect, native, None
    if not layer.is_transposed:
        raise ArgumentError(
            f"{name} is a {layer.kind}, an ordinary convolution; a transposed convolution is needed. Use a layer such "
            "as torch.nn.ConvTranspose2d, or a weight and its arguments"
        )
    refuse_arguments(layer, name, dialect, native)
    return layer.weight, layer.dialect, layer.arguments, layer


class LayerCall(NamedTuple):
    """Weight, bias, dialect and native arguments of a call, whose weight may have been a layer; that layer, or None."""

    weight: Any
    bias: Any
    dialect: str
    native: dict[str, Any]
    layer: FrameworkLayer | None


def call_of(
    given: Any, bias: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], *, x: Any = None
) -> LayerCall:
    """Return the call of a weight, or of a layer and the bias and arguments that it has.

    With `x`, weight and bias become arrays of its library; those of its own library keep gradients. An output size,
    which a layer takes with x, remains. Raises ArgumentError for other arguments that differ from its own.
    """
    layer = layer_of(given, "weight") if callable(given) else None
    if layer is None:
        return LayerCall(given, bias, dialect, native, None)
    if geometry is not None:
        raise ArgumentError(
            f"geometry= was given together with a {layer.kind}, which has its own arguments. Write the call without "
            "geometry="
        )
    known = [*layer.arguments, *find_dialect(layer.dialect).argument_names()]
    own = {name: value for name, value in native.items() if name in known and name not in OUTPUT_SIZE_ARGUMENTS}
    weight, dialect, arguments, _ = taken(given, "weight", dialect, own)
    arrays = [weight, layer.bias]
    if x is not None:
        library = _arrays.library_of(x, "x")
        if layer.dialect == "torch":
            arrays = [given.weight, given.bias]  # with their gradients
        elif layer.dialect == "keras" and _arrays.is_of(library, _value(given.kernel)):
            arrays = [_value(given.kernel), _value(given.bias)]
        arrays = [None if array is None else _as_array_of(library, array) for array in arrays]
    rest = {name: value for name, value in native.items() if name not in arguments}
    return LayerCall(arrays[0], arrays[1] if bias is None else bias, dialect, {**rest, **arguments}, layer)


def _as_array_of(library: str, array: Any) -> Any:
    """Return the array of a layer as one of this library."""
    if _arrays.library_of(array, "weight") == library:
        return array
    return _arrays.give(np.array(_arrays.look(array, "weight")[1]), library)


def refuse_activation(layer: FrameworkLayer | None, result: str, instead: str = "") -> None:
    """Raise ArgumentError for a layer with an activation, which `result` would lack. Only Keras' layers have one.

    The message proposes `instead`, for an activation of `PREPARED_ACTIVATIONS`, or else the arrays of the layer.
    """
    if layer is None or not layer.activation:
        return
    if not instead or layer.activation not in PREPARED_ACTIVATIONS:
        arguments = keywords({"dialect": layer.dialect, **layer.arguments}, {"output_padding": None})
        instead = f"*weight.get_weights(){arguments} in place of the layer, and apply {layer.activation} to the output"
    raise ArgumentError(f"the {layer.kind} applies {layer.activation} to its output, and {result}. Write {instead}")


PREPARED_ACTIVATIONS = ("relu", "relu6")
"""Activations of layers that have the same name and meaning in `tconv.prepare`."""


def refuse_arguments(layer: FrameworkLayer, name: str, dialect: str, given: dict[str, Any]) -> None:
    """Raise ArgumentError for arguments that were given beside a layer that has them, unless they are equal."""
    own = layer.arguments
    others = [key for key, value in given.items() if value is not None and repr(own.get(key)) != repr(value)]
    if dialect not in ("torch", layer.dialect):  # "torch" is also what a call without dialect= has
        others.append("dialect")
    if others:
        raise ArgumentError(
            f"{others[0]}= was given together with a {layer.kind}, which has its own arguments. Write the call without "
            f"{others[0]}=, or the array of the weight in place of the layer"
        )


# -- one function per framework ---------------------------------------------------------------------------------------


def _detached(tensor: Any) -> Any:
    return None if tensor is None else tensor.detach()


def _numpy(tensor: Any) -> Any:
    return None if tensor is None or tensor is False else tensor.numpy()


def _of_names(layer: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in names}


def _torch(layer: Any, name: str, kind: str) -> FrameworkLayer:
    if hasattr(layer, "has_uninitialized_params") and layer.has_uninitialized_params():
        raise ArrayError(f"{name} is a lazy {kind} without a weight yet. Call it once with an x first")
    if callable(layer.weight):
        raise ArrayError(
            f"{name} is a quantized {kind}; plain numbers are needed. Write {name}.weight().dequantize(), with the "
            "bias and the arguments of the layer"
        )
    names = ["stride", "padding", "groups", "dilation"] + ["output_padding"] * ("Transpose" in kind)
    arguments = _of_names(layer, *names)
    return FrameworkLayer("torch", _detached(layer.weight), _detached(layer.bias), arguments, True, kind)


def _keras(layer: Any, name: str, kind: str) -> FrameworkLayer:
    if not layer.built:
        raise ArrayError(f"{name} is a {kind} without a weight yet. Call it once with an x first, or its build()")
    names = ["strides", "padding", "data_format", "dilation_rate"] + ["output_padding"] * ("Transpose" in kind)
    arguments = _of_names(layer, *names)
    if "Transpose" in kind and getattr(layer, "groups", 1) > 1:  # a layer of tconv.keras
        arguments["groups"] = layer.groups
    if "Transpose" not in kind:
        arguments = {"stride": layer.strides, "dilation": layer.dilation_rate, "groups": layer.groups}
    function = getattr(layer, "activation", None)
    activation = "" if function is None else getattr(function, "__name__", type(function).__name__)
    activation = "" if activation == "linear" else activation
    kernel, bias = _numbers(layer.kernel), _numbers(layer.bias)
    return FrameworkLayer("keras", kernel, bias, arguments, True, kind, activation)


def _value(variable: Any) -> Any:
    """Return the backend's array of a variable of Keras, which gradients and tracers follow; None for None."""
    return getattr(variable, "value", variable)


def _numbers(variable: Any) -> Any:
    """Return a variable of Keras as NumPy's, or the backend's array where it has no numbers, inside of transforms."""
    try:
        return _numpy(variable)
    except Exception:  # each backend has its own kinds
        return _value(variable)


def _flax(layer: Any, name: str, kind: str) -> FrameworkLayer:
    kernel, bias = layer.kernel[...], None if layer.bias is None else layer.bias[...]
    if getattr(layer, "mask", None) is not None:
        kernel = kernel * layer.mask
    given = _of_names(layer, "strides", "padding", "kernel_dilation")
    arguments = {key: value for key, value in given.items() if value is not None}
    if kind == "ConvTranspose":
        arguments["transpose_kernel"] = layer.transpose_kernel
    else:
        arguments = {"stride": arguments.get("strides", 1), "dilation": arguments.get("kernel_dilation", 1)}
        arguments["groups"] = layer.feature_group_count
    return FrameworkLayer("flax", kernel, bias, arguments, True, kind)


def _equinox(layer: Any, name: str, kind: str) -> FrameworkLayer:
    names = ["stride", "padding", "dilation", "groups", "padding_mode"] + ["output_padding"] * ("Transpose" in kind)
    bias = None if layer.bias is None else layer.bias.reshape(-1)
    return FrameworkLayer("equinox", layer.weight, bias, _of_names(layer, *names), True, kind)


def _paddle(layer: Any, name: str, kind: str) -> FrameworkLayer:
    names = ["stride", "padding", "dilation", "groups"] + ["data_format"] * ("Transpose" in kind)
    arguments = {name: getattr(layer, f"_{name}") for name in names}
    if "Transpose" in kind:
        arguments["output_padding"] = layer.output_padding
    weight, bias = (None if each is None else each.detach() for each in (layer.weight, layer.bias))
    return FrameworkLayer("paddle", _numpy(weight), _numpy(bias), arguments, True, kind)


def _mlx(layer: Any, name: str, kind: str) -> FrameworkLayer:
    names = ["stride", "padding", "dilation"] + (["output_padding"] if "Transpose" in kind else ["groups"])
    bias = np.array(layer["bias"]) if "bias" in layer else None
    return FrameworkLayer("mlx", np.array(layer["weight"]), bias, _of_names(layer, *names), True, kind)


def _tinygrad(layer: Any, name: str, kind: str) -> FrameworkLayer:
    names = ["stride", "padding", "groups", "dilation"] + ["output_padding"] * ("Transpose" in kind)
    return FrameworkLayer("tinygrad", _numpy(layer.weight), _numpy(layer.bias), _of_names(layer, *names), True, kind)


_READERS: dict[str, Callable[[Any, str, str], FrameworkLayer]] = {
    "torch": _torch,
    "keras": _keras,
    "flax": _flax,
    "equinox": _equinox,
    "paddle": _paddle,
    "mlx": _mlx,
    "tinygrad": _tinygrad,
}


# -- what stands beside layers ----------------------------------------------------------------------------------------


def upscale_factor(module: Any) -> int | None:
    """Return the factor of a framework's pixel shuffle; None for any other object."""
    if not any(name == "PixelShuffle" for _, _, name in _classes(module)):
        return None
    factor: int = module.upscale_factor if hasattr(module, "upscale_factor") else module._upscale_factor
    return factor


def nearest_factors(module: Any) -> tuple[int, ...] | None:
    """Return the factors of an upsampling that repeats elements, one for all axes or one per axis; None for others."""
    if not any(name.startswith(("Upsampl", "UpSampl")) for _, _, name in _classes(module)):
        return None
    mode = getattr(module, "mode", getattr(module, "interpolation", "nearest"))
    given = getattr(module, "scale_factor", getattr(module, "size", None))
    factors = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    is_whole = all(isinstance(factor, (int, float)) and factor == int(factor) >= 1 for factor in factors)
    return tuple(map(int, factors)) if is_whole and mode == "nearest" else None


def parts_of(given: Any, name: str = "weight") -> list[tuple[str, Any]] | None:
    """Return the modules of a Sequential of any framework, nested ones in place, each with its expression in `name`.

    None for any other object.
    """
    if not any("Sequential" in kind for _, _, kind in _classes(given)):
        return None
    modules, path = given, name
    if not hasattr(given, "__iter__") or isinstance(given, dict):
        modules, path = given.layers, f"{name}.layers"
    parts: list[tuple[str, Any]] = []
    for index, module in enumerate(modules):
        own = f"{path}[{index}]"
        inner = parts_of(module, own)
        parts += [(own, module)] if inner is None else inner
    return parts


def is_without_weight(module: Any) -> bool:
    """Return True for a framework's module that mixes no channels: activations, norms, dropout, input layers."""
    names = {name for _, _, name in _classes(module)}
    if callable(module) and not isinstance(module, type) and not names:
        return hasattr(module, "__name__")  # a function, such as jax.nn.relu
    return any(_WITHOUT_WEIGHT.search(name) for name in names)
