"""Reading of weights and native arguments, of one layer or a stack, into canonical weights and geometries.

The functions of this package read their arguments with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._arrays import Array, is_finite
from tconv.dialects import dialect as find_dialect
from tconv.dialects.framework_layers import (
    is_without_weight,
    layer_of,
    nearest_factors,
    parts_of,
    refuse_arguments,
    upscale_factor,
)
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.weights.artifacts.pixel_shuffle import ShuffledWeight, as_transposed, with_dilation


class LayerWeight(NamedTuple):
    """A canonical weight [C_in, C_out/groups, *kernel] in float64 or complex128, its geometry, and a note on it."""

    weight: Array
    geometry: Geometry
    note: str = ""
    arguments: str = ""
    """The arguments behind the weight, as source: ", stride=2, padding=1"."""


class ReadWeight(NamedTuple):
    """A weight that was given: its library, its canonical form, its geometry, and the conversion back to its layout."""

    library: Any
    weight: Array
    geometry: Geometry
    to_native: Callable[[Array], Array]


class Shuffle(NamedTuple):
    """Block size of a pixel shuffle behind an ordinary convolution, and its channel order; None for the dialect's."""

    factor: Any
    order: str | None = None


def shuffle_of(pixel_shuffle: Any, channel_order: Any) -> Shuffle | None:
    """Return the shuffle of these two arguments. Raises ArgumentError for an order without a shuffle."""
    if pixel_shuffle is None and channel_order is not None:
        raise ArgumentError(
            "channel_order= was given without pixel_shuffle=, whose channels it orders. Write pixel_shuffle=2, for "
            "example, with it"
        )
    return None if pixel_shuffle is None else Shuffle(pixel_shuffle, channel_order)


def wide(w: Array) -> Array:
    """Return the numbers in float64, or in complex128 if they are complex."""
    return w.astype(np.complex128 if w.dtype.kind == "c" else np.float64, copy=False)


def read_weight(
    weight: Any,
    dialect: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    read: Any = _arrays.take,
    shuffle: Shuffle | None = None,
) -> ReadWeight:
    """Return one weight and its geometry, read from the layer's arguments. Raises ArgumentError, ShapeError."""
    weight, dialect, native, shuffle = _one_layer(weight, dialect, geometry, native, shuffle)
    library, array = read(weight, "weight")
    if shuffle is not None:
        shuffled = _shuffled(array, dialect, geometry, native, shuffle)
        return ReadWeight(library, shuffled.weight, shuffled.geometry, shuffled.to_native)
    reader = find_dialect(dialect)
    if geometry is not None:
        if native or dialect != "torch":
            raise ArgumentError(
                "geometry= was given together with other arguments, which it replaces. Write geometry= alone"
            )
        if not isinstance(geometry, Geometry):
            raise ArgumentError(
                f"geometry is {shown(geometry)}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=3)"
            )
        g, groups, layout = geometry, geometry.groups, {}
    else:
        call = reader.read_without_x(array.shape, native)
        if call is None:
            raise ArgumentError(
                f"these arguments of the {dialect} dialect need the input's size. Write "
                f"geometry=tconv.dialect({dialect!r})."
                "geometry(kernel=, input=, ...), and the weight in PyTorch's layout"
            )
        g, groups = call.geometry, call.geometry.groups
        layout = {name: value for name, value in native.items() if name in reader.layout_arguments}
    _refuse_bad_numbers(array)
    canonical = reader.to_canonical(array, groups, **layout)
    if canonical.shape[2:] != g.kernel:
        raise ShapeError(
            f"weight has shape {array.shape}; geometry.kernel is {g.kernel}. Write a Geometry with this weight's kernel"
        )

    def to_native(canonical: Array) -> Array:
        return np.array(reader.to_native(canonical, groups, **layout), dtype=array.dtype, order="C")

    return ReadWeight(library, canonical, g, to_native)


def _refuse_bad_numbers(array: Array) -> None:
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise DtypeError(f"weight has dtype {array.dtype}; numbers are needed. Use a weight of floats")
    if array.size == 0 or not is_finite(array):
        problem = "no element" if array.size == 0 else "NaN or inf"
        raise ShapeError(f"weight has shape {array.shape} and {problem}. Write a weight of finite numbers")


