"""Jobs: outputs made tile by tile under a bound of memory, which go on where they were stopped.

While it is made, an output has the ending ".part", and a journal beside it says which tiles are on the disk. When all
are, the output moves to its name; the journal stays, for `verify`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tconv._cached_property import cached_property
from tconv.errors import ArgumentError, FileError, TconvError
from tconv.scale.executor import Executor
from tconv.scale.job_fingerprint import differences, fingerprint_of, modified_inputs, refuse_differences
from tconv.scale.job_plan import JobPlan, plan_job
from tconv.scale.job_report import JobReport, Progress
from tconv.scale.journal import Journal, JournalState, journal_path, read_journal, working_path
from tconv.scale.memory_bound import bytes_of, peak_bytes
from tconv.scale.path_changes import check_free_space, exists, publish, refuse_foreign, remove
from tconv.scale.pipeline import LocalExecutor
from tconv.scale.stage_run import StageRun
from tconv.scale.stores.raw_file import refusal, sync_directory
from tconv.scale.tile_check import altered_tiles, changed_tiles, check_inputs, missing_tiles
from tconv.scale.tile_run import Stage
from tconv.scale.verification import VerifyReport, verify_tiles


def _identity(path: Path) -> list[int]:
    """Return what tells a file or folder from others beside it, whatever its name: a number may be given again.

    Raises FileError if it is gone.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise refusal(path, "read", error) from error
    return [status.st_ino, status.st_mtime_ns]


