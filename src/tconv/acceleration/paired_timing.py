"""Times of two forms of a model, its framework's and tconv's, in passes that take turns, with clocks around layers.

A layer's gain in a model is not that of the layer alone: between two calls the rest of the model takes the caches, and
what a layer leaves in them, or in memory, is found by the next one. So whole passes are timed, in pairs of one pass
each, and every figure is a median over the pairs. A pair is compared with itself only: another program that takes the
cores for a while disturbs some pairs, and the median hardly moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np

_MISSED = 0.05
"""Share of intervals that do not contain the median."""
_SHORT = 0.05
"""Seconds of a pass from which on its own work decides what the caches contain, not the pass before."""
clock = time.perf_counter
Key = tuple[str, int]


class Estimate(NamedTuple):
    """A median of some values, and an interval that contains the true one."""

    value: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Estimate:
    """Return the median and its 95% interval, for values of any distribution: two of the values themselves.

    Of n values, the number that lies below the true median is binomial, which gives the places of the two in the order.
    Fewer than six values have no such places: then the interval is all of them, and all n lie on one side of the true
    median with a probability of 2^(1 - n).

    >>> median_interval([5.0, 1.0, 3.0])
    Estimate(value=3.0, low=1.0, high=5.0)
    """
    ordered, n = sorted(values), len(values)
    place, probability = 0, 0.5**n  # of no value below the median
    below = probability
    while 2 * below <= _MISSED:
        place += 1
        probability *= (n - place + 1) / place
        below += probability
    place = max(place - 1, 0)
    return Estimate(float(np.median(ordered)), ordered[place], ordered[n - 1 - place])


class Sides(Protocol):
    """The two forms of a model."""

    def take(self, ours: bool) -> None:
        """Put the model into tconv's form, or its framework's."""

    def remove(self, module: Any) -> None:
        """Leave a module as it is."""


class Pairs(NamedTuple):
    """Seconds of the framework's form and tconv's, pair by pair: of the whole model, and of each layer by its name."""

    model: list[tuple[float, float]]
    layers: dict[str, list[tuple[float, float]]]
    """With the modules that are fused with a layer."""
    stock: dict[str, list[float]]
    """Seconds of the layers alone in the framework's form."""

    @property
    def gain(self) -> Estimate:
        """The framework's time divided by tconv's, of the whole model."""
        return median_interval([stock / max(ours, 1e-12) for stock, ours in self.model])

    def seconds(self, name: str | None = None) -> tuple[float, float]:
        """Return the median time in both forms, of a layer or of the whole model."""
        stock, ours = np.median(self.model if name is None else self.layers[name], axis=0)
        return float(stock), float(ours)

    def saved(self, name: str) -> Estimate:
        """Return the seconds that a layer saves in one pass."""
        return median_interval([stock - ours for stock, ours in self.layers[name]])


def compare(
    prepare: Callable[[], Any],
    run: Callable[[], Any],
    sides: Sides,
    clocked: Mapping[str, Sequence[Any]],
    *,
    seconds: float,
    least: int,
    most: int,
) -> Pairs:
    """Time passes in pairs, one in each form, until this many seconds have passed, or there are so many pairs.

    `prepare` is called before each pass, and not timed.
    `clocked` has modules of PyTorch whose times add up to that of a layer, itself first, by its name. The forms take
    turns in being the first of a pair. Before a short pass there is one in the same form, untimed: a model runs again
    and again, and finds in the caches what its last pass has left. The model is in tconv's form afterwards.
    """
    pairs = Pairs([], {name: [] for name in clocked}, {name: [] for name in clocked})
    with _clocks(clocked) as spent:
        try:
            begun, short = clock(), False
            while len(pairs.model) < most and (len(pairs.model) < least or clock() - begun < seconds):
                order = (False, True) if len(pairs.model) % 2 == 0 else (True, False)
                whole, parts = [0.0, 0.0], [spent, spent]
                for ours in order:
                    sides.take(ours)
                    if short:
                        prepare()
                        run()
                    prepare()
                    spent.update(dict.fromkeys(spent, 0.0))
                    start = clock()
                    run()
                    whole[ours] = clock() - start
                    parts[ours] = dict(spent)
                pairs.model.append((whole[False], whole[True]))
                short = max(whole) < _SHORT
                for name, modules in clocked.items():
                    places = range(len(modules))
                    sums = [sum(part[name, place] for place in places) for part in parts]
                    pairs.layers[name].append((sums[False], sums[True]))
                    pairs.stock[name].append(parts[False][name, 0])
        finally:
            sides.take(True)
    return pairs


@contextmanager
def _clocks(clocked: Mapping[str, Sequence[Any]]) -> Iterator[dict[Key, float]]:
    """Put clocks around modules; yield their seconds by the name of a layer and the place among its modules."""
    keys = [(name, place) for name, modules in clocked.items() for place in range(len(modules))]
    spent, started = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0.0)

    def before(key: Key) -> Callable[..., None]:
        def hook(module: Any, args: Any) -> None:
            started[key] = clock()

        return hook

    def after(key: Key) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            spent[key] += clock() - started[key]

        return hook

    handles = []
    try:
        for key in keys:
            module = clocked[key[0]][key[1]]
            # the first hook before a module and the last one after it: other hooks count as a part of it
            handles.append(module.register_forward_pre_hook(before(key), prepend=True))
            handles.append(module.register_forward_hook(after(key)))
        yield spent
    finally:
        for handle in handles:
            handle.remove()