def _one_layer(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], shuffle: Shuffle | None
) -> tuple[Any, str, dict[str, Any], Shuffle | None]:
    """Return the weight, dialect, arguments and shuffle of a layer, or of a Sequential of one; arrays as they are."""
    parts = modules_of(weight)
    if parts is not None:
        if len(parts) != 1:
            raise ArgumentError(
                f"{len(parts)} layers were given; new weights are computed for one at a time. Use one of them, with "
                "pixel_shuffle= if a pixel shuffle is behind it"
            )
        weight = parts[0][0]
        shuffle = _merged(parts[0][1], shuffle)
    layer = layer_of(weight, "weight")
    if layer is None:
        return weight, dialect, native, shuffle
    refuse_arguments(layer, "weight", dialect, {**native, "geometry": geometry})
    if layer.is_transposed and shuffle is not None:
        raise ArgumentError(
            f"pixel_shuffle= was given together with a {layer.kind}; it stands behind an ordinary convolution. Write "
            "the call without pixel_shuffle="
        )
    if not layer.is_transposed and shuffle is None:
        raise ArgumentError(
            f"weight is a {layer.kind}, an ordinary convolution, which has no phases of its own. Write "
            "pixel_shuffle=2, for example, if a pixel shuffle by 2 is behind it"
        )
    return layer.weight, layer.dialect, layer.arguments, shuffle


def _merged(own: Shuffle | None, given: Shuffle | None) -> Shuffle | None:
    """Return the shuffle of a module and of an argument. Raises ArgumentError if there are two."""
    if own is not None and given is not None and own.factor != given.factor:
        raise ArgumentError(
            f"pixel_shuffle is {shown(given.factor)}, and the module behind the convolution has {own.factor}. Write "
            "the call without pixel_shuffle="
        )
    return given or own


def _shuffled(
    array: Array, dialect: str, geometry: Geometry | None, native: dict[str, Any], shuffle: Shuffle
) -> ShuffledWeight:
    if geometry is not None:
        raise ArgumentError(
            "geometry= was given together with pixel_shuffle=, which is behind an ordinary convolution. Write "
            "pixel_shuffle= alone"
        )
    _refuse_bad_numbers(array)
    return as_transposed(array, shuffle.factor, shuffle.order, find_dialect(dialect), native)


def modules_of(given: Any) -> list[tuple[Any, Shuffle | None]] | None:
    """Return the convolutions of a Sequential, or of a list of layers, each with the pixel shuffle behind it.

    Activations and other modules without a weight are left out. None for arrays, layers and lists of other things.
    Raises ArgumentError for modules that are neither.
    """
    parts = parts_of(given)
    if parts is None:
        if not isinstance(given, (list, tuple)) or not any(layer_of(part, "weight") for part in given):
            return None
        parts = [(f"weight[{index}]", part) for index, part in enumerate(given)]
    found: list[tuple[Any, Shuffle | None]] = []
    for path, part in parts:
        if (factor := upscale_factor(part)) is not None:
            if not found or found[-1][1] is not None or (layer := layer_of(found[-1][0], "weight")) is None:
                raise ArgumentError("a pixel shuffle has no convolution before it. Write [convolution, shuffle]")
            if layer.is_transposed:
                raise ArgumentError(
                    f"a pixel shuffle is behind a {layer.kind}; the convolution before it is an ordinary one. Write "
                    "[convolution, shuffle]"
                )
            found[-1] = (found[-1][0], Shuffle(factor))
        elif layer_of(part, "weight") is not None or isinstance(part, tuple):
            found.append((part, None))
        elif not is_without_weight(part):
            raise ArgumentError(
                f"{path} is of type {type(part).__name__}, which is no convolution and has a weight, or is not known. "
                + _without_others(parts)
            )
    return found


def _without_others(parts: list[tuple[str, Any]]) -> str:
    """Return the advice to score a stack without the modules that are not known, as far as that has a meaning.

    An upsampling that repeats elements is a transposed convolution with a kernel of ones for each channel.
    """
    written: list[str] = []
    has_phases = False
    layers = [(part, layer_of(part, "weight")) for _, part in parts]
    for place, ((path, part), (_, layer)) in enumerate(zip(parts, layers, strict=True)):
        if layer is not None or upscale_factor(part) is not None:
            written.append(path)
            has_phases |= layer is None or layer.is_transposed
            continue
        factors = nearest_factors(part)
        after = next((module for module, layer in layers[place:] if layer is not None), None)
        if factors is not None and after is not None:
            w, has_phases = _in_stack(after).weight, True
            stride = factors * (w.ndim - 2) if len(factors) == 1 else factors
            arguments = {"stride": stride, "groups": w.shape[0]}
            written.append(f"(np.ones({(w.shape[0], 1, *stride)}), {arguments})")
    if not has_phases:
        return (
            "Nothing else in the stack has a stride or a pixel shuffle. Use a model with a transposed convolution; in "
            "place of an interpolation, its weight and its stride"
        )
    return f"Write a list of the layers alone, first layer first: [{', '.join(written)}]"


