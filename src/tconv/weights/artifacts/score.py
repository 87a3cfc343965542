"""`checkerboard`: the share of the output of a layer, or of a stack of layers, that is a pattern of phases.

It measures trained weights, and initial weights before training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import Ints
from tconv._arrays import Array, is_finite
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry
from tconv.weights.artifacts.arguments import read_stack, shuffle_of
from tconv.weights.artifacts.phase_gains import pattern_share, response
from tconv.weights.artifacts.report import Checkerboard
from tconv.weights.artifacts.tones import checked_sample_rate, tones_of


def checkerboard(
    weight: Any,
    *,
    mean: Any = None,
    pixel_shuffle: Ints | None = None,
    channel_order: str | None = None,
    sample_rate: float | None = None,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    **native: Any,
) -> Checkerboard:
    """Return how strong the checkerboard of a transposed convolution, or of a stack of them, is with these weights.

    >>> import numpy as np, tconv
    >>> rng = np.random.default_rng(0)
    >>> w = rng.standard_normal((8, 4, 4, 4))                        # the kernel is a multiple of the stride
    >>> bad = tconv.checkerboard(w, stride=2, padding=1)
    >>> round(bad.score, 2)
    0.87
    >>> good = tconv.checkerboard(tconv.artifacts.equalise(w, stride=2, padding=1), stride=2, padding=1)
    >>> good.score < 1e-12
    True

    weight is in the dialect's layout and `native` are the layer's arguments; a `geometry` replaces them, and weight is
    in PyTorch's layout then. A stack is a list of (weight, arguments), first layer first:
    [(w1, {"stride": 2}), (w2, {"stride": 2, "padding": 1})]; activations between the layers and borders are left out.
    weight may also be a layer of PyTorch, Keras, Flax NNX, Equinox, Paddle, MLX or tinygrad, which has its own
    arguments, or a Sequential or list of them: activations and norms between are left out.

    With `pixel_shuffle`, the block size, weight is that of an ordinary convolution with stride 1, before a pixel
    shuffle (sub-pixel convolution, depth to space): score, response and remedies are those of the two together.
    `channel_order` is "CRD" for PyTorch's PixelShuffle, "DCR" for TensorFlow's depth_to_space; by default the
    dialect's. In a stack both stand among the arguments of their layer.

    For layers of one axis, `.tones` has the frequencies of the pattern, in Hz of the output with its `sample_rate`.

    `mean` [C_in] is the mean of each input channel, if it is known (after a ReLU, for example): the score is then that
    of this one constant input.

    The numbers of one layer are exact sums over taps; those of a stack are its response in float64, over one period.
    The result contains that response, C_in * C_out * period numbers; computing it takes little more memory.

    Raises ShapeError, GeometryError, ArgumentError, DialectError; TooLargeError if the response does not fit into
    memory.
    """
    stack = read_stack(weight, dialect, geometry, native, shuffle_of(pixel_shuffle, channel_order))
    rate = checked_sample_rate(sample_rate, stack[0].geometry.ndim)
    whole = response(stack)
    means = _means(mean, whole.shape[0])
    measured = whole if means is None else np.tensordot(means, whole, (0, 0))[None]
    total, by_channel = pattern_share(measured)
    alone = tuple(pattern_share(whole if len(stack) == 1 else response([layer]))[0] for layer in stack)
    geometries = tuple(layer.geometry for layer in stack)
    tones = tones_of(measured, rate) if measured.ndim == 3 else ()
    notes = tuple(layer.note for layer in stack)
    overlaps = tuple(g.overlap for g in geometries)
    arguments = tuple(layer.arguments for layer in stack)
    return Checkerboard(total, by_channel, whole, alone, overlaps, geometries, tones, rate, notes, arguments)


def _means(mean: Any, channels: int) -> Array | None:
    """Return the channel means in double precision; None if there are none. Raises ShapeError, ArgumentError."""
    if mean is None:
        return None
    _, values = _arrays.look(mean, "mean")
    if values.shape != (channels,):
        raise ShapeError(
            f"mean has shape {values.shape}; one number per input channel is needed: ({channels},). Write "
            "x.mean((0, 2, 3))"
        )
    if not is_finite(values):
        raise ArgumentError(
            f"mean is {values.tolist()[:8]}, which contains NaN or inf. Write x.mean((0, 2, 3)) of finite x"
        )
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
