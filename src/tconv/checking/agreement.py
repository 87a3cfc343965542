"""Comparison of a layer's output with that of the definition for the same input."""

from __future__ import annotations

import math

import numpy as np

from tconv._arrays import Array
from tconv.checking.layer_check import Agreement
from tconv.diagnosis.networks.effective_call import EffectiveCall

_SPACING = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
_INTEGER = 0.01


def agreement_of(call: EffectiveCall, y: Array, name: str, dtype: str = "") -> Agreement:
    """Return the largest difference of an output from the definition, and the one that rounding explains.

    `dtype` is the type in which the layer computes; by default it is that of y.
    """
    expected = call.output()
    g, count = call.geometry, call.output_shape()
    terms = max(1, call.weight.shape[0] // g.groups * int(np.prod(np.ceil(np.divide(g.kernel, g.stride)))))
    spacing = max(_SPACING.get(kind, _INTEGER) for kind in (y.dtype.name, dtype or y.dtype.name))
    rounding = 4 * spacing * (math.sqrt(terms) + 4)
    got = _canonical(y, count)
    if got is None:
        return Agreement(name, None, rounding, tuple(y.shape), count, False, "the runtime's output has another shape")
    finite = np.isfinite(expected) & np.isfinite(got)
    rms = float(np.sqrt(np.square(expected[finite]).mean())) if finite.any() else 0.0
    gap = float(np.abs(got - expected)[finite].max()) if finite.any() else float("nan")
    difference = gap / rms if rms > 0 else gap
    same_holes = bool((np.isfinite(expected) == np.isfinite(got)).all())
    note = "" if same_holes else "NaN and inf are in other places"
    largest = float(np.abs(expected[finite]).max() / rms) if rms > 0 else 1.0
    agrees = same_holes and (not finite.any() or difference <= rounding * max(largest, 1.0))
    return Agreement(name, difference, rounding, tuple(y.shape), count, bool(agrees), note)


def _canonical(y: Array, shape: tuple[int, ...]) -> Array | None:
    """Return an output as [N, C, *spatial] in float64; None if its sizes are others."""
    candidates = [y, y[None] if y.ndim == len(shape) - 1 else y]
    for each in candidates:
        if each.shape == shape:
            return np.asarray(each, np.float64)
        if each.ndim == len(shape) and np.moveaxis(each, -1, 1).shape == shape:
            return np.asarray(np.moveaxis(each, -1, 1), np.float64)
    squeezed = y.reshape(tuple(n for n in y.shape if n != 1))
    if squeezed.shape == tuple(n for n in shape if n != 1):
        return np.asarray(squeezed, np.float64).reshape(shape)
    return None
