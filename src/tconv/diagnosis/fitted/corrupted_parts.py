"""Parts of an output that are wrong while all else is right: rows, phases, channels, images, single numbers.

It is tried after every cause that explains all numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import axis_names
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.observation import Observation

_CLEAR = 8.0  # times the limit of rounding: least median error of the wrong numbers
_FILLED = 0.5  # least share of a part with other numbers that is wrong; some may be right by chance
_LARGEST = 0.6  # largest share of an output that a part may be
_SINGLE = 8  # most wrong numbers that form no part


def corrupted(observation: Observation) -> Iterator[Cause]:
    """Yield the rows, phases, channels, images or single numbers that are wrong, as one cause."""
    y, allowed, finite = observation.y, observation.limits, np.isfinite(observation.y)
    stride = None if observation.whole is None else observation.whole.call.geometry.stride
    distance = np.abs(observation.predicted - y)
    bad = ~finite | (distance > allowed)
    if not bad.any():
        return
    places = [np.unique(indices) for indices in np.nonzero(bad)]
    part = np.ix_(*places)
    values, wrong = y[part], bad[part]
    clear = not finite[bad].all() or bool(np.median(distance[bad] / np.maximum(allowed[bad], 1e-300)) > _CLEAR)
    where = [(axis, rows) for axis, rows in enumerate(places) if len(rows) < y.shape[axis]]
    if not np.isfinite(values).any():
        content, kind = "NaN or inf", "NaN"
    elif not values.any():
        content, kind = "zeros", "zeros"
    elif values.size > 1 and (values == values.flat[0]).all():
        content, kind = f"{values.flat[0]:.6g} everywhere", "constant"
    else:
        content, kind = "other numbers", ""
    explained = bad
    if where and values.size <= _LARGEST * y.size and (kind or (wrong.mean() >= _FILLED and clear)):
        explained = np.zeros_like(bad)
        explained[part] = True
    elif bad.sum() > _SINGLE or not clear:
        return
    if not informative(np.where(explained, 0, y)):  # a phase without a tap is the bias alone, for any x
        return
    if explained is bad or (values.size == 1 and len(where) > 1):
        name, text = "single numbers", _singles(bad)
    else:
        name, text = _describe(where, y.shape, stride, kind, content)

    yield Cause(name, "result", f"{text}; all else is right", transform=lambda p: np.where(bad, y, p))


def _describe(
    where: list[tuple[int, Array]], shape: tuple[int, ...], stride: tuple[int, ...] | None, kind: str, content: str
) -> tuple[str, str]:
    """Return the name and text of a part, given by indices along some axes, that contains `content`."""
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
        more += "" if kind else ": memory that was not written, or was overwritten"
    single = one and (len(rows) == 1 or (axis > 1 and bool(steps[axis])))
    verb = "contains" if single or not one else "contain"
    return name, f"{labels[0] if one else 'the part of ' + ', '.join(labels)} {verb} {content}{more}"


def _step(rows: Array, size: int, stride: int) -> int:
    """Return the step s if the rows are all rows r, r + s, r + 2s, ... of the axis, as a phase's are; 0 if not."""
    if len(rows) < 2:
        return 0
    step = int(rows[1] - rows[0])
    whole = step > 1 and rows[0] < step and np.array_equal(rows, np.arange(rows[0], size, step))
    return step if whole and (step == stride or len(rows) > 2) else 0


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _singles(bad: Array) -> str:
    places = np.argwhere(bad)
    listed = ", ".join(str(place.tolist()) for place in places[:4]) + (", ..." if len(places) > 4 else "")
    numbers = "number is different" if len(places) == 1 else "numbers are different"
    return f"{len(places)} {numbers}, at {listed} of {list(bad.shape)}"


def _listed(rows: Array) -> str:
    if len(rows) > 2 and rows[-1] - rows[0] + 1 == len(rows):
        return f"{rows[0]} to {rows[-1]}"
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")


def informative(values: Array) -> bool:
    """Return True if some plane has at least 4 different numbers, so that agreement with them means something."""
    planes = values.reshape(-1, math.prod(values.shape[2:]))[:64, :4096]
    return any(len(np.unique(plane)) >= 4 for plane in planes)
