"""A network in float64, with an estimate of float32's rounding errors, for a piece of a picture.

The check of `tconv upsample` compares with it. The numbers are sums of the definition's products, tap by tap, by NumPy
and BLAS: no machine code of tconv has a part in them. The errors are measured, not derived: beside the exact
numbers a few copies go through the same layers, and each layer adds to each copy errors as large as its rounding may be
(Parker, Monte Carlo arithmetic, 1997). So errors that later layers cancel, or add up, are cancelled and added up here,
too. Limits derived layer by layer cannot do that: for our networks of 14 layers, absolute values carried from layer to
layer allow 10^4 where rounding makes 10^-6; and variances, which assume independent errors, may be far too large or
too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation, activation_of
from tconv.kernels.simd.winograd_f43 import algebra
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.steps.arithmetic import Combination
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import Pooling
from tconv.models.steps.step import NetworkStep, Region, Shape
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.models.tap_sums import scattered_sums
from tconv.operator.strips import conv_transpose_strip
from tconv.weights.interpolation import crop_for

UNIT = float(np.finfo(np.float32).eps) / 2
"""Half a step: the largest error of one rounding, as a share of the number."""
_COPIES = 8
SAFETY = 6.0
"""Factor by which errors are taken larger than they are likely to be."""

Span = tuple[slice, slice]


class Piece(NamedTuple):
    """Piece of a layer's output: values [C, h, w], and copies [K, C, h, w] that have errors."""

    values: Array
    copies: Array

    @property
    def error(self) -> Array:
        """Allowed error of float32, [C, h, w]: the root mean square of the copies' differences from the values."""
        spread: Array = np.sqrt(np.square(self.copies - self.values).mean(0))
        return spread

    def through(self, linear: Callable[[Array], Array]) -> Piece:
        """Return the piece after a linear function of arrays [C, ...]."""
        return Piece(linear(self.values), np.stack([linear(copy) for copy in self.copies]))


def rounding(step: Convolution, grouped: bool) -> float:
    """Return the likely rounding error of a layer's sum, as a share of the sum of its absolute products.

    sqrt(n) half steps for n products and their sum in float32, in any order: more than lambda times that has the
    probability 2 exp(-lambda^2/2) at most (Higham and Mary, A new approach to probabilistic rounding error analysis,
    2019). A layer that computes rows in groups sums over channels and perhaps columns, and rounds in transforms.
    """
    g = step.geometry
    taps = math.prod(-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True))
    if grouped:
        taps = g.kernel[1] if algebra.unit_columns(step.weight) == 1 else 1
    terms = step.channels[0] // g.groups * taps
    return UNIT * math.sqrt(terms + (algebra.ROUNDINGS if grouped else 1))


def piece(
    network: Network, x: Array, at: Span, shape: Shape, outputs: Span, means: Mapping[int, Array] | None = None
) -> Piece:
    """Return output rows and columns `outputs` of a picture of this shape; x [C, h, w] are its pixels in `at`.

    `means` has the means [C] that nodes of GlobalMean gave, by the number of the node: a piece does not show them.
    Without it x has to be the whole picture where there are such nodes.
    """
    sizes = network.sizes(shape)
    spans = [network.needed(span, [size[axis] for size in sizes], axis) for axis, span in enumerate(outputs)]
    places = list(zip(*spans, strict=True))
    rng = np.random.default_rng(0)
    # the picture itself is rounded, as a share of white and as luma; outputs that inf or NaN reach have no error
    pieces = [Piece(x, np.where(np.isfinite(x), x, 0) + _errors(rng, x, 2 * UNIT * np.abs(x)))]
    spans_of: list[Span] = [at]
    for number, node in enumerate(network.nodes, 1):
        given = [pieces[place] for place in node.inputs]
        target = places[number]
        if means is not None and number in means:
            values = np.asarray(means[number], np.float64).reshape(-1, 1, 1)
            pieces.append(Piece(values, np.repeat(values[None], _COPIES, 0)))
            target = slice(0, 1), slice(0, 1)
        elif target[0].stop == 0:  # no node reads it
            pieces.append(given[0])
        elif isinstance(node.step, Convolution):
            anchors = (network.anchors[number], network.column_anchors[number]) if number in network.anchors else None
            pieces.append(_convolved(rng, node.step, given[0], spans_of[node.inputs[0]], target, anchors))
        else:
            sources = [sizes[place] for place in node.inputs]
            parts = [(each, spans_of[place]) for each, place in zip(given, node.inputs, strict=True)]
            if isinstance(node.step, StridedConvolution):
                pieces.append(_strided(rng, node.step, parts, sources, target))
            else:
                pieces.append(_computed(rng, node.step, parts, sources, target))
        spans_of.append(target)
    return _part(pieces[-1], spans_of[-1], outputs)


