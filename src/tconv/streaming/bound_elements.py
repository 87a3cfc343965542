"""Steps of single numbers as passes of compiled code: activations, sums, products, and copies.

Their results have the bits of the steps themselves, which round as these do, or run the same passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv.errors import ArgumentError
from tconv.kernels.activation import activation_of
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.functions import function_of
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.streaming.commands import Commands
from tconv.streaming.time_step import TimeSpan

_SAME = {"elu": "elu", "tanh": "tanh", "sigmoid": "sigmoid", "silu": "silu", "swish": "silu"}
"""Passes of functions of `models.steps.functions`."""


def add_elements(commands: Commands, step: Any, given: Sequence[TimeSpan], out: TimeSpan) -> bool:
    """Add a step as a pass; False if it cannot be one."""
    if not commands.compiled or out.values.dtype != np.float32:
        return False
    found = _pass_of(step)
    if found is None:
        return False
    name, numbers = found
    before = step.sides[1][0] if isinstance(step, Padding) else 0
    count = out.values.shape[-1]
    inputs = []
    for span in given:
        first = out.start - before - span.start
        if first < 0 or first + count > span.values.shape[-1]:
            return False
        inputs.append(span.rows[:, first : first + count])
    rows = out.rows
    if any(each.shape != rows.shape or not each[0].flags.c_contiguous for each in (*inputs, rows)):
        return False
    commands.sequence.add_pass(name, tuple(inputs), numbers, rows)
    return True


def _pass_of(step: Any) -> tuple[str, tuple[float, ...]] | None:
    """Return the pass of a step and its numbers; None for a step that is none."""
    if isinstance(step, Sum):
        return "sum", step.scales
    if isinstance(step, Combination):
        return ("product", ()) if step.operation == "multiply" else None
    if isinstance(step, Padding):
        return "copy", ()
    if isinstance(step, Affine) and np.size(step.scale) == np.size(step.shift) == 1:
        return "affine", (float(np.ravel(step.scale)[0]), float(np.ravel(step.shift)[0]))
    if type(step) is Pointwise:
        return _function_of(step.activation)
    return None


def _function_of(activation: Any) -> tuple[str, tuple[float, ...]] | None:
    function = function_of(activation)
    if function is None:
        try:
            given = activation_of(activation, 1)  # one slope for all channels
        except ArgumentError:
            return None
        return None if given is None else ("activation", (float(given.slopes[0]), given.low, given.high))
    name, numbers = activation if isinstance(activation, str) else activation[0], function[1]
    if name not in _SAME or (name == "swish" and numbers != (1.0,)):
        return None
    return _SAME[name], numbers if name == "elu" else ()
