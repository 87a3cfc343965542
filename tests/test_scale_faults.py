"""Faults of disks, files and users: one clear error, nothing lost, and never an output that is silently wrong."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
import pytest

import scale_random_jobs
import tconv.scale
from scale_processes import Template
from scale_trials import Trial, lines
from tconv.errors import FileError, TconvError, TooLargeError

FORMATS = ("npy", "zarr")
CASE = {
    "seed": 5,
    "images": 2,
    "channels": [2, 1, 3],
    "sizes": [37, 53],
    "dtype": "float32",
    "network": "layer",
    "source": "npy",
    "target": "npy",
    "tiles": 40,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    with Template(tmp_path_factory.mktemp("template")) as template:
        yield template
        assert not template.left_over()


@pytest.fixture(params=FORMATS)
def trial(request, template, tmp_path):
    return Trial(template, tmp_path / "trial", CASE | {"target": request.param})


@pytest.fixture
def job(template, tmp_path):
    """A job from .npy to .npy."""
    return Trial(template, tmp_path / "trial", CASE)


def begun(trial):
    """Begin a job and kill it when some tiles are noted."""
    child = trial.start(slow=0.004)
    child.wait_until(lambda: noted(trial))
    child.send()
    assert trial.killed(child.wait())
    return trial.journal


def noted(trial):
    """Return True if the journal has tiles."""
    return trial.journal.exists() and b"\ndone " in trial.journal.read_bytes()


def refused(child, words):
    """Wait for a job that must end with a FileError, which says certain words."""
    answer = child.wait()
    assert answer.get("error") == "FileError", answer
    for word in words if isinstance(words, tuple) else (words,):
        assert word in answer["text"], answer["text"]
    assert not answer["threads"]
    return answer["text"]


def run(trial, **options):
    """Run the job in this process."""
    return scale_random_jobs.run(trial.case, trial.source, trial.output, **options)


# -- disks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.2, 0.9])
def test_a_full_disk_is_said_and_nothing_is_lost(trial, part):
    calls = trial.start(slow=0, calls=True, log=None).wait()["calls"]
    shutil.rmtree(trial.disk)
    trial.disk.mkdir()
    text = refused(trial.start(fail_at=[int(part * calls), errno.ENOSPC]), "No space left on device. Free some space")
    assert str(trial.disk) in text
    trial.check_names(finished=False)
    trial.finish()
    trial.kills = 1  # the tiles in flight, and those of the group that could not be noted
    trial.check_twice()


def test_a_disk_that_really_is_full(template, tmp_path):
    disk = tmp_path / "small"
    disk.mkdir()
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", disk], capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        trial = Trial(template, disk / "trial", CASE | {"target": "zarr", "sizes": [120, 130]})
        child = trial.start(slow=0.03)
        child.wait_until(lambda: len(lines(trial.log)) >= 4)
        with suppress_full(), (disk / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(1 << 16))
        refused(child, "No space left on device. Free some space")
        trial.check_names(finished=False)
        (disk / "other").unlink()
        trial.finish()
    finally:
        subprocess.run(["umount", disk], check=True)


class suppress_full:  # noqa: N801
    """Context in which a full disk is no error."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        return isinstance(error, OSError) and error.errno == errno.ENOSPC


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_targets_that_cannot_be_written(trial, number):
    text = refused(trial.start(fail_at=[0, number]), os.strerror(number))
    assert "Use a place" in text or "Choose a name" in text
    assert not list(trial.disk.iterdir())


def test_an_output_larger_than_the_disk_is_refused_before_anything_runs(tmp_path):
    layer = tconv.scale.layer(np.ones((1, 1, 2, 2), np.float64), stride=2)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, (1 << 17, 1 << 20))
    with pytest.raises(TooLargeError, match=r"needs up to .* of disk; .* are free"):
        tconv.scale.run(layer, tmp_path / "x.npy", tmp_path / "y.npy")
    del x
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy"}


def test_a_folder_that_is_removed_meanwhile(trial):
    child = trial.start(slow=0.005)
    child.wait_until(lambda: len(lines(trial.log)) >= 5)
    shutil.rmtree(trial.disk, ignore_errors=True)
    answer = child.wait()
    assert answer["error"] == "FileError", answer
    assert not answer["threads"]
    assert not trial.output.exists()
    shutil.rmtree(trial.disk, ignore_errors=True)  # a writer may have made a folder again
    trial.disk.mkdir()
    trial.log.unlink()
    trial.finish()


def test_a_folder_that_is_not_there(job):
    with pytest.raises(FileError, match=r"which does not exist. Choose a name in a directory that does"):
        scale_random_jobs.run(job.case, job.source, job.disk / "none" / "y.npy")


