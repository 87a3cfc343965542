"""Images or channels in another order, which is read off the output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tconv.diagnosis.canonical_call import Array
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fix_writer import Hand


def reordered(expected: Array, y: Array, finite: Array, allowed: Array, hand: Hand) -> Iterator[Cause]:
    """The images, or the channels, in another order."""
    for axis, name, letter in ((1, "channels", "C"), (0, "images", "N")):
        count = y.shape[axis]
        if not 1 < count <= 1024:
            continue
        a, b = (np.moveaxis(array, axis, 0).reshape(count, -1) for array in (expected, y))
        limit, ok = (
            np.moveaxis(np.broadcast_to(array, y.shape), axis, 0).reshape(count, -1) for array in (allowed, finite)
        )
        at = np.linspace(0, a.shape[1] - 1, min(64, a.shape[1])).astype(int)
        close = ((np.abs(a[None][..., at] - b[:, None, at]) <= 4 * limit[:, None, at]) | ~ok[:, None, at]).all(-1)
        order = [_choice(row, number) for number, row in enumerate(close)]
        if None in order or sorted(map(int, order)) != list(range(count)) or order == list(range(count)):  # type: ignore[arg-type]
            continue
        taken = [int(number) for number in order if number is not None]
        inverse = np.argsort(taken)

        def turn(y: Array, axis: int = axis, taken: list[int] = taken) -> Array:
            return np.take(y, taken, axis)

        def back(y: Array, axis: int = axis, inverse: Array = inverse) -> Array:
            return np.take(y, inverse, axis)

        label = f"y {name} reversed" if taken == list(range(count))[::-1] else f"{name} in another order"
        yield Cause(
            label,
            "result",
            f"y's {name} stand in another order: {listed(taken)}",
            turn=turn,
            back=back,
            apply=hand.take("y", letter, taken) if letter in hand.data.axes else "",
            undo=hand.take("y", letter, inverse.tolist()) if letter in hand.data.axes else "",
        )


def listed(order: list[int]) -> str:
    """An order of channels, as far as it can be read."""
    return str(order) if len(order) <= 16 else f"[{', '.join(map(str, order[:8]))}, ...]"


def _choice(row: Array, number: int) -> int | None:
    """The one that agrees, the one in place first; None if there is none."""
    return number if row[number] else int(row.argmax()) if row.any() else None
