"""Outputs and inputs that are not what they were, or the same array: noticed by their values, refused or made anew."""

import os

import numpy as np
import pytest

import tconv.scale
from scale_stand_ins import Failing, SmallJob, Stopped, layer, picture
from tconv.errors import ArgumentError, FileError, GeometryError
from tconv.geometry import Geometry
from tconv.scale.job import Job, working_path
from tconv.scale.journal import Journal, journal_path
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.stores.memory_array import ArraySource, ArrayTarget
from tconv.scale.tile_run import Stage

pytest.importorskip("llvmlite")


@pytest.fixture
def small(tmp_path):
    return SmallJob(tmp_path)


def zeros(path, like):
    """Return a memory map of a new file, as a script makes it each time that it is run."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=like.shape)


# -- arrays that are there ---------------------------------------------------------------------------------------


def test_an_array_in_memory_has_no_journal_whatever_files_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("the array", "the array of Zarr", "y"):
        (tmp_path / name).write_text("of another program")
    operator, x = layer(), picture()
    for _ in range(2):
        y = np.zeros(computed(operator, x).shape, "f4")
        assert tconv.scale.run(operator, x, y).path is None
        np.testing.assert_array_equal(y, computed(operator, x))
    assert not list(tmp_path.glob("*.journal"))


def test_a_memory_map_that_is_made_anew_is_filled_again(tmp_path):
    """The journal of the file before it speaks of tiles that this one has not."""
    operator, x = layer(), picture()
    right = computed(operator, x)
    for _ in range(2):
        tconv.scale.run(operator, x, zeros(tmp_path / "y.npy", right))
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), right)
    report = tconv.scale.run(operator, x, np.load(tmp_path / "y.npy", mmap_mode="r+"))
    assert report.was_done


def test_a_memory_map_that_is_made_anew_goes_on_with_what_is_there(tmp_path):
    operator, x = layer(), picture()
    right, path = computed(operator, x), tmp_path / "y.npy"
    with pytest.raises(Stopped):
        tconv.scale.run(Failing(operator, 5), x, zeros(path, right), tile=(1, right.shape[2]))
    kept = np.load(path, mmap_mode="r+")
    kept[:, 2:4] = 0
    kept.flush()
    report = tconv.scale.run(operator, x, kept, tile=(1, right.shape[2]))
    assert report.done_before == 3
    np.testing.assert_array_equal(np.load(path), right)


def test_a_finished_array_of_zarr_is_not_filled_again_unasked(tmp_path):
    zarr = pytest.importorskip("zarr")
    operator, x = layer(), picture()
    right = computed(operator, x)
    y = zarr.create_array(tmp_path / "y.zarr", shape=right.shape, chunks=(3, 16, 16), dtype="f4")
    tconv.scale.run(operator, x, y)
    assert tconv.scale.run(operator, x, y).was_done
    with pytest.raises(FileError, match=r"has values\. Give an empty array, or write overwrite=True"):
        tconv.scale.run(operator, x, y, resume=False)
    y[0, 0, 0] += 1
    assert not tconv.scale.run(operator, x, y).was_done
    np.testing.assert_array_equal(y[:], right)


# -- an output that is its own input -----------------------------------------------------------------------------


def test_an_output_that_is_the_input_is_refused(tmp_path):
    """Tiles would read what others wrote."""
    operator, x = layer(into=2, out=2, kernel=(3, 3), stride=1), picture()
    np.save(tmp_path / "x.npy", x)
    file = np.load(tmp_path / "x.npy", mmap_mode="r+")
    memory = np.zeros((3, *x.shape[1:]), "f4")
    pairs = [(x, x), (memory[:2], memory[1:]), (file, file), (str(tmp_path / "x.npy"), file)]
    for source, output in pairs:
        with pytest.raises(FileError, match=r"is the input, too, or contains it\. Write another output"):
            tconv.scale.run(operator, source, output)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)


def test_a_store_that_has_the_input_inside_is_not_replaced(tmp_path):
    zarr = pytest.importorskip("zarr")
    x = picture()
    zarr.create_array(f"{tmp_path}/in.zarr/a", shape=x.shape, chunks=(2, 16, 16), dtype="f4")[:] = x
    with pytest.raises(FileError, match="contains it"):
        tconv.scale.run(layer(), tmp_path / "in.zarr/a", tmp_path / "in.zarr", overwrite=True)
    np.testing.assert_array_equal(zarr.open_array(f"{tmp_path}/in.zarr/a")[:], x)


# -- files that were replaced ------------------------------------------------------------------------------------


def test_a_finished_output_that_another_program_replaced_is_compared(small):
    small.job().run()
    small.output.rename(small.part)
    np.save(small.output, small.right)
    small.part.unlink()
    assert small.job().run().was_done  # a copy
    small.output.unlink()
    np.save(small.output, small.right + 1)
    with pytest.raises(FileError, match=r"was replaced: it has other values in 16 of 16 tiles.*overwrite=True"):
        small.job().run()


def test_an_old_output_under_the_working_name_is_not_taken_for_the_new_one(small):
    """A replacement that was stopped, of which the file system says nothing that the journal knows."""
    small.job().run()
    small.x = small.x + 1
    np.save(small.input, small.x)
    small.job(overwrite=True).run()
    new = np.load(small.output)
    np.save(small.part, 0 * new)
    small.part.with_name("y.npy.part.npy").rename(small.part)
    os.link(small.output, small.output.with_name("kept"))
    other = np.load(small.output)
    small.output.unlink()
    np.save(small.output, other)  # another number in the file system
    with pytest.raises(FileError, match="exists, and nothing is overwritten"):
        small.job().run()
    small.job(overwrite=True).run()
    np.testing.assert_array_equal(np.load(small.output), new)


def test_an_unfinished_replacement_is_not_verified_by_its_journal(small):
    small.job().run()
    with pytest.raises(Stopped):
        small.job(operator=Failing(small.operator, 3), resume=False, overwrite=True).run()
    with pytest.raises(FileError, match="is not finished"):
        tconv.scale.verify(small.output)


def test_a_dask_array_whose_files_changed_is_compared(tmp_path):
    """Dask's names stay the same."""
    zarr, da = pytest.importorskip("zarr"), pytest.importorskip("dask.array")
    operator, x = layer(), picture()
    stored = zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=(2, 16, 16), dtype="f4")
    stored[:] = x
    output, sizes = tmp_path / "y.npy", computed(operator, x).shape
    with pytest.raises(Stopped):
        tconv.scale.run(Failing(operator, 9), da.from_zarr(tmp_path / "x.zarr"), output, tile=(1, sizes[2]))
    stored[:] = x + 1
    with pytest.raises(FileError, match="has changed since the job began"):
        tconv.scale.run(operator, da.from_zarr(tmp_path / "x.zarr"), output, tile=(1, sizes[2]))


