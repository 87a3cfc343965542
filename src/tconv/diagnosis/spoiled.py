"""Parts of an output that hold something else, all else being right."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tconv.diagnosis.cause import Cause
from tconv.diagnosis.setting import Array, axis_names


def spoiled(expected: Array, y: Array, finite: Array, allowed: Array, *, alone: bool = False) -> Iterator[Cause]:
    """Rows, columns, channels or images that hold something else, all others being right."""
    bad = ~finite | (np.abs(expected - y) > allowed)
    if not bad.any():
        return
    ndim = y.ndim - 2
    axes = (*range(2, y.ndim), 1, 0)
    names = axis_names(ndim)
    for axis in axes:
        rows = np.flatnonzero(bad.any(axis=tuple(a for a in range(y.ndim) if a != axis)))
        if not 0 < len(rows) <= y.shape[axis] // 2:
            continue
        if not informative(np.delete(y, rows, axis)):  # phases without a tap hold the bias alone, whatever x is
            continue
        held = np.take(y, rows, axis)
        ends = rows[0] + len(rows) == y.shape[axis] and rows[-1] == y.shape[axis] - 1
        where = _listed(rows)
        if not np.isfinite(held).any():
            what, name = "NaN or inf", "NaN rows"
        elif not held.any():
            what, name = "zeros", "rows of zeros"
        elif held.size > 1 and (held == held.flat[0]).all():
            what, name = f"{held.flat[0]:.6g} everywhere", "constant rows"
        else:
            what, name = "other numbers", "uninitialised rows"
        if axis < 2:
            name = f"{names[axis]}s spoiled"
        tail = ", the end of the axis, which output_padding extends" if ends and axis > 1 and not alone else ""
        guess = ": memory that was not written, or written over" if name == "uninitialised rows" else ""
        plural = "s" * (len(rows) > 1)
        side = {"image": "image", "channel": "channel"}.get(names[axis], f"row{plural} along {names[axis]}")
        label = f"{names[axis]}{plural}" if axis < 2 else side
        fixed, taken = y, bad

        def turn(p: Array, fixed: Array = fixed, taken: Array = taken) -> Array:
            return np.where(taken, fixed, p)

        yield Cause(
            name,
            "result",
            f"{label} {where} hold{'s' * (len(rows) == 1)} {what}{tail}{guess}; all else is right",
            turn=turn,
        )
        return


def _listed(rows: Array) -> str:
    if len(rows) > 2 and rows[-1] - rows[0] + 1 == len(rows):
        return f"{rows[0]} to {rows[-1]}"
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")


def informative(values: Array) -> bool:
    """Whether numbers that agree with a prediction say anything: a few different ones in one plane."""
    planes = values.reshape(-1, math.prod(values.shape[2:]))[:64, :4096]
    return any(len(np.unique(plane)) >= 4 for plane in planes)
