"""Graph of a lazy array: a task per output chunk, and one per input chunk that has strips for its neighbours.

The number of tasks is at most the sum of both numbers of chunks. A task has a number and the keys that it depends on;
all else is in the plan, under one key.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.array import Array as LazyArray
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from tconv.scale.chunks.chunk_plan import ChunkPlan, Index
from tconv.scale.chunks.chunk_tasks import compute_chunk, compute_stored_chunk, cut_strips
from tconv.scale.chunks.shared_object import Shared


def lazy_array(kind: str, plan: ChunkPlan, given: LazyArray | None, identity: Any) -> LazyArray:
    """Return the lazy output of a plan, of a lazy input or of the plan's store, whose identity names the tasks."""
    token = tokenize(plan, identity if given is None else given.name)
    name, axes = f"{kind}-{token}", plan.axes
    shared_key, shared = f"{kind}-plan-{token}", Shared(token, plan)
    layer: dict[Any, Any] = {shared_key: DataNode(shared_key, shared)}
    before = len(plan.images)
    chunks = [np.diff(borders).tolist() for borders in (*plan.images, *(axis.outputs for axis in plan.spatial))]
    if axes.channel is not None:
        chunks.insert(before, [plan.operator.channels[1]])
    keys = _Keys(plan)
    if given is None:
        reference = TaskRef(shared_key)
        for number, index in enumerate(product(*map(range, plan.counts))):
            key = name, *keys.native(index)
            layer[key] = Task(key, compute_stored_chunk, reference, number)
    else:
        _add_tasks(layer, plan, keys, name, given.name, TaskRef(shared_key), f"{kind}-strips-{token}")
    dependencies = [] if given is None else [given]
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    native = tuple(tuple(chunks[place]) for place in np.argsort(axes.order))
    meta = np.empty((0,) * len(native), plan.operator.result)
    return LazyArray(graph, name, native, meta=meta)


class _Keys:
    """Numbers of a chunk in the order of an array's axes, as its keys have them."""

    def __init__(self, plan: ChunkPlan) -> None:
        self._before = len(plan.images)
        self._has_channel = plan.axes.channel is not None
        places = np.argsort(plan.axes.order).tolist()
        self._places: list[int] | None = None if places == sorted(places) else places

    def native(self, index: Index) -> Index:
        """Return them for a chunk (images, spatial): with 0 for the channels."""
        full = (*index[: self._before], 0, *index[self._before :]) if self._has_channel else index
        return full if self._places is None else tuple(full[place] for place in self._places)


def _add_tasks(
    layer: dict[Any, Any], plan: ChunkPlan, keys: _Keys, name: str, given: str, shared: TaskRef, strips: str
) -> None:
    before, needed = len(plan.images), {}
    chunk_refs: dict[Index, TaskRef] = {}
    strip_refs: dict[Index, TaskRef] = {}
    spatial = [(index, list(plan.part_sources(index))) for index in product(*map(range, plan.counts[before:]))]
    number = 0
    for images in product(*map(range, plan.counts[:before])):
        chunk_refs.clear()
        strip_refs.clear()
        for index, parts in spatial:
            references = []
            for of, direct in parts:
                refs = chunk_refs if direct else strip_refs
                reference = refs.get(of)
                if reference is None:
                    chunk = keys.native((*images, *of))
                    reference = refs[of] = TaskRef((given if direct else strips, *chunk))
                    if not direct:
                        needed[(*images, *of)] = reference.key
                references.append(reference)
            key = name, *keys.native((*images, *index))
            layer[key] = Task(key, compute_chunk, shared, number, *references)
            number += 1
    counts = plan.input_counts
    steps = [int(np.prod(counts[axis + 1 :])) for axis in range(len(counts))]
    for index, key in needed.items():
        place = sum(map(int.__mul__, index, steps))
        layer[key] = Task(key, cut_strips, shared, place, TaskRef((given, *key[1:])))
