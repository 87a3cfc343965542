"""`tconv upsample` with several files: a broken one does not stop the others, and nothing is overwritten."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tconv
import tconv.models
from tconv.io.picture_reading import open_picture
from tconv.upsampling import learned
from tconv.upsampling.file_batch import FileBatch
from tconv.upsampling.upsampler_selection import Selection

TCONV = [sys.executable, "-c", "import sys; from tconv.cli import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype("u1")


def ten_pictures(broken=(3,)):
    """0.jpg to 9.jpg, some of which break off."""
    for n in range(10):
        Image.fromarray(noise(30, 40, 3, seed=n)).save(f"{n}.jpg")
        if n in broken:
            whole = Path(f"{n}.jpg").read_bytes()
            Path(f"{n}.jpg").write_bytes(whole[: len(whole) // 2])
    return [f"{n}.jpg" for n in range(10)]


def test_one_broken_file_among_ten(run):
    names = ten_pictures()
    code, out, err = run(*names, "-o", "large/")
    assert code == 1
    whole = [n for n in range(10) if n != 3]
    assert sorted(os.listdir("large")) == [f"{n}_x2.png" for n in whole]
    lines = out.splitlines()
    assert lines.pop(0).startswith("upsample  2 times by photo x2 (a network of ")
    assert lines.pop(0) == "input     0.jpg: 40 x 30, JPEG, RGB, 8 bit, the first"
    assert lines.pop(0).startswith("plan      80 x 60 pixels in 1 strip, ")
    assert [line.split(":")[0] for line in lines[:9]] == [f"output    large/{n}_x2.png" for n in whole]
    assert lines[0].startswith("output    large/0_x2.png: 80 x 60, PNG, RGB, 8 bit, ")
    assert lines[9].startswith("check     ")
    assert lines[10].startswith("time      ")
    assert len(lines) == 11
    reasons = err.splitlines()
    assert reasons[0] == "tconv: 1 of 10 inputs failed; 9 files were written"
    assert reasons[1].startswith("tconv: 3.jpg is damaged (premature end of JPEG image); a whole file is needed")
    assert len(reasons) == 2
    for n in whole:
        pixels = open_picture(Path(f"large/{n}_x2.png")).read()
        np.testing.assert_array_equal(pixels, np.moveaxis(tconv.upsample(f"{n}.jpg"), 2, 0))


def test_all_files_are_written_and_the_code_is_0(run):
    names = ten_pictures(broken=())
    code, _, err = run(*names, "-o", "large", "--kernel", "bicubic")
    assert (code, err) == (0, "")
    assert len(os.listdir("large")) == 10
    code, _, err = run("0.jpg", "-o", "one/")
    assert (code, err, os.listdir("one")) == (0, "", ["0_x2.png"])


def test_without_an_output_the_files_are_written_here(run):
    ten_pictures(broken=())
    code, _, _ = run("0.jpg", "1.jpg", "--kernel", "bicubic")
    assert code == 0
    assert {"0_x2.png", "1_x2.png"} < set(os.listdir())
    assert run("0.jpg", "1.jpg", "--kernel", "bicubic")[0] == 0
    assert {"0_x2-2.png", "1_x2-2.png"} < set(os.listdir())


def test_folders_are_searched(run):
    os.makedirs("in/below")
    Image.fromarray(noise(5, 6, 3)).save("in/a.PNG")
    Image.fromarray(noise(5, 6, 3)).save("in/b.bmp")
    Image.fromarray(noise(5, 6, 3)).save("in/.hidden.png")
    Image.fromarray(noise(5, 6, 3)).save("in/below/c.png")
    np.save("in/d.npy", np.ones((3, 4), "f4"))
    Path("in/notes.txt").write_text("no picture")
    assert run("in", "-o", "out")[0] == 0
    assert sorted(os.listdir("out")) == ["a_x2.png", "b_x2.png", "d_x2.npy"]
    os.mkdir("empty")
    code, out, err = run("empty")
    assert (code, out) == (1, "")
    assert err.startswith("tconv: 1 of 1 input failed; 0 files were written\n")
    assert "tconv: empty has no picture or feature map in it; files that end in .png, .jpg" in err
    code, _, err = run("empty", "in/a.PNG", "-o", "out2")
    assert (code, os.listdir("out2")) == (1, ["a_x2.png"])
    assert err.startswith("tconv: 1 of 2 inputs failed; 1 file was written\ntconv: empty has no picture")


def test_json_of_many_files(run):
    names = ten_pictures(broken=(3, 7))
    np.save("maps.npy", np.ones((2, 3, 4), "f4"))
    code, out, err = run(*names, "maps.npy", "none.png", "-o", "large", "--json")
    assert code == 1
    facts = json.loads(out)
    assert list(facts) == ["files", "succeeded", "failed", "seconds"]
    assert (facts["succeeded"], facts["failed"]) == (9, 3)
    done, failed = facts["files"][:9], facts["files"][9:]
    assert [entry["input"]["path"] for entry in failed] == ["3.jpg", "7.jpg", "none.png"]
    assert failed[2]["error"].startswith("none.png does not exist")
    assert [(entry["upsampler"], entry["scale"]) for entry in done] == [("photo", 2)] * 8 + [("bicubic", 2)]
    assert done[0]["output"]["path"] == "large/0_x2.png"
    assert done[0]["output"]["bytes"] == Path("large/0_x2.png").stat().st_size
    checks = [entry["check"] for entry in done]  # the files share the outputs, and the time
    assert sum(check["wanted"] for check in checks) > 4096
    assert checks[0]["outputs"] >= 256
    assert all(0 <= check["outputs"] <= check["wanted"] for check in checks)
    assert err.splitlines()[0] == "tconv: 3 of 12 inputs failed; 9 files were written"


def test_nothing_is_overwritten(run):
    ten_pictures(broken=())
    os.mkdir("large")
    Path("large/1_x2.png").write_text("theirs")
    words = ["0.jpg", "1.jpg", "2.jpg", "-o", "large", "--kernel", "nearest"]
    code, _, err = run(*words)
    assert code == 1
    assert err.splitlines()[1:] == [
        "tconv: 1.jpg: large/1_x2.png exists, and nothing is overwritten. Choose another name, or --overwrite"
    ]
    assert Path("large/1_x2.png").read_text() == "theirs"
    assert sorted(os.listdir("large")) == ["0_x2.png", "1_x2.png", "2_x2.png"]
    assert run(*words, "--overwrite")[0] == 0
    assert open_picture(Path("large/1_x2.png")).shape == (3, 60, 80)


def test_an_input_is_never_replaced(run):
    Image.fromarray(noise(4, 5, 3)).save("a.png")
    Image.fromarray(noise(6, 7, 3)).save("a_x2.png")
    before = Path("a_x2.png").read_bytes()
    code, _, err = run("a.png", "a_x2.png", "-o", "./", "--overwrite", "--kernel", "nearest")
    assert code == 1
    assert "tconv: a.png: a_x2.png is an input, which is not overwritten. Choose another name" in err
    assert Path("a_x2.png").read_bytes() == before
    assert open_picture(Path("a_x2_x2.png")).shape == (3, 12, 14)


@pytest.mark.parametrize("output", [[], ["-o", "large/"]])
def test_names_that_clash_get_their_endings(run, output):
    folder = Path("large" if output else ".")
    os.mkdir("b")
    for n, path in enumerate(("a.png", "b/a.jpg", "c.png")):
        Image.fromarray(noise(5, 6, 3, seed=n)).save(path)
    words = ["--kernel", "nearest", *output]
    assert run("a.png", "c.png", "b", *words)[::2] == (0, "")
    made = sorted(path.name for path in folder.glob("*_x2*"))
    assert made == ["a_jpg_x2.png", "a_png_x2.png", "c_x2.png"]
    pixels = open_picture(folder / "a_png_x2.png").read()
    np.testing.assert_array_equal(pixels[:, ::2, ::2], open_picture(Path("a.png")).read())
    # other endings do not clash, nor do files that cannot be read
    np.save("a.npy", np.ones((2, 2)))
    Path("b/a.jpg").write_bytes(b"\xff\xd8")
    code, _, err = run("a.png", "a.npy", "b/a.jpg", *words)
    assert code == 1
    assert err.startswith("tconv: 1 of 3 inputs failed; 2 files were written\ntconv: b/a.jpg is damaged")
    assert {"a_x2.png", "a_x2.npy"} < {path.name for path in folder.glob("*_x2*")}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_names_that_clash_even_so_fail_alone(run, overwrite):
    os.mkdir("b")
    for n, path in enumerate(("a.png", "b/a.png", "c.png", "c.tif", "c_tif.png")):
        Image.fromarray(noise(5, 6, 3, seed=n)).save(path)
    code, _, err = run(
        "a.png", "b/a.png", "c.png", "c.tif", "c_tif.png", "-o", "large", "--kernel", "nearest", *overwrite
    )
    assert code == 1
    assert err.splitlines() == [
        "tconv: 2 of 5 inputs failed; 3 files were written",
        "tconv: b/a.png and a.png would be written under the same name. Enlarge b/a.png by itself, with its own -o",
        "tconv: c.tif and c_tif.png would be written under the same name. Enlarge c.tif by itself, with its own -o",
    ]
    assert sorted(os.listdir("large")) == ["a_png_x2.png", "c_png_x2.png", "c_tif_x2.png"]
    for path, result in (("a.png", "a_png"), ("c_tif.png", "c_tif")):
        pixels = open_picture(Path(f"large/{result}_x2.png")).read()
        np.testing.assert_array_equal(pixels[:, ::2, ::2], open_picture(Path(path)).read())


def test_files_without_endings_may_clash_too(run):
    os.mkdir("b")
    for path in ("a", "b/a", "a.png"):
        Image.fromarray(noise(5, 6, 3)).save(path, "png")
    code, _, err = run("a", "b/a", "a.png", "-o", "large", "--kernel", "nearest", "--overwrite")
    assert (code, sorted(os.listdir("large"))) == (1, ["a_png_x2.png", "a_x2.png"])
    assert "tconv: b/a and a would be written under the same name. Enlarge b/a by itself, with its own -o\n" in err


def test_a_file_that_is_given_twice_counts_once(run):
    Image.fromarray(noise(5, 6, 3)).save("a.png")
    os.mkdir("in")
    os.symlink("../a.png", "in/b.png")
    code, out, err = run("a.png", "./a.png", "in/../a.png", "in/b.png", "in", "-o", "large")
    assert (code, err) == (0, "")
    assert out.count("output ") == 2
    assert sorted(os.listdir("large")) == ["a_x2.png", "b_x2.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kernel", "cubic"], "--kernel is 'cubic'; nearest, bilinear"),
        (["--weights", "none.onnx"], "none.onnx does not exist, or is not a file"),
        (["--kernel", "bicubic", "--model", "photo"], "--model and --kernel were given"),
        (["-o", ""], "-o is empty; a file or a folder is needed. Write -o large.png"),
        (["-o", "one.png"], "-o one.png names one file, but there are 10 inputs. Write -o one/"),
        ([""], "INPUT is empty; a file or a folder is needed. Write tconv upsample photo.jpg, for example"),
        (["-o", "0.jpg"], "0.jpg is a file; a folder is needed. Choose a folder"),
        (["-o", "no/large"], "no/large lies in no, which does not exist. Choose a folder in a directory that does"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_of_the_call_are_said_once_and_before_the_work(run, words, message):
    names = ten_pictures(broken=())
    before = sorted(os.listdir())
    code, out, err = run(*names, *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"tconv: {message}")
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_an_empty_input_does_not_mean_this_folder(run):
    Image.fromarray(noise(5, 6, 3)).save("a.png")
    for words in ([""], ["a.png", ""]):
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert err.startswith("tconv: INPUT is empty; a file or a folder is needed.")
    assert os.listdir() == ["a.png"]


def test_a_folder_may_have_the_ending_of_a_picture(run):
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(5, 6, 3)).save(name)
    assert run("a.png", "b.png", "-o", "one.png/")[0] == 0
    assert run("a.png", "b.png", "-o", "one.png", "--scale", 3)[0] == 0
    assert sorted(os.listdir("one.png")) == ["a_x2.png", "a_x3.png", "b_x2.png", "b_x3.png"]
    os.mkdir("in")
    code, _, err = run("in", "-o", "two.png")
    assert (code, err) == (1, "tconv: -o two.png names one file, but in is a folder. Write -o two/\n")


def test_a_folder_that_stays_empty_is_removed(run):
    Path("a.jpg").write_bytes(b"\xff\xd8")
    Path("b.jpg").write_text("text")
    code, out, err = run("a.jpg", "b.jpg", "-o", "large")
    assert (code, out) == (1, "")
    assert err.startswith("tconv: 2 of 2 inputs failed; 0 files were written\n")
    assert sorted(os.listdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_what_ends_in_the_middle_leaves_whole_files_only(run, monkeypatch, kind):
    names = ten_pictures(broken=())
    usual, calls = learned.LearnedUpsampler.strip, []

    def strip(self, *given):
        calls.append(1)
        if len(calls) == 3:
            raise kind("half-way")
        return usual(self, *given)

    monkeypatch.setattr(learned.LearnedUpsampler, "strip", strip)
    if kind is RuntimeError:
        with pytest.raises(kind):
            run(*names, "-o", "large")
    else:
        code, _, err = run(*names, "-o", "large")
        assert code == (130 if kind is KeyboardInterrupt else 1)
        assert ("tconv: 2.jpg: out of memory (half-way)" in err) == (kind is MemoryError)
    left = [0, 1, *range(3, 10)] if kind is MemoryError else [0, 1]
    assert sorted(os.listdir("large")) == [f"{n}_x2.png" for n in left]


def test_the_network_is_loaded_once(run, monkeypatch):
    names, loaded = ten_pictures(broken=()), []
    usual = tconv.models.photo
    monkeypatch.setattr(learned, "photo", lambda scale: loaded.append(scale) or usual(scale))
    assert run(*names, "-o", "large")[0] == 0
    assert loaded == [2]


def test_memory_does_not_grow_with_the_number_of_files():
    for n in range(60):
        Image.fromarray(noise(300, 300, 3, seed=n)).save(f"{n}.png")
    batch = FileBatch([Path(f"{n}.png") for n in range(60)], Selection(kernel="bicubic"), Path("large"))
    pages = [
        int(Path("/proc/self/statm").read_text().split()[1]) for _ in batch.run()
    ]  # in use now, not at most so far
    assert max(pages[10:]) - min(pages[5:10]) < 2500  # of 4 KiB; 50 pictures and their results are 16,500


def test_a_batch_is_also_a_library(here):
    ten_pictures()
    shares = []
    batch = FileBatch([here], Selection(3, kernel="nearest"), here / "large")
    runs = [file_run.path.name for _, file_run in batch.run(shares.append)]
    assert runs == [f"{n}_x3.png" for n in range(10) if n != 3]
    assert sum(shares) == pytest.approx(10)
    assert [failure.source.name for failure in batch.failures] == ["3.jpg"]


@pytest.mark.skipif(os.name != "posix", reason="terminals are imitated by pty")
def test_a_terminal_sees_one_bar_over_all_files():
    import pty

    names = ten_pictures()
    outer, inner = pty.openpty()
    with open("lines.txt", "w") as lines:
        child = subprocess.Popen([*TCONV, "upsample", *names, "-o", "large"], stderr=inner, stdout=lines)
    os.close(inner)
    seen = b""
    with suppress(OSError):  # at the end, on Linux
        while part := os.read(outer, 10**4):
            seen += part
    os.close(outer)
    seen = seen.decode()
    assert child.wait(60) == 1
    assert "/10 files" in seen
    assert "1 of 10 inputs failed" in seen
    lines = Path("lines.txt").read_text()
    assert lines.count("output    large/") == 9
    assert "\x1b" not in lines
