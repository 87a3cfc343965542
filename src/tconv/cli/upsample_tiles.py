"""`tconv upsample` tile by tile: the plan, the progress and the facts of a job on a picture larger than memory."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tconv._memory import si
from tconv.cli.console import Report
from tconv.cli.progress_bar import TileProgressBar, shown_tiles
from tconv.errors import ArgumentError, MissingExtraError, TconvError
from tconv.scale.job_plan import JobPlan
from tconv.scale.job_report import JobReport, Progress
from tconv.scale.memory_bound import size_text
from tconv.scale.pipeline import LocalExecutor
from tconv.upsampling.file_batch import is_folder, output_folder
from tconv.upsampling.option_names import COMMAND
from tconv.upsampling.tile_input import is_store
from tconv.upsampling.tile_job import TileJob, refuse_many
from tconv.upsampling.tile_options import TileOptions
from tconv.upsampling.upsampler_selection import Selection

_NAMES = r"\b(max_memory|tile|chunks|shards|axes|level|page|workers|scheduler)"
_WORDS = {
    rf"{_NAMES}=": lambda name: f"{COMMAND.name(name)} ",
    rf"{_NAMES} is\b": lambda name: f"{COMMAND.name(name)} is",
    r"\brepair=(True)": lambda _: "--repair",
    r"\bresume=(False)": lambda _: "--no-resume",
    r"\boverwrite=(True)": lambda _: "--overwrite",
}
"""Words of Python in messages of jobs, and what they are on the command line."""


class Switches(NamedTuple):
    """Switches of the command: True for those that are given."""

    overwrite: bool
    no_alpha: bool
    no_check: bool
    verify: bool
    repair: bool


def run_tiles(
    report: Report,
    sources: tuple[Path, ...],
    output: str | None,
    selection: Selection,
    options: TileOptions,
    switches: Switches,
) -> int:
    """Enlarge one picture tile by tile, print what is done, and return the exit code."""
    if not sources:
        raise ArgumentError(
            "options of tiles were given without an input; the photograph of tconv is enlarged as a whole. Write "
            "tconv upsample huge.tif -o huge.zarr"
        )
    if switches.repair and (switches.overwrite or not options.resume):
        other = "--overwrite" if switches.overwrite else "--no-resume"
        raise ArgumentError(f"--repair keeps what is whole, {other} makes all anew. Leave one of them out")
    if len(sources) != 1 or (os.path.isdir(sources[0]) and not is_store(sources[0])):
        refuse_many(options, COMMAND)
    path = None if output is None else Path(output)
    folder = path if path is not None and is_folder(output, path) and not is_store(path) else None
    try:
        with output_folder(folder):
            return _run(report, sources[0], None if folder else path, folder, selection, options, switches)
    except TconvError as error:
        raise _in_command_words(error) from None


def _run(
    report: Report,
    source: Path,
    output: Path | None,
    folder: Path | None,
    selection: Selection,
    options: TileOptions,
    switches: Switches,
) -> int:
    watch = _Watch(report)
    try:
        with report.timed("load"):
            job = TileJob(
                source,
                selection,
                output,
                folder=folder,
                alpha=False if switches.no_alpha else None,
                checked=not switches.no_check,
                overwrite=switches.overwrite,
                options=options,
                progress=watch,
            )
            job.job.check_output()
            plan = job.plan
            job.look_at_sample()
        _print_plan(report, job, plan)
        was_done = job.job.is_done and not switches.overwrite
        # a finished output is read before it runs: a run refuses one that lacks tiles
        is_whole = not (switches.verify and was_done) or _verify(report, job, switches.repair)
        if not is_whole and not switches.repair:
            return _print_damage(report)
        with shown_tiles(quiet=report.as_json) as bar, report.timed("tiles"):
            watch.bar = bar
            done = job.run()
    except (KeyboardInterrupt, SystemExit) as stop:
        if watch.last is None:
            raise
        return _print_interrupt(watch.last, job.path, 130 if isinstance(stop, KeyboardInterrupt) else 143)
    _print_report(report, job, done, switches.verify)
    if not is_whole:
        report.line("repair", f"{done.done_now:,} tile{'s' * (done.done_now != 1)} made anew")
        report.facts["repaired"] = done.done_now
    if switches.verify and not was_done and not _verify(report, job, switches.repair):
        return _print_damage(report)
    report.close()
    return 0


class _Watch:
    """Function that is called while tiles are written: it says where an earlier job goes on, and moves the bar."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.last: Progress | None = None
        self.bar: TileProgressBar | None = None
        self._dashboard: str | None = None

    def __call__(self, progress: Progress) -> None:
        """Show the state of a running job."""
        if self.last is None and progress.tiles_done:
            self._report.line("resume", f"going on at {_share_done(progress)}")
        self.last = progress
        if progress.dashboard and progress.dashboard != self._dashboard:
            self._dashboard = progress.dashboard
            self._report.line("dashboard", progress.dashboard)
            self._report.facts["dashboard"] = progress.dashboard
        if self.bar is not None:
            self.bar.show(progress)


def _share_done(progress: Progress) -> str:
    """Return the share of a job that is done: "43% (1,204 of 2,800 tiles done)"."""
    share = progress.done / max(1, progress.total)
    return f"{share:.0%} ({progress.tiles_done:,} of {progress.tiles:,} tiles done)"


def _print_interrupt(progress: Progress, output: Path, code: int) -> int:
    with suppress(OSError):
        print(
            f"tconv: interrupted at {_share_done(progress)}, kept in {output}.part. To go on: {_same('--no-resume')}",
            file=sys.stderr,
        )
    return code


def _same(*without: str) -> str:
    """Return the command that was given, without some of its switches."""
    return shlex.join(["tconv", *(each for each in sys.argv[1:] if each not in without)])


