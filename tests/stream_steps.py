"""Runs of one step of a stream over random cuts, beside its run over the whole."""

import bisect
import itertools

import numpy as np

from tconv.streaming.stream_graph import ENDLESS
from tconv.streaming.time_step import TimeSpan, along_time


def numbers(rng, *shape, dtype=np.float32):
    """Return asymmetric random numbers."""
    return (rng.standard_normal(shape) * 2 - 0.3).astype(dtype)


def whole(step, *inputs, memory=None):
    """Return the output [sessions, C, 1, T] of a step over whole inputs, run once."""
    step = along_time(step)
    sizes = [x.shape[-1] for x in inputs]
    out = np.full((len(inputs[0]), step.output_channels([x.shape[1] for x in inputs]), 1, step.extent(sizes)), np.nan)
    out = out.astype(inputs[0].dtype)
    memory = [np.repeat(array[None], len(out), 0) for array in step.new_memory()] if memory is None else memory
    step.compute([TimeSpan(x, 0) for x in inputs], sizes, TimeSpan(out, 0), memory)
    return out


def cut(rng, length, longest):
    """Return the borders of random parts of 1 to `longest` samples."""
    borders = [0]
    while borders[-1] < length:
        borders.append(min(length, borders[-1] + int(rng.integers(1, longest + 1))))
    return borders


def in_parts(step, borders, *inputs, known=False, arrange=np.ascontiguousarray):
    """Return the output computed part by part, each from copies of just the samples that `source` states.

    With `known`, inputs have their true length from the start on; else only for the part at the end. `arrange` makes
    the arrays that the step reads.
    """
    step = along_time(step)
    true = [x.shape[-1] for x in inputs]
    channels = step.output_channels([x.shape[1] for x in inputs])
    memory = [np.repeat(array[None], len(inputs[0]), 0) for array in step.new_memory()]
    parts, final = [], _final(step, true)
    for start, stop in itertools.pairwise(borders):
        endless = [ENDLESS] * len(inputs)
        outputs = slice(start, stop)
        spans = [step.source(k, outputs, endless) for k in range(len(inputs))]
        open_end = not known and all(span.stop <= size for span, size in zip(spans, true, strict=True))
        sizes = endless if open_end else true
        given = []
        for k, x in enumerate(inputs):
            span = step.source(k, outputs, sizes)
            assert 0 <= span.start < span.stop <= true[k]
            # a stream computes all that is not final in one go, at the end
            held = step.first(min(start, final))
            assert memory or span.start >= min(held, true[k] - 1)
            low = max(span.start, held) if memory else span.start  # what went into the memory is not held
            given.append(TimeSpan(arrange(x[..., low : span.stop]), low))
        out = arrange(np.full((len(inputs[0]), channels, 1, stop - start), np.nan, inputs[0].dtype))
        step.compute(given, sizes, TimeSpan(out, start), memory)
        parts.append(out)
    return np.concatenate(parts, -1)


def _final(step, sizes):
    """Return the number of outputs that these samples determine, whatever follows them."""
    endless = [ENDLESS] * len(sizes)

    def is_final(output):
        return all(step.source(k, slice(0, output + 1), endless).stop <= size for k, size in enumerate(sizes))

    return bisect.bisect_left(range(8 * max(sizes)), True, key=lambda output: not is_final(output))
