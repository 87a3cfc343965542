"""One transposed convolution as a `TileOperator`, of any dtype, geometry and number of axes."""

from __future__ import annotations

from typing import Any

from tconv._arrays import Array
from tconv._memory import empty
from tconv.geometry import Geometry
from tconv.kernels.problem import accumulator
from tconv.operator.strips import StripLayer, inputs_of
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes, elements, region_sizes, within
from tconv.weights.interpolation import crop_for


class LayerOperator:
    """A canonical weight [C_in, C_out/groups, *kernel], bias [C_out] and activation as `tconv.prepare` takes them.

    >>> import numpy as np
    >>> layer = LayerOperator(np.ones((1, 1, 4), np.float32), None, Geometry(4, 2, 1))
    >>> layer.output_sizes((100,)), layer.window((slice(10, 20),), (100,))
    ((200,), (slice(4, 11, None),))
    """

    def __init__(self, weight: Array, bias: Array | None, geometry: Geometry, activation: Any = None) -> None:
        self.layer = StripLayer(weight, bias, geometry, activation)
        self._parts = weight, bias, geometry, activation
        self.method, self.ndim, self.dtype = self.layer.method, geometry.ndim, weight.dtype
        self.channels = len(weight), weight.shape[1] * geometry.groups
        wide = accumulator(weight.dtype)
        self.result = wide if wide.kind == "i" else weight.dtype
        kernel, stride = ("x".join(map(str, each)) for each in (geometry.kernel, geometry.stride))
        self.name = (
            f"transposed convolution {kernel} stride {stride}, {self.channels[0]} to {self.channels[1]} channels"
        )
        self._along = [
            Geometry(k, s, (crop,), d)
            for k, s, crop, d in zip(geometry.kernel, geometry.stride, geometry.crop, geometry.dilation, strict=True)
        ]

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return weights, geometry and activation."""
        return self._parts

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return the sizes of the output. Raises ShapeError if an axis would be empty."""
        return self.layer.geometry.output_shape(sizes)

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the inputs that outputs read; at least one along each axis."""
        return tuple(inputs_of(*each) for each in zip(self._along, outputs, sizes, strict=True))

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out from x, by the direct sum."""
        needed = self.window(outputs, sizes)
        x = x[:, *within(needed, window)]
        crop = [
            crop_for(along, span.start, span.stop - span.start, target)
            for along, span, target in zip(self._along, needed, outputs, strict=True)
        ]
        layer = self.layer.with_crop(crop)
        layer.specialized(x[None], out[None])(x[None], out[None])

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the bytes of a copy of x and of the packed weight."""
        window = self.window(outputs, sizes)
        return int(2 * (self.channels[0] * elements(window) * self.dtype.itemsize + self.layer.weight.nbytes))

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds of a tile."""
        taps = self.layer.weight[0, 0].size * self.channels[0] * self.layer.weight.shape[1]
        return int(taps * elements(self.window(outputs, sizes)))

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> Any:
        """Return None: no output needs the whole image."""
        return None


def computed(operator: Any, x: Array) -> Array:
    """Return the whole output [C', *L] of an image x [C, *n]: what all tiles together must equal.

    >>> computed(LayerOperator(np.ones((1, 1, 2)), None, Geometry(2, 2)), np.ones((1, 2)))
    array([[1., 1., 1., 1.]])
    """
    sizes = x.shape[1:]
    outputs = tuple(slice(0, size) for size in operator.output_sizes(sizes))
    out = empty((operator.channels[1], *region_sizes(outputs)), operator.result)
    everything = tuple(slice(0, size) for size in sizes)
    context = operator.prepare(lambda region: x[:, *region], sizes, 1 << 62)
    operator.compute(x, everything, sizes, outputs, out, context)
    return out