class Job:
    """Stages that write one output. `output` is its final path; None for arrays in memory, which have no journal.

    >>> import numpy as np, tconv.scale.functional
    >>> layer, y = tconv.scale.layer(np.ones((3, 8, 2, 2), np.float32), stride=2), np.empty((8, 20, 30), np.float32)
    >>> tconv.scale.functional.job_of(layer, np.ones((3, 10, 15), np.float32), y).run().tiles
    1

    `max_memory` bounds the resident memory, None by `bound_of`. With `resume`, a job that was stopped goes on; else it
    starts anew. An output that exists is replaced only with `overwrite`, at the end. With `repair`, tiles that are done
    are read again, and damaged ones are made anew. `progress` is called with a `Progress`, ten times a second at most.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        output: Path | str | None,
        *,
        max_memory: int | str | None = None,
        resume: bool = True,
        overwrite: bool = False,
        repair: bool = False,
        executor: Executor | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.stages = list(stages)
        if not self.stages:
            raise ArgumentError("stages is empty; one stage at least is needed. Write stages=[Stage(...)]")
        if repair and (overwrite or not resume):
            other = "overwrite=True" if overwrite else "resume=False"
            raise ArgumentError(f"repair=True keeps what is whole, {other} makes all anew. Leave one of them out")
        self.output = None if output is None else Path(os.path.abspath(output))
        self.max_memory = None if max_memory is None else bytes_of(max_memory)
        self.executor: Executor = LocalExecutor() if executor is None else executor
        self._resume, self._overwrite, self._repair, self._progress = resume, overwrite, repair, progress
        self._in_place = any(stage.target.in_place for stage in self.stages)
        self._as_given = [(stage.tile, stage.part) for stage in self.stages]
        self._plan: JobPlan | None = None
        self._planned_for: dict[str, Any] | None = None  # header of the journal whose tiles the plan has
        self._is_running = False

    @property
    def plan(self) -> JobPlan:
        """Plan of the job, with the tile sizes of its journal if it goes on. Nothing runs.

        Raises TooLargeError if no tile fits into `max_memory`.
        """
        if self._plan is None:
            begun, ended = self._state_of(self._found)
            goes_on = begun or (ended and not self._overwrite)
            header = self._found.header if goes_on else None
            try:
                self._plan = self._planned(header)
            except TconvError:
                if header is not None and self.output is not None:  # tiles of another job may not fit this one
                    self._compare(header, self.output, ended)
                raise
        return self._plan

    def check_output(self) -> None:
        """Raise FileError for an output that `run` would refuse by its name alone, before anything is planned."""
        if self.output is None or self._in_place or self._found.header is not None:
            return
        if not self.output.parent.is_dir() and not hasattr(self.stages[0].target, "make_parents"):
            raise self._no_folder(self.output)
        if self._overwrite:
            refuse_foreign(self.output, self.output)
        elif os.path.lexists(self.output):
            raise exists(self.output)

    @property
    def tiles_done(self) -> int:
        """Number of tiles that an earlier session has done, by the journal. Nothing is compared."""
        return sum(stage.count for stage in self._found.stages)

    @property
    def is_done(self) -> bool:
        """True if the output is finished, by the journal. Nothing is compared."""
        return self._state_of(self._found)[1]

    @cached_property
    def _found(self) -> JournalState:
        """Content of the journal that is there, if the job goes on; that of an empty one otherwise."""
        journal = None if self.output is None else journal_path(self.output)
        return read_journal(journal) if self._resume and journal and journal.is_file() else JournalState()

    def _planned(self, header: dict[str, Any] | None) -> JobPlan:
        """Return the plan, with the tiles of a journal where none are given: the one that was made, if it holds."""
        if self._plan is not None and header == self._planned_for:
            for stage, planned in zip(self.stages, self._plan.stages, strict=True):
                stage.tile, stage.part = planned.tile, planned.part
            return self._plan
        self._planned_for = header
        self._take_tiles(header)
        executor = self.executor
        return plan_job(
            self.stages,
            self.output,
            self.max_memory,
            executor.description,
            executor.windows,
            executor.results,
            in_turn=isinstance(executor, LocalExecutor),
        )

    def _take_tiles(self, header: dict[str, Any] | None) -> None:
        """Take the tile sizes of a journal where none are given: another bound of memory does not change them.

        Its parts are the first that are tried.
        """
        for number, (stage, (tile, part)) in enumerate(zip(self.stages, self._as_given, strict=True)):
            if tile is not None:  # as the plan has it, and the journal
                tile = tuple(min(each, size) for each, size in zip(tile, stage.output_sizes, strict=False))
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
        try:
            if self._repair and self.tiles_done and any(self._state_of(self._found)):
                self.verify(repair=True)
            return self._run_with_journal(time.monotonic())
        finally:
            self.__dict__.pop("_found", None)  # it has grown
            self.executor.close()

    def _run_with_journal(self, start: float) -> JobReport:
        if self.output is None:
            return self._run_stages(None, start)
        folder = self.output.parent
        if not folder.is_dir():
            _ = self.plan  # what is refused leaves nothing behind
            getattr(self.stages[0].target, "make_parents", lambda: None)()  # groups of a Zarr store
        if not folder.is_dir():
            raise self._no_folder(self.output)
        journal = Journal(journal_path(self.output), discard=not self._resume)
        try:
            return self._run_locked(journal, self.output, start)
        except BaseException as error:
            if self._is_running:
                error.add_note(f"What is done is kept in {self._place}; the same call goes on there")
            elif journal.state.header is not None and not any(map(os.path.lexists, (self._place, self.output))):
                journal.remove()
            raise
        finally:
            self._is_running = False
            self._close(journal)

    def _no_folder(self, output: Path) -> FileError:
        return FileError(
            f"{output} lies in {output.parent}, which does not exist. Choose a name in a directory that does"
        )

    def _close(self, journal: Journal) -> None:
        for stage in self.stages:
            stage.target.close()
        journal.close()

    def verify(
        self, *, repair: bool = False, inputs: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> VerifyReport:
        """Read all tiles that are done again, compare them with the journal's checksums, and return the report.

        With `repair`, damaged tiles are made anew by the next `run`; with `inputs`, the input is read again, too, and
        compared with the checksums of what was read. Raises FileError for an output without a journal, and for an input
        that has changed.
        """
        if self.output is None:
            raise ArgumentError("an array in memory has no journal to verify it by. Write into a file or a Zarr store")
        journal = Journal(journal_path(self.output))
        try:
            if journal.state.header is None:
                raise FileError(f"{self.output} has no journal. Give the path of an output of tconv.scale")
            self._compare(journal.state.header, self.output, self._state_of(journal.state)[1])
            place = self._place if os.path.lexists(self._place) else self.output
            for stage in self.stages:
                stage.target.open(place)
            stored = [stage.target.stored for stage in self.stages]
            states = journal.state.stages
            report = verify_tiles(self.output, journal.state, lambda stage, *region: stored[stage](*region), progress)
            self._take_parts(journal)
            for number, stage in enumerate(self.stages if inputs else ()):
                check_inputs(stage, number, states[number])
            if repair and report.damaged:
                self._forget_damaged(journal, report, place)
            return report
        finally:
            self._close(journal)

    def _forget_damaged(self, journal: Journal, report: VerifyReport, place: Path) -> None:
        """Let the next run make damaged tiles anew; until then, the output has its working name again."""
        journal.go_on()
        journal.note(finished=False)  # a repair that is stopped before it notes a tile has changed nothing
        for number in range(len(self.stages)):
            journal.lost(number, [each.number for each in report.damaged if each.stage == number])
        if place != self._place:
            publish(place, self._place, overwrite=False)

    @property
    def _place(self) -> Path:
        """Path that is written."""
        assert self.output is not None
        return self.output if self._in_place else working_path(self.output)

    def _run_locked(self, journal: Journal, output: Path, start: float) -> JobReport:
        self._finish_move(journal, output)
        begun, ended = self._state_of(journal.state)
        is_kept = ended and self._resume and not self._overwrite
        if is_kept and self._is_done(journal, output):
            return self._report_of_done(journal, output, start)
        self._refuse_existing(journal, output, ended)
        if is_kept or (begun and self._resume):
            self._go_on(journal, ended)
        else:
            self._begin(journal)
        self._is_running = True
        journal.note(session=journal.state.sessions + 1)
        report = self._run_stages(journal, start)
        for stage in self.stages:
            stage.target.finish()
            stage.target.close()
        if not self._in_place:
            if self._overwrite:
                refuse_foreign(output, output)  # once more: it may be another one now
            journal.note(moving=_identity(self._place))
            publish(self._place, output, self._overwrite)
        journal.note(finished=True)
        return report

    def _state_of(self, state: JournalState) -> tuple[bool, bool]:
        """Return if an output was begun and is to go on, and if it is finished, by a journal and by the names there."""
        if self.output is None or state.header is None or not os.path.lexists(self._place):
            return False, not self._in_place and state.is_complete and os.path.lexists(self.output or "")
        if self._in_place:
            ended = state.is_complete and bool(state.notes.get("finished"))
            return not ended, ended
        # of two names, one is the output that is to be replaced: the journal says which, or neither can be trusted
        moving = state.notes.get("moving")
        return moving in (None, _identity(self._place)) or not os.path.lexists(self.output), False

    def _finish_move(self, journal: Journal, output: Path) -> None:
        """Complete the change of names in which an earlier session, or a repair, was stopped."""
        notes, place = journal.state.notes, working_path(output)
        if self._in_place or not os.path.lexists(output):
            return
        if notes.get("finished") is False and not journal.state.is_complete:
            if not os.path.lexists(place):
                publish(output, place, overwrite=False)
        elif "moving" in notes and notes["moving"] == _identity(output):
            remove(place)  # the output that was replaced

    def _refuse_existing(self, journal: Journal, output: Path, ended: bool) -> None:
        """Raise FileError if something would be lost. `ended` says that an earlier session finished the output."""
        no_journal = journal.state.header is None and not journal.is_damaged
        if self._overwrite:
            if not self._in_place:
                refuse_foreign(output, output)
                if no_journal:
                    refuse_foreign(self._place, output)
            return
        if self._in_place:
            is_new = no_journal or (ended and not self._resume)
            if is_new and not all(stage.target.empty() for stage in self.stages):  # type: ignore[attr-defined]
                raise FileError(f"{output} has values. Give an empty array, or write overwrite=True")
        elif os.path.lexists(output):
            raise exists(output)
        elif no_journal and os.path.lexists(self._place):
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
        sync_directory(self._place.parent)
        journal.note(created=True)

    def _go_on(self, journal: Journal, ended: bool) -> None:
        """Compare the journal with this job, and open what is there; `ended` says that it was finished once."""
        state = journal.state
        assert self.output is not None
        now, plan = self._compared(journal, journal.path, ended)
        share = sum(stage.count for stage in state.stages) / max(1, plan.tiles)
        check_free_space(self.output.parent, int(plan.disk * (1 - share)), str(self.output))
        journal.go_on()
        self._note_parts(journal)
        if "created" not in state.notes:
            if not self._in_place:
                remove(self._place)
            self._create(journal)
            return
        for stage in self.stages:
            stage.target.open(self._place)
        for number, stage in enumerate(self.stages):
            # an array that is written in place may have been made anew, or written by others meanwhile
            lost_tiles = altered_tiles if self._in_place else missing_tiles
            lost = lost_tiles(stage, number, state.stages[number])
            lost += changed_tiles(stage, number, state.stages[number])
            if lost:
                journal.lost(number, lost)
                state.stages[number].done[lost] = False
        self._check_inputs(journal, now, ended)

    def _take_parts(self, journal: Journal) -> list[Any]:
        """Tell the stages the parts of all sessions, and return them: the checksums of inputs are those of parts."""
        assert journal.state.header is not None
        first = [entries["part"] for entries in journal.state.header["stages"]]
        known = [first, *journal.state.notes.get("parts", [])]
        for stage, *before in zip(self.stages, *known, strict=True):
            stage.parts_before = tuple(part and tuple(part) for part in before)
        return known

    def _note_parts(self, journal: Journal) -> None:
        """Note the parts of this session, if they are others than those of all before."""
        known, parts = self._take_parts(journal), [stage.part and list(stage.part) for stage in self.stages]
        if parts not in known:
            journal.state.notes["parts"] = [*known[1:], parts]
            journal.note(parts=journal.state.notes["parts"])

    def _compared(self, journal: Journal, path: Path, is_done: bool) -> tuple[dict[str, Any], JobPlan]:
        """Return this job's fingerprint and plan. Raises FileError with what differs from that of a journal."""
        header = journal.state.header
        assert header is not None
        now = self._compare(header, path, is_done)
        self._plan = self._planned(header)
        return now, self._plan

    def _compare(self, header: dict[str, Any], path: Path, is_done: bool) -> dict[str, Any]:
        """Return this job's fingerprint, with the tiles of a journal. Raises FileError with what differs from it."""
        self._take_tiles(header)
        for stage in self.stages:
            stage.check()
            stage.tile = stage.tile or stage.target.unit  # of other axes than the journal's, which is refused
        now = fingerprint_of(self.stages)
        refuse_differences(path, differences(header, now), is_done)
        return now

    def _check_inputs(self, journal: Journal, now: dict[str, Any], is_done: bool) -> None:
        """Compare the inputs of finished tiles with the journal, where they may have changed."""
        header = dict(journal.state.header or {})
        known = journal.state.notes.get("input")
        if known is not None:  # inputs with other times that were compared before
            header["stages"] = [{**each, "input": entry} for each, entry in zip(header["stages"], known, strict=True)]
        changed = modified_inputs(header, now)
        for number in changed:
            check_inputs(self.stages[number], number, journal.state.stages[number], is_done)
        if changed and known != [each["input"] for each in now["stages"]]:
            journal.state.notes["input"] = [each["input"] for each in now["stages"]]
            journal.note(input=journal.state.notes["input"])

    def _is_done(self, journal: Journal, output: Path) -> bool:
        """Return True for a finished output that is as it was written. False for arrays that have other values now.

        Raises FileError for an output of another job, and for a file of which something is lost.
        """
        now, _ = self._compared(journal, output, True)
        journal.go_on()
        self._take_parts(journal)
        self._check_inputs(journal, now, is_done=True)
        moved = not self._in_place and journal.state.notes.get("moving") == _identity(output)
        for number, stage in enumerate(self.stages):
            stage.target.open(output)
            # what is not the file that was moved here may be another one, or a copy
            lost_tiles = missing_tiles if moved else altered_tiles
            lost = lost_tiles(stage, number, journal.state.stages[number])
            if lost and self._in_place:
                return False
            if lost:
                words = "lacks" if moved else "was replaced: it has other values in"
                raise FileError(
                    f"{output} {words} {len(lost)} of {stage.tile_count} tiles that its journal has. Make them anew by "
                    "repair=True, or all by overwrite=True"
                )
        if not moved and not self._in_place:
            journal.note(moving=_identity(output))
        return True

    def _report_of_done(self, journal: Journal, output: Path, start: float) -> JobReport:
        """Return the report of a job that had ended before."""
        state = journal.state
        done, twice = (sum(getattr(each, name) for each in state.stages) for name in ("count", "done_twice"))
        seconds = time.monotonic() - start
        return JobReport(output, self.plan, seconds, 0, 0, done, twice, state.sessions, peak_bytes(), was_done=True)

    def _run_stages(self, journal: Journal | None, start: float) -> JobReport:
        return StageRun(self.stages, self.plan, self.executor, journal, self._progress).run(self.output, start)