_Parts = list[tuple[Piece, Span]]


def _computed(rng: np.random.Generator, step: NetworkStep, given: _Parts, sizes: list[Shape], target: Span) -> Piece:
    """Return a part of the output of a step, and its copies, from its inputs in float64."""

    def result(of: NetworkStep, inputs: list[Array], lead: tuple[int, ...] = ()) -> Array:
        parts = [Region(each, *span) for each, (_, span) in zip(inputs, given, strict=True)]
        out = np.empty((*lead, *shape))
        of.compute(parts, sizes, Region(out, *target))
        return out

    shape = step.output_channels([len(part.values) for part, _ in given]), *_lengths(target)
    with np.errstate(all="ignore"):  # inf and NaN are values here
        values = result(step, [part.values for part, _ in given])
        errors = result(step, [part.copies for part, _ in given], (_COPIES,)) - values
        if isinstance(step, _BENT):
            mirrored = [2 * part.values - part.copies for part, _ in given]
            errors = _larger(errors, values - result(step, mirrored, (_COPIES,)), values)
        mass, bound = np.abs(values), getattr(step, "magnitudes", None)
        if bound is not None:
            mass = np.maximum(mass, result(bound, [np.abs(part.values) for part, _ in given]))
    copies = np.where(np.isfinite(values), values + errors, 0)
    return Piece(values, copies + _errors(rng, values, step.roundings * UNIT * mass))


_BENT = Pointwise, Combination, Pooling
"""Steps of which small errors of both signs have other effects: at limits, at kinks, and where two inputs are equal."""


def _larger(ahead: Array, behind: Array, values: Array) -> Array:
    """Return the larger of the errors of the copies and of those with the other sign.

    At a limit only errors of one sign show, and those of all copies may have the other sign. Beside a pole or the end
    of a domain neither is a number: any result is right there.
    """
    errors = np.where(~(np.abs(ahead) < np.abs(behind)) & np.isfinite(ahead), ahead, behind)
    return np.where(np.isfinite(errors), errors, 1 + np.abs(values))


def _lengths(spans: Span) -> tuple[int, int]:
    return spans[0].stop - spans[0].start, spans[1].stop - spans[1].start


def _strided(
    rng: np.random.Generator, step: StridedConvolution, given: _Parts, sizes: list[Shape], target: Span
) -> Piece:
    """Return a part of the output of a convolution with a stride, and its copies."""
    ((part, span),) = given
    linear = replace(step, bias=None, activation=None)
    shape = len(step.weight), *_lengths(target)

    def sums(of: StridedConvolution, x: Array, dtype: type) -> Array:
        largest = float(np.abs(x).max(initial=0)) or 1.0 if dtype is np.float32 else 1.0
        out = np.empty((*x.shape[:-3], *shape), dtype)
        of.compute([Region((x / largest).astype(dtype), *span)], sizes, Region(out, *target))
        return out.astype(np.float64) * largest

    bias = np.zeros((1, 1, 1)) if step.bias is None else step.bias.astype(np.float64)[:, None, None]
    finite = np.isfinite(part.values)
    with np.errstate(all="ignore"):  # inf and NaN are values here
        values = sums(linear, part.values, np.float64) + bias
        mass = sums(replace(linear, weight=np.abs(step.weight)), np.where(finite, np.abs(part.values), 0), np.float32)
        copies = values + sums(linear, np.where(finite, part.copies - part.values, 0), np.float32)
    copies += _errors(rng, values, UNIT * math.sqrt(step.roundings + 1) * (mass + np.abs(bias)))
    return _activated(activation_of(step.activation, len(step.weight)), values, copies)


