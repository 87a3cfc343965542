"""Layers of an encoder-decoder as steps: from a few numbers, from geometries, or from the layers of a framework.

PyTorch's and Keras' layers are read by their attributes; no framework is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tconv._arguments import ints_of, shown
from tconv.draw.array_grid import by
from tconv.errors import ArgumentError
from tconv.geometry import ConvolutionGeometry, Geometry

_WINDOWED = re.compile("^(?!.*(Unpool|Fractional|Adaptive|Global|LSTM)).*(Conv|Pool)")
_KEEPS_SIZE = re.compile("Norm|Drop|Identity|Activation|(?<!G)LU|Sigmoid|Tanh|Softmax|Softplus|Mish|swish|Noise")
"""Names of layers in PyTorch and Keras. GLU halves an axis."""


@dataclass(frozen=True)
class LayerStep:
    """One layer: an ordinary convolution or a pooling whose geometry this is, or a transposed convolution.

    `rule` returns the geometry of a transposed convolution for its input, where a dialect's rule depends on it.
    """

    name: str
    geometry: Geometry
    is_transposed: bool = False
    rule: Callable[[tuple[int, ...]], Geometry] | None = None

    @property
    def goes_down(self) -> bool:
        """True for a layer with a stride that is no transposed convolution."""
        return not self.is_transposed and max(self.geometry.stride) > 1

    def at(self, small: tuple[int, ...]) -> Geometry:
        """Return the geometry for an input of this size."""
        return self.geometry if self.rule is None else self.rule(small)


def step_of(layer: Any, number: int, ndim: int) -> LayerStep | None:
    """Return a layer as a step, or None for one without a kernel, which leaves the size as it is.

    Takes a `Geometry` (transposed), a `Geometry.convolution`, and layers of PyTorch and Keras by their attributes.
    Raises ArgumentError for anything else, GeometryError for another number of axes.
    """
    if isinstance(layer, Geometry):
        return LayerStep(_name("transposed", layer), layer, is_transposed=True)
    if isinstance(layer, ConvolutionGeometry):
        return LayerStep(_name("conv", layer.geometry), layer.geometry)
    kind = type(layer).__name__
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    if kernel is not None and _WINDOWED.search(kind):
        return _framework_layer(layer, kind, kernel, number, ndim)
    if kernel is None and _KEEPS_SIZE.search(kind):
        return None
    if not callable(layer):
        raise ArgumentError(
            f"layer {number} is {shown(layer)}; a layer of PyTorch or Keras, a tconv.Geometry (transposed) or its "
            ".convolution is needed. Write tconv.Geometry(kernel=(2, 2), stride=2), for example"
        )
    raise ArgumentError(
        f"layer {number} is {kind}, whose effect on the size is not known; convolutions, transposed convolutions, "
        "poolings, activations, normalizations and dropout are. Write it as the tconv.Geometry of a transposed "
        "convolution, or the .convolution of one; of a module of your own, its layers in the order of the forward pass"
    )


def _framework_layer(layer: Any, kind: str, kernel: Any, number: int, ndim: int) -> LayerStep:
    """Return a layer with a kernel as a step."""
    transposed = bool(getattr(layer, "transposed", False)) or "Transpose" in kind
    if getattr(layer, "ceil_mode", False):
        raise ArgumentError(
            f"layer {number} is {kind} with ceil_mode, which has no fixed padding. Write it without "
            "ceil_mode, or with a padding"
        )
    stride = getattr(layer, "stride", getattr(layer, "strides", None))
    sizes = ints_of(kernel, f"kernel_size of layer {number}", ndim, least=1)
    strides = ints_of(sizes if stride is None else stride, f"stride of layer {number}", ndim, least=1)
    dilation = getattr(layer, "dilation", getattr(layer, "dilation_rate", 1))
    padding = getattr(layer, "padding", 0)
    plain = Geometry(sizes, strides, 0, dilation)
    if transposed and isinstance(padding, str):
        from tconv.dialects import dialect as find_dialect

        extra = getattr(layer, "output_padding", None)
        crop = find_dialect("keras").geometry(
            kernel=sizes, strides=strides, padding=padding, output_padding=extra, dilation_rate=dilation
        )
        return LayerStep(_name("transposed", crop), crop, is_transposed=True)
    if transposed:
        pads = ints_of(padding, f"padding of layer {number}", ndim, least=0)
        extra = ints_of(getattr(layer, "output_padding", 0) or 0, f"output_padding of layer {number}", ndim, least=0)
        crops = [(p, p - op) for p, op in zip(pads, extra, strict=True)]
        g = Geometry(sizes, strides, crops, dilation)
        return LayerStep(_name("transposed", g), g, is_transposed=True)
    word = "pool" if "Pool" in kind else "conv"
    if isinstance(padding, str):
        padding = "same" if padding == "causal" else padding  # Keras': all in front, so the sizes are the same
        if padding.lower() not in ("same", "valid"):
            raise ArgumentError(
                f"layer {number} has padding {padding!r}; a number, 'same', 'valid' or 'causal' is needed. Write the "
                "layer with one of these"
            )
        if padding.lower() == "same" and max(strides) > 1:
            # SAME with a stride pads by what the size leaves over: n becomes ceil(n / s) for every n
            same = Geometry(strides, strides, [(0, s - 1) for s in strides])
            return LayerStep(f"{word} {by(sizes)} same /{by(strides)}", same)
        total = [e - 1 if padding.lower() == "same" else 0 for e in plain.extent]
        g = Geometry(sizes, strides, [(t // 2, t - t // 2) for t in total], dilation)
    else:
        g = Geometry(sizes, strides, ints_of(padding, f"padding of layer {number}", ndim, least=0), dilation)
    return LayerStep(_name(word, g), g)


def _name(word: str, g: Geometry) -> str:
    """Return a short name: "conv 3 × 3 stride 2", on one line of a picture."""
    size = str(g.kernel[0]) if len(set(g.kernel)) == 1 else by(g.kernel)
    stride = str(g.stride[0]) if len(set(g.stride)) == 1 else by(g.stride)
    return f"{word} {size}" + (f" stride {stride}" if max(g.stride) > 1 else "")


def steps_of(layers: Iterable[Any], ndim: int) -> list[LayerStep]:
    """Return the layers as steps, those that keep the size left out. Raises ArgumentError and GeometryError."""
    given = _flat(layers)
    if given is None and callable(layers) and not isinstance(layers, type):
        raise ArgumentError(
            f"layers is a {type(layers).__name__}; its forward pass is not read. Write a list of its layers in the "
            "order of the forward pass: [model.first, model.pool, model.bottom, model.up], for example"
        )
    if given is None:
        raise ArgumentError(
            f"layers is {shown(layers)}; a list of layers in the order of the forward pass is needed. Write "
            "[tconv.Geometry((2, 2), 2).convolution, tconv.Geometry((2, 2), 2)], for example"
        )
    steps = [step_of(layer, number, ndim) for number, layer in enumerate(given)]
    return [step for step in steps if step is not None]


def _flat(layers: Any) -> list[Any] | None:
    """Return the layers of a sequence, those of sequences in it among them; None for anything else.

    Keras' Sequential has its layers in an attribute, in order.
    """
    if "Sequential" in type(layers).__name__ and isinstance(own := getattr(layers, "layers", None), list):
        layers = own
    if isinstance(layers, (str, bytes, dict)) or not (hasattr(layers, "__iter__") and hasattr(layers, "__len__")):
        return None
    found = []
    for layer in layers:
        within = _flat(layer)
        found += [layer] if within is None else within
    return found


def numbered_steps(
    depth: int,
    up: Callable[[tuple[int, ...]], Geometry],
    down: Geometry,
    convolutions: int,
    convolution: Geometry,
    pool: bool,
) -> list[LayerStep]:
    """Return a U-Net of `depth` levels: convolutions and a step down each, the bottom, and the same way up."""
    block = [LayerStep(_name("conv", convolution), convolution)] * convolutions
    lower = LayerStep(_name("pool" if pool else "conv", down), down)
    first = up((64,) * down.ndim)
    rising = LayerStep(_name("transposed", first), first, is_transposed=True, rule=up)
    return [*[*block, lower] * depth, *block, *[rising, *block] * depth]