def _in_command_words(error: TconvError) -> TconvError:
    """Return an error with the names of options as the command has them."""
    if isinstance(error, MissingExtraError):  # it names none, and is made of other words
        return error
    text = str(error)
    for pattern, words in _WORDS.items():
        text = re.sub(pattern, lambda found, words=words: words(found[1]), text)  # type: ignore[misc]
    text = re.sub(r"(--[a-z-]+ )'([^']*)'", r"\1\2", text)
    text = re.sub(r"(--(?:tile|chunks|shards) (?:is )?)\((\d+), (\d+)\)", r"\1\2x\3", text)
    return type(error)(text)


# -- texts and facts ---------------------------------------------------------------------------------------------


def _print_plan(report: Report, job: TileJob, plan: JobPlan) -> None:
    report.line("upsample", job.upsampler.text)
    report.line("input", "; ".join([_described(job.input.source), *job.input.notes]))
    stage = plan.stages[0]
    tile = " x ".join(map(str, reversed(stage.tile)))
    text = f"{plan.tiles:,} tile{'s' * (plan.tiles != 1)} of {tile}"
    if plan.halo > 1.0005:
        text += f", {plan.halo - 1:.1%} of the work is for their borders"
    text += f"; {si(plan.memory, 'B')} of memory, {plan.bound_text} allowed"
    text += f"; up to {si(plan.disk, 'B')} on the disk; {plan.executor}"
    report.line("plan", text)
    notes = [*job.upsampler.notes, *job.warnings]
    if not isinstance(job.job.executor, LocalExecutor):
        notes.append("workers pay on several machines, or where reading and decoding take longer than computing")
    if plan.enough is not None:
        notes.append(f"with --max-memory {size_text(plan.enough)}, less work is for borders")
    for note in notes:
        report.line("note", note)
    report.facts["plan"] = {
        "tiles": plan.tiles,
        "tile": list(stage.tile),
        "part": None if stage.part is None else list(stage.part),
        "halo": plan.halo,
        "memory_bytes": plan.memory,
        "max_memory": plan.max_memory,
        "disk_bytes": plan.disk,
        "runs_on": plan.executor,
        "notes": job.upsampler.notes,
    }


def _print_report(report: Report, job: TileJob, done: JobReport, verified: bool) -> None:
    size = _bytes_of(job.path)
    report.line("output", f"{_described(job.job.stages[0].target)}, {si(size, 'B')}")
    if done.was_done:
        report.line("tiles", f"all {done.tiles:,} were there: nothing was read or written")
    else:
        before = f", {done.done_before:,} before" if done.done_before else ""
        twice = f"; {done.done_twice:,} of them twice" if done.done_twice else ""
        report.line("tiles", f"{done.done_now:,} now{before}{twice}")
        report.line("check", _check_text(job))
        alone = isinstance(job.job.executor, LocalExecutor)
        of, each = ("", "") if alone else (" of the process that had most", " for each")
        report.line("memory", f"{si(done.peak_memory, 'B')} at the peak{of}, {si(done.max_memory, 'B')} allowed{each}")
        if done.peak_memory > done.max_memory:
            report.line("warning", f"the peak of memory is above --max-memory {si(done.max_memory, 'B')}")
    if not verified:
        report.line("verify", f"{_same('--overwrite', '--no-resume')} --verify reads all of it again")
    report.facts |= {
        "upsampler": job.upsampler.name,
        "scale": job.upsampler.scale,
        "input": {
            "path": job.input.source.name,
            "notes": [*job.input.notes, *job.warnings],
            "arrays": [_array_facts(job.input.source.shape, job)],
        },
        "output": {"path": str(job.path), "bytes": size, "notes": [], "arrays": [_array_facts(job.shape, job)]},
        "check": None if job.check is None else job.check._asdict(),
        "tiles": {
            "done_now": done.done_now,
            "done_before": done.done_before,
            "done_twice": done.done_twice,
            "sessions": done.sessions,
            "was_done": done.was_done,
        },
        "peak_memory": done.peak_memory,
        "pixels_per_second": None if done.was_done else done.elements / max(done.seconds, 1e-9),
    }


def _described(store: Any) -> str:
    """Return the name and the description of an input or output."""
    return f"{store.name}: {store.description.replace(f' in {store.name}', '')}"


def _array_facts(shape: Sequence[int], job: TileJob) -> dict[str, Any]:
    return {"key": "", "shape": list(shape), "dtype": str(job.operator.result)}


def _check_text(job: TileJob) -> str:
    check = job.check
    if check is None:
        return "nothing was checked (--no-check)"
    tiles = job.operator.checks.tiles
    workers = not isinstance(job.job.executor, LocalExecutor)
    if workers:
        return "the workers recomputed random outputs of their tiles, which agree with the definition"
    text = f"{check.outputs:,} random outputs of {tiles:,} tile{'s' * (tiles != 1)} agree with the definition"
    if check.difference:
        text += f": largest difference {check.difference:.2g}, allowed {check.tolerance:.2g}"
    return text


def _bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a store."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _verify(report: Report, job: TileJob, repair: bool) -> bool:
    """Read a finished output again, print what is found, and return True if it is whole.

    With `repair` the next run makes damaged tiles anew.
    """
    with report.timed("verify"):
        found = job.job.verify(repair=repair)
    report.line("verified", str(found))
    report.facts["verified"] = {"tiles": found.tiles, "damaged": list(map(str, found.damaged)), "whole": found.is_whole}
    return found.is_whole


def _print_damage(report: Report) -> int:
    """Print what to do about damaged tiles, and return the exit code."""
    report.line("repair", f"{_same('--overwrite', '--no-resume', '--verify')} --repair makes them anew")
    report.close()
    return 1
