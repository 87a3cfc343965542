"""Run of a job's stages: the tiles that are not done, with the journal, the memory and the progress beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tconv._memory import pool_bounded
from tconv.scale.executor import Executor
from tconv.scale.group_commit import GroupCommit
from tconv.scale.job_plan import JobPlan
from tconv.scale.job_report import JobReport, Meter, Progress
from tconv.scale.journal import Journal, StageState
from tconv.scale.memory_bound import MemoryWatch
from tconv.scale.regions import elements, whole
from tconv.scale.tile_check import refuse_changed_input
from tconv.scale.tile_run import Stage, Tile, TileRecord


class StageRun:
    """All stages of a job, one after the other. `journal` is None for arrays in memory."""

    def __init__(
        self,
        stages: Sequence[Stage],
        plan: JobPlan,
        executor: Executor,
        journal: Journal | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._stages, self._plan, self._executor, self._journal = stages, plan, executor, journal
        self._states = journal.state.stages if journal else [StageState(stage.tile_count) for stage in stages]
        self._watch = MemoryWatch(plan.max_memory)
        self._before = sum(state.count for state in self._states)
        self._made = sum(map(done_elements, range(len(stages)), stages, self._states))
        self._total = sum(stage.target.shape[0] * elements(whole(stage.output_sizes)) for stage in stages)
        self._meter = Meter(progress, self._total, plan.tiles, self._made, self._before, executor)

    def run(self, output: Path | None, start: float) -> JobReport:
        """Run what is not done, and return the report."""
        plan, states = self._plan, self._states
        self._meter.tell(self._watch)
        for number, stage in enumerate(self._stages):
            if not states[number].done.all():
                self._prepare(number, stage)
                with pool_bounded(plan.stages[number].need.outputs):
                    self._run_stage(number, stage)
                if self._journal is not None:
                    refuse_changed_input(self._journal, number, stage)
                    self._journal.done(number, [], seen=True)
        self._meter.tell(self._watch)
        return JobReport(
            output,
            plan,
            time.monotonic() - start,
            self._total - self._made,
            plan.tiles - self._before,
            self._before,
            sum(state.done_twice for state in states) + self._executor.repeated,
            (self._journal.state.sessions if self._journal else 0) + 1,
            max(self._watch.peak, self._executor.peak_memory),
            dashboard=self._executor.dashboard,
        )

    def _prepare(self, number: int, stage: Stage) -> None:
        """Let the operator look at each whole image, unless an earlier session did."""
        journal = self._journal
        known = journal.state.contexts if journal else {}
        room = self._plan.max_memory - self._plan.base_memory - self._plan.reserve
        for image in range(stage.target.shape[0]):
            context = known.get((number, image))
            if context is None:
                context = stage.operator.prepare(partial(stage.source.read, image), stage.sizes, room)
                if context is not None and journal is not None:
                    journal.context(number, image, context)
            if context is not None:
                stage.contexts[image] = context

    def _run_stage(self, number: int, stage: Stage) -> None:
        """Run the tiles of one stage that are not done."""
        journal = self._journal
        commit = None if journal is None else GroupCommit(journal, number, stage, self._executor.syncs)
        records = self._executor.run(stage, tiles_to_do(journal, number, stage, self._states[number]))
        try:
            for record in records:
                if commit is not None:
                    commit.put(record)
                self._meter.add(elements(record.tile.outputs), self._watch)
                self._watch.look()
        except BaseException as error:
            with suppress(BaseException):  # the first error is the one to tell
                for record in rest_of(records, error):
                    if commit is not None:
                        commit.put(record)
            if commit is not None:
                with suppress(BaseException):
                    commit.close()
            raise
        if commit is not None:
            commit.close()


def tiles_to_do(journal: Journal | None, number: int, stage: Stage, state: StageState) -> Iterator[Tile]:
    """Yield the tiles that are not done, and note in the journal that their work begins."""
    for tile in stage.tiles_in_turn(number):
        place = stage.number(tile)
        if not state.done[place]:
            if journal is not None:
                journal.start(number, place)
                state.started[place] += 1
            yield tile


def done_elements(number: int, stage: Stage, state: StageState) -> int:
    """Return the outputs of one channel in the tiles that are done."""
    if not state.done.any():
        return 0
    return sum(elements(tile.outputs) for place, tile in enumerate(stage.tiles(number)) if state.done[place])


def rest_of(records: Iterator[TileRecord], error: BaseException) -> Iterator[TileRecord]:
    """Yield the records that an executor has when an error of its caller ends it."""
    throw = getattr(records, "throw", None)
    if throw is None:
        return
    yield throw(error)
    yield from records
