"""Remedies for a checkerboard: the nearest weight with equal gains, and an initial weight with equal phases.

Both are applied to a weight in the layout of any dialect.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import Ints
from tconv.errors import DtypeError, GeometryError
from tconv.geometry import Geometry
from tconv.weights.artifacts.arguments import read_weight, shuffle_of, wide
from tconv.weights.artifacts.phase_gains import gains_of, phase_of_taps
from tconv.weights.initializers import equal_phases


def equalise(
    weight: Any,
    *,
    pixel_shuffle: Ints | None = None,
    channel_order: str | None = None,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    **native: Any,
) -> Any:
    """Return the nearest weight that gives every phase the same DC gain; the mean gain stays.

    >>> import numpy as np, tconv
    >>> w = np.float64([[[1, 2, 1]]])                                # phases of stride 2: taps 0 and 2, tap 1
    >>> tconv.artifacts.equalise(w + [[[0, 1, 0]]], stride=2)
    array([[[1.25, 2.5 , 1.25]]])

    For each pair of channels, each tap of phase r grows by (mean of the gains - gain of r) / (taps of r): of all
    weights with equal gains and this mean, the nearest by least squares. A constant input then gives a constant output,
    except at borders. Arguments as `checkerboard`; the result has the weight's library, layout and dtype.

    Raises GeometryError if a phase has no tap (a kernel smaller than the stride), DtypeError for integers, which
    cannot represent the fractions.
    """
    shuffle = shuffle_of(pixel_shuffle, channel_order)
    library, w, g, to_native = read_weight(weight, dialect, geometry, native, shuffle=shuffle)
    _refuse_empty_phases(g)
    if w.dtype.kind in "iub":
        floats = _arrays.converted(library, "weight", "float32")
        raise DtypeError(
            f"weight is {w.dtype}; equal gains need fractions, which integers cannot represent. Write "
            f"tconv.artifacts.equalise({floats}, ...), and quantize the result"
        )
    gains = gains_of(wide(w), g)
    missing = gains.mean(tuple(range(2, gains.ndim)), keepdims=True) - gains
    missing /= reduce(np.multiply.outer, map(np.array, g.overlap))  # shared among the taps of each phase
    return _arrays.give(to_native(wide(w) + missing[phase_of_taps(g)]), library)


def icnr(
    weight: Any,
    *,
    pixel_shuffle: Ints | None = None,
    channel_order: str | None = None,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    **native: Any,
) -> Any:
    """Return a random initial weight with the taps of phase 0 in every phase: training starts without a checkerboard.

    >>> import numpy as np, tconv
    >>> tconv.artifacts.icnr(np.float32([[[1, 2, 3, 4]]]), stride=2)
    array([[[1., 1., 3., 3.]]], dtype=float32)

    The layer then is nearest-neighbour upsampling followed by a convolution with kernel div stride taps. The rule,
    also for a kernel that is no multiple of the stride, is that of `tconv.initializers.icnr`, which also draws the
    numbers; here they are those of `weight`. Arguments as `checkerboard`; the result has the weight's library, layout
    and dtype.

    Raises GeometryError if a phase has no tap (a kernel smaller than the stride).
    """
    shuffle = shuffle_of(pixel_shuffle, channel_order)
    library, w, g, to_native = read_weight(weight, dialect, geometry, native, shuffle=shuffle)
    _refuse_empty_phases(g)
    first: Any = (..., *(slice(0, k // s * s, s) for k, s in zip(g.kernel, g.stride, strict=True)))
    return _arrays.give(to_native(equal_phases(w[first], g.kernel, g.stride)), library)


def _refuse_empty_phases(g: Geometry) -> None:
    if min(map(min, g.overlap)) == 0:
        raise GeometryError(
            f"kernel {g.kernel} with stride {g.stride} and dilation {g.dilation} leaves phases without a tap, whose "
            "gain is 0 for any weight. Write a kernel of at least the stride and a dilation that has no factor in "
            "common with it, and train again"
        )
