"""Reading of one layer of an inventory: its geometry, channels, sizes, and its weight in canonical order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.checking.layer_check import Shapes
from tconv.checking.sizes import Symbols, affine, trial_sizes
from tconv.dialects import DataLayout, Dialect, NativeCall, dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.models.inventory.computed_sizes import sized_arguments
from tconv.models.inventory.model_layer import ModelLayer, Size

LARGEST_STRIDE = 1 << 16
"""Product of the strides from which a layer is not looked into: it would have as many phases."""
_UNREADABLE = (TconvError, TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)
"""Errors of arguments that no reader has foreseen; those of rules are TconvErrors."""


@dataclass(frozen=True, eq=False)
class ReadLayer:
    """A layer with its geometry for the sample sizes, if it could be read."""

    layer: ModelLayer
    dialect: Dialect
    call: NativeCall | None = None
    in_channels: int | None = None
    out_channels: int | None = None
    shapes: Shapes | None = None
    native_x: tuple[int, ...] = ()
    """Sample sizes of x in the dialect's layout."""
    sized: bool = False
    """True if the geometry depends on the sizes of x."""
    notes: tuple[str, ...] = ()
    refusal: str = ""
    """Reason for which the dialect's rules refuse the arguments, if they do."""

    @property
    def geometry(self) -> Geometry | None:
        """Geometry for the sample sizes."""
        return None if self.call is None else self.call.geometry

    def at(self, spatial: tuple[int, ...]) -> Geometry | None:
        """Return the geometry for other spatial sizes of x; None if the layer refuses them."""
        if self.call is None or self.layer.weight is None or self.shapes is None:
            return None
        if not self.sized:
            return self.call.geometry
        x = self.call.data.native_shape((self.shapes.sample_x[0], self.shapes.sample_x[1], *spatial))
        try:
            return self.dialect.read(x, self.layer.weight.shape, native_arguments(self.layer, x)).geometry
        except _UNREADABLE:
            return None

    def trials(self) -> Iterator[tuple[tuple[int, ...], Geometry]]:
        """Yield spatial sizes that the file allows, with the geometry for each: one, or many if it leaves them open."""
        if self.shapes is None:
            return
        for sizes in trial_sizes(self.shapes.x[2:], self.shapes.sample_x[2:]):
            geometry = self.at(sizes)
            if geometry is not None and _has_output(geometry, sizes):
                yield sizes, geometry

    def weight(self) -> Array | None:
        """Return the weight as [C_in, C_out/groups, *kernel], read anew; None if there is none."""
        if self.layer.weight is None or self.call is None:
            return None
        stored = np.asarray(self.layer.weight.read())
        return self.call.weight.canonical(stored, self.call.geometry.groups)


def read_layer(layer: ModelLayer, symbols: Symbols) -> ReadLayer:
    """Return the reading of a layer. Parts that cannot be read are left out, and `notes` says why."""
    rules = dialect(layer.dialect)
    if layer.weight is None:
        return ReadLayer(layer, rules)
    native, weight_shape = native_arguments(layer), tuple(layer.weight.shape)
    ndim = len(weight_shape) - len(rules.weight_pattern.replace("*", ""))
    if ndim < 1:
        return ReadLayer(layer, rules, notes=(f"its weight has shape {weight_shape}, with no spatial axis",))
    layouts = {name: value for name, value in native.items() if name in rules.layout_arguments}
    try:
        weights = rules.weight_layout(ndim, **layouts)
        data = rules.data_layout(ndim, len(layer.input_shape or ()) or ndim + 2, **layouts)
        shape, notes = _canonical_x(layer, data, ndim)
        groups = native.get("groups", native.get("group", native.get("feature_group_count", 1)))
        channels = weights.sizes(weight_shape)["I"] * (groups if weights.grouped == "O" else 1)
        known = shape[1] if isinstance(shape[1], int) else channels
        sample = _sample(shape, known, symbols, symbols.followed(layer))
        x = data.native_shape(sample)
        call = rules.read(x, weight_shape, native_arguments(layer, x))
    except _UNREADABLE as error:
        refusal = f"its arguments have no meaning in {rules.framework}: {error}"
        return ReadLayer(layer, rules, notes=(refusal,), refusal=refusal)
    named = weights.sizes(weight_shape)
    g = call.geometry
    refusal = _refusal(call, weight_shape, shape, sample)
    if refusal:
        return ReadLayer(layer, rules, notes=(refusal,), refusal=refusal)
    if prod(g.stride) > LARGEST_STRIDE:
        return ReadLayer(layer, rules, notes=(f"its stride {g.stride} is too large to be looked into",))
    many = g.groups if weights.grouped in ("I", "G") else 1
    ins = named["I"] * (g.groups if weights.grouped in ("O", "G") else 1)
    if isinstance(shape[1], int) and shape[1] != ins:
        refusal = f"its input has {shape[1]} channels, and its weight {weight_shape} takes {ins}"
        return ReadLayer(layer, rules, notes=(refusal,), refusal=refusal)
    read = ReadLayer(layer, rules, call, ins, named["O"] * many, notes=notes, native_x=data.native_shape(sample))
    sample = (sample[0], ins, *sample[2:])
    shapes = Shapes((shape[0], ins, *shape[2:]), (), sample, None)
    read = replace(read, shapes=shapes)
    read = replace(read, sized=_is_sized(read, call, sample))
    read = replace(read, shapes=_shapes(read, shapes, call, symbols))
    if read.shapes is not None and read.shapes.sample_y is None and all(isinstance(n, int) for n in shape[2:]):
        refusal = f"the crop {call.geometry.crop} leaves nothing of the output for x of {sample[2:]}"
        return replace(read, notes=(*notes, refusal), refusal=refusal)
    return read


