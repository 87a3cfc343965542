"""Graph of a lazy array: a task per output chunk, and one per input chunk that has strips for its neighbours.

The number of tasks is at most the sum of both numbers of chunks. A task has a number and the keys that it depends on;
all else is in the plan, under one key.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.array import Array as LazyArray
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from tconv.scale.chunks.chunk_plan import ChunkPlan, Index
from tconv.scale.chunks.chunk_tasks import (
    compute_chunk,
    compute_stored_chunk,
    cut_strips,
    read_whole_image,
)
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.chunks.shared_object import Shared

_NO_ARGUMENTS: dict[str, Any] = {}
"""Of all tasks: a dict of its own for each would be a tenth of what a scheduler holds."""


def lazy_array(kind: str, plan: ChunkPlan, given: LazyArray | None, identity: Any) -> LazyArray:
    """Return the lazy output of a plan, of a lazy input or of the plan's store, whose identity names the tasks."""
    token = tokenize(plan, identity)
    name, axes = f"{kind}-{token}", plan.out_axes
    shared_key = f"{kind}-plan-{token}"
    layer: dict[Any, Any] = {shared_key: DataNode(shared_key, Shared(token, plan))}
    with _uncollected():
        if given is None:
            _add_readers(layer, plan, name, TaskRef(shared_key), f"{kind}-whole-{token}")
        else:
            _add_tasks(layer, plan, name, given.name, TaskRef(shared_key), f"{kind}-strips-{token}")
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[] if given is None else [given])
    borders = axes.ordered(plan.images, (0, plan.operator.channels[1]), [axis.outputs for axis in plan.spatial])
    chunks = tuple(tuple(np.diff(each).tolist()) for each in borders)
    return LazyArray(graph, name, chunks, meta=np.empty((0,) * len(chunks), plan.operator.result))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the block make many objects, none of them in a circle, without searches for circles among them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _keys(axes: ImageAxes, images: int) -> Callable[[Index], Index]:
    """Return a function of a chunk's numbers (images, spatial) that returns them in the order of an array's axes."""
    if axes.order == tuple(range(len(axes.order))):
        if axes.channel is None:
            return lambda index: index
        return lambda index: (*index[:images], 0, *index[images:])
    return lambda index: axes.ordered(index[:images], 0, index[images:])


def _add_readers(layer: dict[Any, Any], plan: ChunkPlan, name: str, shared: TaskRef, whole: str) -> None:
    """Add a task per output chunk, each of which reads its window from the store."""
    native = _keys(plan.out_axes, len(plan.images))
    images = math.prod(borders[-1] for borders in plan.images)
    contexts = [TaskRef((whole, image)) for image in range(images)] if plan.has_contexts else []
    for image, reference in enumerate(contexts):
        layer[reference.key] = Task(reference.key, read_whole_image, shared, image)
    dependencies = frozenset((shared.key,))
    for number, index in enumerate(product(*map(range, plan.counts))):
        key = name, *native(index)
        needed = [contexts[image] for image in plan.image_numbers(index)] if contexts else []
        task = layer[key] = Task(key, compute_stored_chunk, shared, number, *needed)
        task.kwargs = _NO_ARGUMENTS
        if not needed:
            task._dependencies = dependencies


def _add_tasks(layer: dict[Any, Any], plan: ChunkPlan, name: str, given: str, shared: TaskRef, strips: str) -> None:
    """Add a task per output chunk, and one per input chunk of which strips are needed."""
    before = len(plan.images)
    native_in, native_out = _keys(plan.axes, before), _keys(plan.out_axes, before)
    spatial = [(index, [*plan.part_sources(index)]) for index in product(*map(range, plan.counts[before:]))]
    cut: dict[Index, Any] = {}
    number = 0
    for images in product(*map(range, plan.counts[:before])):
        chunks: dict[Index, TaskRef] = {}
        strips_of: dict[Index, TaskRef] = {}
        for index, parts in spatial:
            references = []
            for of, direct in parts:
                known = chunks if direct else strips_of
                reference = known.get(of)
                if reference is None:
                    source = *images, *of
                    key = given if direct else strips, *native_in(source)
                    reference = known[of] = TaskRef(key)
                    if not direct:
                        cut[source] = key
                references.append(reference)
            key = name, *native_out((*images, *index))
            task = layer[key] = Task(key, compute_chunk, shared, number, *references)
            task.kwargs = _NO_ARGUMENTS
            number += 1
    counts = plan.input_counts
    steps = [math.prod(counts[axis + 1 :]) for axis in range(len(counts))]
    for source, key in cut.items():
        place = sum(map(int.__mul__, source, steps))
        task = layer[key] = Task(key, cut_strips, shared, place, TaskRef((given, *key[1:])))
        task.kwargs = _NO_ARGUMENTS
