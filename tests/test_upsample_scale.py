"""Pictures larger than memory: files and stores enlarged by tiles, stopped, resumed, verified, and refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import tconv
from tconv.errors import ArgumentError, FileError, TooLargeError

tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")
pytest.importorskip("imagecodecs")

MEMORY = "8GB"
"""Bound for processes of pytest, which have imported much."""


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def picture(*shape, dtype="u1", seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(shape).astype(dtype) if dtype[0] == "f" else rng.integers(0, 255, shape, dtype)


def write_tiff(name, pixels, **options):
    """Write pixels [H, W, C] as tiles of 64 x 64."""
    colours = "rgb" if pixels.ndim == 3 and pixels.shape[2] in (3, 4) else "minisblack"
    tifffile.imwrite(name, pixels, tile=(64, 64), photometric=colours, **options)
    return Path(name)


def read(path):
    """Return the stored array of an output."""
    path = Path(path)
    if path.suffix == ".npy":
        return np.load(path)
    return tifffile.imread(path) if path.suffix in (".tif", ".btf") else np.asarray(zarr.open_array(path, mode="r"))


def pixels_of(path):
    """Return the pixels [H, W, C] of an output, whatever its order of axes."""
    array = read(path)
    return np.moveaxis(array, 0, -1) if array.shape[0] <= 4 else array


# -- files into files ------------------------------------------------------------------------------------------------

CALLS = {
    "photo": {},
    "lanczos x1.5": {"scale": 1.5, "kernel": "lanczos"},
    "smaller": {"scale": Fraction(1, 3)},
}


@pytest.mark.parametrize("ending", [".zarr", ".tif", ".npy", ".btf"])
def test_a_tiff_file_becomes_any_store(ending):
    path = write_tiff("a.tif", picture(97, 131, 3), compression="deflate")
    for name, call in CALLS.items() if ending == ".zarr" else [("photo", {})]:
        output = tconv.upsample(path, **call, output=f"{name[:5]}{ending}", max_memory=MEMORY, chunks=64)
        whole = tconv.upsample(path, **call)
        np.testing.assert_array_equal(pixels_of(output), whole)
    assert not list(Path().glob("*.part"))


def test_a_store_becomes_a_tiff_file_a_store_and_an_array():
    x = picture(3, 70, 90)
    zarr.save_array("a.zarr", x, zarr_format=3)
    np.save("a.npy", x)
    whole = tconv.upsample("a.npy", 2)
    for name in "b.zarr", "b.npy", "b.tif":
        np.testing.assert_array_equal(pixels_of(tconv.upsample("a.zarr", 2, output=name)), np.moveaxis(whole, 0, 2))
    np.testing.assert_array_equal(read(tconv.upsample("a.npy", 2, output="c.npy", max_memory=MEMORY)), whole)


def test_another_picture_is_read_whole_and_written_by_tiles(run):
    from PIL import Image

    x = picture(50, 60, 3)
    Image.fromarray(x).save("a.png")
    assert run("a.png", "-o", "b.zarr")[0] == 0
    np.testing.assert_array_equal(pixels_of("b.zarr"), tconv.upsample(x))


def test_arrays_have_their_channels_last():
    x = picture(60, 80, 4)
    whole = tconv.upsample(x, 2)
    np.testing.assert_array_equal(read(tconv.upsample(x, 2, output="a.zarr")), whole)
    np.save("x.npy", x)
    mapped = np.load("x.npy", mmap_mode="r")
    np.testing.assert_array_equal(read(tconv.upsample(mapped, 2, output="b.npy", max_memory=MEMORY)), whole)
    tconv.upsample(x, 2, output="c.tif", max_memory=MEMORY)
    with tifffile.TiffFile("c.tif") as file:
        assert file.pages[0].extrasamples == (2,)
        np.testing.assert_array_equal(file.asarray(), whole)


def test_stores_say_their_axes_or_are_told_them(run):
    x = picture(60, 80, 3)
    bicubic = tconv.upsample(x, 2, kernel="bicubic")
    stored = zarr.create_array("a.zarr", data=x)
    np.testing.assert_array_equal(read(tconv.upsample(stored, 2, axes="YXC", output="b.zarr")), bicubic)
    zarr.create_array("c.zarr", data=x, dimension_names=["y", "x", "c"])
    np.testing.assert_array_equal(read(tconv.upsample("c.zarr", 2, output="d.zarr")), bicubic)
    code, printed, _ = run("a.zarr", "-o", "e.zarr")
    assert code == 0
    assert "read as 60 channels of 3 x 80; --axes YXC if channels are last" in printed
    four = tconv.upsample(np.moveaxis(picture(4, 30, 40), 0, 2), 2, kernel="bicubic", alpha=False)
    got = read(tconv.upsample(picture(4, 30, 40), 2, axes="CYX", kernel="bicubic", output="f.zarr"))
    np.testing.assert_array_equal(np.moveaxis(got, 0, 2), four)


def test_every_picture_of_a_store_with_time_depth_and_channels():
    x = picture(2, 2, 3, 33, 41, dtype="u2")
    store = zarr.create_array("a.zarr", data=x, chunks=(1, 1, 1, 32, 32), dimension_names=list("tczyx"))
    got = read(tconv.upsample("a.zarr", 2, output="b.zarr"))
    assert got.shape == (2, 2, 3, 66, 82)
    assert zarr.open_array("b.zarr", mode="r").metadata.dimension_names == tuple("tczyx")
    for t in range(2):
        for z in range(3):
            whole = tconv.upsample(np.moveaxis(x[t, :, z], 0, 2), 2, kernel="bicubic", alpha=False)
            np.testing.assert_array_equal(np.moveaxis(got[t, :, z], 0, 2), whole)
    zarr.create_array("c.zarr", data=x)
    np.testing.assert_array_equal(read(tconv.upsample("c.zarr", 2, axes="TCZYX", output="d.zarr")), got)
    assert store.shape == (2, 2, 3, 33, 41)


def test_levels_of_ome_zarr():
    x = picture(300, 290, 3)
    tconv.upsample(x, 2, kernel="bicubic", output="a.ome.zarr")
    group = zarr.open_group("a.ome.zarr", mode="r")
    np.testing.assert_array_equal(pixels_of("a.ome.zarr/0"), tconv.upsample(x, 2, kernel="bicubic"))
    half = np.moveaxis(np.asarray(group["1"]), 0, 2)
    assert half.shape == (300, 290, 3)
    assert len(group.attrs["ome"]["multiscales"][0]["datasets"]) >= 2
    got = pixels_of(tconv.upsample("a.ome.zarr", 2, level=1, output="b.zarr"))
    np.testing.assert_array_equal(got, tconv.upsample(half, 2, kernel="bicubic"))
    assert tconv.scale.verify("a.ome.zarr").is_whole


def test_lazy_arrays_become_lazy_arrays():
    dask_array = pytest.importorskip("dask.array")
    xarray = pytest.importorskip("xarray")
    x = picture(90, 110, 3)
    lazy = dask_array.from_array(x, chunks=(40, 50, 3))
    for options in {"kernel": "lanczos"}, {"scale": 1.5, "model": "photo"}:
        large = tconv.upsample(lazy, **options)
        np.testing.assert_array_equal(large.compute(scheduler="threads"), tconv.upsample(x, **options))
    bands = xarray.DataArray(np.moveaxis(x, 2, 0), dims=("band", "y", "x")).chunk(y=50)
    large = tconv.upsample(bands, 2)
    assert large.dims == ("band", "y", "x")
    np.testing.assert_array_equal(np.moveaxis(large.values, 0, 2), tconv.upsample(x, 2, kernel="bicubic"))
    with pytest.raises(ArgumentError, match="max_memory was given without output"):
        tconv.upsample(lazy, max_memory=MEMORY)
    np.testing.assert_array_equal(
        pixels_of(tconv.upsample(lazy, 2, output="a.zarr")), tconv.upsample(x, 2, kernel="bicubic")
    )


def test_workers_write_the_same_bits(run):
    pytest.importorskip("distributed")
    x = picture(150, 140, 3)
    path = write_tiff("a.tif", x)
    options = ["--workers", "1", "--tile", "128", "--chunks", "128", "--max-memory", MEMORY]
    code, printed, _ = run(path, "-o", "a.zarr", *options)
    assert code == 0
    assert "the workers recomputed random outputs of their tiles" in printed
    assert "dashboard" in printed
    np.testing.assert_array_equal(pixels_of("a.zarr"), tconv.upsample(x))


def test_a_page_of_a_tiff_file(run):
    pages = picture(3, 40, 50)
    tifffile.imwrite("a.tif", pages, tile=(32, 32), photometric="minisblack")
    _, printed, _ = run("a.tif", "-o", "c.tif", "--max-memory", MEMORY, "--kernel", "bicubic")
    assert "all 3 pages; --page 0 takes the first" in printed
    assert read("c.tif").shape == (3, 80, 100)
    assert run("a.tif", "--page", "1", "-o", "b.tif", "--scale", "3")[0] == 0
    np.testing.assert_array_equal(read("b.tif"), tconv.upsample(pages[1], 3))


@pytest.mark.parametrize("kernel", ["bicubic", None])
def test_missing_data_stay_so(kernel):
    x = picture(80, 70, dtype="f4")
    x[10:40, 20:30] = np.nan
    x[3, 5] = -9999
    path = write_tiff("a.tif", x, extratags=[(42113, "s", 0, "-9999", True)])
    whole = tconv.upsample(path, 2, kernel=kernel)
    assert np.isnan(whole).any()
    got = read(tconv.upsample(path, 2, kernel=kernel, output="b.tif", max_memory=MEMORY, tile=32, chunks=32))
    np.testing.assert_array_equal(got, whole.squeeze())


def test_opacity_of_a_tiff_file(run):
    path = write_tiff("a.tif", picture(50, 60, 4), extrasamples=["unassalpha"])
    for options, alpha in ([], None), (["--no-alpha", "--kernel", "bicubic"], False):
        name = f"b{alpha}.tif"
        assert run(path, "-o", name, "--max-memory", MEMORY, *options)[0] == 0
        whole = tconv.upsample(path, alpha=alpha, kernel="bicubic" if options else None)
        np.testing.assert_array_equal(read(name), whole)


# -- what the command says --------------------------------------------------------------------------------------------


def test_the_command_says_what_it_does(run):
    path = write_tiff("a.tif", picture(200, 300, 3))
    command = [path, "-o", "b.zarr", "--kernel", "bicubic", "--chunks", "64", "--shards", "128", "--max-memory", MEMORY]
    code, printed, errors = run(*command)
    assert (code, errors) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert re.search(r"tiles? of \d+ x \d+.* of memory, 8 GB allowed; up to .*B on the disk", lines["plan"])
    assert lines["output"].startswith("b.zarr: 3x400x600 of uint8, shards")
    assert re.fullmatch(r"\d+ now", lines["tiles"])
    assert "random outputs" in lines["check"]
    assert re.search(r"[MG]B at the peak, 8 GB allowed", lines["memory"])
    code, printed, _ = run(*command, "--verify")
    assert code == 0
    assert "nothing was read or written" in printed
    assert "1 tile is as it was written" in printed
    code, printed, _ = run(*command, "--json")
    facts = json.loads(printed)
    assert facts["tiles"]["was_done"] is True
    assert facts["output"]["arrays"] == [{"key": "", "shape": [1, 3, 400, 600], "dtype": "uint8"}]


def test_damage_is_found_by_verification(run):
    path = write_tiff("a.tif", picture(100, 100, 3))
    command = [path, "-o", "b.tif", "--max-memory", MEMORY, "--kernel", "bicubic"]
    assert run(*command)[0] == 0
    with open("b.tif", "r+b") as file:
        file.seek(20_000)
        byte = file.read(1)[0]
        file.seek(20_000)
        file.write(bytes([byte ^ 255]))
    code, printed, _ = run(*command, "--verify")
    assert code == 1
    assert "other values than those that were written" in printed
    code, printed, _ = run(*command, "--repair")
    assert code == 0
    assert "1 tile made anew" in printed
    assert "1 tile is as it was written" in run(*command, "--verify")[1]
    np.testing.assert_array_equal(read("b.tif"), tconv.upsample(path, kernel="bicubic"))


def test_a_tile_that_is_gone_is_found_and_made_anew(run):
    path = write_tiff("a.tif", picture(100, 100, 3))
    command = [path, "-o", "b.zarr", "--kernel", "bicubic", "--chunks", "64", "--max-memory", MEMORY]
    _, printed, _ = run(*command)
    assert "192 random outputs of 1 tile agree" in printed  # those of no other computation are counted
    next(each for each in Path("b.zarr/c").rglob("*") if each.is_file()).unlink()
    code, _, errors = run(*command)
    assert code == 1
    assert "Make them anew by --repair, or all by --overwrite" in errors
    code, printed, _ = run(*command, "--verify")
    assert code == 1
    assert "is missing" in printed
    assert "--repair makes them anew" in printed
    code, printed, _ = run(*command, "--repair")
    assert code == 0
    assert "1 tile made anew" in printed
    np.testing.assert_array_equal(pixels_of("b.zarr"), tconv.upsample(path, kernel="bicubic"))


def test_repair_in_python_and_hints_of_the_command(run, monkeypatch):
    path = write_tiff("a.tif", picture(100, 100, 3))
    command = [str(path), "-o", "b.zarr", "--kernel", "bicubic", "--chunks", "64", "--max-memory", MEMORY]
    call = {"output": "b.zarr", "kernel": "bicubic", "chunks": 64, "max_memory": MEMORY}
    tconv.upsample(path, **call)
    next(each for each in Path("b.zarr/c").rglob("*") if each.is_file()).unlink()
    tconv.upsample(path, repair=True, **call)
    np.testing.assert_array_equal(pixels_of("b.zarr"), tconv.upsample(path, kernel="bicubic"))
    monkeypatch.setattr("sys.argv", ["tconv", "upsample", *command, "--overwrite"])
    hint = f"tconv upsample {' '.join(command)} --verify reads all of it again"
    assert hint in run(*command, "--overwrite")[1]
    for other in ("--overwrite", "--no-resume"):
        code, _, errors = run(*command, "--repair", other)
        assert code == 1
        assert f"--repair keeps what is whole, {other} makes all anew" in errors


def test_an_output_of_another_input_is_named_so(run):
    for name, size in (("a.tif", 100), ("c.tif", 60)):
        write_tiff(name, picture(50, size, 3))
    options = ["-o", "b.npy", "--kernel", "bicubic", "--max-memory", MEMORY]
    assert run("c.tif", *options)[0] == 0
    code, _, errors = run("a.tif", *options, "--verify")
    assert code == 1
    assert "b.npy exists, and was made with something else: the input" in errors


def test_axes_that_are_none_are_refused(run):
    zarr = pytest.importorskip("zarr")
    zarr.save_array("a.zarr", np.ones((6, 20, 24), np.uint8))
    zarr.save_array("line.zarr", np.ones(6, np.uint8))
    zarr.save_array("none.zarr", np.ones((0, 5, 3), np.uint8))
    for inputs, words in (
        (
            ("a.zarr", "--axes", "ABC"),
            "--axes is 'ABC'; 2 spatial axes are needed, of Z, Y and X. Write --axes \"CYX\"",
        ),
        (("line.zarr",), "line.zarr: an array of shape (6,) has 1 axes; with 2 spatial ones it needs 2, 3"),
        (("line.zarr", "--axes", "X"), "2 spatial axes are needed, of Z, Y and X. Use an array of 2 axes at least"),
        (("none.zarr",), "none.zarr has shape (0, 5, 3); no axis may be empty"),
        (("a.zarr", "-o", "b.svs"), "b.svs is not written tile by tile"),
    ):
        code, _, errors = run(*inputs)
        assert code == 1
        assert words in errors
    with pytest.raises(FileError, match=r"b\.svs has an ending that is only read; \.tif is written. Write b\.tif"):
        tconv.scale.run(tconv.scale.layer(np.ones((6, 3, 4, 4), np.uint8)), "a.zarr", "b.svs")
    with pytest.raises(FileError, match=r"of no known format; one of \.ome\.zarr.*\.btf is needed"):
        tconv.scale.run(tconv.scale.layer(np.ones((6, 3, 4, 4), np.uint8)), "a.zarr", "b.png")


def test_a_default_name_and_a_folder(run):
    path = write_tiff("a.tif", picture(60, 60, 3))
    assert run(path, "--max-memory", MEMORY)[0] == 0
    assert Path("a_x2.tif").is_file()
    assert run(path, "--max-memory", MEMORY, "-o", "large/", "--kernel", "bicubic")[0] == 0
    assert Path("large/a_x2.tif").is_file()


def test_names_of_stores_and_of_pictures_beside_them():
    for name in "scan.1.zarr", "scan.2.ome.zarr":
        zarr.save_array(name, picture(8, 9), zarr_format=3)
    for name, large in (("scan.1.zarr", "scan.1_x2.zarr"), ("scan.2.ome.zarr", "scan.2_x2.ome.zarr")):
        assert tconv.upsample(name, 2, axes="YX", output="large/") == Path("large") / large
    os.mkdir("pictures.zarr")
    np.save("pictures.zarr/a.npy", picture(8, 9))
    assert tconv.upsample("pictures.zarr/a.npy", 2).shape == (16, 18)


def test_numbers_that_a_network_does_not_expect_are_warned_of(run):
    path = write_tiff("a.tif", picture(90, 90, 3, dtype="f4") * np.float32(255))
    code, printed, _ = run(path, "-o", "b.tif", "--max-memory", MEMORY)
    assert code == 0
    assert "white is 1 for floats" in printed
    with pytest.warns(UserWarning, match="white is 1 for floats"):
        tconv.upsample(path, output="c.tif", max_memory=MEMORY)


# -- stopped and resumed ----------------------------------------------------------------------------------------------


def test_a_call_that_was_stopped_goes_on():
    x = picture(300, 200, 3)
    path = write_tiff("a.tif", x)
    call = {"output": "b.zarr", "max_memory": MEMORY, "tile": 32, "chunks": 32, "kernel": "bicubic"}

    def stop(progress):
        if progress.tiles_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tconv.upsample(path, progress=stop, **call)
    assert Path("b.zarr.part").is_dir()
    assert not Path("b.zarr").exists()
    with pytest.raises(FileError, match=r"begun with something else: .*lanczos"):
        tconv.upsample(path, **call | {"kernel": "lanczos"})
    seen = []
    tconv.upsample(path, progress=seen.append, **call)
    assert 0 < seen[0].tiles_done < seen[0].tiles
    np.testing.assert_array_equal(pixels_of("b.zarr"), tconv.upsample(x, kernel="bicubic"))
    with pytest.raises(FileError, match="exists, and was made with something else"):
        tconv.upsample(path, **call | {"kernel": "lanczos"})
    tconv.upsample(path, overwrite=True, **call | {"kernel": "lanczos"})
    np.testing.assert_array_equal(pixels_of("b.zarr"), tconv.upsample(x, kernel="lanczos"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_goes_on(how, run):
    x = picture(600, 650, 3)  # some seconds: the journal is written once in a second
    write_tiff("a.tif", x)
    options = ["a.tif", "-o", "b.zarr", "--max-memory", MEMORY, "--tile", "64", "--chunks", "64"]
    command = [sys.executable, "-m", "tconv", "upsample", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        for _ in range(3000):
            journal = Path("b.zarr.journal")
            if child.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\ndone ") >= 10):
                break
            time.sleep(0.01)
        child.send_signal(how)
        _, errors = child.communicate(timeout=60)
    assert not Path("b.zarr").exists()
    if how == signal.SIGINT:
        assert child.returncode == 130
        assert re.search(rb"interrupted at \d+% .*tiles done.*To go on: tconv upsample a.tif", errors)
    code, printed, _ = run(*options)
    assert code == 0
    assert re.search(r"going on at \d+% \(\d+ of 399 tiles done\)", printed)
    np.testing.assert_array_equal(pixels_of("b.zarr"), tconv.upsample(x))


def test_the_bound_of_memory_is_kept(python):
    """A result of 96 MB, whose process may have 32 MB beside what it has before the start."""
    np.save("a.npy", picture(2000, 3000, dtype="f4"))
    printed = python(BOUNDED)
    bound, peak = map(int, printed.split())
    assert peak <= bound


BOUNDED = """
import tconv
from tconv.scale.memory_bound import peak_bytes, resident_bytes
from tconv.upsampling.tile_job import TileJob
from tconv.upsampling.tile_options import TileOptions
from tconv.upsampling.upsampler_selection import Selection
from pathlib import Path