def _part(given: Piece, span: Span, wanted: Span) -> Piece:
    cut = tuple(slice(w.start - h.start, w.stop - h.start) for w, h in zip(wanted, span, strict=True))
    return Piece(given.values[:, *cut], given.copies[:, :, *cut])


def _convolved(
    rng: np.random.Generator, step: Convolution, given: Piece, span: Span, wanted: Span, anchors: Shape | None
) -> Piece:
    g = step.geometry
    crops = [
        crop_for(step.along[axis], span[axis].start, given.values.shape[1 + axis], wanted[axis]) for axis in (0, 1)
    ]
    local = Geometry(g.kernel, g.stride, crops, g.dilation, g.groups)
    given_bias = step.bias_over(*wanted)
    bias = np.zeros((1, 1, 1)) if given_bias is None else given_bias.astype(np.float64)
    wide = step.weight.astype(np.float64)
    values = scattered_sums(given.values, wide, local) + bias
    finite = np.isfinite(given.values)
    if anchors is None:
        mass = _summed(np.where(finite, np.abs(given.values), 0)[None], np.abs(step.weight), local)[0]
    else:  # an exact 0 is not exact in float32, and its error reaches all rows of its group
        size = np.where(finite, np.abs(given.values) + given.error, 0)
        starts = (anchor - part.start for anchor, part in zip(anchors, wanted, strict=True))
        mass = algebra.mass(size, np.abs(wide), local.crop, *starts)
    mass += np.abs(bias)
    # the sums are linear: the errors of the copies go through the layer alone
    copies = values + _summed(np.where(finite, given.copies - given.values, 0), step.weight, local)
    copies += _errors(rng, values, rounding(step, anchors is not None) * mass)
    return _activated(activation_of(step.activation, step.channels[1]), values, copies)


def _summed(x: Array, weight: Array, g: Geometry) -> Array:
    """Return the layer's sums of finite float64 numbers x [N, C, h, w], with the precision of float32 and any range."""
    finite = np.where(np.isfinite(weight), weight, 0)
    sizes = [float(np.abs(array).max(initial=0)) or 1.0 for array in (x, finite)]
    y = conv_transpose_strip((x / sizes[0]).astype(np.float32), (finite / sizes[1]).astype(np.float32), g)
    return y.astype(np.float64) * (sizes[0] * sizes[1])


def _activated(activation: Activation | None, values: Array, copies: Array) -> Piece:
    if activation is None:
        return Piece(values, copies)
    with np.errstate(invalid="ignore"):  # inf - inf
        mirrored = 2 * values - copies
        for each in (values[None], copies, mirrored):
            activation.apply(each)
        errors = _larger(copies - values, values - mirrored, values)
        return Piece(values, np.where(np.isfinite(values), values + errors, 0))


def _errors(rng: np.random.Generator, values: Array, size: Array) -> Array:
    """Return errors [K, C, h, w] for all copies, of about this size [C, h, w]: the sum of two kinds.

    Errors of one kind are independent. Those of the other are equal where the numbers of a channel are equal, as
    rounding errors are in a flat picture, or in one with a pattern.
    """
    number = np.ascontiguousarray(values + size).view(np.uint64) >> np.uint64(
        24
    )  # without the bits that float64 itself rounds
    salts = rng.integers(0, 1 << 64, (2, _COPIES, len(values), 1, 1), np.uint64)
    mixed = (number ^ salts[0]) * (salts[1] | np.uint64(1))
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    equal = (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23)
    both = equal + 2 * rng.random(mixed.shape, np.float32) - 2  # each from -1 to 1
    # inf and NaN in a picture are values
    errors: Array = both * (math.sqrt(3) * SAFETY * np.where(np.isfinite(size), size, 0))
    return errors
