"""Channels of the weight in another order: the weight behind the output is solved for and compared.

It is tried where a call is given and its output has enough numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.cause import Cause, Change
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.output_permutation import order_words

_MOST_UNKNOWNS = 512  # weights behind one output channel of a phase
_EQUATIONS = 3  # for each unknown
_NEAR = 0.1  # of the weight's root mean square: largest distance of a solved channel from the matching given one


def permuted(observation: Observation) -> Iterator[Cause]:
    """Yield input channels of the weight in another order, or output channels of a weight without groups."""
    if observation.whole is None:
        return
    call, y, finite, writer = observation.whole.call, observation.whole.y, observation.whole.finite, observation.writer
    G, per, outs = call.groups, call.in_channels // call.groups, call.weight.shape[1]
    taps, places = _phase(call, y)
    count = per * math.prod(map(len, taps)) + 1
    total = len(y) * math.prod(map(len, places))
    if call.in_channels < 2 or count > _MOST_UNKNOWNS or total < 2 * count:
        return
    picked = np.random.default_rng(0).choice(total, min(total, _EQUATIONS * count), replace=False)
    image, *at = np.unravel_index(picked, (len(y), *map(len, places)))
    where = [places[axis][index] for axis, index in enumerate(at)]
    lo = [crop[0] for crop in call.geometry.crop]
    wanted: Any = (image, slice(None), *(f - first for f, first in zip(where, lo, strict=True)))
    ok = finite[wanted].all(1)
    if ok.sum() < 2 * count:
        return
    rows = np.moveaxis(_inputs(call, taps, image, where), 1, 0)[:, ok]
    values = y[wanted][ok].reshape(-1, G, outs)
    few = np.ix_(range(G * per), range(outs), *taps)
    given = call.weight[few].reshape(G * per, outs, -1)
    solved = np.empty_like(given)
    for g in range(G):
        A = np.moveaxis(rows[g * per : (g + 1) * per], 0, 1).reshape(int(ok.sum()), -1)
        A = np.column_stack([A, np.ones(len(A))])
        found, *_ = np.linalg.lstsq(A, values[:, g])
        if np.abs(A @ found - values[:, g]).max() > _NEAR * values[:, g].std():
            return
        solved[g * per : (g + 1) * per] = np.moveaxis(found[:-1].reshape(per, -1, outs), 2, 1)
    for axis, letter, name in ((0, "I", "input"), (1, "O", "output")):
        order = _order(*(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (solved, given)))
        if order is None or (letter == "O" and G > 1):
            continue
        yield Cause(
            f"{name} channels of the weight in another order",
            "weight",
            f"the weight's {name} channels are in another order: {order_words(order)}",
            _taken(order, axis),
            apply=writer.take_weight(letter, order),
            undo=writer.take_weight(letter, np.argsort(order).tolist()),
        )


def _phase(call: CallModel, y: Array) -> tuple[list[list[int]], list[Array]]:
    """Return, per axis, the taps of the phase that has most, and the places of that phase in the full output."""
    g = call.geometry
    taps, places = [], []
    for k, s, d, (lo, _), L in zip(g.kernel, g.stride, g.dilation, g.crop, y.shape[2:], strict=True):
        each = [[t for t in range(k) if d * t % s == r] for r in range(s)]
        r = max(range(s), key=lambda r: len(each[r]))
        taps.append(each[r])
        full = np.arange(lo, lo + L)
        places.append(full[full % s == r])
    return taps, places


def _inputs(call: CallModel, taps: list[list[int]], image: Array, where: list[Array]) -> Array:
    """Return the input that each tap reads at each place of the full output, [places, C_in, taps of the phase]."""
    g, x = call.geometry, call.x
    read = []
    for tap in np.ndindex(*map(len, taps)):
        at, inside = [], np.ones(len(image), bool)
        for axis, (f, number) in enumerate(zip(where, tap, strict=True)):
            i = (f - g.dilation[axis] * taps[axis][number]) // g.stride[axis]
            inside &= (i >= 0) & (i < x.shape[axis + 2])
            at.append(np.clip(i, 0, x.shape[axis + 2] - 1))
        index: Any = (image, slice(None), *at)
        read.append(np.where(inside[:, None], x[index], 0))
    return np.stack(read, -1)


def _order(solved: Array, given: Array) -> list[int] | None:
    """Return the given channel that each solved one matches; None if some match none, or all are in place."""
    if len(given) < 2:
        return None
    squares = (np.abs(solved) ** 2).sum(1)[:, None] + (np.abs(given) ** 2).sum(1)
    distance = squares - 2 * (solved @ given.conj().T).real
    order = np.where(
        np.diag(distance) <= distance.min(1) + 1e-12 * squares.max(), np.arange(len(given)), distance.argmin(1)
    )
    near = distance[np.arange(len(given)), order].max() <= _NEAR**2 * (np.abs(given) ** 2).mean() * given.shape[1]
    right = near and len(set(order.tolist())) == len(given) and (order != np.arange(len(given))).any()
    return [int(number) for number in order] if right else None


def _taken(order: list[int], axis: int) -> Change:
    return lambda s: replace(s, weight=np.take(s.weight, order, axis))
