"""Layers of a stack as `tconv.window` takes them: geometries, ordinary convolutions, and layers of frameworks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tconv._arguments import Ints, entries_of, ints_of, pairs_of, shown
from tconv.dialects import dialect as find_dialect
from tconv.dialects.framework_layers import (
    FrameworkLayer,
    is_without_weight,
    layer_of,
    nearest_factors,
    parts_of,
    upscale_factor,
)
from tconv.dialects.layouts import WeightLayout
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import ConvolutionGeometry, Geometry
from tconv.streaming.axis_stack import AxisLayer

_POOLING = re.compile(r"(Avg|Average|Max|LP)Pool(ing)?\d[dD]")
_ZERO_PADDING = re.compile(r"ZeroPad(ding)?\d[dD]|ConstantPad\dd")
_OVER_TIME = re.compile("GroupNorm|GroupNormalization|InstanceNorm|LayerNorm|Attention|Softmax")


class ChainLayer(NamedTuple):
    """One layer of a stack: a transposed convolution of this geometry, or the ordinary one whose transpose that is."""

    name: str
    geometry: Geometry
    is_transposed: bool

    def along(self, axis: int) -> AxisLayer:
        """Return the layer along one axis."""
        g = self.geometry
        return AxisLayer(
            g.kernel[axis], g.stride[axis], *g.crop[axis], g.dilation[axis], is_transposed=self.is_transposed
        )

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the output shape. Raises ShapeError if an axis would be empty."""
        sizes = tuple(input_shape)
        return self.geometry.output_shape(sizes) if self.is_transposed else self.geometry.conv_shape(sizes)


