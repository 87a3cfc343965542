"""Images, channels or phases of y in another order, or two blocks exchanged, found by comparing each with each.

They are tried with a call and on outputs alone; phases only where the stride is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import axis_names
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.part_names import Part, phase_slices

_MOST_PHASES = 64  # phases that are compared with each other
_INFORMATIVE = 8  # least number of places of a phase or block that is compared


def reordered(observation: Observation) -> Iterator[Cause]:
    """Yield the channels, or the images, in another order."""
    predicted, y, writer = observation.predicted, observation.y, observation.writer
    for axis, name, letter in ((1, "channels", "C"), (0, "images", "N")):
        count = y.shape[axis]
        if not 1 < count <= 1024:
            continue
        a, b, limit, ok = (
            np.moveaxis(np.broadcast_to(array, y.shape), axis, 0).reshape(count, -1)
            for array in (predicted, y, observation.limits, observation.finite)
        )
        at = np.linspace(0, a.shape[1] - 1, min(64, a.shape[1])).astype(int)
        close = ((np.abs(a[None][..., at] - b[:, None, at]) <= 4 * limit[:, None, at]) | ~ok[:, None, at]).all(-1)
        order = [_match(row, number) for number, row in enumerate(close)]
        if None in order or sorted(map(int, order)) != list(range(count)) or order == list(range(count)):  # type: ignore[arg-type]
            continue
        taken = [int(number) for number in order if number is not None]
        inverse = np.argsort(taken)
        label = f"y {name} reversed" if taken == list(range(count))[::-1] else f"{name} in another order"
        yield Cause(
            label,
            "result",
            f"y's {name} are in another order: {order_words(taken)}",
            transform=partial(np.take, indices=taken, axis=axis),
            inverse=partial(np.take, indices=inverse, axis=axis),
            apply=writer.take("y", letter, taken) if letter in writer.data_layout.axes else "",
            undo=writer.take("y", letter, inverse.tolist()) if letter in writer.data_layout.axes else "",
        )


def order_words(order: list[int]) -> str:
    """Return an order of channels as text, cut after 16 numbers."""
    return str(order) if len(order) <= 16 else f"[{', '.join(map(str, order[:8]))}, ...]"


def _match(row: Array, number: int) -> int | None:
    """Return the number of a match: its own if that is one, else the first; None if there is none."""
    return number if row[number] else int(row.argmax()) if row.any() else None


def phases_exchanged(observation: Observation) -> Iterator[Cause]:
    """Yield the phases of the output in another order, as where they are interleaved in a wrong one."""
    whole, y = observation.whole, observation.y
    if whole is None or observation.first_row or y.shape != whole.y.shape:
        return
    stride, sizes = whole.call.geometry.stride, y.shape[2:]
    phases = list(np.ndindex(*stride))
    if not 1 < len(phases) <= _MOST_PHASES or any(2 * s > L for L, s in zip(sizes, stride, strict=True)):
        return
    slices: list[Any] = [(..., *phase_slices(phase, stride)) for phase in phases]
    taken: list[int] = []
    for number, place in enumerate(slices):
        part, limit, ok = y[place], observation.limits[place], observation.finite[place]
        same = (
            other
            for other in dict.fromkeys((number, *range(len(phases))))
            if other not in taken
            and observation.predicted[slices[other]].shape == part.shape
            and ((np.abs(observation.predicted[slices[other]] - part) <= limit) | ~ok).all()
        )
        found = next(same, None)
        if found is None or part.size < _INFORMATIVE:
            return
        taken.append(found)
    if taken == list(range(len(phases))):
        return
    yield Cause(
        "phases in another order",
        "result",
        f"the phases of y are in another order: {_phase_order(phases, taken, stride)}",
        transform=partial(_phases_taken, slices, taken),
        inverse=partial(_phases_taken, slices, np.argsort(taken).tolist()),
    )


def _phases_taken(slices: list[Any], taken: list[int], a: Array) -> Array:
    """Return an array with the phase `taken[p]` of `a` at each phase p."""
    moved = np.array(a)
    for place, source in zip(slices, taken, strict=True):
        moved[place] = a[slices[source]]
    return moved


def _phase_order(phases: list[tuple[int, ...]], taken: list[int], stride: tuple[int, ...]) -> str:
    """Return the order as text, axis by axis if it is an order of each axis."""
    names, by_axis = axis_names(len(stride))[2:], []
    for axis, step in enumerate(stride):
        orders = {
            number: {phases[q][axis] for p, q in zip(phases, taken, strict=True) if p[axis] == number}
            for number in range(step)
        }
        if any(len(sources) > 1 for sources in orders.values()):
            pairs = [f"{p} has {phases[q]}" for p, q in zip(phases, taken, strict=True) if phases[q] != p]
            return ", ".join(pairs[:8]) + (", ..." if len(pairs) > 8 else "")
        order = [sources.pop() for sources in orders.values()]
        if order != sorted(order):
            by_axis.append(f"{order_words(order)} along {names[axis]}")
    return " and ".join(by_axis)


def blocks_exchanged(observation: Observation) -> Iterator[Cause]:
    """Yield two blocks of places that are exchanged."""
    y, predicted = observation.y, observation.predicted
    if y.ndim == 3 or observation.first_row or not observation.finite.all():
        return
    wrong = (np.abs(predicted - y) > observation.limits).any((0, 1))
    if not wrong.any() or wrong.all():
        return
    blocks = _blocks(wrong)
    if len(blocks) != 2:
        return
    one: Any = (..., *blocks[0])
    two: Any = (..., *blocks[1])
    limits = observation.limits
    if y[one].shape != y[two].shape or y[one].size < _INFORMATIVE:
        return
    if (np.abs(predicted[two] - y[one]) <= limits[one]).all() and (
        np.abs(predicted[one] - y[two]) <= limits[two]
    ).all():
        exchange = partial(_phases_taken, [one, two], [1, 0])
        words = [_block_words(block, y.shape) for block in blocks]
        text = f"two blocks of y are exchanged: {words[0]}, and {words[1]}"
        yield Cause("blocks exchanged", "result", text, transform=exchange, inverse=exchange)


def _blocks(wrong: Array) -> list[tuple[slice, ...]]:
    """Return the boxes that places consist of, if they are two boxes that share no row along some axis; else []."""
    for axis in range(wrong.ndim):
        rows = np.flatnonzero(wrong.any(tuple(a for a in range(wrong.ndim) if a != axis)))
        if len(rows) < 2:
            continue
        patterns = np.moveaxis(wrong, axis, 0)[rows]
        changes = np.flatnonzero(
            (patterns[1:] != patterns[:-1]).reshape(len(rows) - 1, -1).any(1) | (np.diff(rows) > 1)
        )
        if len(changes) != 1:
            continue
        boxes = []
        for part in (rows[: changes[0] + 1], rows[changes[0] + 1 :]):
            inside = np.zeros_like(wrong)
            place = (slice(None),) * axis + (part,)
            inside[place] = wrong[place]
            box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(inside))
            if not inside[box].all():
                return []
            boxes.append(box)
        return boxes
    return []


def _block_words(block: tuple[slice, ...], shape: tuple[int, ...]) -> str:
    rows = tuple(np.arange(part.start, part.stop) for part in block)
    return Part(shape, (*map(np.arange, shape[:2]), *rows)).label()
