"""Jobs: outputs made tile by tile under a bound of memory, which go on where they were stopped.

While it is made, an output has the ending ".part", and a journal beside it says which tiles are on the disk. When all
are, the output moves to its name; the journal stays, for `verify`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tconv._memory import pool_bounded
from tconv.errors import FileError
from tconv.scale.executor import Executor
from tconv.scale.group_commit import GroupCommit
from tconv.scale.input_check import check_inputs
from tconv.scale.job_fingerprint import differences, fingerprint_of, modified_inputs, plain, refuse_differences
from tconv.scale.job_plan import RESERVE, JobPlan, plan_job
from tconv.scale.job_report import JobReport, Meter, Progress
from tconv.scale.journal import Journal, StageState, journal_path, read_journal
from tconv.scale.memory_bound import MemoryWatch, bytes_of
from tconv.scale.path_changes import check_free_space, exists, publish, remove
from tconv.scale.pipeline import LocalExecutor
from tconv.scale.regions import elements, whole
from tconv.scale.tile_run import Stage, Tile, TileRecord
from tconv.scale.verification import VerifyReport, verify_tiles


def working_path(output: Path) -> Path:
    """Return the name that an output has until it is finished."""
    return output.with_name(f"{output.name}.part")


class Job:
    """Stages that write one output. `output` is its final path; None for arrays in memory, which have no journal.

    `max_memory` bounds the resident memory of the process. With `resume`, a job that was stopped goes on; without, it
    starts anew. An output that exists is replaced only with `overwrite`, at the end. `progress` is called with a
    `Progress`, ten times a second at most.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        output: Path | str | None,
        *,
        max_memory: int | str = "1GB",
        resume: bool = True,
        overwrite: bool = False,
        executor: Executor | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.stages = list(stages)
        self.output = None if output is None else Path(os.path.abspath(output))
        self.max_memory = bytes_of(max_memory)
        self.executor: Executor = LocalExecutor() if executor is None else executor
        self._resume, self._overwrite, self._progress = resume, overwrite, progress
        self._in_place = any(getattr(stage.target, "in_place", False) for stage in self.stages)
        self._as_given = [(stage.tile, stage.part) for stage in self.stages]
        self._plan: JobPlan | None = None

    @property
    def plan(self) -> JobPlan:
        """Plan of the job, with the tile sizes of its journal if it goes on. Nothing runs.

        Raises TooLargeError if no tile fits into `max_memory`.
        """
        if self._plan is None:
            journal = None if self.output is None else journal_path(self.output)
            header = read_journal(journal).header if self._resume and journal and journal.is_file() else None
            self._plan = self._planned(header)
        return self._plan

    def _planned(self, header: dict[str, Any] | None) -> JobPlan:
        """Return the plan, with the tiles of a journal where none are given."""
        self._take_tiles(header)
        executor = self.executor
        return plan_job(
            self.stages,
            self.output,
            self.max_memory,
            executor.description,
            executor.windows,
            executor.results,
            may_split=header is None,
        )

    def _take_tiles(self, header: dict[str, Any] | None) -> None:
        """Take the tile sizes of a journal where none are given: another bound of memory does not change them."""
        for number, (stage, (tile, part)) in enumerate(zip(self.stages, self._as_given, strict=True)):
            stage.tile, stage.part = tile, part
            entries = header["stages"][number] if header and number < len(header["stages"]) else None
            if entries and len(entries["tile"]) == len(stage.output_sizes) and tile in (None, tuple(entries["tile"])):
                stage.tile = tuple(entries["tile"])
                stage.part = tuple(entries["part"]) if entries["part"] else None

    def run(self) -> JobReport:
        """Run what is not done yet, and return the report.

        Raises FileError for an output that exists, for a journal of another job and for files that cannot be read or
        written, and TooLargeError for one that does not fit into memory or onto the disk. After any error, and after an
        interrupt, what is done is kept, and the next run goes on there.
        """
        start = time.monotonic()
        if self.output is None:
            return self._run_stages(None, [], start)
        folder = self.output.parent
        if not folder.is_dir():
            raise FileError(
                f"{self.output} lies in {folder}, which does not exist. Choose a name in a directory that does"
            )
        journal = Journal(journal_path(self.output))
        try:
            return self._run_locked(journal, self.output, start)
        except BaseException as error:
            if journal.state.header is not None and os.path.lexists(self._place):
                error.add_note(f"What is done is kept in {self._place}; the same call goes on there")
            raise
        finally:
            for stage in self.stages:
                stage.target.close()
            journal.close(remove_new=True)

    def verify(
        self, *, repair: bool = False, inputs: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> VerifyReport:
        """Read all tiles that are done again, compare them with the journal's checksums, and return the report.

        With `repair`, damaged tiles are made anew by the next `run`; with `inputs`, the input is read again, too, and
        compared with the checksums of what was read. Raises FileError for an output without a journal, and for an input
        that has changed.
        """
        assert self.output is not None
        journal = Journal(journal_path(self.output))
        try:
            if journal.state.header is None:
                raise FileError(f"{self.output} has no journal. Give the path of an output of tconv.scale")
            self._compared(journal)
            place = self._place if os.path.lexists(self._place) else self.output
            for stage in self.stages:
                stage.target.open(place)
            stored = [stage.target.stored for stage in self.stages]
            states = journal.state.stages
            report = verify_tiles(self.output, journal.state, lambda stage, *region: stored[stage](*region), progress)
            for number, stage in enumerate(self.stages if inputs else ()):
                check_inputs(stage, number, states[number])
            if repair and report.damaged:
                self._forget_damaged(journal, report, place)
            return report
        finally:
            for stage in self.stages:
                stage.target.close()
            journal.close(remove_new=True)

    def _forget_damaged(self, journal: Journal, report: VerifyReport, place: Path) -> None:
        """Let the next run make damaged tiles anew; until then, the output has its working name again."""
        journal.go_on()
        for number in range(len(self.stages)):
            journal.lost(number, [each.number for each in report.damaged if each.stage == number])
        journal.note(finished=False)
        if place != self._place:
            publish(place, self._place, overwrite=False)

    @property
    def _place(self) -> Path:
        """Path that is written."""
        assert self.output is not None
        return self.output if self._in_place else working_path(self.output)

    def _run_locked(self, journal: Journal, output: Path, start: float) -> JobReport:
        state = journal.state
        is_there, has_part = os.path.lexists(output), os.path.lexists(working_path(output))
        begun = state.header is not None and os.path.lexists(self._place)
        if self._in_place:
            finished = bool(state.notes.get("finished"))
            begun, ended = begun and not finished, begun and finished
        else:
            ended = is_there and not has_part and state.is_complete
        if ended and self._resume and not self._overwrite:
            return self._found_done(journal, output, start)
        self._refuse_existing(journal, output, is_there, has_part)
        if begun and self._resume:
            self._go_on(journal)
        else:
            self._begin(journal)
        journal.note(session=journal.state.sessions + 1)
        report = self._run_stages(journal, journal.state.stages, start)
        for stage in self.stages:
            stage.target.finish()
            stage.target.close()
        if not self._in_place:
            publish(self._place, output, self._overwrite)
        journal.note(finished=True)
        return report

    def _refuse_existing(self, journal: Journal, output: Path, is_there: bool, has_part: bool) -> None:
        """Raise FileError if something would be lost."""
        if self._overwrite:
            return
        no_journal = journal.state.header is None
        if self._in_place:
            if no_journal and not all(stage.target.empty() for stage in self.stages):  # type: ignore[attr-defined]
                raise FileError(f"{output} has values. Give an empty array, or write overwrite=True")
        elif is_there:
            raise exists(output)
        elif has_part and no_journal:
            raise FileError(
                f"{self._place} exists, without a valid journal beside it. Remove it, write to another name, or write "
                "overwrite=True"
            )

    def _begin(self, journal: Journal) -> None:
        """Start anew: an empty output, and a journal without tiles."""
        assert self.output is not None
        self._plan = self._planned(None)
        check_free_space(self.output.parent, self._plan.disk, str(self.output))
        if not self._in_place:
            remove(self._place)
        journal.begin(fingerprint_of(self.stages))
        self._create(journal)

    def _create(self, journal: Journal) -> None:
        for stage in self.stages:
            stage.target.create(self._place)
        for stage in self.stages:
            stage.target.open(self._place)
        journal.note(created=True)

    def _go_on(self, journal: Journal) -> None:
        """Compare the journal with this job, and open what is there."""
        state = journal.state
        assert self.output is not None
        now, plan = self._compared(journal)
        share = sum(stage.count for stage in state.stages) / max(1, plan.tiles)
        check_free_space(self.output.parent, int(plan.disk * (1 - share)), str(self.output))
        journal.go_on()
        if "created" not in state.notes:
            if not self._in_place:
                remove(self._place)
            self._create(journal)
            return
        for stage in self.stages:
            stage.target.open(self._place)
        self._check_inputs(journal, now)
        for number, stage in enumerate(self.stages):
            missing = missing_tiles(number, stage, state.stages[number])
            if missing:
                journal.lost(number, missing)
                state.stages[number].done[missing] = False

    def _compared(self, journal: Journal) -> tuple[dict[str, Any], JobPlan]:
        """Return this job's fingerprint and plan. Raises FileError with what differs from that of a journal."""
        header = journal.state.header
        assert header is not None
        self._take_tiles(header)
        for stage in self.stages:
            stage.check()
            stage.tile = stage.tile or stage.target.unit  # of other axes than the journal's, which is refused
        now = fingerprint_of(self.stages)
        refuse_differences(journal.path, differences(header, now))
        self._plan = self._planned(header)
        return now, self._plan

    def _check_inputs(self, journal: Journal, now: dict[str, Any]) -> None:
        """Compare the inputs of finished tiles with the journal, where they may have changed."""
        header = dict(journal.state.header or {})
        known = journal.state.notes.get("input")
        if known is not None:  # inputs with other times that were compared before
            header["stages"] = [{**each, "input": entry} for each, entry in zip(header["stages"], known, strict=True)]
        changed = modified_inputs(header, now)
        for number in changed:
            check_inputs(self.stages[number], number, journal.state.stages[number])
        if changed and known != [each["input"] for each in now["stages"]]:
            journal.state.notes["input"] = [each["input"] for each in now["stages"]]
            journal.note(input=journal.state.notes["input"])

    def _found_done(self, journal: Journal, output: Path, start: float) -> JobReport:
        """Return the report of a job that had ended before."""
        state = journal.state
        try:
            now, plan = self._compared(journal)
        except FileError as error:
            raise FileError(f"{output} exists, and nothing is overwritten. {error}") from None
        journal.go_on()
        self._check_inputs(journal, now)
        for number, stage in enumerate(self.stages):
            stage.target.open(output)
            missing = missing_tiles(number, stage, state.stages[number])
            if missing:
                raise FileError(
                    f"{output} lacks {len(missing)} of {stage.tile_count} tiles that its journal has. Make them anew "
                    "by Job.verify(repair=True), or all by overwrite=True"
                )
        done, twice = (sum(getattr(each, name) for each in state.stages) for name in ("count", "done_twice"))
        peak = MemoryWatch(None).peak
        return JobReport(output, plan, time.monotonic() - start, 0, 0, done, twice, state.sessions, peak, was_done=True)

    def _run_stages(self, journal: Journal | None, states: list[StageState], start: float) -> JobReport:
        plan, watch = self.plan, MemoryWatch(self.max_memory)
        states = states or [StageState(stage.tile_count) for stage in self.stages]
        before = sum(state.count for state in states)
        made = sum(map(done_elements, range(len(states)), self.stages, states))
        total = sum(stage.target.shape[0] * elements(whole(stage.output_sizes)) for stage in self.stages)
        meter = Meter(self._progress, total, plan.tiles, made, before)
        meter.tell(watch)
        for number, stage in enumerate(self.stages):
            if not states[number].done.all():
                self._prepare(journal, number, stage)
                with pool_bounded(plan.stages[number].need.outputs):
                    self._run_stage(journal, number, stage, states[number], meter, watch)
                self._refuse_changed_input(journal, number, stage)
        meter.tell(watch)
        return JobReport(
            self.output,
            plan,
            time.monotonic() - start,
            total - made,
            plan.tiles - before,
            before,
            sum(state.done_twice for state in states),
            (journal.state.sessions if journal else 0) + 1,
            watch.peak,
        )

    def _prepare(self, journal: Journal | None, number: int, stage: Stage) -> None:
        """Let the operator look at each whole image, unless an earlier session did."""
        known = journal.state.contexts if journal else {}
        room = self.max_memory - self.plan.base_memory - RESERVE
        for image in range(stage.target.shape[0]):
            context = known.get((number, image))
            if context is None:
                context = stage.operator.prepare(partial(stage.source.read, image), stage.sizes, room)
                if context is not None and journal is not None:
                    journal.context(number, image, context)
            if context is not None:
                stage.contexts[image] = context

    def _run_stage(
        self, journal: Journal | None, number: int, stage: Stage, state: StageState, meter: Meter, watch: MemoryWatch
    ) -> None:
        """Run the tiles of one stage that are not done."""
        commit = None if journal is None else GroupCommit(journal, number, stage, self.executor.syncs)
        records = self.executor.run(stage, tiles_to_do(journal, number, stage, state))
        try:
            for record in records:
                if commit is not None:
                    commit.put(record)
                meter.add(elements(record.tile.outputs), watch)
                watch.look()
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

    def _refuse_changed_input(self, journal: Journal | None, number: int, stage: Stage) -> None:
        if journal is None or journal.state.header is None:
            return
        known = journal.state.notes.get("input")
        before = known[number] if known else journal.state.header["stages"][number]["input"]
        if plain(stage.source.identity()) != before:
            raise FileError(
                f"{stage.source.name} was changed while it was read. Leave it alone until the job ends, and start "
                "again: finished tiles are compared with it then"
            )


def tiles_to_do(journal: Journal | None, number: int, stage: Stage, state: StageState) -> Iterator[Tile]:
    """Yield the tiles that are not done, and note in the journal that their work begins."""
    for place, tile in enumerate(stage.tiles(number)):
        if not state.done[place]:
            if journal is not None:
                journal.start(number, place)
                state.started[place] += 1
            yield tile


def missing_tiles(number: int, stage: Stage, state: StageState) -> list[int]:
    """Return the numbers of tiles that are noted as done and are not there. No values are read."""
    return [
        place
        for place, tile in enumerate(stage.tiles(number))
        if state.done[place] and not stage.target.has(tile.image, tile.outputs)
    ]


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
