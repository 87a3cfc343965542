"""Borders that alone differ: x or y continues beyond its ends as circular, reflect or replicate padding has it.

A transposed convolution reads zeros there. The places that differ show which sides are concerned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, whole
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.observation import Observation

_MODES = (("circular", "wrap"), ("reflect", "reflect"), ("replicate", "edge"), ("symmetric", "symmetric"))
"""Names of the kinds of padding, and NumPy's names for them."""

Widths = tuple[tuple[int, int], ...]
"""Places in front and at the end, per axis."""

_Steps = list[tuple[str, Widths]]
"""NumPy's mode and the widths of each padding, one after the other."""
_Way = tuple[str, str, _Steps]
"""Name, text and steps of a way to continue x."""


class _Sides(NamedTuple):
    """Places that differ, and the limits within which those of a border lie."""

    wrong: Array
    """[*spatial], True where an image or channel differs."""
    first: int
    """Row of y at which the observed window starts."""


def _sides(observation: Observation) -> _Sides | None:
    """Return the places that differ; None if there is no call, or none differs."""
    if observation.whole is None or not observation.finite.all():
        return None
    distance = np.abs(observation.predicted - observation.y)
    wrong = (distance > observation.limits).any((0, 1))
    return _Sides(wrong, observation.whole.window[0].start) if wrong.any() else None


def _reached(sides: _Sides, sizes: tuple[int, ...], stride: tuple[int, ...], limits: Widths) -> list[Widths]:
    """Return the limits of the sides on which places differ, the others 0; [] if a place beyond the limits does.

    Where the sides of one axis hide those of another, but for less than a stride of rows, or the observed rows of a
    large output do not include its front, every answer is returned.
    """
    observed = []
    inner = []
    for axis, ((front, end), L) in enumerate(zip(limits, sizes, strict=True)):
        first = sides.first if axis == 0 else 0
        start, stop = max(0, front - first), max(0, L - end - first)
        observed.append((slice(0, start), slice(stop, None)))
        inner.append(slice(start, max(start, stop)))
    if sides.wrong[tuple(inner)].any():
        return []
    clear: list[tuple[int, int]] = []
    hidden: list[tuple[int, int]] = []
    for axis, (widths, parts) in enumerate(zip(limits, observed, strict=True)):
        found, unseen = [0, 0], [0, 0]
        for side, (width, part) in enumerate(zip(widths, parts, strict=True)):
            strip = sides.wrong[(*inner[:axis], part, *inner[axis + 1 :])]
            few = any(size < s for a, (size, s) in enumerate(zip(strip.shape, stride, strict=True)) if a != axis)
            if width and strip.any():
                found[side] = width
            elif width and (few or strip.size == 0):
                unseen[side] = width
        clear.append((found[0], found[1]))
        hidden.append((unseen[0], unseen[1]))
    unseen_axes = [axis for axis, pair in enumerate(hidden) if any(pair)]
    ways = []
    for count in range(len(unseen_axes), -1, -1):
        for axes in combinations(unseen_axes, count):
            added = [hidden[axis] if axis in axes else (0, 0) for axis in range(len(sizes))]
            ways.append(tuple((a + c, b + d) for (a, b), (c, d) in zip(clear, added, strict=True)))
    return [way for way in ways if any(map(any, way))]


def _where(widths: Widths) -> str:
    """Return the sides as text: "on all sides", or each axis with its sides."""
    if all(map(all, widths)):
        return "on all sides"
    names = {(True, True): "on both sides", (True, False): "in front", (False, True): "at the end"}
    each = [f"{names[bool(a), bool(b)]} of spatial axis {axis}" for axis, (a, b) in enumerate(widths) if a or b]
    return " and ".join(each)


def continued_input(observation: Observation) -> Iterator[Cause]:
    """Yield an x that continues beyond its ends instead of zeros, by as much as y reads, or by one element."""
    yield from _continued_input(observation, mixed=False)


def mixed_input(observation: Observation) -> Iterator[Cause]:
    """Yield an x that continues in one mode along some axes and in another along others, as longitude and latitude."""
    yield from _continued_input(observation, mixed=True)