def test_chunks_that_change_places_are_noticed(tmp_path):
    """Their number and bytes stay the same, and so do the times that they have."""
    zarr = pytest.importorskip("zarr")
    operator, x = layer(), picture(sizes=(32, 32))
    stored = zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=(2, 16, 16), dtype="f4", compressors=None)
    stored[:] = x
    one, other = (tmp_path / "x.zarr/c/0/0" / name for name in "01")
    os.utime(other, ns=(0, one.stat().st_mtime_ns + 1))  # written at another time than the first
    output, sizes = tmp_path / "y.npy", computed(operator, x).shape
    with pytest.raises(Stopped):
        tconv.scale.run(Failing(operator, 9), tmp_path / "x.zarr", output, tile=(1, sizes[2]))
    one.rename(tmp_path / "kept")
    other.rename(one)
    (tmp_path / "kept").rename(other)
    with pytest.raises(FileError, match="has changed since the job began"):
        tconv.scale.run(operator, tmp_path / "x.zarr", output, tile=(1, sizes[2]))


@pytest.mark.parametrize("ending", ["npy", "tif", "zarr"])
def test_an_input_that_was_moved_is_the_same_input(tmp_path, ending):
    operator, x = layer(into=3), picture(channels=3)
    first, second, output = tmp_path / f"x.{ending}", tmp_path / f"moved.{ending}", tmp_path / "y.npy"
    tconv.scale.run(LayerOperator(np.eye(3, dtype="f4")[..., None, None], None, Geometry((1, 1), 1, 0)), x, first)
    with pytest.raises(Stopped):
        tconv.scale.run(Failing(operator, 3), first, output, tile=(1, 10**6))
    first.rename(second)
    assert tconv.scale.run(operator, second, output, tile=(1, 10**6)).done_before == 3
    np.testing.assert_array_equal(np.load(output).reshape(-1), computed(operator, x).reshape(-1))


