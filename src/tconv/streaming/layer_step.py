"""`LayerStep`: one transposed convolution along time, of any dtype, number of axes and geometry.

Time is the first spatial axis. The others are whole; in the values of a stream they are folded into the channels. The
sums are those of `operator.strips`, whose order depends on no chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.kernels.problem import accumulator
from tconv.operator.strips import DIRECT, StripLayer, inputs_of
from tconv.streaming.time_step import TimeSpan
from tconv.weights.interpolation import crop_for

_MOST = 256
"""Most compiled calls that a layer caches: chunks of random lengths have many."""
_FEW = 32
"""Outputs of a phase below which lanes over channels are faster than lanes over positions, the copy included."""


class LayerStep:
    """TimeStep of a layer: canonical weight [C_in, C_out/groups, *kernel], bias [C_out], activation of `tconv.prepare`.

    Values are [sessions, C * rest, 1, T]: `rest` are the sizes of the spatial axes behind time. Integers are int64.

    >>> import numpy as np
    >>> step = LayerStep(np.ones((8, 4, 16), np.float32), None, Geometry(16, 8, 4))
    >>> step.extent([100]), step.source(0, slice(800, 808), [200])
    (800, slice(99, 102, None))

    Raises ShapeError where nothing is left of another axis, DtypeError for activations of complex numbers and integers.
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        geometry: Geometry,
        activation: Any = None,
        rest: tuple[int, ...] = (),
    ) -> None:
        g = geometry
        if activation is not None and accumulator(weight.dtype).kind in "iuc":
            raise DtypeError(
                f"the weight is {weight.dtype}; activations are for real floats. Write the call without activation=, "
                "and apply the activation to the output"
            )
        self.layer = StripLayer(weight, bias, g, activation)
        self.along = Geometry(g.kernel[0], g.stride[0], g.crop[:1], g.dilation[0])
        self._given, self._made = (len(weight), *rest), (weight.shape[1] * g.groups, *rest)
        if rest:
            whole = Geometry(g.kernel[1:], g.stride[1:], g.crop[1:], g.dilation[1:])
            self._made = self._made[0], *whole.output_shape(rest)
        self._layers: dict[Any, StripLayer] = {}
        self._calls: dict[Any, Callable[[Array, Array], Any]] = {}
        self._parts = weight, bias, g, activation, rest

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return all that the outputs depend on."""
        return self._parts

    # -- lengths and windows -------------------------------------------------------------------------------------

    @property
    def folded_channels(self) -> int:
        """Channels of the input, times the sizes of the other axes."""
        return math.prod(self._given)

    @property
    def made_sizes(self) -> tuple[int, ...]:
        """Sizes of the axes of the output behind time."""
        return self._made[1:]

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the output, times the sizes of the other axes."""
        if list(given) != [math.prod(self._given)]:
            raise ShapeError(
                f"it has a weight for {math.prod(self._given)} input channels; it is given {', '.join(map(str, given))}"
            )
        return math.prod(self._made)

    def extent(self, sizes: Sequence[int]) -> int:
        """Return the length of the output. Raises ShapeError if nothing is left."""
        (size,) = self.along.output_shape(list(sizes))
        return size

    def source(self, number: int, outputs: slice, sizes: Sequence[int]) -> slice:
        """Return the samples of the input that these outputs read."""
        return inputs_of(self.along, outputs, sizes[0])

    def first(self, output: int) -> int:
        """Return the first sample that this output or a later one reads; none before it is held."""
        (extent,), (stride,), ((lo, _),) = self.along.extent, self.along.stride, self.along.crop
        return -((extent - 1 - output - lo) // stride)

    def new_memory(self) -> tuple[Array, ...]:
        """Return no state beside the window of inputs."""
        return ()

    # -- sums ----------------------------------------------------------------------------------------------------

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out. Its bits depend on neither the span, nor the batch, nor the layout of the arrays."""
        if not out.values.size:
            return
        first, x, y = self._arrays(given[0], sizes[0], out)
        # chunks of the same length have the same shapes and the same crop
        key = out.start - self.along.stride[0] * first, x.shape, x.strides, y.strides, y.shape[2]
        run = self._calls.get(key)
        if run is None:
            layer = self._layer_for(first, x.shape[2], slice(out.start, out.start + y.shape[2]))
            run = _through_channels_last(layer, x, y) if self._has_few(layer, y) else layer.specialized(x, y)
            _store(self._calls, key, run)
        run(x, y)

    def bound(self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan) -> Callable[[], Any] | None:
        """Return `compute` of these arrays as a function of their numbers, which costs a few microseconds; or None."""
        if not out.values.size:
            return None
        first, x, y = self._arrays(given[0], sizes[0], out)
        return self._layer_for(first, x.shape[2], slice(out.start, out.start + y.shape[2])).bound(x, y)

    def _arrays(self, span: TimeSpan, size: int, out: TimeSpan) -> tuple[int, Array, Array]:
        """Return the number of the first input that the outputs read, and both as canonical arrays."""
        window = inputs_of(self.along, slice(out.start, out.start + out.values.shape[-1]), size)
        first = max(window.start, span.start)
        values = span.values[..., first - span.start : window.stop - span.start]
        if not values.shape[-1]:  # outputs in a gap, or behind the last tap, read no input: one of zeros stands for it
            first, values = window.start, np.zeros((*values.shape[:-1], 1), values.dtype)
        return first, _unfolded(values, self._given), _unfolded(out.values, self._made)

    def _layer_for(self, first: int, count: int, outputs: slice) -> StripLayer:
        """Return the layer with the crop that gives these outputs from so many inputs."""
        crop = crop_for(self.along, first, count, outputs)
        layer = self._layers.get(crop)
        if layer is None:
            layer = self.layer.with_crop([crop, *self.layer.geometry.crop[1:]])
            _store(self._layers, crop, layer)
        return layer

    def _has_few(self, layer: StripLayer, y: Array) -> bool:
        """Return True if an output has too few positions to fill the lanes of vectors, and channels that would."""
        if layer.method != DIRECT or y.strides[1] == y.itemsize:
            return False
        positions = -(-y.shape[2] // self.along.stride[0]) * math.prod(y.shape[3:])
        return bool(positions < _FEW <= 2 * layer.weight.shape[1])


def _unfolded(values: Array, sizes: tuple[int, ...]) -> Array:
    """Return a view of values [N, C * rest, 1, T] as [N, C, T, *rest]."""
    view = values.reshape(len(values), *sizes, values.shape[-1])
    return view if len(sizes) == 1 else np.moveaxis(view, -1, 2)


def _through_channels_last(layer: StripLayer, x: Array, y: Array) -> Callable[[Array, Array], Any]:
    """Return a function that computes with channels last, where lanes run over channels, and copies the result."""
    shape = len(y), *y.shape[2:], y.shape[1]

    def run(x: Array, out: Array) -> None:
        last = np.moveaxis(empty(shape, out.dtype), -1, 1)
        compute(x, last)
        out[...] = last

    compute = layer.specialized(x, np.moveaxis(empty(shape, y.dtype), -1, 1))
    return run


def _store(cache: dict[Any, Any], key: Any, value: Any) -> None:
    # without a lock: an entry that one thread drops while another stores it is only built again
    if len(cache) >= _MOST:
        cache.clear()
    cache[key] = value
