"""Means over a whole picture that is read tile by tile: nothing of the picture is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tconv._arrays import Array
from tconv._memory import si
from tconv.errors import TooLargeError
from tconv.models.running.column_sums import ColumnSums
from tconv.models.running.passes import mean_levels
from tconv.models.running.plan import Graph
from tconv.models.running.run import Load, StripRun
from tconv.models.running.spans import moved
from tconv.models.running.tiles import TilePlans
from tconv.models.steps.step import Region

_SIDES = (1024, 512, 256, 128, 64)
"""Sides of the tiles that are tried."""


def tile_means(
    graph: Graph,
    plans: Callable[[tuple[int, ...], int], TilePlans],
    load: Load,
    memory: int,
    *,
    whole_rows: bool = False,
) -> dict[int, Array]:
    """Return the means [C, 1, 1] over a picture by the numbers of their nodes, in `memory` bytes.

    `plans` returns the plans of the tiles of a place where some means are known. load(rows, columns) returns a part of
    the input, float32. The picture is read once for each mean. Columns are added up from the top, then each other, so
    no tile changes the bits. With `whole_rows` tiles have the width of the picture. Raises TooLargeError if the memory
    is too small for small tiles.
    """
    found: dict[int, Array] = {}
    one, levels = slice(0, 1), mean_levels(graph.nodes)
    for number in sorted(levels, key=lambda number: (levels[number], number)):
        place = graph.nodes[number - 1].inputs[0]
        of_place = plans(tuple(found), place)
        height, width = of_place.sizes[place]
        sums = ColumnSums(graph.channels[place], width)
        side = _side(of_place, memory - 8 * graph.channels[place] * width, whole_rows)
        known = {mean: Region(values, one, one) for mean, values in found.items()}
        for top in range(0, height, side):
            for left in range(0, width, width if whole_rows else side):
                right = width if whole_rows else min(left + side, width)
                rows, columns = slice(top, min(top + side, height)), slice(left, right)
                _add(sums, of_place, (rows, columns), known, load)
        with np.errstate(all="ignore"):
            found[number] = (sums.total() / (height * width)).astype(np.float32)[:, None, None]
    return found


def _add(sums: ColumnSums, plans: TilePlans, tile: tuple[slice, slice], known: dict[int, Region], load: Load) -> None:
    """Compute a tile, and add its rows."""
    plan, moves = plans.plan(*tile)
    spans = plan.rows[0], plan.columns[0]
    values = load(*(moved(span, -by) for span, (_, by) in zip(spans, moves, strict=True)))
    rows, columns = (moved(span, by) for span, (by, _) in zip(tile, moves, strict=True))
    place = plans.place
    regions = {**known, 0: Region(values, *spans)}
    run = StripRun(plan, regions)
    for _ in range(plan.strips):
        before, after = run.advance()
        fresh = slice(max(before[place], rows.start), min(after[place], rows.stop))
        if fresh.start >= fresh.stop:
            continue
        buffer, first = run.buffers[place], plan.columns[place].start
        for piece in buffer.pieces(fresh):
            part = buffer.view(piece)[0][:, :, columns.start - first : columns.stop - first]
            with np.errstate(all="ignore"):  # inf and NaN are values here
                sums.add(part, tile[1].start)


def _side(plans: TilePlans, memory: int, whole_rows: bool) -> int:
    """Return the side of the largest tiles that fit into the memory."""
    (height, width), channels = plans.sizes[plans.place], plans.graph.channels
    least = 0
    for side in _SIDES:
        rows, columns = (
            slice(size // 2, min(size // 2 + side, size)) if size > side else slice(0, size) for size in (height, width)
        )
        if whole_rows:
            columns = slice(0, width)
        plan, _ = plans.plan(rows, columns)  # of a place away from borders, where there is one
        window = (plan.rows[0].stop - plan.rows[0].start) * (plan.columns[0].stop - plan.columns[0].start)
        least = plan.scratch_bytes + 3 * plan.largest_strip + 8 * channels[0] * window
        if least <= memory:
            return side
    raise TooLargeError(
        f"the means over the whole picture need {si(least + 8 * channels[plans.place] * width, 'B')}, and "
        f"{si(max(0, memory), 'B')} are left for them. Write a larger max_memory"
    )
