"""Parts of an output that are wrong while all else is right: rows, phases, channels, images, single numbers.

It is tried after every cause that explains all numbers. `contents` has what a wrong part contains instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.contents import Content, content_of
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.part_names import Part, phase_slices, right_words
from tconv.diagnosis.tolerance import power_of

_CLEAR = 8.0  # times the limit of rounding: least median error of the wrong numbers
_FILLED = 0.5  # least share of a part with other numbers that is wrong; some may be right by chance
_LARGEST = 0.6  # largest share of an output that a part may be before other causes are tried
_SINGLE = 8  # most wrong numbers that form no part
_SURE = 7  # bits that the numbers of the right part have beyond those of the choice of the part
_STRIDES = (2, 3, 4)  # strides that are tried where none is known
_COARSE = 0.1  # of y's root mean square: largest difference of a right number that a low precision leaves


_ROWS = {"NaN": "NaN rows", "zeros": "rows of zeros", "constant": "constant rows", "bias": "rows of the bias alone"}
_PLAIN = ("NaN", "zeros", "constant", "bias")  # contents that no reordering has
_ROWS |= {"copy": "copied rows", "multiple": "scaled rows"}


def corrupted(observation: Observation) -> Iterator[Cause]:
    """Yield the rows, phases, channels, images or single numbers that are wrong, as one cause."""
    yield from _corrupted(observation, _LARGEST)


def mostly_corrupted(observation: Observation) -> Iterator[Cause]:
    """Yield a part that is wrong and leaves little that is right, as the middle row of a reversed axis is by chance."""
    yield from _corrupted(observation, 1.0)


def _corrupted(observation: Observation, largest: float) -> Iterator[Cause]:
    y, finite = observation.y, np.isfinite(observation.y)
    distance = np.abs(observation.predicted - y)
    near = finite & (distance <= observation.limits)
    if near.all() or not near.any():
        return
    # numbers that are wrong by far do not widen the limit for the others
    excess = np.sqrt(power_of(observation.predicted) / np.maximum(power_of(y), 1e-300))
    narrow = np.minimum(1, 2 * excess).reshape(*excess.shape, *[1] * (y.ndim - 2))
    limits = observation.tolerance.planes * narrow + observation.tolerance.relative * np.abs(observation.known)
    bad = ~finite | (distance > limits)
    cause = _cause(observation, bad, distance, limits, largest)
    if cause is not None:
        yield cause


def corrupted_at_low_precision(observation: Observation) -> Iterator[Cause]:
    """Yield a part that is wrong by far, where all else differs by no more than a low precision leaves."""
    y, finite = observation.y, np.isfinite(observation.y)
    if observation.is_small or np.iscomplexobj(y):
        return
    power = np.where(finite, np.abs(observation.predicted) ** 2, 0).mean()
    limits = np.broadcast_to(_COARSE * np.sqrt(power), y.shape)
    distance = np.abs(observation.predicted - y)
    bad = ~finite | (distance > limits)
    if not bad.any() or bad.all():
        return
    cause = _cause(observation, bad, distance, limits, 1.0, certain=False)
    if cause is not None:
        yield cause


def _cause(
    observation: Observation, bad: Array, distance: Array, limits: Array, largest: float, certain: bool = True
) -> Cause | None:
    """Return the cause for the numbers that are wrong; None if they are no part, or if the rest proves too little.

    `largest` is the largest share of the output that the part may be.
    """
    y, whole = observation.y, observation.whole
    clear = _is_clear(bad, distance, limits, certain)
    size = float(np.median(np.where(np.isfinite(distance), distance, np.inf)[bad]))
    stride = () if whole is None else whole.call.geometry.stride
    parts = [(part, part.mask()) for part in parts_of(bad, stride)]
    least = min((inside.sum() for _, inside in parts), default=0)
    fitting = [(part, inside) for part, inside in parts if inside.sum() <= 1.1 * least]
    part, explained = fitting[0] if fitting else (None, bad)
    if part is not None and not part.own_phases():  # rows that are several whole phases are called so
        same = (each for each in fitting if each[0].phases and each[1].sum() == explained.sum())
        part, explained = next(same, (part, explained))
    if part is not None and not (explained.sum() == 1 and len(part.limited) > 1):
        content = content_of(observation, part, limits)
        if explained.sum() > largest * y.size and content.kind not in _PLAIN:
            return None
        if content.kind not in ("", "multiple") or (bad[explained].mean() >= _FILLED and clear):
            if not _is_proof(np.where(explained, 0, y), explained, limits, size):
                return None  # a phase without a tap is the bias alone, for any x
            if not certain and 2 * explained.sum() > y.size and not _is_noise(observation, ~explained):
                return None
            return _of_part(observation, part, content, explained, distance, certain)
    if not certain or bad.sum() > _SINGLE or not clear or not _is_proof(np.where(bad, 0, y), bad, limits, size):
        return None
    return Cause(
        "single numbers",
        "result",
        f"{_singles(bad)}; all else is right",
        transform=lambda p: np.where(bad, y, p),
    )


def _is_clear(bad: Array, distance: Array, limits: Array, certain: bool) -> bool:
    """Return True if the wrong numbers are far beyond the limit of rounding."""
    ratio = distance[bad] / np.maximum(limits[bad], 1e-300)
    ratio = np.where(np.isfinite(ratio), ratio, np.inf)
    return bool(np.median(ratio) > (_CLEAR if certain else _CLEAR / 4))


def parts_of(bad: Array, stride: tuple[int, ...]) -> Iterator[Part]:
    """Yield parts that contain every wrong number but are not all of the output, the plainest first."""
    nd = bad.ndim - 2
    axes = range(bad.ndim)
    places = tuple(np.flatnonzero(bad.any(tuple(other for other in axes if other != axis))) for axis in axes)
    if math.prod(map(len, places)) < bad.size:
        yield Part(bad.shape, places, stride)
    whole = tuple(map(np.arange, bad.shape[2:]))
    planes = np.asarray(bad.any(tuple(range(2, bad.ndim))))
    if not planes[np.ix_(*places[:2])].all():
        wrong = tuple((int(image), int(channel)) for image, channel in np.argwhere(planes))
        yield Part(bad.shape, (*places[:2], *whole), stride, planes=wrong)
    plane = np.asarray(bad[np.ix_(*places[:2])].any((0, 1)))
    if plane.all():
        return  # no phase is right, and no box
    right = 1 - plane.mean()
    for steps in [stride] if stride else _strides(nd):
        if right * math.prod(steps) < 0.5:
            continue  # a phase has more places
        if max(steps) == 1 or any(2 * s > L for L, s in zip(bad.shape[2:], steps, strict=True)):
            continue
        phases = tuple(phase for phase in np.ndindex(*steps) if plane[phase_slices(phase, steps)].any())
        if len(phases) < math.prod(steps):
            yield Part(bad.shape, (*places[:2], *whole), steps, phases)
    if (rows := _right_rows(plane)) is not None:
        yield Part(bad.shape, (*places[:2], *rows), stride, frame=True)


def _strides(ndim: int) -> Iterator[tuple[int, ...]]:
    """Yield the strides that are tried where none is known; in 3-D those with one number besides 1."""
    if ndim < 3:
        yield from product((1, *_STRIDES), repeat=ndim)
        return
    for step in _STRIDES:
        yield from product((1, step), repeat=ndim)


def _right_rows(plane: Array) -> tuple[Array, ...] | None:
    """Return the rows of a right box along each axis, which wrong numbers surround; None if there is no such box."""
    if plane.ndim < 2:
        return None
    rows = []
    for axis in range(plane.ndim):
        share = (~plane).mean(tuple(a for a in range(plane.ndim) if a != axis))
        rows.append(np.flatnonzero(share > max(0.02, share.max() / 2)))
    return None if any(len(each) == 0 for each in rows) or plane[np.ix_(*rows)].any() else tuple(rows)


def _of_part(
    observation: Observation, part: Part, content: Content, explained: Array, distance: Array, certain: bool
) -> Cause:
    """Return the cause of a part that contains `content`."""
    y, whole = observation.y, observation.whole
    groups = 1 if whole is None else whole.call.groups
    extended = tuple(lo > hi for lo, hi in whole.call.geometry.crop) if whole is not None else ()
    part = part.moved(observation.first_row)
    name, text = _describe(part, content, groups, extended)
    rest = right_words(part, groups)
    if not certain:
        size = distance[~explained].max() / np.sqrt((np.abs(y) ** 2)[~explained].mean())
        rest += f" to within {size:.1g} of its root mean square, as low precision leaves it"

    def transform(predicted: Array) -> Array:
        return np.where(explained, y, predicted) if certain else y

    return Cause(name, "result", f"{text}; {rest}", transform=transform, certain=certain)


def _describe(part: Part, content: Content, groups: int, extended: tuple[bool, ...]) -> tuple[str, str]:
    """Return the name and text of a part that contains `content`.

    `extended` tells of each spatial axis whether output_padding extends it; () without a call.
    """
    limited, more = part.limited, ""
    if part.own_phases():
        name = "phase spoiled"
    elif part.frame or (len(limited) == 1 and limited[0] > 1):
        name = _ROWS.get(content.kind, "rows spoiled")
        axes = [axis for axis in range(2, len(part.shape)) if part.frame or axis in limited]
        few = all(2 * _wrong_rows(part, axis) <= part.shape[axis] and axis not in part.steps() for axis in axes)
        if few and extended and all(_is_end(part, axis) for axis in axes):
            more = ", the end of the axis" if len(axes) == 1 else ", the end of each axis"
            more += ", which output_padding extends" if all(extended[axis - 2] for axis in axes) else ""
        if few and not content.kind:  # nothing of memory follows from a period, or where most of an axis is wrong
            name, more = "uninitialised rows", f"{more}: memory that was not written, or was overwritten"
    else:
        single = len(limited) == 1 and not part.planes
        name = f"{('images', 'channels')[limited[0]]} spoiled" if single else "part spoiled"
    return name, f"{part.label(groups)} {'contains' if part.is_single else 'contain'} {content.text}{more}"


def _wrong_rows(part: Part, axis: int) -> int:
    """Return the number of rows along an axis that belong to the part."""
    return part.shape[axis] - len(part.rows[axis]) if part.frame else len(part.rows[axis])


def _is_end(part: Part, axis: int) -> bool:
    rows, size = part.rows[axis], part.shape[axis]
    if part.frame:
        return bool(rows[0] == 0 and rows[-1] == len(rows) - 1)
    return bool(len(rows) == rows[-1] - rows[0] + 1 and rows[-1] == size - 1)


def _singles(bad: Array) -> str:
    places = np.argwhere(bad)
    listed = ", ".join(str(place.tolist()) for place in places[:4]) + (", ..." if len(places) > 4 else "")
    numbers = "number is different" if len(places) == 1 else "numbers are different"
    return f"{len(places)} {numbers}, at {listed} of {list(bad.shape)}"


def _is_proof(right: Array, explained: Array, limits: Array, size: float) -> bool:
    """Return True if the numbers outside the part have more bits than the choice between all parts.

    Of each plane its commonest number counts for nothing. `size` is the median difference of the wrong numbers: small
    noise is within the limit of rounding in some places by chance.
    """
    if not informative(right):
        return False
    planes = right.reshape(-1, math.prod(right.shape[2:]))
    inside = explained.reshape(planes.shape)
    numbers = 0
    for plane, wrong in zip(planes[:: max(1, len(planes) // 256)], inside[:: max(1, len(planes) // 256)], strict=True):
        rest = plane[~wrong][:4096]
        if rest.size:
            numbers += rest.size - np.unique(rest, return_counts=True)[1].max()
    outside = right[~explained]
    whole = not np.iscomplexobj(outside) and bool((np.rint(outside) == outside).all())
    step = max(1.0 if whole else 0.0, 2 * float(np.median(np.broadcast_to(limits, right.shape)[~explained])))
    bits = numbers * np.log2(1 + min(float(outside.std()), size) / step)
    return bool(bits >= sum(right.shape) + _SURE)


def _is_noise(observation: Observation, right: Array) -> bool:
    """Return True if the differences at the right places may be rounding, not a scale or an offset of each channel.

    A scale and an offset explain little of a rounding error. They explain more than half of a small change of the bias,
    behind a ReLU, too.
    """
    before = after = 0.0
    for channel in np.flatnonzero(right.any((0, *range(2, right.ndim)))):
        places = right[:, channel] & observation.finite[:, channel]
        p, e = (a[:, channel][places] for a in (observation.predicted, observation.y - observation.predicted))
        system = np.column_stack([p, np.ones_like(p)])
        rest = e - system @ np.linalg.lstsq(system, e)[0]
        before, after = before + float(e @ e), after + float(rest @ rest)
    return 2 * after >= before


def informative(values: Array) -> bool:
    """Return True if some plane has at least 4 different numbers, so that agreement with them means something."""
    planes = values.reshape(-1, math.prod(values.shape[2:]))[:64, :4096]
    return any(len(np.unique(plane)) >= 4 for plane in planes)