def _refusal(call: NativeCall, weight: tuple[int, ...], shape: tuple[Size, ...], sample: tuple[int, ...]) -> str:
    """Return the reason why sizes and channels contradict each other; "" if they do not."""
    layout, groups = call.weight, call.geometry.groups
    if layout.grouped in ("I", "O") and layout.sizes(weight)[layout.grouped] % groups:
        return f"its weight has shape {weight}, whose channels {groups} groups do not divide"
    if min(sample[2:]) < 1:
        return f"its input has sizes {list(shape)}; every axis needs at least 1 element"
    return ""


def native_arguments(layer: ModelLayer, x: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Return the arguments that count: exporters of ONNX write pads beside an auto_pad, which replaces them.

    For an x of this native shape, an output size that the model computes from it is among them.
    """
    arguments = dict(layer.arguments) if x is None else sized_arguments(layer, x)
    if layer.dialect == "onnx" and arguments.get("auto_pad", "NOTSET") not in ("NOTSET", ""):
        arguments.pop("pads", None)
    return arguments


def _canonical_x(layer: ModelLayer, data: DataLayout, ndim: int) -> tuple[tuple[Size, ...], tuple[str, ...]]:
    """Return the sizes of x as [N, C, *spatial], None for those that are not known."""
    shape = layer.input_shape
    if shape is None:
        return (None,) * (ndim + 2), ()
    if len(shape) != len(data.axes):
        return (None,) * (ndim + 2), (f"its input has shape {list(shape)}, which its weight does not fit",)
    known = tuple(None if isinstance(size, int) and size < 0 else size for size in shape)
    return _ordered(known, data), ()


def _ordered(shape: tuple[Size, ...], data: DataLayout) -> tuple[Size, ...]:
    named: dict[Any, Size] = dict(zip(data.axes, shape, strict=True))
    spatial = sorted(axis for axis in data.axes if isinstance(axis, int))
    return named.get("N", 1), named["C"], *(named[axis] for axis in spatial)


def _sample(
    shape: tuple[Size, ...], channels: int, symbols: Symbols, followed: tuple[int, ...] | None
) -> tuple[int, ...]:
    ndim = len(shape) - 2
    if followed is not None and len(followed) == ndim and not any(shape[2:]):
        return symbols.value(shape[0], ndim), channels, *followed
    spatial = (symbols.value(size, ndim, axis) for axis, size in enumerate(shape[2:]))
    return symbols.value(shape[0], ndim), channels, *spatial


def _is_sized(read: ReadLayer, call: NativeCall, sample: tuple[int, ...]) -> bool:
    """Return True if the geometry for other sizes is another one, or an error."""
    trial = replace(read, sized=True)
    others = (tuple(n + step for n in sample[2:]) for step in (1, 2))
    return any(trial.at(sizes) != call.geometry for sizes in others)


def _has_output(geometry: Geometry, sizes: tuple[int, ...]) -> bool:
    return all(lo + hi < F for F, (lo, hi) in zip(geometry.full_shape(sizes), geometry.crop, strict=True))


def _shapes(read: ReadLayer, known: Shapes, call: NativeCall, symbols: Symbols) -> Shapes:
    """Return the sizes of x and y; those of y that the file does not have follow from the geometry."""
    x, sample, g = known.x, known.sample_x, call.geometry
    channels = read.out_channels or 0
    sample_y: tuple[int, ...] | None = None
    computed: tuple[Size, ...] = (None,) * g.ndim
    if _has_output(g, sample[2:]):
        spatial = g.output_shape(sample[2:])
        sample_y = (sample[0], channels, *spatial)
        fixed = all(isinstance(size, int) for size in x[2:])
        follows = not read.sized or fixed
        lines = zip(x[2:], spatial, g.stride, sample[2:], strict=True)
        computed = tuple(affine(n, s, L - s * at) for n, L, s, at in lines) if follows else computed
    y: tuple[Size, ...] = (x[0], read.out_channels, *computed)
    stated = read.layer.output_shape
    if stated is not None and len(stated) == len(call.result.axes):
        given = _ordered(stated, call.result)
        y = tuple(size if size is not None else other for size, other in zip(given, y, strict=True))
        y = (y[0], read.out_channels, *y[2:])
    follows = symbols.followed(read.layer) is not None and not any(x[2:])
    return Shapes(x, y, sample, sample_y, () if follows else _chosen(x, sample, symbols))


def _chosen(x: tuple[Size, ...], sample: tuple[int, ...], symbols: Symbols) -> tuple[str, ...]:
    named = symbols.chosen((x[0], *x[2:]))
    missing = [axis for axis, size in enumerate(x) if axis > 1 and size is None]
    if not missing:
        return named
    sizes = " x ".join(str(sample[axis]) for axis in missing)
    return (*named, f"x of {sizes}" if len(missing) == len(x) - 2 else f"sizes of {sizes} where the file has none")
