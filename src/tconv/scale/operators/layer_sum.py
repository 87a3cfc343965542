"""Sums of one transposed convolution whose bits depend on neither the tile nor its place.

The direct sum (method "simd") has one order of sums for any tile. Complex numbers are four direct sums of real ones.
Where the direct sum does not run (integers, weights with inf or NaN, a machine without it), the products of an output
are added one by one: matrix products, as the other methods have them, add in another order for other sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tconv import kernels
from tconv._arrays import Array
from tconv._memory import empty
from tconv.geometry import Geometry
from tconv.kernels import tap_products
from tconv.kernels.activation import activation_of
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem, accumulator
from tconv.operator.strips import DIRECT, StripLayer
from tconv.scale.regions import Sizes

ORDERED = "product by product"
"""Name, in reports, of the sum whose products are added one by one."""
FOUR = "simd, four sums of real numbers"
"""Name, in reports, of the sum of complex numbers."""
_MOST_CALLS = 256
"""Specialized calls that a layer caches: one for each crop, size and stride of tiles, so borders and corners have room
beside the equal tiles between them."""

Crop = tuple[tuple[int, int], ...]


class LayerSum:
    """Sums of a canonical weight [C_in, C_out/groups, *kernel] with bias [C_out] and activation, for tiles."""

    def __init__(self, weight: Array, bias: Array | None, geometry: Geometry, activation: Any) -> None:
        self.weight, self.bias, self.geometry, self.activation = weight, bias, geometry, activation
        self.method: str
        self._parts: list[LayerSum] = []
        self._layer: StripLayer | None = None
        if weight.dtype.kind == "c":
            biases: Any = (None, None) if bias is None else (bias.real.copy(), bias.imag.copy())
            real, imaginary = weight.real.copy(), weight.imag.copy()
            # (re, re), (im, im) -> re; (re, im), (im, re) -> im
            pairs = ((real, biases[0]), (imaginary, None), (imaginary, biases[1]), (real, None))
            self._parts = [LayerSum(w, b, geometry, None) for w, b in pairs]
            direct = all(part.method == DIRECT for part in self._parts)
            self.method = FOUR if direct else ORDERED
        else:
            layer = StripLayer(weight, bias, geometry, activation)
            self.method = layer.method if layer.method == DIRECT else ORDERED
            self._layer = layer if layer.method == DIRECT else None
        self._calls: dict[Any, Callable[[Array, Array], Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for other processes, without calls: they contain addresses of this one."""
        return {**vars(self), "_calls": {}}

    def __call__(self, x: Array, crop: Crop, out: Array) -> None:
        """Fill out [C_out, *L] from x [C_in, *n], with this crop."""
        if self._parts:
            self._complex(x, crop, out)
        elif self._layer is not None:
            self._direct(self._layer, x, crop, out)
        else:
            self._ordered(x, crop, out)

    def _direct(self, layer: StripLayer, x: Array, crop: Crop, out: Array) -> None:
        """Run the direct sum; the calls of equal tiles are planned once."""
        x, out = x[None], out[None]
        if not (x.flags.aligned and out.flags.aligned and x.dtype.isnative):
            layer.with_crop(crop).specialized(x, out)(x, out)
            return
        key = crop, x.shape, x.strides, out.strides
        run = self._calls.get(key)
        if run is None:
            run = layer.with_crop(crop).specialized(x, out)
            # no lock: of two threads that plan one call, the later one's stays
            if len(self._calls) >= _MOST_CALLS:
                self._calls.clear()
            self._calls[key] = run
        run(x, out)

    def _complex(self, x: Array, crop: Crop, out: Array) -> None:
        """Fill out with four sums of real and imaginary parts."""
        dtype = self._parts[0].weight.dtype
        one, other = empty(out.shape, dtype), empty(out.shape, dtype)
        part = empty(x.shape, dtype)
        for turn, (first, second) in enumerate((self._parts[:2], self._parts[2:])):
            np.copyto(part, x.real)
            first(part, crop, one)
            np.copyto(part, x.imag)
            second(part, crop, other)
            with np.errstate(all="ignore"):  # inf and NaN are values here
                if turn:
                    np.add(one, other, out=out.imag)
                else:
                    np.subtract(one, other, out=out.real)

    def _ordered(self, x: Array, crop: Crop, out: Array) -> None:
        """Add the products of each output one by one: tap by tap, and of each tap channel by channel."""
        g, w, wide = self.geometry, self.weight, accumulator(self.weight.dtype)
        cropped = Geometry(g.kernel, g.stride, crop, g.dilation, g.groups)
        taps = list(tap_products.windows(cropped, x.shape[1:], out.shape[1:]))
        into, of_group = len(w) // g.groups, w.shape[1]
        x = x.astype(wide, copy=False)
        sums, product = np.empty(out.shape[1:], wide), np.empty(x.shape[1:], wide)
        activation = activation_of(self.activation, len(out))
        with np.errstate(all="ignore"):
            for channel in range(len(out)):
                first = channel // of_group * into
                sums[...] = 0
                for tap, inner, outer in taps:
                    target = sums[outer]
                    added = product.reshape(-1)[: target.size].reshape(target.shape)
                    for place in range(first, first + into):
                        np.multiply(x[place][inner], w[(place, channel % of_group, *tap)].astype(wide), out=added)
                        target += added
                if self.bias is not None:
                    sums += self.bias[channel].astype(wide)
                out[channel] = sums
        if activation is not None:
            activation.apply(out[None])

    def scratch_bytes(self, inputs: Sizes, outputs: Sizes, phases: int) -> int:
        """Return the most bytes that a call allocates beside x and out, with packed weights for so many phases."""
        g, w, wide = self.geometry, self.weight, accumulator(self.weight.dtype)
        x_count, y_count = math.prod(inputs), math.prod(outputs)
        if self._parts:
            parts = self._parts[0].scratch_bytes(inputs, outputs, phases)
            parts += 3 * self._parts[0].packed_bytes(phases)
            halves = len(w) * x_count + 2 * w.shape[1] * g.groups * y_count
            return int(parts + halves * w.dtype.itemsize // 2)
        if self._layer is None:
            copies = len(w) * x_count * (wide != w.dtype)
            return int(wide.itemsize * (copies + x_count + 2 * y_count))
        problem = Problem(g, 1, len(w), w.shape[1] * g.groups, (1,) * g.ndim, w.dtype)
        return self.packed_bytes(phases) + _panel_bytes(problem, inputs, outputs)

    def packed_bytes(self, phases: int) -> int:
        """Return the bytes of packed weights for so many phases of the first output."""
        size = self.weight.size * accumulator(self.weight.dtype).itemsize
        return 0 if self._layer is None else phases * (2 * size + (1 << 16))


def _panel_bytes(p: Problem, inputs: Sizes, outputs: Sizes) -> int:
    """Return the bytes of tables, panels and sums of the direct sum of all threads, for a tile of these sizes."""
    g = p.geometry
    crop = [(s * (n - 1) + e - size) // 2 for s, n, e, size in zip(g.stride, inputs, g.extent, outputs, strict=True)]
    ends = [
        (lo, s * (n - 1) + e - size - lo)
        for lo, s, n, e, size in zip(crop, g.stride, inputs, g.extent, outputs, strict=True)
    ]
    like = Problem(Geometry(g.kernel, g.stride, ends, g.dilation, g.groups), 1, *p.layer[1:3], inputs, p.dtype)
    return 2 * kernels.kernel(DIRECT).scratch_bytes(like) + get_num_threads() * (2 << 20)
