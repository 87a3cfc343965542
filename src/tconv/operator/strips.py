"""Transposed convolutions of a strip of an image: output rows whose bits do not depend on the strip that they are in.

Rows are those of the first spatial axis: of an image, or samples of a signal.

`conv_transpose` and `prepare` choose a method by the sizes of a call, and minimal filtering pairs the rows of a strip.
The direct sum (method "simd") has one order of sums for any strip. Where it does not run (complex numbers, integers,
weights with inf or NaN, a machine without it), every output row is computed alone, by matrix products of the same
sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from tconv import kernels
from tconv._arrays import Array, is_finite
from tconv._memory import empty
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.kernels import tap_products
from tconv.kernels.activation import activation_of
from tconv.kernels.problem import Problem, accumulator, is_plain
from tconv.operator.functional import conv_transpose
from tconv.operator.method_choice import choose_method

DIRECT = "simd"
"""Method whose order of sums depends on neither the strip nor its size."""
ROWS = "rows of taps"
"""Name, in reports, of the products of each row by itself."""


def layer_method(p: Problem) -> str:
    """Return the method of a `StripLayer`: "simd", or "rows of taps". No size decides it."""
    return ROWS if kernels.kernel(DIRECT).reasons_against(p) else DIRECT


def strip_method(p: Problem) -> str:
    """Return the method of `conv_transpose_strip`: "simd", "rows of taps", or for one channel a method of NumPy."""
    method = layer_method(p)
    # of one channel: the methods of NumPy add the same products one by one, in the same order
    return choose_method(p, "auto") if method == ROWS and p.layer.group_in == 1 else method


def _problem(
    weight: Array, geometry: Geometry, x: Array | None = None, *, bias: bool = False, finite: bool | None = None
) -> Problem:
    """Return the problem of a canonical weight; without x, for an image of one pixel: the method is the same."""
    batch, sizes = (1, (1,) * geometry.ndim) if x is None else (len(x), x.shape[2:])
    out = weight.shape[1] * geometry.groups
    finite = is_finite(weight) if finite is None else finite
    return Problem(geometry, batch, weight.shape[0], out, sizes, weight.dtype, bias, finite_weight=finite)


def first_input(along: Geometry, output: int) -> int:
    """Return the first input of an unbounded axis that this output needs. `along` is the geometry of one axis."""
    (extent,), (stride,), ((lo, _),) = along.extent, along.stride, along.crop
    last = (output + lo) // stride  # the last input that reaches it, or the one before it, for an output in a gap
    return min(-((extent - 1 - output - lo) // stride), last)


def inputs_of(along: Geometry, outputs: slice, size: int) -> slice:
    """Return the inputs of an axis of this size that these outputs need; at least one.

    `Geometry.input_window` without its checks: it runs for every strip of every layer.
    """
    (stride,), ((lo, _),) = along.stride, along.crop
    start, stop = first_input(along, outputs.start), (outputs.stop - 1 + lo) // stride + 1
    return slice(min(max(start, 0), size - 1), min(max(stop, 1), size))


def conv_transpose_strip(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Return `conv_transpose` of x [N, C_in, h, w] and weight [C_in, C_out/groups, kh, kw], of one floating dtype.

    x has the input rows of a strip, and the crop is relative to them, as `weights.interpolation.crop_for` returns it.
    """
    method = strip_method(_problem(weight, geometry, x))
    if method != ROWS:
        return np.asarray(conv_transpose(x, weight, geometry=geometry, method=method))
    shape = x.shape[0], weight.shape[1] * geometry.groups, *geometry.output_shape(x.shape[2:])
    out = empty(shape, x.dtype)
    _run_rows(geometry, x, weight, None, out)
    return out


class StripLayer:
    """Layer with a canonical weight of any dtype, a bias and an activation, as `tconv.prepare` takes them, for strips.

    A strip is a slice along the first spatial axis. `with_crop` returns the layer for another one.
    """

    def __init__(self, weight: Array, bias: Array | None, geometry: Geometry, activation: Any) -> None:
        self.weight, self._bias, self.geometry = weight, bias, geometry
        self._activation = activation_of(activation, weight.shape[1] * geometry.groups)
        self.method = layer_method(_problem(weight, geometry))
        self._packed_weights: dict[Any, Any] = {}
        """of all crops"""

    def with_crop(self, crop: Any) -> StripLayer:
        """Return the layer with another crop. Both have one packed weight."""
        other, g = copy(self), self.geometry
        other._packed_weights = self._packed_weights  # which copies do not have
        other.geometry = Geometry(g.kernel, g.stride, crop, g.dilation, g.groups)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for other processes, without packed weights."""
        return {**vars(self), "_packed_weights": {}}

    def specialized(self, x: Array, out: Array) -> Callable[[Array, Array], Any]:
        """Return the layer as a function of arrays like x [N, C_in, *n] and out [N, C_out, *L], without checks."""
        if self.method == ROWS or not (is_plain(x) and is_plain(out)):
            return self._run_alone if self.method == ROWS else self._run_copied
        run, weight, bias = self._specialized(x, out), self.weight, self._bias
        return lambda x, out: run(x, weight, bias, out)

    def bound(self, x: Array, out: Array) -> Callable[[], Any]:
        """Return the layer as a function of the numbers that are in these arrays when it is called; it fills out.

        It costs less than a call of `specialized` does.
        """
        if self.method == ROWS or not (is_plain(x) and is_plain(out)):
            return partial(self._run_alone if self.method == ROWS else self._run_copied, x, out)
        bound: Callable[[], Any] = self._specialized(x, out).bound(x, self.weight, self._bias, out)
        return bound

    def _specialized(self, x: Array, out: Array) -> Any:
        problem = _problem(self.weight, self.geometry, x, bias=self._bias is not None, finite=True)
        if out.shape != (problem.batch, problem.out_channels, *problem.output_shape):
            raise ShapeError(f"out has shape {out.shape}; {problem.output_shape} of {problem.out_channels} are needed")
        specialize = kernels.kernel(DIRECT).specialize
        assert specialize is not None
        constants = {"activation": self._activation, "packed_weights": self._packed_weights}
        return specialize(problem, x.strides, out.strides, **constants)

    def _run_copied(self, x: Array, out: Array) -> None:
        """Run on arrays that the machine code does not take: of another byte order, or not aligned."""
        own, made = np.ascontiguousarray(x, self.weight.dtype), np.empty(out.shape, self.weight.dtype)
        self._specialized(own, made)(own, self.weight, self._bias, made)
        out[...] = made

    def _run_alone(self, x: Array, out: Array) -> None:
        _run_rows(self.geometry, x, self.weight, self._bias, out)
        if self._activation is not None:
            self._activation.apply(out)


def _run_rows(g: Geometry, x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
        tap_products.run_rows(g, x, weight, bias, out, accumulator(weight.dtype))
