"""`checkerboard`: how much of the output of a layer, or of a stack of them, is a pattern of phases."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arrays import is_finite
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry
from tconv.weights.artifacts.arguments import Array, read_stack
from tconv.weights.artifacts.phase_gains import response, score
from tconv.weights.artifacts.report import Checkerboard


def checkerboard(
    weight: Any, *, mean: Any = None, dialect: str = "torch", geometry: Geometry | None = None, **native: Any
) -> Checkerboard:
    """How much checkerboard a transposed convolution, or a stack of them, makes with these weights.

    >>> import numpy as np, tconv
    >>> rng = np.random.default_rng(0)
    >>> w = rng.standard_normal((8, 4, 4, 4))                        # the kernel is a multiple of the stride
    >>> bad = tconv.checkerboard(w, stride=2, padding=1)
    >>> round(bad.score, 2)
    0.87
    >>> good = tconv.checkerboard(tconv.artifacts.equalise(w, stride=2, padding=1), stride=2, padding=1)
    >>> good.score < 1e-12
    True

    weight is in the dialect's layout and `native` are the layer's arguments, or `geometry` says it in PyTorch's layout.
    A stack is a list of (weight, arguments): [(w1, {"stride": 2}), (w2, {"stride": 2, "padding": 1})], first layer
    first; activations between them are left out, and borders. `mean` [C_in] is the mean of each input channel, where it
    is known (behind a ReLU, say): the score is then that of this one constant input.

    The layer's own numbers are exact sums over taps; a stack's are its response in float64, over one period. That
    response, C_in * C_out * period numbers, is what it keeps; little more is held while it is made.
    Raises ShapeError, GeometryError, ArgumentError, DialectError; TooLargeError if the response does not fit into
    memory.
    """
    stack = read_stack(weight, dialect, geometry, native)
    made = response(stack)
    means = _means(mean, made.shape[0])
    total, by_channel = score(made if means is None else np.tensordot(means, made, (0, 0))[None])
    alone = tuple(score(made if len(stack) == 1 else response([layer]))[0] for layer in stack)
    geometries = tuple(g for _, g in stack)
    return Checkerboard(total, by_channel, made, alone, tuple(g.overlap for g in geometries), geometries)


def _means(mean: Any, channels: int) -> Array | None:
    if mean is None:
        return None
    _, taken = _arrays.look(mean, "mean")
    if taken.shape != (channels,):
        raise ShapeError(
            f"mean has shape {taken.shape}; one number per input channel is needed: ({channels},). Write "
            "x.mean((0, 2, 3))"
        )
    if not is_finite(taken):
        raise ArgumentError(
            f"mean is {taken.tolist()[:8]}, which holds NaN or inf. Write x.mean((0, 2, 3)) of finite x"
        )
    return taken.astype(np.complex128 if taken.dtype.kind == "c" else np.float64)