# -- what is said ------------------------------------------------------------------------------------------------


def test_the_plan_is_that_of_the_tiles_that_run(small):
    """Those of a journal hold for an output that goes on, not for one that is replaced."""
    small.job().run()
    assert small.job(tile=None).plan.tiles == 16
    job = small.job(tile=None, overwrite=True)
    assert job.plan.tiles == 1
    assert job.run().tiles == 1
    assert job.is_done


def test_tiles_larger_than_the_output_go_on_as_they_were_given(small):
    with pytest.raises(Stopped):
        small.job(operator=Failing(small.operator, 3), tile=(8, 10**6)).run()
    assert small.job(tile=(8, 10**6)).run().done_before == 3
    assert small.job(tile=(8, 10**6)).run().was_done


def test_only_a_job_that_runs_says_that_it_goes_on(small):
    with pytest.raises(Stopped) as stopped:
        small.job(operator=Failing(small.operator, 3)).run()
    assert "the same call goes on there" in stopped.value.__notes__[0]
    with pytest.raises(FileError) as refused:
        small.job(operator=layer(seed=5)).run()
    assert not hasattr(refused.value, "__notes__")


def test_a_repair_that_is_stopped_before_it_notes_a_tile_changes_nothing(small, monkeypatch):
    small.job().run()
    values = np.load(small.output, mmap_mode="r+")
    values[0, 0, 0] += 1
    values.flush()

    def lost(*arguments):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "lost", lost)
        with pytest.raises(Stopped):
            small.job().verify(repair=True)
    assert small.job().verify(repair=True).damaged
    small.job().run()
    assert small.is_right()


@pytest.mark.parametrize("tile", ["64", 1.5, True, 0, (3,), (3, 3, 3), (8, "a")])
def test_tiles_that_are_no_sizes_are_refused(tile):
    y = np.zeros(computed(layer(), picture()).shape, "f4")
    with pytest.raises(GeometryError, match=r"tile is .*Write"):
        tconv.scale.plan(layer(), picture(), y, tile=tile)