def ordinary_convolution(
    kernel: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    input_shape: Ints | None = None,
    name: str = "the convolution",
) -> ConvolutionGeometry:
    """Return an ordinary convolution: padding in numbers, (lo, hi) per axis, "same", "valid" or "causal".

    >>> ordinary_convolution(7, padding="causal").geometry.crop
    ((6, 0),)

    "same" with a stride above 1 is Keras' and TensorFlow's rule, which needs the size of the input.
    """
    plain = Geometry(kernel, stride, 0, dilation)
    if not isinstance(padding, str):
        given = entries_of(padding)
        return Geometry(kernel, stride, pairs_of(given or padding, "padding", plain.ndim), dilation).convolution
    rule, reach = padding.lower(), [extent - 1 for extent in plain.extent]
    if rule == "valid":
        crop = [(0, 0)] * plain.ndim
    elif rule == "causal":
        crop = [(each, 0) for each in reach]
    elif rule in ("same", "same_lower", "same_upper"):
        if max(plain.stride) > 1 and input_shape is None:
            raise ShapeError(
                f"{name} has padding {padding!r} and stride {_compact(plain.stride)}, whose borders depend on the size "
                "of the input. Write input_shape=, or its padding in numbers"
            )
        total = reach
        if input_shape is not None:
            sizes = ints_of(input_shape, "input_shape", plain.ndim, least=1)
            total = [
                max(0, (-(-n // s) - 1) * s + each + 1 - n)
                for n, s, each in zip(sizes, plain.stride, reach, strict=True)
            ]
        front = [(each + (rule == "same_lower")) // 2 for each in total]
        crop = [(lo, each - lo) for lo, each in zip(front, total, strict=True)]
    else:
        raise ArgumentError(
            f'{name} has padding {shown(padding)}; numbers, "same", "valid" or "causal" are needed. Write padding=3, '
            "for example"
        )
    return Geometry(kernel, stride, crop, dilation).convolution


def layers_of_chain(chain: Any, input_shape: Ints | None = None) -> tuple[ChainLayer, ...]:
    """Return the layers of a chain, nested ones in place. Raises ArgumentError for what has no windows of its own."""
    layers: list[ChainLayer] = []
    sizes = input_shape
    for path, entry in _entries(chain, "chain"):
        if isinstance(entry, ChainLayer):
            layer: ChainLayer | None = entry
        else:
            layer = _layer_of(entry, path, sizes)
        if layer is None:
            continue
        if layers and layer.geometry.ndim != layers[0].geometry.ndim:
            raise ShapeError(
                f"{path} has {_axes(layer.geometry.ndim)} and the layers before it {layers[0].geometry.ndim}. Use "
                "layers of one number of axes"
            )
        if sizes is not None:
            shape = ints_of(sizes, "input_shape", layer.geometry.ndim, least=1)
            try:
                sizes = layer.output_shape(shape)
            except ShapeError as error:
                raise ShapeError(f"{path} ({layer.name}): {error}") from None
        layers.append(layer)
    if not layers:
        raise ArgumentError(
            "the chain has no layer; at least one is needed. Write [tconv.Geometry(16, 8, 4)], for example"
        )
    return tuple(layers)


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"


def _compact(numbers: Sequence[int]) -> int | tuple[int, ...]:
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _entries(given: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of nested chains, each with its expression."""
    inner = getattr(given, "layers", None)
    if isinstance(inner, tuple) and inner and isinstance(inner[0], ChainLayer):  # a window of another stack
        yield from ((path, layer) for layer in inner)
    elif type(given) in (list, tuple):
        for index, entry in enumerate(given):
            yield from _entries(entry, f"{path}[{index}]")
    elif (parts := parts_of(given, path)) is not None:
        yield from parts
    else:
        yield path, given


def _layer_of(given: Any, path: str, input_shape: Ints | None) -> ChainLayer | None:
    """Return one layer; None for a module that maps every position by itself."""
    if isinstance(given, Geometry):
        return ChainLayer("transposed", given, True)
    if isinstance(given, ConvolutionGeometry):
        return ChainLayer("convolution", given.geometry, False)
    kind = type(given).__name__
    layer = None if given is None or isinstance(given, (str, dict, set)) else layer_of(given, path)
    if layer is not None:
        try:
            return _convolution(given, layer, path, input_shape)
        except GeometryError as error:
            raise GeometryError(f"{path} ({layer.kind}): {error}") from None
    names = [base.__name__ for base in type(given).__mro__]
    if any(_OVER_TIME.search(name) for name in names):
        raise ArgumentError(
            f"{path} is a {kind}, which reads all positions at once: no window is exact. Write the layers before it "
            "and behind it as two chains"
        )
    if (factor := upscale_factor(given)) is not None:
        return ChainLayer(kind, Geometry((factor, factor), factor), True)
    if any(map(_POOLING.fullmatch, names)):
        return ChainLayer(kind, _pooling(given, path, input_shape).geometry, False)
    if any(map(_ZERO_PADDING.fullmatch, names)):
        return ChainLayer(kind, _padding(given), True)
    if (factors := nearest_factors(given)) is not None:
        ndim = int(next((digit for name in names for digit in re.findall(r"\d", name)), len(factors)))
        return ChainLayer(kind, Geometry(factors * (ndim // len(factors)), factors * (ndim // len(factors))), True)
    if not isinstance(given, (type, str)) and is_without_weight(given):
        return None
    raise ArgumentError(
        f"{path} is {shown(given) if isinstance(given, (str, int, float, dict)) else f'of type {kind}'}, which is no "
        "layer whose window is known. Write tconv.Geometry(kernel, stride, crop) for a transposed convolution, its "
        ".convolution for an ordinary one, and leave out modules that map every sample by itself"
    )


def _convolution(given: Any, layer: FrameworkLayer, path: str, input_shape: Ints | None) -> ChainLayer:
    """Return a convolution or transposed convolution of a framework."""
    rules, shape = find_dialect(layer.dialect), tuple(layer.weight.shape)
    if layer.is_transposed:
        layout = {name: value for name, value in layer.arguments.items() if name in rules.layout_arguments}
        ndim = len(shape) - len(rules.weight_pattern.replace("*", ""))
        kernel = rules.weight_layout(ndim, **layout).kernel(shape)
        geometry = rules.geometry(kernel=kernel, input=input_shape, **layer.arguments)
        return ChainLayer(layer.kind, geometry, True)
    mode = getattr(given, "padding_mode", getattr(given, "_padding_mode", "zeros"))
    padding = getattr(given, "padding", getattr(given, "_padding", 0))
    if isinstance(mode, str) and mode.lower() not in ("zeros", "zero", "constant"):
        raise ArgumentError(
            f"{path} is a {layer.kind} with padding_mode={mode!r}, whose borders repeat the input. Write "
            "tconv.Geometry(kernel, stride, padding).convolution in its place for the windows away from the borders"
        )
    ndim = len(shape) - 2
    kernel = WeightLayout.of(rules.conv_weight_pattern, ndim).kernel(shape)
    stride, dilation = layer.arguments.get("stride", 1), layer.arguments.get("dilation", 1)
    made = ordinary_convolution(
        kernel, 1 if stride is None else stride, padding, 1 if dilation is None else dilation, input_shape, path
    )
    return ChainLayer(layer.kind, made.geometry, False)


def _pooling(given: Any, path: str, input_shape: Ints | None) -> ConvolutionGeometry:
    """Return the convolution that reads what a pooling reads."""
    kind = type(given).__name__
    if getattr(given, "ceil_mode", False):
        raise ArgumentError(f"{path} is a {kind} with ceil_mode=True, whose size is rounded up. Use ceil_mode=False")
    size = getattr(given, "kernel_size", getattr(given, "pool_size", None))
    ndim = int(re.findall(r"\d", kind)[-1])
    kernel = ints_of(size, "kernel_size", ndim, least=1)
    stride = getattr(given, "stride", getattr(given, "strides", None))
    padding, dilation = getattr(given, "padding", 0), getattr(given, "dilation", 1)
    return ordinary_convolution(kernel, kernel if stride is None else stride, padding, dilation, input_shape, path)


def _padding(given: Any) -> Geometry:
    """Return the geometry that pads: one tap, and a crop below 0."""
    entries = tuple(given.padding)
    if type(given).__module__.startswith("torch"):  # (left, right, top, bottom): the last axis first
        pairs = [entries[at : at + 2] for at in range(len(entries) - 2, -1, -2)]
    else:
        pairs = [entries] if len(entries) == 2 and not isinstance(entries[0], (tuple, list)) else list(entries)
    return Geometry((1,) * len(pairs), 1, [(-int(lo), -int(hi)) for lo, hi in pairs])
