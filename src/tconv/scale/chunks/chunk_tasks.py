"""Functions that Dask's tasks call. Each gets the plan of its array, which the graph has once, and its number."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.scale.chunks.chunk_plan import ChunkPlan, Index
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.regions import region_sizes


def cut_strips(shared: Shared, number: int, chunk: Array) -> dict[Index, Array]:
    """Return copies of the strips [N, C, *span] of an input chunk that output chunks need, by these chunks' numbers.

    `number` is that of the input chunk in C order of all.
    """
    plan: ChunkPlan = shared.value
    x = plan.checked(chunk)
    spatial = tuple(map(int, np.unravel_index(number, plan.input_counts)))[len(plan.images) :]
    return {output: x[:, :, *span].copy() for output, span in plan.strips(spatial)}


def compute_chunk(shared: Shared, number: int, *given: Any) -> Array:
    """Return an output chunk of input chunks, and of strips of others, in the order of `ChunkPlan.parts`."""
    plan: ChunkPlan = shared.value
    index = plan.index(number)
    parts = list(plan.parts(index))
    if len(parts) == 1 and parts[0][0]:  # no copy
        (_, span, _), chunk = parts[0], plan.checked(given[0])
        return plan.computed(index, chunk[:, :, *span])
    operator, count = plan.operator, len(plan.image_numbers(index))
    x = empty((count, operator.channels[0], *region_sizes(plan.window(index))), operator.dtype)
    output = index[len(plan.images) :]
    for (direct, span, place), values in zip(parts, given, strict=True):
        x[:, :, *place] = plan.checked(values)[:, :, *span] if direct else values[output]
    return plan.computed(index, x)


def compute_stored_chunk(shared: Shared, number: int, *contexts: Any) -> Array:
    """Return an output chunk of a window that this task reads from the store."""
    plan: ChunkPlan = shared.value
    return plan.computed_from_source(plan.index(number), contexts)


def read_whole_image(shared: Shared, image: int) -> Any:
    """Return what the operator needs of a whole image, as means over it."""
    plan: ChunkPlan = shared.value
    return plan.context(image)
