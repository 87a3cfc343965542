"""Images or channels of y in another order, which is found by comparing each with each.

It is tried with a call and on outputs alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.observation import Observation


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
