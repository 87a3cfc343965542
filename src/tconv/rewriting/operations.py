"""Operations of an expression: a transposed convolution, and the few others that steps write in its place.

Each names the values that it reads and writes by number. Arrays are canonical: data [N, C, *spatial], a transposed
convolution's weight [C_in, C_out/groups, *kernel], a convolution's [C_out, C_in/groups, *kernel].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry

Sizes = tuple[int | None, ...]
"""Shape of a value; None for a size that varies or is not known."""

ShuffleOrder = Literal["DCR", "CRD"]
"""Channels of a block in DepthToSpace: DCR = (block, channel), ONNX's default and TensorFlow's; CRD = (channel, block),
PyTorch's PixelShuffle."""


class Constant:
    """Array whose numbers are computed when they are first read: a plan is made from shapes alone.

    >>> w = Constant.of(np.ones((2, 3)))
    >>> w.derived((3, 2), np.transpose).array.shape
    (3, 2)
    """

    def __init__(
        self, shape: Sequence[int], dtype: Any, read: Callable[[], Array], source: Constant | None = None
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._read = read
        self._source = source
        self._array: Array | None = None
        self._finite: bool | None = None

    @classmethod
    def of(cls, array: Any) -> Constant:
        """Return an array that exists as a constant."""
        given = np.asarray(array)
        return cls(given.shape, given.dtype, lambda: given)

    @property
    def array(self) -> Array:
        """Numbers, computed once."""
        if self._array is None:
            array = np.asarray(self._read())
            if array.shape != self.shape or array.dtype != self.dtype:
                raise AssertionError(f"{array.shape} {array.dtype} was computed for {self.shape} {self.dtype}")
            self._array = array
        return self._array

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    @property
    def is_finite(self) -> bool:
        """True if no number is NaN or infinite; those from which it is derived are looked at once."""
        if self._source is not None:
            return self._source.is_finite
        if self._finite is None:
            array = self.array
            wide = array.astype(np.float32) if array.dtype.itemsize < 4 else array
            self._finite = bool(array.dtype.kind in "iub" or np.isfinite(wide).all())
        return self._finite

    def derived(self, shape: Sequence[int], function: Callable[[Array], Array]) -> Constant:
        """Return the constant that a function of this one's numbers gives: the same ones in other places, and zeros."""
        return Constant(shape, self.dtype, lambda: function(self.array), self)


@dataclass(frozen=True)
class SizeOf:
    """Number that depends on the size of a value's axis: (multiplier * size + offset) // divisor."""

    value: int
    axis: int
    multiplier: int = 1
    offset: int = 0
    divisor: int = 1

    def number(self, size: int) -> int:
        """Return the number for a size of the axis."""
        return (self.multiplier * size + self.offset) // self.divisor


@dataclass(frozen=True)
class ProductOf:
    """Product of sizes, for an axis that joins several whose sizes vary. Only a `Reshape` has it, once at most."""

    factors: tuple[SizeOf, ...]


Size = int | SizeOf | ProductOf


def sources_of(size: Size | None) -> tuple[SizeOf, ...]:
    """Return the parts of a size that depend on a value."""
    if isinstance(size, ProductOf):
        return size.factors
    return (size,) if isinstance(size, SizeOf) else ()


def _renumbered(size: Any, number: Callable[[int], int]) -> Any:
    if isinstance(size, ProductOf):
        return ProductOf(tuple(_renumbered(factor, number) for factor in size.factors))
    return replace(size, value=number(size.value)) if isinstance(size, SizeOf) else size


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: the numbers of the values that it reads and those that it writes."""

    kind: ClassVar[str]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def renumbered(self, number: Callable[[int], int]) -> Self:
        """Return the operation with other numbers of its values."""
        changed: dict[str, Any] = {
            "inputs": tuple(map(number, self.inputs)),
            "outputs": tuple(map(number, self.outputs)),
        }
        for name in self.sized:
            changed[name] = tuple(_renumbered(size, number) for size in getattr(self, name))
        return replace(self, **changed)

    @property
    def sized(self) -> tuple[str, ...]:
        """Names of the fields that may have a `SizeOf`."""
        return ()

    @property
    def constants(self) -> tuple[Constant, ...]:
        """Constants that the operation reads."""
        found = (getattr(self, name, None) for name in ("weight", "bias", "constant"))
        return tuple(constant for constant in found if constant is not None)


@dataclass(frozen=True, eq=False)
class ConvTranspose(Operation):
    """Transposed convolution with the words in which a file writes its crop.

    In ONNX's meaning pads_begin = lo and pads_end = hi + output_padding, for the geometry's crop (lo, hi).
    """

    kind = "conv_transpose"
    weight: Constant
    bias: Constant | None
    geometry: Geometry
    output_padding: tuple[int, ...] = ()
    """Part of the crop's end that the file writes as output_padding; () is 0 on all axes."""
    auto_pad: str = "NOTSET"
    """Rule that the file has instead of pads: "SAME_UPPER", "SAME_LOWER", "VALID". The crop is that of the geometry."""
    output_shape: tuple[int, ...] | None = None
    """Spatial sizes of the output that the file has instead of pads: the crop follows from the input's size, and
    the geometry's crop has no meaning. SAME_UPPER crops the smaller half in front, all others the larger."""

    def geometry_for(self, sizes: Sequence[int]) -> Geometry:
        """Return the geometry for spatial sizes of the input."""
        if self.output_shape is None:
            return self.geometry
        g = self.geometry
        extra = self.output_padding or (0,) * g.ndim
        crop = []
        for n, s, e, op, L in zip(sizes, g.stride, g.extent, extra, self.output_shape, strict=True):
            full = s * (n - 1) + e
            total = full - L + op
            lo = total // 2 if self.auto_pad == "SAME_UPPER" else total - total // 2
            crop.append((lo, full - L - lo))
        return Geometry(g.kernel, g.stride, crop, g.dilation, g.groups)

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.weight.shape[0]

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.weight.shape[1] * self.geometry.groups


@dataclass(frozen=True, eq=False)
class Conv(Operation):
    """Convolution with stride 1: y[m] = sum_t xp[m + d*t] w[t], where xp is x with zeros around it."""

    kind = "conv"
    weight: Constant
    bias: Constant | None
    pads: tuple[tuple[int, int], ...]
    """Zeros in front and behind per spatial axis, at least 0."""
    dilation: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True, eq=False)
