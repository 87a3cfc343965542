"""Problem that a kernel is asked to run, in canonical terms, and the interface that every kernel has.

The operator turns each call into a `Problem`; the members of `tconv.kernels` are `Kernel`s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.geometry import Geometry, Macs


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of sums over this dtype: float32 for 2-byte floats, int64 for integers, else itself."""
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def is_plain(array: Array) -> bool:
    """Return True if compiled code can use the memory: native byte order, aligned, strides of whole elements."""
    whole = all(step % array.itemsize == 0 for step in array.strides)
    return bool(array.flags.aligned and array.dtype.isnative and whole)


class Layer(NamedTuple):
    """Geometry, channels and dtype of a problem, without the size of x.

    The order of the sums and of the packed weight depends on nothing else. They are cached by layer, so that a size of
    x not seen before costs little.
    """

    geometry: Geometry
    in_channels: int
    out_channels: int
    dtype: np.dtype[Any]

    @property
    def group_in(self) -> int:
        """Input channels of a group."""
        return self.in_channels // self.geometry.groups

    @property
    def group_out(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.geometry.groups


@dataclass(frozen=True)
class Problem:
    """Sizes, geometry and dtype of one transposed convolution: enough to plan it without its arrays."""

    geometry: Geometry
    batch: int
    in_channels: int
    out_channels: int
    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bias: bool = False
    finite_weight: bool = True
    weight_dtype: np.dtype[Any] | None = None
    """Dtype of the weight where it differs from that of x: both are integers then."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Hash, computed once. It is of numbers alone, so it is the same in other processes."""
        return hash((self.geometry, self.batch, self.in_channels, self.out_channels, self.input_shape, self.bias))

    @cached_property
    def layer(self) -> Layer:
        """The problem without batch and size."""
        return Layer(self.geometry, self.in_channels, self.out_channels, self.dtype)

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        g = self.geometry
        axes = zip(self.input_shape, g.kernel, g.stride, g.dilation, g.crop, strict=True)
        shape = tuple(s * (n - 1) + d * (k - 1) + 1 - lo - hi for n, k, s, d, (lo, hi) in axes)
        # for sizes below 1 the geometry raises the error
        return shape if min(*shape, *self.input_shape) > 0 else g.output_shape(self.input_shape)

    @cached_property
    def products(self) -> int:
        """Multiply-adds of the whole call without a border: `macs.border_free`."""
        return self.batch * math.prod(self.input_shape) * self.weight_count

    @property
    def accumulate(self) -> np.dtype[Any]:
        """Dtype of the sums."""
        return accumulator(self.dtype)

    @property
    def converts_weight(self) -> bool:
        """True if the weight has another dtype than the sums."""
        return self.accumulate != (self.weight_dtype or self.dtype)

    @property
    def result(self) -> np.dtype[Any]:
        """Dtype of the output: that of x, and int64 for integers."""
        return self.accumulate if self.dtype.kind in "iu" else self.dtype

    @property
    def macs(self) -> Macs:
        """Multiply-adds of the whole call."""
        return self.geometry.macs(self.input_shape, self.in_channels, self.out_channels, self.batch)

    @cached_property
    def weight_count(self) -> int:
        """Elements of the weight."""
        return self.in_channels * (self.out_channels // self.geometry.groups) * math.prod(self.geometry.kernel)

    @cached_property
    def input_bytes(self) -> int:
        """Bytes of x, weight and bias, each read once."""
        x = self.batch * self.in_channels * math.prod(self.input_shape)
        weight = self.weight_dtype or self.dtype
        return (x + self.bias * self.out_channels) * self.dtype.itemsize + self.weight_count * weight.itemsize

    @cached_property
    def output_bytes(self) -> int:
        """Bytes of y, written once."""
        return self.batch * self.out_channels * math.prod(self.output_shape) * self.result.itemsize


class Kernel(NamedTuple):
    """Method: one predicate for probing and for raising, estimates of memory and time, and the run itself."""

    name: str
    summary: Callable[[Problem], str]
    """Text of one line for the plan"""
    reasons_against: Callable[[Problem], list[str]]
    """All reasons why the method cannot run a problem; empty if it can"""
    scratch_bytes: Callable[[Problem], int]
    """Bytes that it allocates beside input and output"""
    seconds: Callable[[Problem], float]
    """Rough estimate of its time beside the multiply-adds, to compare methods"""
    run: Callable[[Problem, Array, Array, Array | None, Array], None]
    """Fill out from canonical x, weight and bias, every element once"""
    specialize: Callable[..., Callable[[Array, Array, Array | None, Array], bool]] | None = None
    """For kernels that gain by it: `specialize(problem, strides of canonical x, strides of canonical out, layout=...)`
    returns a function of native x, weight, bias and out. The function returns False if the weight needs another
    kernel."""
    most_seconds: Callable[[Problem], float] | None = None
    """Upper limit of `seconds` that is faster to compute; if it already chooses this method, `seconds` is not needed"""
