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
from tconv.torch.stream_recording import NumbersReadError, record

_TIMES = 16
"""Rounding errors of the graph may be so many times those of PyTorch."""
_LEAST = 4e-6
"""Share of the largest output that a rounding error may always be."""
_UNKNOWN = 1e-4
"""The same for a module that does not run in float64."""
_MORE = 7, 29
"""Samples by which inputs of random numbers are longer than that of the first recording."""
_LONG = 99
"""Samples of the longest random numbers, at least, if the example is half as long: a module may branch on them."""
_FEW = 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144
"""Lengths of short inputs that are compared, below those of the recordings."""


class ShortInputError(StreamError):
    """A module that computes something else for short inputs than for longer ones."""


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
    long = min(_LONG, 2 * call.example.shape[time] + 3) - shape[time]
    numbers = [random_like(call.example, shape, time, more) for more in (_MORE[0], max(_MORE[1], long))]
    runs = [(run.given, run.tensors[reading.output].numpy()) for run in reading.runs]
    pairs = [(x, _output(call, x, reading)) for x in numbers] + runs
    if not torch.equal(call.example, reading.runs[0].given):
        pairs.append((call.example, _output(call, call.example, reading)))
    ours = [_whole(graph, x, reading) for x, _ in pairs]
    outputs = [wanted for _, wanted in pairs]
    share, rounding, module_rounding = _UNKNOWN, None, None
    wide = _in_float64(call, numbers[0], reading)
    if wide is not None and wide.shape == outputs[0].shape == ours[0].shape:
        module_rounding, rounding = _share(outputs[0], wide), _share(ours[0], wide)
        share = _LEAST + _TIMES * module_rounding
    worst = 0.0
    for (x, wanted), made in zip(pairs, ours, strict=True):
        if made.shape != wanted.shape:
            raise StreamError(
                f"the graph read from the module gives shape {made.shape} for {tuple(x.shape)}, and the module "
                f"{wanted.shape}"
            )
        worst = max(worst, _share(made, wanted))
        if not worst <= share:
            raise StreamError(
                f"the graph read from the module differs from it by {worst:.2g} of the largest output, for shape "
                f"{tuple(x.shape)}; {share:.2g} would be rounding"
            )
    largest = max(float(np.abs(each[np.isfinite(each)]).max(initial=0)) for each in outputs)
    _check_short_inputs(call, reading, graph, share, largest)
    return Difference(worst, rounding, module_rounding)


def _check_short_inputs(
    call: ModuleCall, reading: ModuleReading, graph: StreamGraph, share: float, largest: float
) -> None:
    """Compare with the module at a few lengths below the smallest recorded one, where it may branch on its length.

    A length that the graph refuses, or the module, is no difference. Raises ShortInputError.
    """
    shape, time = reading.runs[0].given.shape, reading.given.time
    for count in _FEW:
        if count >= shape[time]:
            break
        x = random_like(call.example, shape, time, count - shape[time])
        try:
            wanted = _output(call, x, reading)
        except NumbersReadError:
            raise
        except Exception:  # whatever the module raises for an input that is too short
            continue
        try:
            made = _whole(graph, x, reading)
        except StreamError:
            continue
        if made.shape != wanted.shape or not _share(made, wanted, largest) <= share:
            raise ShortInputError(
                f"for inputs of {count} frame{'s' * (count > 1)} the module computes something else than for longer "
                f"ones (seen on shape {tuple(x.shape)}): it branches on its length"
            )


def random_like(example: torch.Tensor, shape: tuple[int, ...], time: int, more: int) -> torch.Tensor:
    """Return random numbers of a shape, some samples longer, with the mean and spread of an example."""
    sizes = list(shape)
    sizes[time] += more
    numbers = torch.randn(sizes, generator=torch.Generator().manual_seed(1))
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


def _share(a: Array, b: Array, largest: float = 0.0) -> float:
    """Return the largest difference as a share of the largest number of b; inf if other numbers are not finite."""
    same = np.isfinite(b)
    if not np.array_equal(same, np.isfinite(a)):
        return float("inf")
    largest = max(largest, float(np.abs(b[same]).max(initial=0)))
    return float(np.abs(a[same].astype(np.float64) - b[same]).max(initial=0)) / (largest or 1.0)