class MatMul(Operation):
    """Matrix product x @ weight of the last two axes, broadcast over the others: [..., L, C] @ [..., C, K]."""

    kind = "matmul"
    weight: Constant


@dataclass(frozen=True, eq=False)
class DepthToSpace(Operation):
    """Pixel shuffle of a 2-D value: [N, C*b*b, h, w] to [N, C, h*b, w*b]."""

    kind = "depth_to_space"
    block: int
    order: ShuffleOrder


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Sum of two values of the same shape, or of a value and a constant that is broadcast to it."""

    kind = "add"
    constant: Constant | None = None


@dataclass(frozen=True, eq=False)
class Pad(Operation):
    """Value with constant rows around it, (front, behind) per axis, batch and channels too; at least 0."""

    kind = "pad"
    pads: tuple[tuple[int, int], ...]
    value: float = 0.0


@dataclass(frozen=True, eq=False)
class Slice(Operation):
    """Part of a value, as Python slices it: x[start:stop:step] per axis named in `axes`. Steps are at least 1.

    A negative stop counts from the end; None is the end. A start is at least 0.
    """

    kind = "slice"
    axes: tuple[int, ...]
    starts: tuple[Size, ...]
    stops: tuple[Size | None, ...]
    steps: tuple[int, ...]

    @property
    def sized(self) -> tuple[str, ...]:
        return ("starts", "stops")


@dataclass(frozen=True, eq=False)
class Split(Operation):
    """Equal parts of a value along an axis, one for each output."""

    kind = "split"
    axis: int


@dataclass(frozen=True, eq=False)
class Concat(Operation):
    """Values behind each other along an axis."""

    kind = "concat"
    axis: int


@dataclass(frozen=True, eq=False)
class Reshape(Operation):
    """Value with the same elements in C order and another shape; each size is a number or follows from a value's."""

    kind = "reshape"
    shape: tuple[Size, ...]

    @property
    def sized(self) -> tuple[str, ...]:
        return ("shape",)


@dataclass(frozen=True, eq=False)
class Transpose(Operation):
    """Value with its axes in another order: axis i of the output is axis order[i] of the input."""

    kind = "transpose"
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Unsqueeze(Operation):
    """Value with axes of size 1 at these places of the output, in rising order."""

    kind = "unsqueeze"
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Squeeze(Operation):
    """Value without these axes, which have size 1."""

    kind = "squeeze"
    axes: tuple[int, ...]