# -- inputs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_an_input_that_is_removed_in_the_middle(template, tmp_path, source):
    trial = Trial(template, tmp_path / "trial", CASE | {"source": source})
    child = trial.start(slow=0.005)
    child.wait_until(lambda: len(lines(trial.log)) >= 10)
    kept = trial.source.with_name("kept")
    trial.source.rename(kept)
    refused(child, str(trial.source))
    trial.check_names(finished=False)
    refused(trial.start(), str(trial.source))
    kept.rename(trial.source)
    trial.finish()


@pytest.mark.parametrize("source", FORMATS)
def test_an_input_that_changes_while_it_is_read(template, tmp_path, source):
    trial = Trial(template, tmp_path / "trial", CASE | {"source": source})
    child = trial.start(slow=0.02)
    # tiles that were noted before the change are compared; with none, all are made from the new input
    child.wait_until(lambda: trial.journal.exists() and b"\nseen " in trial.journal.read_bytes())
    changed_input(trial)
    refused(child, (str(trial.source), "changed"))
    trial.check_names(finished=False)
    refused(trial.start(), "has changed since the job began")
    refused(trial.start(), "has changed since the job began")
    shutil.rmtree(trial.source) if trial.source.is_dir() else trial.source.unlink()
    scale_random_jobs.write_input(trial.case, trial.folder)
    trial.finish()


@pytest.mark.parametrize("source", FORMATS)
def test_an_input_that_changes_between_two_runs(template, tmp_path, source):
    trial = Trial(template, tmp_path / "trial", CASE | {"source": source})
    begun(trial)
    changed_input(trial)
    text = refused(trial.start(), ("has changed since the job began", "Give the input back as it was"))
    assert "image 0 at [" in text
    trial.check_names(finished=False)
    result = trial.start(slow=0)  # still refused: nothing of the new input was taken for the old one
    refused(result, "has changed since the job began")


def changed_input(trial):
    """Write the input again, with one other value in the first tiles."""
    x = scale_random_jobs.input_of(trial.case)
    x[0, 0, 3, 5] += 1
    if trial.case["source"] == "npy":
        with open(trial.source, "r+b") as file:
            file.seek(128)
            file.write(x.tobytes())
    else:
        import zarr

        zarr.open_array(trial.source, mode="r+")[0, 0, 3, 5] = x[0, 0, 3, 5]


@pytest.mark.parametrize("source", FORMATS)
def test_inputs_that_were_copied_or_touched_are_compared_and_taken(template, tmp_path, source):
    trial = Trial(template, tmp_path / "trial", CASE | {"source": source})
    begun(trial)
    copy = trial.source.with_name("copy")
    shutil.copytree(trial.source, copy) if trial.source.is_dir() else shutil.copyfile(trial.source, copy)
    shutil.rmtree(trial.source) if trial.source.is_dir() else trial.source.unlink()
    copy.rename(trial.source)
    past = time.time() - 1e6  # a clock that went back
    for path in [trial.source, *trial.source.rglob("*")]:
        os.utime(path, (past, past))
    result = trial.finish()
    assert result["done_before"] > 0
    trial.check_twice()


def test_a_damaged_chunk_of_the_input(template, tmp_path):
    trial = Trial(template, tmp_path / "trial", CASE | {"source": "zarr"})
    chunk = max((path for path in trial.source.rglob("*") if path.is_file() and path.name != "zarr.json"), key=str)
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    refused(trial.start(slow=0), str(trial.source))
    trial.check_names(finished=False)
    status = chunk.stat()
    chunk.write_bytes(whole)
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
    trial.finish()


# -- outputs -------------------------------------------------------------------------------------------------------


def test_every_damaged_byte_of_an_output_is_found(trial):
    trial.finish()
    files = [path for path in [trial.output, *trial.output.rglob("*")] if path.is_file() and path.suffix != ".json"]
    rng = np.random.default_rng(0)
    for _ in range(8):
        path = files[rng.integers(len(files))]
        data = bytearray(path.read_bytes())
        at = int(rng.integers(128 if path.suffix == ".npy" else 0, len(data)))
        data[at] ^= 1 << int(rng.integers(8))
        before = path.read_bytes()
        path.write_bytes(data)
        report = tconv.scale.verify(trial.output)
        changed = True
        with suppress(Exception):  # the library of the format finds it, too
            changed = scale_random_jobs.stored(trial.output).tobytes() != trial.expected.tobytes()
        assert report.damaged or not changed, (path, at)
        path.write_bytes(before)
    assert tconv.scale.verify(trial.output).is_whole


def test_missing_parts_of_an_output_are_made_again(template, tmp_path):
    trial = Trial(template, tmp_path / "trial", CASE | {"target": "zarr"})
    begun(trial)
    part = trial.disk / "y.zarr.part"
    shard = next(path for path in sorted(part.rglob("*")) if path.is_file() and path.name != "zarr.json")
    shard.unlink()
    trial.finish()


