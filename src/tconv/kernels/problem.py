"""What a kernel is asked: one problem in canonical terms, and the three answers that every kernel gives about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tconv._cached_property import cached_property
from tconv.geometry import Geometry, Macs

Array = np.ndarray[Any, Any]


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which sums over this dtype are kept: float32 for 2-byte floats, int64 for integers, else itself."""
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def is_plain(array: Array) -> bool:
    """Whether compiled code can read and write the elements where they are: native, aligned, at whole strides."""
    whole = all(step % array.itemsize == 0 for step in array.strides)
    return bool(array.flags.aligned and array.dtype.isnative and whole)


class Layer(NamedTuple):
    """The part of a problem that stays when x has another size: the order of the sums, the layout of the packed weight.

    What is kept under it serves inputs of all sizes, so that a size not seen before costs little.
    """

    geometry: Geometry
    in_channels: int
    out_channels: int

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
    """One transposed convolution, sizes and dtype only: enough to plan it without its arrays."""

    geometry: Geometry
    batch: int
    in_channels: int
    out_channels: int
    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bias: bool = False
    finite_weight: bool = True

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Taken once, and of numbers alone, whose hashes are those of other processes."""
        return hash((self.geometry, self.batch, self.in_channels, self.out_channels, self.input_shape, self.bias))

    @cached_property
    def layer(self) -> Layer:
        """All of it but the batch, the size and what the weight holds."""
        return Layer(self.geometry, self.in_channels, self.out_channels)

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        g = self.geometry
        axes = zip(self.input_shape, g.kernel, g.stride, g.dilation, g.crop, strict=True)
        shape = tuple(s * (n - 1) + d * (k - 1) + 1 - lo - hi for n, k, s, d, (lo, hi) in axes)
        # the geometry says what is wrong with sizes below 1
        return shape if min(*shape, *self.input_shape) > 0 else g.output_shape(self.input_shape)

    @cached_property
    def products(self) -> int:
        """Multiply-adds of the whole call as if it had no border: `macs.border_free`."""
        return self.batch * math.prod(self.input_shape) * self.weight_count

    @property
    def accumulate(self) -> np.dtype[Any]:
        """The dtype of the sums."""
        return accumulator(self.dtype)

    @property
    def result(self) -> np.dtype[Any]:
        """The dtype of the output: that of x, and int64 for integers."""
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
        return (x + self.weight_count + self.bias * self.out_channels) * self.dtype.itemsize

    @cached_property
    def output_bytes(self) -> int:
        """Bytes of y, written once."""
        return self.batch * self.out_channels * math.prod(self.output_shape) * self.result.itemsize


class Kernel(NamedTuple):
    """A method: one predicate for probing and for raising, its predicted scratch memory, and the run itself."""

    name: str
    summary: Callable[[Problem], str]
    """What it does, in a line."""
    reasons_against: Callable[[Problem], list[str]]
    """Every reason why it cannot run this problem; empty if it can."""
    scratch_bytes: Callable[[Problem], int]
    """Bytes it holds beside input and output."""
    seconds: Callable[[Problem], float]
    """A rough estimate of what it spends beside the multiply-adds, to compare methods with each other."""
    run: Callable[[Problem, Array, Array, Array | None, Array], None]
    """Canonical x, weight, bias in; every element of out written once."""
    bind: Callable[..., Callable[[Array, Array, Array | None, Array], bool]] | None = None
    """For a kernel that gains by it: bind(problem, strides of canonical x, strides of canonical out, layout=...) is
    a function of the native x, weight, bias and out; False if this weight needs another kernel."""
    most_seconds: Callable[[Problem], float] | None = None
    """Not less than `seconds`, and quicker to tell; where it chooses this method, nobody needs to know better."""
