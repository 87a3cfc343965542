"""A network by the definition, in float64, with what rounding may do to it: for a piece of a picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tconv import definition
from tconv.activation import Activation, activation_of
from tconv.geometry import Geometry
from tconv.interpolation import crop_for
from tconv.kernels.problem import Array
from tconv.models.network import Convolution, Network, Pointwise, Shape, Sum

_EPS = float(np.finfo(np.float32).eps)
Span = tuple[slice, slice]


class Piece(NamedTuple):
    """A piece of a layer's output: the values [C, h, w], and the variance that rounding in float32 gives them.

    Rounding errors are taken as independent (Higham and Mary, A new approach to probabilistic rounding error analysis,
    2019): each layer adds one of eps times its sum of absolute products, and passes on what it is given.
    """

    values: Array
    variance: Array


def piece(network: Network, x: Array, at: Span, shape: Shape, outputs: Span) -> Piece:
    """Output rows and columns `outputs` of a picture of this shape; x [C, h, w] are its pixels in `at`, float64."""
    sizes = network.sizes(shape)
    spans = [network.needed(span, [size[axis] for size in sizes], axis) for axis, span in enumerate(outputs)]
    places = list(zip(*spans, strict=True))
    made = [Piece(x, (_EPS * x) ** 2)]  # the picture itself was rounded to float32
    held: list[Span] = [at]
    for number, node in enumerate(network.nodes, 1):
        given = [made[place] for place in node.inputs]
        target = places[number]
        if target[0].stop == 0:  # nobody reads it
            made.append(given[0])
        elif isinstance(node.step, Convolution):
            made.append(_convolved(node.step, given[0], held[node.inputs[0]], target))
        else:
            cut = [_part(each, held[place], target) for each, place in zip(given, node.inputs, strict=True)]
            if isinstance(node.step, Sum):
                total = cut[0].values + cut[1].values
                made.append(Piece(total, cut[0].variance + cut[1].variance + (_EPS * total) ** 2))
            else:
                made.append(_bent(network, number, node.step, cut[0]))
        held.append(target)
    return _part(made[-1], held[-1], outputs)


def _part(given: Piece, held: Span, wanted: Span) -> Piece:
    cut = tuple(slice(w.start - h.start, w.stop - h.start) for w, h in zip(wanted, held, strict=True))
    return Piece(given.values[:, *cut], given.variance[:, *cut])


def _convolved(step: Convolution, given: Piece, held: Span, wanted: Span) -> Piece:
    g = step.geometry
    crops = [
        crop_for(step.along[axis], held[axis].start, given.values.shape[1 + axis], wanted[axis]) for axis in (0, 1)
    ]
    here = Geometry(g.kernel, g.stride, crops, g.dilation, g.groups)
    weight = step.weight.astype(np.float64)
    bias = np.zeros(step.channels[1]) if step.bias is None else step.bias.astype(np.float64)

    def through(x: Array, w: Array, b: Array) -> Array:
        y: Array = definition.zero_insertion(x[None], w, b, geometry=here)[0]
        return y

    values = through(given.values, weight, bias)
    mass = through(np.abs(given.values), np.abs(weight), np.abs(bias))
    variance = through(given.variance, weight**2, 0 * bias) + (_EPS * mass) ** 2
    activation = activation_of(step.activation, step.channels[1])
    return Piece(values, variance) if activation is None else _activated(activation, values, variance)


def _bent(network: Network, number: int, step: Pointwise, given: Piece) -> Piece:
    activation = network.activations[number]
    return given if activation is None else _activated(activation, given.values.copy(), given.variance)


def _activated(activation: Activation, values: Array, variance: Array) -> Piece:
    steepest = np.maximum(1, np.abs(np.broadcast_to(activation.slopes, (len(values),))))[:, None, None]
    activation.apply(values[None])
    return Piece(values, variance * steepest**2)
