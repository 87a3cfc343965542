"""Comparison of a graph that was read from a module with the module itself, in float32 and float64."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch

from tconv._arrays import Array
from tconv.errors import ShapeError, StreamError
from tconv.streaming.stream_graph import StreamGraph
from tconv.torch.module_call import ModuleCall
from tconv.torch.module_reading import ModuleReading
from tconv.torch.stream_recording import record

_TIMES = 16
"""Rounding errors of the graph may be so many times those of PyTorch."""
_LEAST = 4e-6
"""Share of the largest output that a rounding error may always be."""
_UNKNOWN = 1e-4
"""The same for a module that does not run in float64."""
_MOST = 1e-2
"""Share of the largest output that no rounding error is."""
_MORE = 7, 13, 29
"""Samples by which inputs of random numbers are longer than that of the first recording."""
_LONG, _LONG_OUTPUT = 2048, 1 << 15
"""Samples of a long input, at most, and of its output."""


class Difference(NamedTuple):
    """Largest differences as shares of the largest output."""

    from_module: float
    """of the graph from the module"""
    rounding: float | None
    """of the graph from the module in float64; None if it does not run so"""
    module_rounding: float | None
    """of the module from itself in float64"""


def compare(call: ModuleCall, reading: ModuleReading, graph: StreamGraph) -> Difference:
    """Return the differences on random numbers, at all lengths of the recording, and on the example.

    Raises StreamError if one is more than rounding explains: the graph is not the module then.
    """
    shape, time = reading.runs[0].given.shape, reading.given.time
    numbers = [random_like(call.example, shape, time, more) for more in _MORE]
    runs = [(run.given, run.tensors[reading.output].numpy()) for run in reading.runs]
    pairs = [(x, _output(call, x, reading)) for x in numbers] + runs
    pairs.append((call.example, _output(call, call.example, reading)))
    usual = len(pairs)
    pairs += _long_pairs(call, reading, float(graph.rates[-1]))
    if not np.array_equal(pairs[0][1], _output(call, pairs[0][0], reading), equal_nan=True):
        raise StreamError("two runs on the same input give different outputs: the module keeps state from call to call")
    ours = [_whole(graph, x, reading) for x, _ in pairs]
    rounding, module_rounding = None, None
    wide = _in_float64(call, numbers[0], reading)
    if wide is not None and wide.shape == pairs[0][1].shape == ours[0].shape:
        module_rounding, rounding = _share(pairs[0][1], wide), _share(ours[0], wide)
    worst, allowed = 0.0, _allowed(module_rounding)
    for turn, ((x, wanted), made) in enumerate(zip(pairs, ours, strict=True)):
        if made.shape != wanted.shape:
            raise StreamError(
                f"the graph read from the module gives shape {made.shape} for {tuple(x.shape)}, and the module "
                f"{wanted.shape}"
            )
        gap = _share(made, wanted)
        if not gap <= allowed:  # rounding may grow with the length: PyTorch interpolates at places in float32
            wide = _in_float64(call, x, reading)
            if wide is None or not gap <= _allowed(_share(wanted, wide)):
                raise StreamError(
                    f"the graph read from the module differs from it by {gap:.2g} of the largest output, for shape "
                    f"{tuple(x.shape)}; {allowed:.2g} would be rounding"
                )
        worst = max(worst, gap if turn < usual else 0.0)  # a long input looks for rules, and PyTorch may round more
    return Difference(worst, rounding, module_rounding)


def _allowed(module_rounding: float | None) -> float:
    """Return the difference that rounding explains, by the module's own one."""
    return _UNKNOWN if module_rounding is None else min(_MOST, _LEAST + _TIMES * module_rounding)


def _long_pairs(call: ModuleCall, reading: ModuleReading, rate: float) -> list[tuple[torch.Tensor, Array]]:
    """Return a long input with the module's output, where rules of the length show that shorter ones hide.

    There is none for a module that does not take it, or whose outputs of the others are as long.
    """
    shape, time = reading.runs[0].given.shape, reading.given.time
    more = min(_LONG, int(_LONG_OUTPUT / rate)) - shape[time]
    if more <= max(_MORE):
        return []
    x = random_like(call.example, shape, time, more)
    try:
        return [(x, _output(call, x, reading))]
    except Exception:  # whatever the module raises for long inputs
        return []


def random_like(example: torch.Tensor, shape: tuple[int, ...], time: int, more: int) -> torch.Tensor:
    """Return random numbers of a shape, some samples longer, with the mean and spread of an example."""
    sizes = list(shape)
    sizes[time] += more
    numbers = torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=example.dtype, device="cpu")
    mean, spread = mean_and_spread(example)
    return numbers * spread + mean


def mean_and_spread(example: torch.Tensor) -> tuple[float, float]:
    """Return the mean and the standard deviation of an example; 1 for one that is constant, or not finite."""
    mean, spread = float(example.mean()), float(example.std(correction=0))
    if not (np.isfinite(mean) and np.isfinite(spread)):
        return 0.0, 1.0
    return mean, spread or 1.0


def _output(call: ModuleCall, x: torch.Tensor, reading: ModuleReading) -> Array:
    """Return the module's output for an input."""
    array: Array = record(call.module, call, x).tensors[reading.output].detach().cpu().numpy()
    return array


def _whole(graph: StreamGraph, x: torch.Tensor, reading: ModuleReading) -> Array:
    """Return the graph's output for an input, in the module's layouts."""
    given = np.ascontiguousarray(reading.given.canonical(x.detach().cpu().numpy()))
    try:
        return reading.made.native(graph.whole(given[:, :, None])[:, :, 0])
    except ShapeError as error:
        raise StreamError(f"the graph read from the module refuses shape {tuple(x.shape)}: {error}") from None


def _in_float64(call: ModuleCall, x: torch.Tensor, reading: ModuleReading) -> Array | None:
    """Return the output of a copy of the module in float64; None if it cannot be copied, or does not run so."""
    try:
        module = copy.deepcopy(call.module).double()
        other = call.with_module(module, torch.float64)
        return _output(other, x.double(), reading)
    except Exception:  # whatever the module raises
        return None


def _share(a: Array, b: Array) -> float:
    """Return the largest difference as a share of the largest number of b; inf if other numbers are not finite."""
    same = np.isfinite(b)
    if not np.array_equal(same, np.isfinite(a)):
        return float("inf")
    largest = float(np.abs(b[same]).max(initial=0))
    return float(np.abs(a[same].astype(np.float64) - b[same]).max(initial=0)) / (largest or 1.0)
