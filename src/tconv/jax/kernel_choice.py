"""Choice between tconv's kernel and JAX's standard operators, for a call on the CPU: one predicate with all reasons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.jax.call_layouts import Layouts, channels
from tconv.kernels.problem import Problem
from tconv.operator.method_choice import machine_code_method

DTYPES = ("float32", "float64", "float16", "bfloat16")
"""Dtypes that the kernel computes."""


class Choice(NamedTuple):
    """Choice for a call on the CPU: it runs on the kernel where `reasons` is empty."""

    problem: Problem | None
    """None for a call that the kernel has no problem for: other dtypes, or sizes that are not known yet."""
    method: str
    reasons: tuple[str, ...]


def choose(
    x: Any,
    weight: Any,
    bias: Any,
    geometry: Geometry,
    layouts: Layouts,
    dtype: Any,
) -> Choice:
    """Return how a call runs with operands of these shapes and dtypes; `dtype` is that of the output."""
    for name, each in (("x", x), ("the weight", weight), ("the bias", bias), ("the output", _Result(np.dtype(dtype)))):
        if each is not None and each.dtype.name not in DTYPES:
            return _standard(f"{name} is {each.dtype.name}; the kernel computes {', '.join(DTYPES)}")
        if each is not None and each.dtype != x.dtype:
            return _standard(f"x is {x.dtype.name} and {name} {each.dtype.name}; the kernel computes in one dtype")
    if not all(isinstance(size, int) for size in (*x.shape, *weight.shape)):
        return _standard("a size is not known yet")
    batch, inputs, sizes = layouts.x.sizes(x.shape)
    outputs = channels(layouts.weight, weight.shape, geometry.groups)[1]
    p = Problem(geometry, batch, inputs, outputs, sizes, x.dtype, bias is not None)
    if 0 in (batch, inputs):
        return Choice(p, "", ("there is nothing to multiply",))
    # no size decides: with kept weights and with new ones the kernel is as fast as lax or faster on small layers, too
    try:
        return Choice(p, *machine_code_method(p))
    except TconvError as error:  # the call needs more memory than there is, for example
        return Choice(p, "", (str(error),))


class _Result(NamedTuple):
    dtype: Any


def _standard(reason: str) -> Choice:
    return Choice(None, "", (reason,))