def read_stack(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], shuffle: Shuffle | None = None
) -> tuple[LayerWeight, ...]:
    """Return the layers of a stack, first layer first; one layer alone as a stack. Raises ArgumentError, ShapeError."""
    parts = modules_of(weight)
    if parts is None and not isinstance(weight, (list, tuple)):
        return (_stack_layer(weight, dialect, geometry, native, shuffle),)
    if parts is not None and len(parts) == 1:
        one, own = parts[0]
        return (_stack_layer(one, dialect, geometry, native, _merged(own, shuffle)),)
    if native or geometry is not None or shuffle is not None:
        raise ArgumentError(
            "the list of a stack has each layer's arguments in it. Write [(weight, {'stride': 2}), ...] alone"
        )
    stack: list[LayerWeight] = []
    for entry, own in parts if parts is not None else [(entry, None) for entry in weight]:
        if parts is not None and not isinstance(entry, tuple):
            one = _in_stack(entry, own)
        else:
            if not (isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], dict)):
                raise ArgumentError(
                    f"the stack contains {shown(entry)}; each entry must be a weight and its arguments. "
                    "Write [(w1, {'stride': 2}), (w2, {'stride': 2})]"
                )
            arguments = dict(entry[1])
            factor, order = arguments.pop("pixel_shuffle", None), arguments.pop("channel_order", None)
            one = _stack_layer(
                entry[0],
                arguments.pop("dialect", dialect),
                arguments.pop("geometry", None),
                arguments,
                None if factor is None else Shuffle(factor, order),
            )
        if stack:
            last, g = stack[-1].weight, stack[-1].geometry
            if one.weight.shape[0] != last.shape[1] * g.groups or one.weight.ndim != last.ndim:
                raise ShapeError(
                    f"layer {len(stack) + 1} takes {one.weight.shape[0]} channels, and the layer before it gives "
                    f"{last.shape[1] * g.groups}. Write the weights of consecutive layers"
                )
        stack.append(one)
    if not stack:
        raise ArgumentError("the stack is empty; at least one layer is needed. Write [(weight, {'stride': 2})]")
    return tuple(stack)


def _in_stack(module: Any, shuffle: Shuffle | None = None) -> LayerWeight:
    """Return one layer of a framework, which may be an ordinary convolution, with the pixel shuffle behind it."""
    layer = layer_of(module, "weight")
    plain = None if layer is None or layer.is_transposed else Shuffle(1)
    return _stack_layer(module, "torch", None, {}, shuffle or plain)


def _stack_layer(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], shuffle: Shuffle | None
) -> LayerWeight:
    """Return one layer of a stack."""
    weight, dialect, native, shuffle = _one_layer(weight, dialect, geometry, native, shuffle)
    source = _as_source(dialect, geometry, native, shuffle)
    if shuffle is None:
        one = read_weight(weight, dialect, geometry, native, _arrays.look)
        return LayerWeight(wide(one.weight), one.geometry, "", source)
    _, array = _arrays.look(weight, "weight")
    shuffled = _shuffled(array, dialect, geometry, native, shuffle)
    w, g = with_dilation(shuffled)
    return LayerWeight(wide(w), g, shuffled.note, source)


def _as_source(dialect: str, geometry: Geometry | None, native: dict[str, Any], shuffle: Shuffle | None) -> str:
    """Return the arguments of a layer as source, each after a comma."""
    factor, order = shuffle or (None, None)
    own = None if dialect == "torch" else dialect
    given = {"pixel_shuffle": factor, "channel_order": order, "dialect": own, **native}
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in given.items()}
    text = "".join(f", {key}={value!r}" for key, value in plain.items() if value is not None)
    return text if geometry is None else f"{text}, geometry=tconv.{geometry!r}"
