"""One transposed convolution as a `TileOperator`, of any dtype, geometry and number of axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import DtypeError
from tconv.geometry import Geometry
from tconv.kernels.activation import frozen
from tconv.kernels.problem import accumulator
from tconv.operator.strips import inputs_of
from tconv.scale.operators.layer_sum import LayerSum
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes, elements, region_sizes, whole, within
from tconv.weights.interpolation import crop_for


class LayerOperator:
    """A canonical weight [C_in, C_out/groups, *kernel], bias [C_out] and activation as `tconv.prepare` takes them.

    >>> import numpy as np
    >>> layer = LayerOperator(np.ones((1, 1, 4), np.float32), None, Geometry(4, 2, 1))
    >>> layer.output_sizes((100,)), layer.window((slice(10, 20),), (100,))
    ((200,), (slice(4, 11, None),))

    The output has the dtype of the weight; of integers, it is int64. `dtype` is that of the input where it differs:
    other integers. Raises DtypeError for an activation of integers or complex numbers.
    """

    def __init__(
        self, weight: Array, bias: Array | None, geometry: Geometry, activation: Any = None, dtype: Any = None
    ) -> None:
        if activation is not None and weight.dtype.kind in "iuc":
            raise DtypeError(
                f"the weight is {weight.dtype}; activations are for real floats. Write the layer without activation=, "
                "and apply it to the output"
            )
        self.geometry, self._parts = geometry, (weight, bias, geometry, frozen(activation))
        self.sum = LayerSum(*self._parts)
        self.method, self.ndim = self.sum.method, geometry.ndim
        self.dtype = weight.dtype if dtype is None else np.dtype(dtype)
        self.channels = len(weight), weight.shape[1] * geometry.groups
        self.result = accumulator(weight.dtype) if weight.dtype.kind in "iu" else weight.dtype
        kernel, stride = ("x".join(map(str, each)) for each in (geometry.kernel, geometry.stride))
        self.name = (
            f"transposed convolution {kernel} stride {stride}, {self.channels[0]} to {self.channels[1]} channels"
        )
        self._along = [
            Geometry(k, s, (crop,), d)
            for k, s, crop, d in zip(geometry.kernel, geometry.stride, geometry.crop, geometry.dilation, strict=True)
        ]

    @property
    def activation(self) -> Any:
        """Activation that is applied to the outputs, as `tconv.prepare` takes it; None without one."""
        return self._parts[3]

    def activated(self, activation: Any) -> LayerOperator:
        """Return the layer with an activation."""
        return LayerOperator(*self._parts[:3], activation, self.dtype)

    def reading(self, dtype: Any) -> LayerOperator:
        """Return the layer for an input of this dtype: other integers than the weight's; floats stay as they are."""
        given = np.dtype(dtype)
        if given == self.dtype or given.kind not in "iu" or self.dtype.kind not in "iu":
            return self
        return LayerOperator(*self._parts, given)

    def __repr__(self) -> str:
        return f"<{self.name}, {self.dtype}>"

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return weight, bias, geometry and activation."""
        return self._parts

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return the sizes of the output. Raises ShapeError if an axis would be empty."""
        return self.geometry.output_shape(sizes)

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the inputs that outputs read; at least one along each axis."""
        return tuple(_inputs(*each) for each in zip(self._along, outputs, sizes, strict=True))

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out from x, with one order of sums for all tiles."""
        needed = self.window(outputs, sizes)
        crop = tuple(
            crop_for(along, span.start, span.stop - span.start, target)
            for along, span, target in zip(self._along, needed, outputs, strict=True)
        )
        self.sum(x[:, *within(needed, window)], crop, out)

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the most bytes that a tile takes beside x and out: packed weights, panels, sums, parts of complex x.

        Tiles that do not begin at multiples of the stride need a packed weight for each phase that they begin with.
        """
        totals = self.output_sizes(sizes)
        phases = math.prod(
            s // math.gcd(s, span.start, s if span.stop == total else span.stop)
            for s, span, total in zip(self.geometry.stride, outputs, totals, strict=True)
        )
        return self.sum.scratch_bytes(region_sizes(self.window(outputs, sizes)), region_sizes(outputs), phases)

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds of a tile: no output is computed twice, and no input beside it costs any."""
        g = self.geometry
        products = math.prod(g.kernel) * self.channels[0] * (self.channels[1] // g.groups)
        return int(products * elements(outputs) // math.prod(g.stride))

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> Any:
        """Return None: no output needs the whole image."""
        return None


def _inputs(along: Geometry, outputs: slice, size: int) -> slice:
    """Return the inputs of one axis that outputs read: the fewest, and one where they read none."""
    if along.dilation[0] == 1 and along.stride[0] <= along.kernel[0]:
        return inputs_of(along, outputs, size)
    (needed,) = along.input_window([outputs], size)  # taps with gaps between them, or outputs between them
    return needed if needed.start < needed.stop else inputs_of(along, slice(outputs.start, outputs.start + 1), size)


def computed(operator: Any, x: Array) -> Array:
    """Return the whole output [C', *L] of an image x [C, *n]: what all tiles together must equal.

    >>> import numpy as np
    >>> computed(LayerOperator(np.ones((1, 1, 2)), None, Geometry(2, 2)), np.ones((1, 2)))
    array([[1., 1., 1., 1.]])
    """
    sizes = x.shape[1:]
    outputs = whole(operator.output_sizes(sizes))
    out = empty((operator.channels[1], *region_sizes(outputs)), operator.result)
    context = operator.prepare(lambda region: x[:, *region], sizes, 1 << 62)
    operator.compute(x, whole(sizes), sizes, outputs, out, context)
    return out