def _continued_input(observation: Observation, *, mixed: bool) -> Iterator[Cause]:
    sides = _sides(observation)
    if sides is None or observation.whole is None:
        return
    call = observation.whole.call
    g, n, L = call.geometry, call.x.shape[2:], observation.whole.y.shape[2:]
    limits, needed = [], []
    for s, e, (lo, _), size, length in zip(g.stride, g.extent, g.crop, n, L, strict=True):
        limits.append((min(length, max(0, e - s - lo)), min(length, max(0, length - (s * size - lo)))))
        needed.append((max(0, (e - 1 - lo) // s), max(0, (length - 1 + lo) // s - (size - 1))))
    tried = set()
    for reached in _reached(sides, L, g.stride, tuple(limits)):
        read = tuple((front if a else 0, end if b else 0) for (front, end), (a, b) in zip(needed, reached, strict=True))
        for widths in (read, tuple((min(1, front), min(1, end)) for front, end in read)):
            if widths in tried or not any(map(any, widths)):
                continue
            tried.add(widths)
            for name, text, steps in _mixed(widths) if mixed else _uniform(widths):
                if all(_possible(mode, size, pair) for mode, each in steps for size, pair in zip(n, each, strict=True)):
                    yield Cause(
                        name,
                        "border",
                        f"x continues {text}, where a transposed convolution reads zeros",
                        partial(_continued, steps),
                        apply="; ".join(observation.writer.pad("x", each, mode) for mode, each in steps),
                    )


def _uniform(widths: Widths) -> Iterator[_Way]:
    """Yield the ways to continue x by these widths in one mode: name, text, and steps."""
    for name, mode in _MODES:
        yield f"{name} border", f"{_where(widths)} by {name} padding", [(mode, widths)]


def _mixed(widths: Widths) -> Iterator[_Way]:
    """Yield the ways to continue x by these widths in different modes along different axes."""
    axes = [axis for axis, pair in enumerate(widths) if any(pair)]
    for choice in product(_MODES, repeat=len(axes)) if len(axes) > 1 else ():
        if len(set(choice)) == 1:
            continue
        alone = [tuple(pair if a == axis else (0, 0) for a, pair in enumerate(widths)) for axis in axes]
        names = " and ".join(dict.fromkeys(name for name, _ in choice))
        text = " and ".join(f"{_where(each)} by {name} padding" for each, (name, _) in zip(alone, choice, strict=True))
        yield f"{names} border", text, [(mode, each) for each, (_, mode) in zip(alone, choice, strict=True)]


def _possible(mode: str, size: int, widths: tuple[int, int]) -> bool:
    """Return True if an axis of this size can be padded in this mode without going round twice."""
    return max(widths) <= (size - 1 if mode == "reflect" else size)


def _continued(steps: _Steps, call: CallModel) -> CallModel:
    """Return the call with x padded in these modes, one after the other, and as much more of the output cropped."""
    x, g = call.x, call.geometry
    for mode, each in steps:
        x = np.pad(x, ((0, 0), (0, 0), *each), mode=mode)  # type: ignore[call-overload]
    widths = [
        (sum(front), sum(end))
        for front, end in (zip(*pairs, strict=True) for pairs in zip(*(each for _, each in steps), strict=True))
    ]
    crop = tuple(
        (lo + s * front, hi + s * end) for (lo, hi), s, (front, end) in zip(g.crop, g.stride, widths, strict=True)
    )
    return replace(call.with_geometry(crop=crop), x=x)


def added_back(observation: Observation) -> Iterator[Cause]:
    """Yield a crop that is added to the rest instead of left out, as in the gradient of a padded convolution."""
    sides = _sides(observation)
    if sides is None or observation.whole is None or sides.first:
        return
    call, y = observation.whole.call, observation.whole.y
    g, L = call.geometry, y.shape[2:]
    crop = tuple((max(0, lo), max(0, hi)) for lo, hi in g.crop)
    cropped = [axis for axis, pair in enumerate(crop) if any(pair)]
    if not cropped or any(max(pair) >= size for pair, size in zip(crop, L, strict=True)):
        return
    depths = [max(pair) + 1 if any(pair) else 0 for pair in crop]
    if not _reached(sides, L, g.stride, tuple((min(depth, size),) * 2 for depth, size in zip(depths, L, strict=True))):
        return
    for count in range(len(cropped), 0, -1):
        for axes in combinations(cropped, count):
            where = "" if count == g.ndim else f" along spatial axis {' and '.join(map(str, axes))}"
            kept = [(min(0, lo), min(0, hi)) if a in axes else (lo, hi) for a, (lo, hi) in enumerate(g.crop)]
            longer = replace(call, bias=None, activation=None).with_geometry(crop=tuple(kept))
            full = longer.window(whole(longer.spatial or ()))
            for name, mode in _MODES:
                folded = full
                for axis in axes:
                    folded = _folded(folded, axis + 2, *crop[axis], mode)
                if call.bias is not None:
                    folded = folded + call.bias.reshape(-1, *[1] * g.ndim)
                folded = call.activated(folded)
                text = f"what is cropped{where} is added to y, as in the gradient of a convolution with {name} padding"
                yield Cause(f"{name} border added back", "border", text, transform=partial(_constant, folded))


def _folded(full: Array, axis: int, front: int, end: int, mode: str) -> Array:
    """Return an array without `front` and `end` places of an axis, which are added where the mode takes them from."""
    a = np.moveaxis(full, axis, -1)
    size = a.shape[-1] - front - end
    taken_from = np.pad(np.arange(size), (front, end), mode=mode)  # type: ignore[call-overload]
    folded = np.zeros((*a.shape[:-1], size), a.dtype)
    for place, source in enumerate(taken_from):
        folded[..., source] += a[..., place]
    return np.moveaxis(folded, -1, axis)


def _constant(y: Array, _: Array) -> Array:
    return y


def continued_output(observation: Observation) -> Iterator[Cause]:
    """Yield ends of y that continue the rest of it, as where the rows of output_padding are copied."""
    sides = _sides(observation)
    if sides is None or observation.whole is None or sides.first:
        return
    widths = []
    for axis, size in enumerate(sides.wrong.shape):
        others = tuple(a for a in range(sides.wrong.ndim) if a != axis)
        rows = sides.wrong.mean(others) > 0.5 if others else sides.wrong  # a row is wrong in most of its places
        widths.append((_leading(rows), _leading(rows[::-1])))
        if sum(widths[-1]) > size // 2:
            return
    if not any(map(any, widths)):
        return
    sizes = sides.wrong.shape
    inner: Any = (..., *(slice(front, size - end) for (front, end), size in zip(widths, sizes, strict=True)))
    rest = observation.predicted[inner]
    for name, mode in _MODES:
        if all(_possible(mode, size, pair) for size, pair in zip(rest.shape[2:], widths, strict=True)):
            copied = np.pad(rest, ((0, 0), (0, 0), *widths), mode=mode)  # type: ignore[call-overload]
            text = f"y's rows {_where(tuple(widths))} are not computed: they continue the others by {name} padding"
            yield Cause(f"{name} border of y", "border", text, transform=partial(_constant, copied))


def _leading(rows: Array) -> int:
    """Return the number of True before the first False."""
    return len(rows) if rows.all() else int(rows.argmin())