def test_arguments_that_there_are_not_are_refused(tmp_path):
    y = np.zeros(computed(layer(), picture()).shape, "f4")
    with pytest.raises(ArgumentError, match=r"tconv.scale.run has no argument 'memory'; it has max_memory, tile"):
        tconv.scale.run(layer(), picture(), y, memory="1GB")
    with pytest.raises(ArgumentError, match="a function of a Progress is needed"):
        tconv.scale.run(layer(), picture(), y, progress=3)
    with pytest.raises(ArgumentError, match="the path of an output is needed"):
        tconv.scale.verify(y)
    with pytest.raises(ArgumentError, match="stages is empty"):
        Job([], tmp_path / "y.npy")
    with pytest.raises(ArgumentError, match="has no journal to verify it by"):
        Job([Stage(layer(), ArraySource(picture()[None]), ArrayTarget(y[None]))], None).verify()
    with pytest.raises(FileError, match="null character"):
        tconv.scale.run(layer(), picture(), "a\0b.npy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_journal_that_is_no_file_is_refused(small):
    os.mkfifo(journal_path(small.output))
    with pytest.raises(FileError, match="cannot be read"):
        small.job().run()
    assert not working_path(small.output).exists()


def test_a_journal_that_states_other_tiles_is_refused(tmp_path):
    (tmp_path / "y.npy").touch()
    for stages in ([{"tiles": 2}], [{"tiles": 2, "tile": [1], "output": {"images": [1, 1, 5]}}]):
        journal = Journal(journal_path(tmp_path / "y.npy"))
        journal.begin({"journal": 1, "stages": stages})
        journal.close()
        with pytest.raises(FileError, match="does not state the tiles of its output"):
            tconv.scale.verify(tmp_path / "y.npy")


# -- what may be replaced ----------------------------------------------------------------------------------------------


def test_folders_that_are_no_stores_are_not_replaced(tmp_path):
    pytest.importorskip("zarr")
    x = picture(channels=2)
    for name in ("y.zarr", "y.zarr.part", "y.npy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    (tmp_path / "z.zarr").write_text("mine")
    for name, reason in (
        ("y.zarr", r"y\.zarr is a folder without zarr\.json.*not replaced.*another name, or move it away"),
        ("y.npy", r"y\.npy is a folder, and a file was to be written"),
        ("z.zarr", r"z\.zarr is a file, and a Zarr store was to be written"),
    ):
        with pytest.raises(FileError, match=reason):
            tconv.scale.run(layer(), x, tmp_path / name, overwrite=True)
    (tmp_path / "y.zarr" / "thesis.txt").rename(tmp_path / "thesis.txt")
    with pytest.raises(FileError, match=r"y\.zarr\.part is a folder without"):
        tconv.scale.run(layer(), x, tmp_path / "y.zarr", overwrite=True)
    (tmp_path / "y.zarr.part" / "thesis.txt").rename(tmp_path / "thesis.txt")
    for _ in range(2):  # an empty folder, and a store
        tconv.scale.run(layer(), x, tmp_path / "y.zarr", overwrite=True)
    assert (tmp_path / "y.npy" / "thesis.txt").read_text() == (tmp_path / "z.zarr").read_text() == "mine"


# -- repair, and words for jobs that differ ------------------------------------------------------------------------------


def test_run_repairs_what_is_damaged_or_missing(tmp_path):
    zarr = pytest.importorskip("zarr")
    x, y = picture(channels=2), tmp_path / "y.zarr"
    call = {"chunks": 16, "shards": 16, "tile": 16}
    tconv.scale.run(layer(), x, y, **call)
    expected = zarr.open(y)[...]
    files = sorted(each for each in (y / "c").rglob("*") if each.is_file())
    files[1].unlink()
    with pytest.raises(FileError, match=r"lacks 1 of \d+ tiles.*Make them anew by repair=True, or all by overwrite"):
        tconv.scale.run(layer(), x, y, **call)
    files[2].write_bytes(files[3].read_bytes())
    report = tconv.scale.verify(y)
    assert {each.reason.partition(". ")[0] for each in report.damaged} == {
        f"{files[1]} is missing",
        "other values than those that were written",
    }
    assert tconv.scale.run(layer(), x, y, repair=True, **call).done_now == 2
    np.testing.assert_array_equal(zarr.open(y)[...], expected)
    assert tconv.scale.run(layer(), x, y, repair=True, **call).was_done
    assert tconv.scale.run(layer(), x, tmp_path / "z.zarr", repair=True, **call).done_now > 0
    for other in ({"overwrite": True}, {"resume": False}):
        with pytest.raises(ArgumentError, match=r"makes all anew\. Leave one of them out"):
            tconv.scale.run(layer(), x, y, repair=True, **other)


def test_a_plan_that_fails_for_another_jobs_tiles_says_so(small, tmp_path):
    small.job(tile=(16, 24)).run()
    wide = np.concatenate([small.x] * 3, axis=2)
    np.save(tmp_path / "wide.npy", wide)
    with pytest.raises(FileError, match=r"y\.npy exists, and was made with something else: the input"):
        _ = tconv.scale.plan(layer(), tmp_path / "wide.npy", small.output)


def test_verification_needs_no_plan(small, monkeypatch):
    small.job().run()
    job = small.job()
    monkeypatch.setattr(Job, "_planned", None)
    assert job.verify().is_whole
