"""Jobs: the bits of the whole, whatever stopped them; what differs is refused by name; nothing is lost or overwritten."""

import os
import shutil
import threading
import time

import numpy as np
import pytest

import tconv
from scale_stand_ins import TILES, CountingSource, Failing, SmallJob, Stopped, Wrapped, layer, own_threads, picture
from tconv.errors import DtypeError, FileError, ShapeError, TooLargeError
from tconv.geometry import Geometry
from tconv.scale import job_plan, path_changes
from tconv.scale.job import Job
from tconv.scale.journal import read_journal
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.stores.formats import open_source, target_for
from tconv.scale.stores.memory_array import ArraySource, ArrayTarget
from tconv.scale.tile_plan import plan_stage
from tconv.scale.tile_run import Stage, run_tile

pytest.importorskip("llvmlite")


@pytest.fixture
def small(tmp_path):
    job = SmallJob(tmp_path)
    yield job
    assert own_threads() == []


@pytest.fixture
def no_sync(monkeypatch):
    """Leave out the waiting for the disk, which these tests do a hundred times."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(os, "fdatasync", lambda file: None)


# -- the bits of the whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i2", "c8"])
@pytest.mark.parametrize(("sizes", "kernel"), [((31,), (5,)), ((1, 23), (3, 4)), ((4, 3, 5), (3, 4, 2))])
def test_tiles_of_every_size_have_the_bits_of_the_whole(dtype, sizes, kernel):
    rng = np.random.default_rng(3)
    whole = np.dtype(dtype).kind == "i"
    draw = (lambda *n: rng.integers(-9, 9, n)) if whole else (lambda *n: rng.standard_normal(n))
    weight, bias, x = (draw(*n).astype(dtype) for n in ((4, 3, *kernel), (3,), (2, 4, *sizes)))
    operator = LayerOperator(weight, bias, Geometry(kernel, 2, 1))
    shape = operator.output_sizes(sizes)
    right = np.stack([computed(operator, image) for image in x])
    for tile in {shape, (1,) * len(shape), tuple(rng.integers(1, 8, len(shape)).tolist()), (4,) * len(shape)}:
        y = np.full((2, 3, *shape), 77).astype(operator.result)
        report = Job([Stage(operator, ArraySource(x), ArrayTarget(y), tile)], None, max_memory="4GB").run()
        np.testing.assert_array_equal(y, right)
        assert report.tiles == 2 * np.prod([-(-size // step) for size, step in zip(shape, tile, strict=True)])


def test_parts_of_a_tile_have_its_bits(small):
    """As for units that do not fit into memory."""
    report = small.job(tile=(58, 75)).run()
    assert (report.tiles, small.is_right()) == (1, True)
    small.output.unlink()
    job = small.job(tile=(58, 75), resume=False)
    job.stages[0].part = (7, 9)
    job._as_given = [((58, 75), (7, 9))]
    job.run()
    assert small.is_right()
    assert job.plan.stages[0].part == (7, 9)
    assert "computed in parts of 7 x 9" in str(job.plan)


def test_a_job_goes_on_in_other_parts_of_its_tiles(small, monkeypatch):
    """As under a lower bound: the inputs of tiles have the checksums of the parts in which they were read."""
    parts = [(16, 20), (5, 24), (7, 9)]

    def in_parts(stage, *arguments):
        need = plan_stage(stage, *arguments)
        stage.part = parts[0]
        return need

    monkeypatch.setattr(job_plan, "plan_stage", in_parts)
    for computed_parts in (
        7,
        9,
    ):  # three tiles in parts of half, three of a quarter; those at the right edge have fewer
        small.stop_after(computed_parts)
        os.utime(small.input)  # all inputs are compared
        parts.pop(0)
    report = small.job(tile=None).run()
    assert report.done_before == 6
    assert small.is_right()
    os.utime(small.input)
    assert small.job(tile=None).run().was_done
    assert small.job(tile=None).verify(inputs=True).is_whole
    altered = np.load(small.input)
    altered[0, 0, 0] += 1
    np.save(small.input, altered)
    with pytest.raises(FileError, match="has changed since the job began"):
        small.job(tile=None).run()


def test_a_tile_by_itself_has_the_same_checksums(small):
    """As a worker of another process computes it."""
    small.job().run()
    state = read_journal(small.journal).stages[0]
    stage = small.job().stages[0]
    stage.target.open(small.output)
    for number, tile in enumerate(stage.tiles(0)):
        record = run_tile(stage, tile)
        assert (record.values, record.window) == (int(state.values[number]), int(state.windows[number]))
        assert stage.number(tile) == number
        assert stage.tile_of(0, number) == tile
    stage.target.close()
    assert small.is_right()


def test_a_second_stage_reads_the_first(tmp_path):
    """As the levels of a pyramid do."""
    first, second, x = layer(0), layer(5, into=3, out=2, stride=1), picture()
    middle, y = (np.zeros(0),) * 2

    class FromTarget:
        name, description, block, dtype = "level 0", "level 0", (1, 1), np.dtype("f4")

        def __init__(self, target):
            self.target, self.shape = target, target.shape

        def read(self, image, region):
            return np.ascontiguousarray(self.target.stored(image, region))

        def read_bytes(self, region):
            return 1000

        def identity(self):
            return {"level": 0, "modified": ""}

    middle = np.zeros((1, 3, *first.output_sizes((29, 37))), "f4")
    y = np.zeros((1, 2, *second.output_sizes(middle.shape[2:])), "f4")
    below = ArrayTarget(middle)
    stages = [
        Stage(first, ArraySource(x[None]), below, (16, 16)),
        Stage(second, FromTarget(below), ArrayTarget(y), (9, 20)),
    ]
    report = Job(stages, None, max_memory="4GB").run()
    np.testing.assert_array_equal(middle[0], computed(first, x))
    np.testing.assert_array_equal(y[0], computed(second, middle[0]))
    assert report.tiles == sum(stage.tile_count for stage in stages)


# -- going on ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 7, 15])
def test_a_stopped_job_goes_on(small, after):
    small.stop_after(after)
    assert small.part.exists()
    assert not small.output.exists()
    report = small.job().run()
    assert small.is_right()
    assert not small.part.exists()
    assert (report.done_before, report.done_now, report.sessions) == (after, TILES - after, 2)
    assert report.done_twice <= 2  # the tile that failed, and the one that was read ahead


def test_a_journal_cut_at_every_byte_of_its_last_lines_gives_the_bits(small, no_sync):
    """What the journal does not have is made anew, and every tile that it has was there."""
    small.job().run()
    lines = [line for line in small.journal.read_bytes().splitlines(keepends=True) if b"finished" not in line]
    data, whole = b"".join(lines), small.output.read_bytes()
    for cut in range(len(data) - sum(map(len, lines[-3:])), len(data) + 1):
        small.journal.write_bytes(data[:cut])
        state = read_journal(small.journal).stages[0]
        small.output.unlink()
        small.part.write_bytes(whole)
        stored = np.lib.format.open_memmap(small.part, mode="r+")
        for number, tile in enumerate(small.job().stages[0].tiles(0)):
            if not state.done[number]:
                stored[:, *tile.outputs] = np.nan
        stored.flush()
        report = small.job().run()
        assert small.is_right(), cut
        assert report.done_before == state.count


def test_a_job_that_was_killed_before_its_output_moved_is_finished_by_the_next(small):
    small.job().run()
    os.rename(small.output, small.part)
    small.journal.write_bytes(b"".join(small.journal.read_bytes().splitlines(keepends=True)[:-1]))
    report = small.job().run()
    assert (report.done_before, report.done_now) == (TILES, 0)
    assert small.is_right()


@pytest.mark.parametrize("lines", [0, 1])
def test_a_job_that_was_killed_while_it_began_begins_again(small, lines):
    """With an empty journal, and with a fingerprint but an output that was not made whole."""
    small.stop_after(3)
    small.journal.write_bytes(b"".join(small.journal.read_bytes().splitlines(keepends=True)[:lines]))
    if lines:
        small.part.write_bytes(b"half a header")
    else:
        small.part.unlink()
    assert small.job().run().done_before == 0
    assert small.is_right()


def test_tiles_that_are_gone_are_made_again(small):
    class Lacking(Wrapped):
        def has(self, image, region):
            return region[0].start != 16

    small.stop_after(9)
    job = small.job()
    job.stages[0].target = Lacking(job.stages[0].target)
    report = job.run()
    assert report.done_before == 9 - sum(tile.outputs[0].start == 16 for tile in list(job.stages[0].tiles(0))[:9])
    assert small.is_right()


def test_the_tiles_of_the_journal_hold_under_another_bound(small):
    small.stop_after(4, tile=(8, 16))
    job = small.job(tile=None, max_memory="6GB")
    assert job.plan.stages[0].tile == (8, 16)
    assert job.run().done_before == 4
    assert small.is_right()


def test_resume_false_begins_anew(small):
    small.stop_after(4)
    report = small.job(resume=False).run()
    assert (report.done_before, report.done_now) == (0, TILES)
    assert small.is_right()


def test_what_a_whole_image_gives_is_computed_once(small):
    class WithMean(Wrapped):
        calls = 0

        def prepare(self, read, sizes, memory):
            WithMean.calls += 1
            assert memory > 10**8
            return {"mean": read(tuple(slice(0, size) for size in sizes)).mean(axis=(1, 2))}

        def compute(self, x, window, sizes, outputs, out, context=None):
            self.inner.compute(x, window, sizes, outputs, out)
            out += context["mean"].sum()

    operator = WithMean(small.operator)
    right = small.right + small.x.mean(axis=(1, 2)).sum()
    with pytest.raises(Stopped):
        small.job(operator=Failing(operator, 5)).run()
    small.job(operator=operator).run()
    assert WithMean.calls == 1
    np.testing.assert_array_equal(np.load(small.output), right)


# -- what differs is refused by name -----------------------------------------------------------------------------


def test_other_weights_are_refused(small):
    small.stop_after(4)
    with pytest.raises(FileError, match=r"y\.npy\.journal was begun with something else: the weights.*resume=False"):
        small.job(operator=layer(seed=9)).run()
    small.job().run()
    assert small.is_right()


def test_another_version_is_refused(small, monkeypatch):
    small.stop_after(4)
    monkeypatch.setattr(tconv, "__version__", "9.9.9")
    with pytest.raises(FileError, match=r"the version of tconv: 0\.1\.0 in the journal, 9\.9\.9 now"):
        small.job().run()


def test_a_processor_of_other_vectors_is_refused(small, monkeypatch):
    """It may fuse multiply-adds, and have other bits."""
    from tconv.kernels.simd import cpu_target

    small.stop_after(3)
    chip = cpu_target.target()
    monkeypatch.setattr(cpu_target, "target", lambda: chip._replace(lanes=2))
    with pytest.raises(
        FileError, match=rf"the kind of processor: .*, {chip.lanes} lanes in the journal, .*, 2 lanes now"
    ):
        small.job().run()


def test_another_method_is_refused(small):
    small.stop_after(4)
    operator = Wrapped(small.operator)
    operator.method = "rows of taps"
    with pytest.raises(FileError, match="the method of summation: simd in the journal, rows of taps now"):
        small.job(operator=operator).run()


def test_other_tiles_are_refused(small):
    small.stop_after(4)
    with pytest.raises(FileError, match=r"the tile sizes: \[16, 24\] in the journal, \[8, 8\] now"):
        small.job(tile=(8, 8)).run()


def test_an_input_of_other_sizes_is_refused(small):
    small.stop_after(4)
    np.save(small.input, picture(sizes=(29, 38)))
    with pytest.raises(FileError, match=r"the input: shape \[2, 29, 37\] in the journal, \[2, 29, 38\] now"):
        small.job().run()


def test_other_settings_of_the_output_are_refused(small):
    small.stop_after(4)

    class Settings(Wrapped):
        def settings(self):
            return {**self.inner.settings(), "codec": "zstd"}

    job = small.job()
    job.stages[0].target = Settings(job.stages[0].target)
    with pytest.raises(FileError, match="the output's settings: codec None in the journal, zstd now"):
        job.run()


def test_an_input_that_was_touched_is_compared(small):
    small.stop_after(6)
    os.utime(small.input, ns=(1, 1))
    source = CountingSource(open_source(small.input))
    assert small.job(source=source).run().done_before == 6
    assert source.reads == TILES  # those of the tiles that were done, and of the others
    assert small.is_right()


def test_an_input_that_was_touched_is_compared_once(small):
    small.stop_after(6)
    os.utime(small.input, ns=(1, 1))
    small.stop_after(2)
    source = CountingSource(open_source(small.input))
    assert small.job(source=source).run().done_before == 8
    assert source.reads == TILES - 8


def test_an_input_that_was_changed_is_refused_where_it_matters(small):
    small.stop_after(6)
    small.x[1, 3, 4] += 1
    np.save(small.input, small.x)
    with pytest.raises(FileError, match=r"x\.npy has changed since the job began: image 0 at \[0:\d+, 0:\d+\]"):
        small.job().run()
    assert small.part.exists()


def test_an_input_that_is_changed_meanwhile_is_refused(small):
    class Changing(Failing):
        def before_tile(self):
            os.utime(small.input, ns=(5, 5))

    with pytest.raises(FileError, match="was changed while it was read"):
        small.job(operator=Changing(small.operator, 99)).run()
    assert not small.output.exists()
    small.job().run()
    assert small.is_right()


class Away(Wrapped):
    """Source that is gone for some reads, which it answers with other values, as a store of missing chunks does."""

    away = range(0)
    """numbers of the reads in which it is gone"""

    def __init__(self, inner, looks=True):
        super().__init__(inner)
        self.reads, self.looks = 0, looks

    def read(self, *arguments):
        values, self.reads = self.inner.read(*arguments), self.reads + 1
        return values + 1 if self.reads - 1 in self.away else values

    def identity(self):
        return {**self.inner.identity(), **({"modified": "gone"} if self.looks and self.reads - 1 in self.away else {})}


@pytest.mark.parametrize("looks", [True, False])
def test_tiles_of_an_input_that_was_away_are_made_again(small, looks, monkeypatch):
    """It is back when the job goes on, and looks as before: `looks` says that this was noticed."""
    monkeypatch.setattr(Away, "away", range(5, 99))
    monkeypatch.setattr("tconv.scale.group_commit._TILES", 3)
    source = Away(open_source(small.input), looks)
    monkeypatch.setattr("tconv.scale.group_commit.GroupCommit._look_at_input", lambda self: False)
    with pytest.raises((Stopped, FileError)):
        small.job(operator=Failing(small.operator, 12), source=source).run()
    assert read_journal(small.journal).stages[0].unseen
    report = small.job().run()
    assert small.is_right()
    assert report.done_before <= 5


def test_an_input_that_goes_away_is_noticed_within_a_group(small, monkeypatch):
    monkeypatch.setattr(Away, "away", range(5, 99))
    monkeypatch.setattr("tconv.scale.group_commit._TILES", 1)
    with pytest.raises(FileError, match="was changed while it was read"):
        small.job(source=Away(open_source(small.input))).run()
    assert small.job().run().done_before <= 6
    assert small.is_right()


def test_an_input_that_is_seen_unchanged_is_not_read_again(small):
    small.stop_after(6)
    state = read_journal(small.journal).stages[0]
    assert (state.count, state.unseen) == (6, set())
    source = CountingSource(open_source(small.input))
    small.job(source=source).run()
    assert source.reads == TILES - 6


def test_an_array_in_memory_is_compared_with_the_journal(tmp_path):
    operator, x = layer(), picture()

    def job(array, operator=operator):
        source = open_source(array)
        target = target_for(tmp_path / "y.npy", (1, 3, *operator.output_sizes((29, 37))), "f4", like=source)
        target.unit = (8, 8)
        return Job([Stage(operator, source, target, (16, 24))], tmp_path / "y.npy")

    with pytest.raises(Stopped):
        job(x, Failing(operator, 5)).run()
    with pytest.raises(FileError, match="the array has changed since the job began"):
        job(x + 1).run()
    assert job(x).run().done_before == 5
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), computed(operator, x))


# -- nothing is overwritten --------------------------------------------------------------------------------------


def test_an_output_that_exists_is_left_alone(small):
    small.output.write_bytes(b"mine")
    with pytest.raises(FileError, match="exists, and nothing is overwritten"):
        small.job().run()
    assert small.output.read_bytes() == b"mine"
    assert sorted(os.listdir(small.output.parent)) == ["x.npy", "y.npy"]


def test_an_output_that_exists_is_replaced_at_the_end_alone(small):
    small.output.write_bytes(b"mine")
    with pytest.raises(Stopped):
        small.job(operator=Failing(small.operator, 5), overwrite=True).run()
    assert small.output.read_bytes() == b"mine"
    report = small.job(overwrite=True).run()
    assert report.done_before == 5
    assert small.is_right()
    assert sorted(os.listdir(small.output.parent)) == ["x.npy", "y.npy", "y.npy.journal"]


def test_a_folder_is_replaced_by_another(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    path_changes.publish(tmp_path / "a", tmp_path / "b", overwrite=True)
    assert (tmp_path / "b" / "file").read_text() == "a"
    assert os.listdir(tmp_path) == ["b"]


def test_a_replacement_that_was_stopped_between_both_names_is_completed(small):
    """The new output has its name, and the old one that of the working path: it must not come back."""
    small.output.write_bytes(b"old")
    real, names = path_changes.remove, []

    def remove(path):
        if small.output.stat().st_size > 3:  # after the exchange
            names.append(path)
            raise Stopped
        real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(path_changes, "remove", remove)
        with pytest.raises(Stopped):
            small.job(overwrite=True).run()
    assert names == [small.part]
    assert small.part.read_bytes() == b"old"
    assert small.job().run().was_done
    assert small.is_right()
    assert not small.part.exists()


def test_a_repair_that_was_stopped_before_the_output_moved_is_completed(small, monkeypatch):
    small.job().run()
    damage(small.output)

    def publish(*arguments, **options):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("tconv.scale.job.publish", publish)
        with pytest.raises(Stopped):
            small.job().verify(repair=True)
    assert small.output.exists()
    assert small.job().run().done_now == 1
    assert small.is_right()


def test_a_damaged_journal_is_replaced_by_resume_false(small):
    small.stop_after(5)
    data = bytearray(small.journal.read_bytes())
    data[-200] ^= 1
    small.journal.write_bytes(bytes(data))
    with pytest.raises(FileError, match=r"was altered: line .* or start anew with resume=False"):
        small.job().run()
    assert small.job(resume=False).run().done_now == TILES
    assert small.is_right()


def test_nothing_is_left_where_an_output_cannot_be_made(small):
    job = small.job()
    job.stages[0].target = Broken(job.stages[0].target, "create", 0, FileError("cannot be written"))
    with pytest.raises(FileError, match="cannot be written"):
        job.run()
    assert os.listdir(small.output.parent) == ["x.npy"]


@pytest.mark.parametrize("renameat2", [True, False])
def test_an_output_that_another_program_made_meanwhile_is_not_replaced(small, monkeypatch, renameat2):
    if not renameat2:
        monkeypatch.setattr(path_changes, "_rename_linux", lambda *arguments: False)

    class Other(Failing):
        def before_tile(self):
            small.output.write_bytes(b"theirs")

    with pytest.raises(FileError, match="exists, and nothing is overwritten"):
        small.job(operator=Other(small.operator, 99)).run()
    assert small.output.read_bytes() == b"theirs"
    small.output.unlink()
    assert small.job().run().done_now == 0
    assert small.is_right()


def test_a_working_path_without_a_journal_is_left_alone(small):
    small.part.write_bytes(b"mine")
    with pytest.raises(FileError, match=r"y\.npy\.part exists, without a valid journal beside it"):
        small.job().run()
    assert small.part.read_bytes() == b"mine"
    assert not small.journal.exists()


def test_a_finished_job_is_not_run_again(small):
    small.job().run()
    source, before = CountingSource(open_source(small.input)), small.output.stat().st_mtime_ns
    report = small.job(source=source).run()
    assert report.was_done
    assert source.reads == 0
    assert small.output.stat().st_mtime_ns == before
    assert "is already done: 16 tiles; nothing was written" in str(report)


def test_a_finished_job_with_other_weights_is_refused(small):
    small.job().run()
    with pytest.raises(
        FileError, match=r"y\.npy exists, and was made with something else: the weights.*overwrite=True"
    ):
        small.job(operator=layer(seed=9)).run()
    assert small.is_right()


def test_a_finished_output_is_made_anew_with_overwrite(small):
    small.job().run()
    assert small.job(overwrite=True).run().done_now == TILES
    assert small.is_right()


def test_a_folder_that_is_not_there_is_named(small):
    job = small.job()
    job.output = small.output.parent / "nothing" / "y.npy"
    with pytest.raises(FileError, match=r"lies in .*nothing, which does not exist"):
        job.run()


def test_two_jobs_on_one_output_are_refused(small):
    class Again(Failing):
        def before_tile(self):
            with pytest.raises(FileError, match="in use: another process works at this output"):
                small.job().run()

    small.job(operator=Again(small.operator, 99)).run()
    assert small.is_right()


# -- errors and interrupts ---------------------------------------------------------------------------------------


def test_an_interrupt_stops_all_and_keeps_what_is_done(small):
    with pytest.raises(KeyboardInterrupt) as raised:
        small.job(operator=Failing(small.operator, 6, KeyboardInterrupt)).run()
    assert own_threads() == []
    assert "the same call goes on there" in raised.value.__notes__[0]
    assert small.job().run().done_before == 6
    assert small.is_right()


def test_an_interrupt_of_progress_stops_all(small):
    def progress(state):
        if state.tiles_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.job(progress=progress).run()
    assert own_threads() == []
    assert small.job().run().done_before >= 1
    assert small.is_right()


class Broken(Wrapped):
    """Source or target whose method fails after some calls."""

    def __init__(self, inner, method, after, error):
        super().__init__(inner)
        calls = iter(range(10**6))

        def call(*arguments):
            if next(calls) >= after:
                raise error
            return getattr(inner, method)(*arguments)

        setattr(self, method, call)
        self.unit = getattr(inner, "unit", None)


@pytest.mark.parametrize("after", [0, 3])
def test_an_input_that_cannot_be_read_stops_the_job(small, after):
    error = FileError("chunk 7 is damaged")
    with pytest.raises(FileError, match="chunk 7 is damaged"):
        small.job(source=Broken(open_source(small.input), "read", after, error)).run()
    assert small.job().run().done_before <= after
    assert small.is_right()


@pytest.mark.parametrize(("method", "after"), [("write", 0), ("write", 3), ("sync_many", 0)])
def test_a_full_disk_stops_the_job(small, method, after):
    job = small.job()
    stage = job.stages[0]
    stage.target = Broken(stage.target, method, after, FileError("No space left on device. Free some space"))
    with pytest.raises(FileError, match="Free some space"):
        job.run()
    report = small.job().run()
    assert report.done_before <= TILES
    if method == "write":
        assert report.done_before == after
    assert small.is_right()


def test_only_tiles_that_were_synced_are_noted(small, monkeypatch):
    """The journal has a tile when it is on the disk, and not before."""
    job = small.job()
    synced, stage = set(), job.stages[0]
    real = stage.target.sync_many

    def sync_many(regions):
        real(regions)
        synced.update(stage.number(type(next(stage.tiles(0)))(0, *region)) for region in regions)

    stage.target.sync_many = sync_many
    from tconv.scale.journal import Journal

    real_done = Journal.done

    def done(self, number, tiles, seen=False):
        tiles = list(tiles)
        assert {each.number for each in tiles} <= synced
        real_done(self, number, tiles, seen)

    monkeypatch.setattr(Journal, "done", done)
    job.run()
    assert synced == set(range(TILES))


def test_a_slow_disk_makes_the_computation_wait(small, monkeypatch):
    """So that a power cut costs few tiles."""
    monkeypatch.setattr("tconv.scale.group_commit._TILES", 2)
    job = small.job(tile=(8, 8))
    stage = job.stages[0]
    real, written, most = stage.target.sync_many, [0], [0]

    def sync_many(regions):
        time.sleep(0.005)
        real(regions)
        written[0] += len(regions)

    def write(*arguments):
        most[0] = max(most[0], calls[0] - written[0])
        calls[0] += 1
        return real_write(*arguments)

    calls, real_write = [0], stage.target.write
    stage.target.sync_many, stage.target.write = sync_many, write
    job.run()
    assert most[0] <= 2 * 2 + 4  # two groups, and the tiles in the pipeline
    assert small.is_right()


def test_reading_and_writing_stay_within_what_was_planned(small):
    """Windows that are read and not computed, and outputs that are computed and not written."""
    lock, alive, most = threading.Lock(), {"x": 0, "y": 0}, {"x": 0, "y": 0}

    def count(kind, change):
        with lock:
            alive[kind] += change
            most[kind] = max(most[kind], alive[kind])

    class Source(Wrapped):
        def read(self, *arguments):
            count("x", 1)
            return self.inner.read(*arguments)

    class Target(Wrapped):
        unit = (8, 8)

        def write(self, *arguments):
            time.sleep(0.003)
            self.inner.write(*arguments)
            count("y", -1)

    class Operator(Wrapped):
        def compute(self, x, *arguments):
            counted = int(x.any())
            count("y", counted)
            self.inner.compute(x, *arguments)
            count("x", -counted)

    job = small.job(source=Source(open_source(small.input)), operator=Operator(small.operator))
    job.stages[0].target = Target(job.stages[0].target)
    job.run()
    assert most["x"] <= 2 + 1  # one is counted down a moment before the pipeline frees it
    assert most["y"] <= 2
    assert small.is_right()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_made(small, monkeypatch):
    usage = shutil.disk_usage(small.output.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(TooLargeError, match=r"y\.npy needs up to .* of disk; 10 kB are free"):
        small.job().run()
    assert os.listdir(small.output.parent) == ["x.npy"]


def test_sources_and_targets_that_do_not_fit_are_refused():
    operator = layer()
    y = np.zeros((1, 3, 58, 75), "f4")
    for x, target, error, words in [
        (np.zeros((1, 5, 29, 37), "f4"), y, ShapeError, "needs 2 channels and 2 spatial axes"),
        (np.zeros((1, 2, 29, 37), "f8"), y, DtypeError, "is of float64; .* needs float32"),
        (np.zeros((1, 2, 29, 37), "f4"), np.zeros((1, 3, 9, 9), "f4"), ShapeError, r"\(1, 3, 58, 75\) is needed"),
    ]:
        with pytest.raises(error, match=words):
            Job([Stage(operator, ArraySource(x), ArrayTarget(target))], None).run()


# -- verification ------------------------------------------------------------------------------------------------


def damage(path, value=np.nan):
    stored = np.lib.format.open_memmap(path, mode="r+")
    stored[1, 20, 30] = value
    stored.flush()


def test_verification_names_the_damaged_tile_and_repairs_it(small):
    small.job().run()
    assert tconv.scale.verify(small.output).is_whole
    damage(small.output)
    report = tconv.scale.verify(small.output)
    assert [each.number for each in report.damaged] == [5]
    assert str(report.damaged[0]).startswith("image 0 at [16:32, 24:48]: other values than those that were written")
    assert "16 tiles were read; 1 is damaged" in str(report)
    small.job().verify(repair=True)
    assert not small.output.exists()
    again = small.job().run()
    assert (again.done_before, again.done_now) == (15, 1)
    assert small.is_right()
    assert tconv.scale.verify(small.output).is_whole


def test_what_is_not_finished_is_verified_too(small):
    small.stop_after(9)
    report = small.job().verify()
    assert (report.tiles, report.missing, report.damaged) == (9, 7, ())
    assert not report.is_whole
    damage(small.part)
    assert len(small.job().verify(repair=True).damaged) == 1
    assert small.job().run().done_before == 8
    assert small.is_right()


def test_inputs_are_verified(small):
    small.job().run()
    small.job().verify(inputs=True)
    small.x[0, 28, 36] += 1
    np.save(small.input, small.x)
    with pytest.raises(FileError, match="has changed since the job began"):
        small.job().verify(inputs=True)


def test_verification_needs_a_journal(small):
    small.job().run()
    small.journal.unlink()
    with pytest.raises(FileError, match=r"y\.npy\.journal does not exist: only outputs of tconv\.scale have a journal"):
        tconv.scale.verify(small.output)


# -- what is said ------------------------------------------------------------------------------------------------


def test_progress_counts_all_outputs(small):
    seen = []
    small.stop_after(5)
    small.job(progress=seen.append).run()
    total = small.right[0].size
    assert [each.total for each in seen] == [total] * len(seen)
    assert seen[0].tiles_done == 5
    assert 0 < seen[0].done < total
    assert seen == sorted(seen, key=lambda each: each.done)
    assert (seen[-1].done, seen[-1].tiles_done, seen[-1].tiles) == (total, TILES, TILES)
    assert 0 < seen[-1].memory < seen[-1].max_memory == 4 * 10**9


def test_the_report_has_every_figure(small):
    report = small.job().run()
    text = str(report)
    for words in ("16 now", "elements per second", "read", "written", "at the peak", "predicted", "bound 4 GB"):
        assert words in text
    assert report.plan.halo >= 1
    assert 0 < report.peak_memory <= report.plan.memory <= report.max_memory


def test_the_plan_is_printed_before_anything_runs(small):
    plan = small.job().plan
    text = str(plan)
    for words in ("16 of 16 x 24", "multiply-adds", "predicted", "bound 4 GB", "disk", "runs on   this process"):
        assert words in text
    assert os.listdir(small.output.parent) == ["x.npy"]
