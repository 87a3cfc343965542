"""Calls of the machine function of compiled programs on random problems, for tests here and in other processes."""

from __future__ import annotations

import numpy as np

from random_calls import problems
from tconv.dialects.layouts import WeightLayout
from tconv.kernels.problem import Problem
from tconv.kernels.simd.native_call import NativeCall

LAYOUTS = (("IO*", "I", False), ("*OI", "O", False), ("*IO", "O", True), ("OI*", "O", True))
"""Patterns of native weights, the axis with the channels of all groups, and if the taps are reversed."""


def problem_of(q):
    """Return the kernel's problem of a random call."""
    geometry, x = q.geometry, q.x
    return Problem(geometry, len(x), x.shape[1], q.y.shape[1], x.shape[2:], x.dtype, q.bias is not None)


def channels_last(array):
    """Return the same numbers with channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def layout_of(q, number):
    """Return a layout of the weight of a random call."""
    pattern, grouped, flip = LAYOUTS[number % len(LAYOUTS)]
    return WeightLayout.of(pattern, q.geometry.ndim, grouped, flip)


def native_weight(q, layout):
    """Return the weight of a random call in a layout."""
    return np.ascontiguousarray(layout.native(q.w, q.geometry.groups))


def record_of(q, x, out, weight, layout=None, **more):
    """Return the record of a random call for arrays like these."""
    return NativeCall(problem_of(q), x.strides, out.strides, weight.shape, layout, more.pop("method", q.method), **more)


def drawn(rng, kind="any", dtype=np.float32, ndim=None):
    """Draw a random call in a dtype."""
    return problems.problem(rng, ndim, kind).converted(np.dtype(dtype))