def test_an_output_that_exists_is_never_replaced_unasked(trial):
    begun(trial)
    trial.output.write_text("of another program")
    refused(trial.start(slow=0), "exists, and nothing is overwritten")
    assert trial.output.read_text() == "of another program"
    trial.output.unlink()
    trial.finish()
    trial.check_twice()


def test_an_output_that_appears_while_a_job_runs(trial):
    child = trial.start(slow=0.003)
    child.wait_until(lambda: len(lines(trial.log)) >= 5)
    trial.output.write_text("of another program")
    refused(child, "exists, and nothing is overwritten")
    assert trial.output.read_text() == "of another program"
    trial.output.unlink()
    result = trial.finish()
    assert result["done_now"] == 0


def test_two_jobs_on_one_output_at_a_time(trial):
    child = trial.start(slow=0.005)
    child.wait_until(lambda: len(lines(trial.log)) >= 3)
    refused(trial.start(slow=0), "is in use: another process works at this output")
    assert child.finished()["done_now"]
    trial.finish()


def test_many_jobs_that_start_at_once(trial):
    children = [trial.start(slow=0) for _ in range(4)]
    answers = [child.wait() for child in children]
    assert any("result" in answer for answer in answers)
    for answer in answers:
        assert "result" in answer or answer["error"] == "FileError", answer
    trial.finish()
    assert trial.computed == trial.tiles


# -- journals ------------------------------------------------------------------------------------------------------


def test_altered_journals_are_refused_or_do_no_harm(job):
    journal = begun(job)
    files = {path: path.read_bytes() for path in job.disk.iterdir()}
    data, rng = files[journal], np.random.default_rng(0)
    first = data.index(b"\n")
    places = [*rng.integers(0, first, 15), *rng.integers(first, len(data), 45)]
    altered = [data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :] for at in places]
    altered += [data[:at] for at in rng.integers(0, len(data), 15)]  # the end is missing
    rows = data.splitlines(keepends=True)
    for _ in range(10):  # a line is missing, there twice, or at another place
        one, two = (int(each) for each in rng.integers(1, len(rows), 2))
        altered += [b"".join(rows[:one] + rows[one + 1 :]), b"".join([*rows[:one], rows[two], *rows[one:]])]
    refusals = 0
    for content in altered:
        for path, before in files.items():
            path.write_bytes(before)
        journal.write_bytes(content)
        try:
            run(job)
        except TconvError as error:
            refusals += str(journal) in str(error) or f"{job.output}.part" in str(error)
            assert not job.output.exists()
        else:
            job.check_values()
            job.output.unlink()
    assert 15 <= refusals < len(altered)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 6}, "operation"),
        ({"channels": [2, 2, 3], "network": "chain"}, "operation"),
        ({"tiles": 10}, "tile"),
        ({"images": 1}, "shape"),
    ],
)
def test_the_journal_of_another_job_is_refused(job, change, words):
    begun(job)
    case = job.case | change
    if change != {"tiles": 10}:
        folder = job.folder / "other"
        folder.mkdir()
        source = scale_random_jobs.write_input(case, folder)
    else:
        source = job.source
    with pytest.raises(FileError, match=rf"was begun with something else: .*{words}"):
        scale_random_jobs.run(case, source, job.output)
    job.finish()


def test_a_journal_of_another_version_is_refused(job, monkeypatch):
    begun(job)
    monkeypatch.setattr(tconv, "__version__", "99.0")
    with pytest.raises(FileError, match=r"the version of tconv: .* in the journal, 99.0 now"):
        run(job)
    monkeypatch.undo()
    job.finish()


def test_a_part_without_its_journal_is_not_touched(job):
    journal = begun(job)
    journal.unlink()
    part = job.disk / "y.npy.part"
    before = part.read_bytes()
    with pytest.raises(FileError, match="exists, without a valid journal beside it"):
        run(job)
    assert part.read_bytes() == before
    part.unlink()
    job.log.unlink()
    job.finish()


def test_clocks_that_go_back_do_no_harm(trial):
    begun(trial)
    answer = trial.start(slow=0, clock=-1e6).finished()
    assert answer["done_before"]
    trial.finish()


# -- interrupts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_end_a_job_at_once_and_leave_nothing(trial, number):
    child = trial.start(slow=0.02)
    child.wait_until(lambda: noted(trial))
    start = time.monotonic()
    child.send(number)
    answer = child.wait()
    assert time.monotonic() - start < 5  # a tenth of the job
    assert trial.killed(answer, number)
    assert not answer.get("threads")
    result = trial.finish()
    assert result["done_before"] > 0
    if number == signal.SIGINT:  # written tiles are noted before it ends
        assert trial.twice <= 4