TileJob(Path("a.npy"), Selection(kernel="bicubic"), Path("b.npy")).plan  # which has the code of the kernel compiled
bound = resident_bytes() + (72 << 20)
tconv.upsample("a.npy", kernel="bicubic", output="b.npy", max_memory=bound)
print(bound, peak_bytes())
"""


# -- refused ----------------------------------------------------------------------------------------------------------


def test_what_is_refused_before_anything_runs():
    path = write_tiff("a.tif", picture(60, 60, 3))
    np.savez("a.npz", a=picture(20, 20))
    zarr.open_group("s.zarr", mode="w").create_array("0", data=picture(3, 20, 20))
    before = sorted(os.listdir())
    cases = [
        ((path,), {"max_memory": MEMORY}, ArgumentError, 'output is not given.*output="large.zarr"'),
        ((path,), {"max_memory": MEMORY, "output": "b.png"}, FileError, "b.png is not written tile by tile.*b.zarr"),
        ((path,), {"max_memory": "1MB", "output": "b.zarr"}, TooLargeError, "max_memory is 1 MB.*Write max_memory="),
        ((path,), {"max_memory": "lots", "output": "b.zarr"}, ArgumentError, "max_memory is 'lots'"),
        ((path,), {"max_memory": MEMORY, "output": path}, FileError, "is the input itself"),
        (("s.zarr/0",), {"output": "s.zarr", "overwrite": True}, FileError, "s.zarr is the input, too, or contains it"),
        (("s.zarr/0",), {"output": "s.zarr/0/1"}, FileError, "s.zarr/0/1 lies in the input s.zarr/0"),
        ((path,), {"resume": "no", "output": "c.zarr"}, ArgumentError, "resume is 'no'; True or False"),
        ((path,), {"progress": 5, "output": "c.zarr"}, ArgumentError, "progress is 5; a function of a Progress"),
        ((path,), {"axes": 5, "output": "c.zarr"}, ArgumentError, "axes is 5; names of axes in order"),
        ((path,), {"axes": b"YXC", "output": "c.zarr"}, ArgumentError, "axes is b'YXC'; names of axes in order"),
        ((path,), {"tile": "64", "output": "c.zarr"}, tconv.errors.GeometryError, "tile is '64'"),
        ((path,), {"tile": 1.5, "output": "c.zarr"}, tconv.errors.GeometryError, "tile is 1.5"),
        ((path,), {"output": "c.svs", "max_memory": MEMORY}, FileError, "c.svs is not written tile by tile"),
        (([path, path],), {"max_memory": MEMORY, "output": "b/"}, ArgumentError, "several inputs"),
        (("a.npz",), {"max_memory": MEMORY, "output": "b.zarr"}, ArgumentError, "is an archive"),
        ((path,), {"page": 7, "output": "b.zarr"}, (ArgumentError, FileError), "page"),
        (("b.zarr",), {"output": "c.zarr"}, FileError, "b.zarr does not exist"),
        (("http://x/b.zarr",), {"output": "c.zarr"}, ArgumentError, "URLs are not read"),
        ((path,), {"output": "none/c.zarr"}, FileError, "does not exist"),
        ((picture(3, 60, 70),), {"output": "c.zarr"}, tconv.errors.ShapeError, "looks like"),
        ((None,), {"output": "c.zarr"}, ArgumentError, "image is None"),
    ]
    for arguments, options, error, text in cases:
        with pytest.raises(error, match=text):
            tconv.upsample(*arguments, **options)
    assert sorted(os.listdir()) == before


def test_the_command_names_its_options(run):
    path = write_tiff("a.tif", picture(60, 60, 3))
    cases = [
        (["-o", "b.zarr", "--max-memory", "1MB"], "--max-memory is 1 MB.*Write --max-memory [0-9.]+[MG]B"),
        (["-o", "b.zarr", "--max-memory", "x"], "--max-memory is"),
        (["-o", "b.zarr", "--chunks", "0"], "--chunks is 0.*--chunks 1024"),
        (["-o", "b.tif", "--chunks", "100", "--max-memory", MEMORY], "Write --chunks 112x112"),
        (["-o", "b.zarr", "--workers", "0"], "--workers is 0"),
        (["-o", "b.zarr", "--page", "x"], "--page is x"),
        ([path, "-o", "b/", "--max-memory", "1GB"], "several inputs"),
        (["-o", "b.jpg", "--max-memory", "1GB"], "Write -o b.zarr"),
    ]
    for options, text in cases:
        code, _, errors = run(path, *options)
        assert code == 1
        assert re.search(text, errors), errors
    code, _, errors = run("--max-memory", "1GB")
    assert (code, "without an input" in errors) == (1, True)
    assert os.listdir() == ["a.tif"]


def test_a_picture_that_does_not_fit_is_refused_with_the_options_that_fit_it(run, monkeypatch):
    from tconv.upsampling import run as module

    path = write_tiff("a.tif", picture(60, 60, 3))
    monkeypatch.setattr(module, "physical_memory", lambda: 20_000)
    np.save("a.npy", picture(70, 60))
    for name, options in ((path, "-o large.zarr --max-memory 1GB"), ("a.npy", "-o large.zarr --max-memory 1GB")):
        code, _, errors = run(name)
        assert code == 1
        assert options in errors, errors
    with pytest.raises(TooLargeError, match=r'output="large.zarr", max_memory="1GB"'):
        tconv.upsample(picture(70, 60), 2)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("tifffile", ("x.tif", "-o", "y.tif", "--max-memory", "1GB")),
        ("zarr", ("x.npy", "-o", "y.zarr")),
        ("distributed", ("x.npy", "-o", "y.npy", "--workers", "2")),
    ],
)
def test_a_missing_package_is_named_with_its_extra(run, monkeypatch, package, words):
    np.save("x.npy", picture(3, 20, 30))
    tifffile.imwrite("x.tif", picture(20, 30, 3), photometric="rgb")
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run(*words)
    assert code == 1
    assert f'needs {package}, which is not installed. Write: pip install "tconv[scale]"' in err
    assert not list(Path().glob("y*"))
