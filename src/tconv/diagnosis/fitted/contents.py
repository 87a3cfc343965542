"""Content of a wrong part of an output: zeros, NaN, one number, the bias alone, a copy of another part, a multiple.

`corrupted_parts` names it beside the part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.part_names import Part, listed, phase_slices, phase_words

_SAMPLES = 64  # places that are compared first, for each part that may have been copied
_MOST = 1024  # channels, images or rows that are compared with each other

Kind = Literal["", "NaN", "zeros", "constant", "bias", "copy", "multiple"]


class Content(NamedTuple):
    """Content of a wrong part, and the words for it."""

    kind: Kind
    """"" for numbers that fit nothing that was tried."""
    text: str


def content_of(observation: Observation, part: Part, limits: Array) -> Content:
    """Return the content of the part of y."""
    y, inside = observation.y, part.mask()
    values = y[inside]
    if not np.isfinite(values).any():
        only = "NaN" if np.isnan(values).all() else "inf" if not np.isnan(values).any() else "NaN or inf"
        return Content("NaN", only)
    if not values.any():
        return Content("zeros", "zeros")
    if values.size > 1 and (values == values.flat[0]).all():
        return Content("constant", f"{values.flat[0]:.6g} everywhere")
    return (
        _constant_per_channel(observation, inside, limits)
        or _copy(observation, part, limits)
        or _multiple(observation, inside, limits)
        or Content("", "other numbers")
    )


def _constant_per_channel(observation: Observation, inside: Array, limits: Array) -> Content | None:
    """Return the bias alone, or another number for each channel."""
    y, column = observation.y, (-1, *[1] * (observation.y.ndim - 2))
    bias = None if observation.whole is None else observation.whole.call.bias
    if bias is not None and ((np.abs(y - bias.reshape(column)) <= limits) | ~inside).all():
        return Content("bias", "the bias alone")
    channels = np.flatnonzero(inside.any((0, *range(2, y.ndim))))
    parts = [y[:, channel][inside[:, channel]] for channel in channels]
    if all(part.size > 1 and (part == part[0]).all() for part in parts):
        return Content("constant", f"one number per channel, {', '.join(f'{part[0]:.6g}' for part in parts[:4])}")
    return None


def _multiple(observation: Observation, inside: Array, limits: Array) -> Content | None:
    """Return a multiple of the right numbers, or the right numbers and a constant."""
    p, y = observation.predicted[inside], observation.y[inside]
    if y.size < 8 or not np.isfinite(y).all():
        return None
    size = np.sqrt((np.abs(y) ** 2).mean())
    allowed = np.minimum(np.broadcast_to(limits, observation.y.shape)[inside], 1e-2 * size)
    factor = (p.conj() * y).sum() / (np.abs(p) ** 2).sum()
    if 1e-3 < abs(factor) < 1e3 and (np.abs(factor * p - y) <= 2 * max(1.0, abs(factor)) * allowed).all():
        times = "negated" if abs(factor + 1) < 1e-4 else f"times {factor:.6g}"
        return Content("multiple", f"the right numbers {times}")
    offset = np.median(y - p) if not np.iscomplexobj(y) else (y - p).mean()
    if (np.abs(p + offset - y) <= 2 * allowed).all():
        return Content("multiple", f"the right numbers plus {offset:.6g}")
    return None


def _copy(observation: Observation, part: Part, limits: Array) -> Content | None:
    """Return a copy of other channels, images, phases or rows of the right output."""
    if part.phases or part.own_phases():
        return _copied_phases(observation, part, limits)
    if len(part.limited) != 1 or part.frame or part.planes:
        return None
    (axis,) = part.limited
    size = part.shape[axis]
    if size > _MOST:
        return None
    p, y, limit = (
        np.moveaxis(np.broadcast_to(array, part.shape), axis, 0).reshape(size, -1)
        for array in (observation.predicted, observation.y, limits)
    )
    at = np.linspace(0, y.shape[1] - 1, min(_SAMPLES, y.shape[1])).astype(int)
    sources = []
    for row in part.rows[axis]:
        close = np.flatnonzero((np.abs(p[:, at] - y[row, at]) <= limit[row, at]).all(1))
        found = next((int(c) for c in close if c != row and (np.abs(p[c] - y[row]) <= limit[row]).all()), None)
        if found is None or len(np.unique(y[row])) < 4:
            return None
        sources.append(found)
    words: Callable[[Array], str] = {
        0: lambda rows: f"image{'s' * (len(rows) > 1)} {listed(rows)}",
        1: lambda rows: f"channel{'s' * (len(rows) > 1)} {listed(rows)}",
    }.get(axis, lambda rows: f"row{'s' * (len(rows) > 1)} {listed(rows)}")
    taken = np.array(sources)
    if len(set(sources)) == 1:
        return Content("copy", f"a copy of {words(taken[:1])}")
    return Content("copy", f"copies of {words(taken)}, in this order")


def _copied_phases(observation: Observation, part: Part, limits: Array) -> Content | None:
    """Return copies of other phases of the right output."""
    stride, wrong = part.stride, part.own_phases()
    if not stride:
        return None  # no stride is known
    sources = []
    for phase in wrong:
        source = next(
            (
                other
                for other in _others(phase, stride)
                if _same(observation, part, phase, other, np.broadcast_to(limits, part.shape))
            ),
            None,
        )
        if source is None:
            return None
        sources.append(source)
    ndim = len(part.shape) - 2
    if len(set(sources)) == 1:
        return Content("copy", f"a copy of {phase_words(sources[:1], stride, ndim)}")
    return Content("copy", f"copies of {phase_words(sources, stride, ndim)}, in this order")


def _others(phase: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return (other for other in np.ndindex(*stride) if other != phase)


def _same(observation: Observation, part: Part, phase: tuple[int, ...], other: tuple[int, ...], limits: Array) -> bool:
    """Return True if a phase of y equals another phase of the right output, on the places that both have."""
    rows = np.ix_(*part.rows[:2])
    own, theirs = ((..., *phase_slices(each, part.stride)) for each in (phase, other))
    y, limit, p = observation.y[rows][own], limits[rows][own], observation.predicted[rows][theirs]
    common = (..., *(slice(0, min(a, b)) for a, b in zip(y.shape[2:], p.shape[2:], strict=True)))
    y, limit, p = y[common], limit[common], p[common]
    return y.size >= 8 and len(np.unique(y)) >= 4 and bool((np.abs(y - p) <= limit).all())
