"""Runs over tiles below each other, which go on where the tile before ended: the rows between them are computed once.

A tile has rows of every layer around it, which the tile below needs, too. A thread that computes tiles from the top
down keeps its run from one to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv.models.running.run import StripRun
from tconv.models.running.spans import moved
from tconv.models.running.tiles import TilePlans
from tconv.models.steps.step import Region

_EMPTY: Array = np.zeros((0, 0, 0), np.float32)


@dataclass
class LastTile:
    """The tile that a thread has computed last, and the run that may go on below it, for rows up to `end`."""

    plans: TilePlans
    columns: slice
    rows: slice
    end: int
    run: StripRun | None
    moves: list[tuple[int, int]]
    below: Array
    """rows of the input that the tile below reads, too"""
    first: int
    """the row of the picture that they begin with"""
    across: slice
    """columns of the picture that they are"""
    means: dict[int, Array]


class ThreadTile(threading.local):
    """The tile that each thread has computed last."""

    last: LastTile | None = None


def run_tile(plans: TilePlans, x: Region, out: Region, means: Mapping[int, Array], thread: ThreadTile) -> None:
    """Fill a tile: below the last one of this thread by going on, else anew."""
    one = slice(0, 1)
    last, thread.last = thread.last, None
    if last is None or not _follows(last, plans, x, out, means):
        last = None  # before the new run has its memory
    if last is not None and last.run is not None and out.rows.stop <= last.end:
        run, moves, end = last.run, last.moves, last.end
    else:
        found = None if last is None else plans.plan_down(out.rows, out.columns)
        plan, moves, end = found or (*plans.plan(out.rows, out.columns), out.rows.stop)
        regions = {place: Region(values, one, one) for place, values in means.items()}
        run = StripRun(plan, regions | {0: _moved(x, moves, 1), plans.place: _moved(out, moves, 0)})
    run.replace(0, _moved(x, moves, 1))
    run.replace(plans.place, _moved(out, moves, 0))
    run.advance_to(plans.place, out.rows.stop - moves[0][0])
    for place in (0, plans.place):  # the caller's arrays are theirs again
        run.replace(place, Region(_EMPTY, one, one))
    first = plans.first_below(out.rows)
    below = x.values[:, max(0, first - x.rows.start) :].copy()
    going = run if out.rows.stop < end else None
    thread.last = LastTile(plans, out.columns, out.rows, end, going, moves, below, first, x.columns, dict(means))


def _moved(region: Region, moves: list[tuple[int, int]], side: int) -> Region:
    """Return a region at the place of a plan."""
    return Region(region.values, moved(region.rows, moves[0][side]), moved(region.columns, moves[1][side]))


def _follows(last: LastTile, plans: TilePlans, x: Region, out: Region, means: Mapping[int, Array]) -> bool:
    """Return True for a tile of the same columns and height below the last one, of the same picture.

    Both read some rows of the input. If their numbers are the same, so is all that was computed of them.
    """
    height = out.rows.stop - out.rows.start
    if last.plans is not plans or last.rows.stop != out.rows.start or last.columns != out.columns:
        return False
    if last.rows.stop - last.rows.start != height or last.means.keys() != means.keys():
        return False
    if last.across != x.columns or x.rows.start > last.first:
        return False
    known = x.values[:, last.first - x.rows.start :][:, : last.below.shape[1]]
    return _same(known, last.below) and all(_same(values, last.means[place]) for place, values in means.items())


def _same(some: Array, others: Array) -> bool:
    """Return True for the same bits."""
    return some.shape == others.shape and np.array_equal(
        np.ascontiguousarray(some).view(np.uint32), np.ascontiguousarray(others).view(np.uint32)
    )
