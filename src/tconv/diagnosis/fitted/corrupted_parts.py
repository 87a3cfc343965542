"""Parts of an output that hold something else, all else being right: rows, phases, channels, images, single numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tconv.diagnosis.canonical_call import Array, axis_names
from tconv.diagnosis.causes.cause import Cause

_CLEAR = 8.0  # times what rounding explains: how far most of the wrong numbers are off
_FILLED = 0.5  # of a part that holds other numbers, that must be wrong; some may be right by chance
_LARGEST = 0.6  # of an output, that a part may be
_SINGLE = 8  # wrong numbers that form no part


def spoiled(
    expected: Array,
    y: Array,
    finite: Array,
    allowed: Array,
    stride: tuple[int, ...] | None = None,
) -> Iterator[Cause]:
    """Rows, phases, channels, images or single numbers that are something else; `stride` is that of the call."""
    distance = np.abs(expected - y)
    bad = ~finite | (distance > allowed)
    if not bad.any():
        return
    places = [np.unique(indices) for indices in np.nonzero(bad)]
    part = np.ix_(*places)
    held, wrong = y[part], bad[part]
    clear = not finite[bad].all() or bool(np.median(distance[bad] / np.maximum(allowed[bad], 1e-300)) > _CLEAR)
    where = [(axis, rows) for axis, rows in enumerate(places) if len(rows) < y.shape[axis]]
    if not np.isfinite(held).any():
        what, kind = "NaN or inf", "NaN"
    elif not held.any():
        what, kind = "zeros", "zeros"
    elif held.size > 1 and (held == held.flat[0]).all():
        what, kind = f"{held.flat[0]:.6g} everywhere", "constant"
    else:
        what, kind = "other numbers", ""
    taken = bad
    if where and held.size <= _LARGEST * y.size and (kind or (wrong.mean() >= _FILLED and clear)):
        taken = np.zeros_like(bad)
        taken[part] = True
    elif bad.sum() > _SINGLE or not clear:
        return
    if not informative(np.where(taken, 0, y)):  # phases without a tap hold the bias alone, whatever x is
        return
    if taken is bad or (held.size == 1 and len(where) > 1):
        name, words = "single numbers", _singles(bad)
    else:
        name, words = _part(where, y.shape, stride, kind, what)

    def turn(p: Array) -> Array:
        return np.where(bad, y, p)

    yield Cause(name, "result", f"{words}; all else is right", turn=turn)


def _part(
    where: list[tuple[int, Array]], shape: tuple[int, ...], stride: tuple[int, ...] | None, kind: str, what: str
) -> tuple[str, str]:
    """Name and words of the numbers at these indices of these axes."""
    names = axis_names(len(shape) - 2)
    steps = {axis: _step(rows, shape[axis], stride[axis - 2] if stride else 0) for axis, rows in where if axis > 1}
    labels = []
    for axis, rows in where:
        if axis < 2:
            labels.append(f"{names[axis]}{'s' * (len(rows) > 1)} {_listed(rows)}")
        elif steps[axis]:
            labels.append(f"every {_ordinal(steps[axis])} row along {names[axis]} from row {rows[0]}")
        else:
            labels.append(f"row{'s' * (len(rows) > 1)} along {names[axis]} {_listed(rows)}")
    one = len(where) == 1
    axis, rows = where[0]
    if any(steps.values()):
        name, more = "phase spoiled", ": a phase of the output"
    elif not one:
        name, more = "part spoiled", ""
    elif axis < 2:
        name, more = f"{names[axis]}s spoiled", ""
    else:
        name = {"NaN": "NaN rows", "zeros": "rows of zeros", "constant": "constant rows"}.get(
            kind, "uninitialised rows"
        )
        ends = len(rows) == rows[-1] - rows[0] + 1 and rows[-1] == shape[axis] - 1
        more = ", the end of the axis, which output_padding extends" if ends and stride else ""
        more += "" if kind else ": memory that was not written, or written over"
    single = one and (len(rows) == 1 or (axis > 1 and bool(steps[axis])))
    verb = "holds" if single or not one else "hold"
    return name, f"{labels[0] if one else 'the part of ' + ', '.join(labels)} {verb} {what}{more}"


def _step(rows: Array, size: int, stride: int) -> int:
    """The s of rows r, r + s, r + 2s, ... that are all such rows of the axis, as a phase's are; 0 if they are not."""
    if len(rows) < 2:
        return 0
    step = int(rows[1] - rows[0])
    whole = step > 1 and rows[0] < step and np.array_equal(rows, np.arange(rows[0], size, step))
    return step if whole and (step == stride or len(rows) > 2) else 0


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _singles(bad: Array) -> str:
    places = np.argwhere(bad)
    said = ", ".join(str(place.tolist()) for place in places[:4]) + (", ..." if len(places) > 4 else "")
    numbers = "number is another one" if len(places) == 1 else "numbers are other ones"
    return f"{len(places)} {numbers}, at {said} of {list(bad.shape)}"


def _listed(rows: Array) -> str:
    if len(rows) > 2 and rows[-1] - rows[0] + 1 == len(rows):
        return f"{rows[0]} to {rows[-1]}"
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")


def informative(values: Array) -> bool:
    """Whether numbers that agree with a prediction say anything: a few different ones in one plane."""
    planes = values.reshape(-1, math.prod(values.shape[2:]))[:64, :4096]
    return any(len(np.unique(plane)) >= 4 for plane in planes)
