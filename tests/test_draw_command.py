"""`tconv draw`: files of every picture and animation, with the numbers of the layer that the options describe."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import tconv
from tconv.cli import drawings, main
from tconv.draw.registry import PICTURES

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, line):
    """Run a command line that must succeed, and return what it prints."""
    assert main(["draw", *line.split()]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, line, code=1):
    assert main(["draw", *line.split()]) == code
    return capsys.readouterr().err


def axes_of(name, line, monkeypatch, capsys):
    """Return the Axes that a command line draws, and what it prints."""
    made = []
    write = drawings.write_figure
    monkeypatch.setattr(drawings, "write_figure", lambda ax, new, form: (made.append(ax), write(ax, new, form)))
    out = run(capsys, f"{name} {line}")
    return made[0], out


def numbers(ax, name):
    found = {}
    for text in ax.texts:
        match = re.fullmatch(rf"{name}\[([\d,]+)\]", text.get_gid() or "")
        if match:
            found[tuple(map(int, match[1].split(",")))] = float(text.get_text())
    return np.array([found[place] for place in sorted(found)])


@pytest.mark.parametrize("name", sorted({*PICTURES, "architecture", "zero-insertion"}))
def test_every_picture_is_a_file_and_a_sentence(name, folder, capsys):
    size = "" if name == "channels" else "--kernel 2 --stride 2 --input 2"
    out = run(capsys, f"{name} {size} --depth 1" if name == "architecture" else f"{name} {size}")
    assert (folder / f"{name}.svg").read_text().lstrip().startswith(("<?xml", "<svg"))
    wrote, words = out.split("\n", 1)
    assert wrote == f"wrote {name}.svg"
    assert len(words.strip()) > 20


def test_a_default_name_never_replaces_a_file(folder, capsys):
    for name in ("zero-insertion.svg", "zero-insertion-2.svg"):
        assert run(capsys, "zero-insertion --kernel 1 --input 1 --overwrite").startswith(f"wrote {name}\n")


def test_the_numbers_are_those_of_the_layer(monkeypatch, capsys):
    ax, out = axes_of("scatter", "--kernel 3 --stride 2 --padding 1 --input 3 2", monkeypatch, capsys)
    x, w = np.arange(1, 7).reshape(3, 2), np.arange(1, 10).reshape(3, 3)
    y = tconv.definition.scatter(x, w, stride=2, padding=1)
    np.testing.assert_array_equal(numbers(ax, "output"), y.ravel())
    assert (
        out.splitlines()[1] == "Each input element paints its kernel: 3 × 2 → 5 × 3 (kernel 3 × 3, stride 2, padding 1)"
    )


def test_the_words_are_those_of_the_dialect(monkeypatch, capsys):
    ax, _ = axes_of("scatter", "--dialect keras --strides 2 --padding same --kernel 3 --input 3", monkeypatch, capsys)
    x, w = np.arange(1, 4), np.arange(1, 4)
    y = tconv.conv_transpose(x[None, :, None], w[:, None, None], dialect="keras", strides=2, padding="same")
    np.testing.assert_array_equal(numbers(ax, "output"), y.ravel())


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_own_numbers_have_the_order_of_the_dialect(name, folder, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, (2, 3)), rng.integers(-9, 10, (3, 2))
    np.save("x.npy", x)
    np.save("w.npy", w)
    padding = "--padding VALID" if name == "jax" else ""
    ax, _ = axes_of(
        "gather", f"--x x.npy --weight w.npy --stride 2 {padding} --dialect {name} --at 1 0", monkeypatch, capsys
    )
    y = tconv.definition.scatter(x, np.flip(w) if name == "jax" else w, stride=2)
    assert numbers(ax, "sum")[0] == y[1, 0]


def test_phases_are_those_of_the_input_that_was_given(monkeypatch, capsys):
    x = np.array([3, -1, 4, 1, -5])
    np.save("x.npy", x[None, None])  # batch and channels
    np.save("w.npy", np.array([2, 7, 1])[None, None])
    ax, out = axes_of("phases", "--x x.npy --weight w.npy --stride 2", monkeypatch, capsys)
    np.testing.assert_array_equal(numbers(ax, "input"), x)
    np.testing.assert_array_equal(numbers(ax, "output"), tconv.definition.scatter(x, np.array([2, 7, 1]), stride=2))
    assert ": 5 → 11 (" in out
    assert run(capsys, "matrix --weight w.npy").endswith(": 3 → 5 (kernel 3, stride 1)\n"), "of one axis, as w is"


def test_phases_are_those_of_the_size_that_was_given(monkeypatch, capsys):
    ax, _ = axes_of("phases", "--input 2 4 --stride 2", monkeypatch, capsys)
    assert len(numbers(ax, "input")) == 8


@pytest.mark.parametrize(
    ("name", "words"), [("ncnn", "--option stride_w=2"), ("mlx_general", "--stride 2"), ("keras", "")]
)
def test_the_usual_stride_of_an_architecture_is_2_in_every_dialect(name, words, capsys):
    usual = run(capsys, f"architecture --input 45 --depth 2 --dialect {name} -o a.svg")
    assert "22 → 45" in usual
    assert (
        run(capsys, f"architecture --input 45 --depth 2 --dialect {name} {words} -o b.svg").replace("b.", "a.") == usual
    )


def test_channels_of_a_whole_weight(monkeypatch, capsys):
    w = np.arange(2 * 3 * 4).reshape(2, 3, 4, 1)  # Keras: [kh, kw, C_out, C_in]
    np.save("w.npy", w)
    ax, out = axes_of("channels", "--weight w.npy --dialect keras", monkeypatch, capsys)
    texts = {text.get_gid(): text.get_text() for text in ax.texts}
    assert texts["kernel[0,3][1,2]"] == str(w[1, 2, 3, 0])
    assert "1 → 4 channels, 1 group\n" in out


def test_a_still_picture_has_the_format_of_its_name(folder, capsys):
    run(capsys, "overlap --kernel 3 --stride 2 -o overlap.png --theme dark")
    image = Image.open("overlap.png").convert("RGB")
    assert image.getpixel((2, 2)) == (0x15, 0x18, 0x1C)
    run(capsys, "matrix --kernel 2 --input 2 -o m.pdf")
    assert (folder / "m.pdf").read_bytes().startswith(b"%PDF")


def test_a_name_of_an_animation_is_one(capsys):
    out = run(capsys, "scatter --kernel 2 --input 2 -o s.gif --seconds 0.5")
    assert Image.open("s.gif").n_frames == 3
    assert out.endswith("Scatter: kernel 2, stride 1: 2 → 3, 3 steps in 3 s; one axis, write --input 2 2 for two\n")
    run(capsys, "gather --kernel 2 --input 2 --animate -o g.svg")
    with open("g.svg") as file:
        root = ElementTree.parse(file).getroot()
    assert "@keyframes" in root.find(f"{SVG}style").text


def test_an_architecture_prints_its_sizes(capsys):
    out = run(capsys, "architecture --input 45 45 --depth 2 --kernel 4 --padding 1")
    assert "45 × 45 → 45 × 45: 1 of 2 levels does not fit as it is; it is solved" in out
    assert re.search(r"^0 .* output_padding=1$", out, re.M)
    out = run(
        capsys,
        "architecture --input 45 --dialect keras --stride 2 --padding same --kernel 3 --convolutions 0 --depth 1",
    )
    assert "45 → 45" in out


def test_existing_files_are_refused(folder, capsys):
    (folder / "s.svg").write_text("mine")
    assert "s.svg exists, and nothing is overwritten. Choose another name, or --overwrite" in refused(
        capsys, "matrix -o s.svg"
    )
    assert (folder / "s.svg").read_text() == "mine"
    run(capsys, "matrix --kernel 2 --input 2 -o s.svg --overwrite")
    assert "<svg" in (folder / "s.svg").read_text()
    assert [path.name for path in folder.iterdir()] == ["s.svg"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("paint", "there is no picture 'paint'; there are scatter, gather,"),
        ("scatter --kernel 0", "Write --kernel 1 1"),
        ("scatter --kernel 3.5", "--kernel is 3.5; whole numbers are needed. Write --kernel 3"),
        ("scatter --dialect keras --padding 1", "padding is 1"),
        ("scatter --dialect kerras", "keras"),
        ("scatter --kernel 3 --padding 9", "Use a smaller crop"),
        ("scatter --input 20 20", "Write --input 6 6"),
        ("gather --input 30 30 --stride 2", "Write --input 2"),
        ("gather --at 9 9", "Write --at 4 4"),
        ("matrix --at 1 1", "--at has no effect on matrix. Write it without --at"),
        ("matrix --x x.npy", "--x has no effect on matrix"),
        ("scatter --depth 3", "--depth has no effect on scatter"),
        ("matrix --animate", "matrix has no animation; scatter, gather, zero-insertion have one"),
        ("matrix -o m.gif", "matrix has no animation"),
        ("scatter -o s.txt", "does not end in a picture format"),
        ("scatter --animate -o s.png", "is an animation; it is written as .svg, .gif, .mp4. Write -o s.gif"),
        ("scatter --animate --kernel 2 2 2", "animations have 1 or 2 axes"),
        ("scatter --animate --input 40 40", "frames"),
        ("scatter --theme blue", "Write --theme dark"),
        ("channels --theme blue", "Write --theme dark"),
        ("scatter --seconds 0 --animate", "Write --seconds 1"),
        ("scatter --width 9 -o s.gif", "Write --width 1920"),
        ("scatter --width 900 --animate", "an SVG has any size. Write -o scatter.gif, or no --width"),
        ("scatter --width 900", "--width has no effect on scatter"),
        ("scatter --dialect jax", 'Write --option "padding=[[1, 1], [1, 1]]"'),
        ("scatter --weight none.npy", "none.npy"),
        ("scatter --weight none.txt", "is not a .npy file"),
        ("scatter --groups 2", "groups"),
        ("architecture", "Write tconv draw architecture --input 101 101"),
        ("architecture --input 7", "Use a larger input, or fewer levels"),
        ("channels --channels 1 2 3", "Write --channels 2 4"),
        ("channels --channels 0 2", "Write --channels 2 4"),
        ("channels --kernel 5", "--kernel has no effect on channels"),
        ("gather --at 0 0 --animate", "--at has no effect on gather"),
        (
            "gather --at 0",
            "--at is 0, which has 1 entry; there are 2 spatial axes. Write one integer for all axes, or --at 0 0",
        ),
        ("scatter --seconds 2", "--seconds has no effect on scatter"),
        ("scatter --input 512 512 512", "at most 512 on an axis and 262144 elements can be drawn"),
        ("matrix --input 100 100", "Write a smaller --input"),
        ("scatter -o s.pgf", "does not end in a picture format"),
        ("architecture --input 99 --convolutions 10", "a level has at most 9"),
        ("scatter -o no/such.svg", "which does not exist"),
        ("channels --channels 100 3", "Write --channels 50 3"),
        ("channels --channels 100 100 --groups 2", "Write --channels 50 50, or fewer of them"),
        ("scatter --option kernel=4", "Write --kernel 4"),
        ("scatter --option input=[4,5]", "Write --input 4 5"),
    ],
)
def test_bad_options_say_what_to_write(line, text, folder, capsys):
    assert text in refused(capsys, line)
    assert not list(folder.iterdir())


def test_an_array_beside_its_size(folder, capsys):
    np.save("w.npy", np.ones((2, 2)))
    assert "Write it without --kernel" in refused(capsys, "scatter --weight w.npy --kernel 3")
    np.save("empty.npy", np.ones((0, 2)))
    assert "without an element" in refused(capsys, "scatter --weight empty.npy")


@pytest.mark.parametrize("line", ["scatter", "gather", "phases", "scatter --animate"])
def test_a_part_of_a_file_is_one_to_save(line, folder, capsys):
    x = np.ones((100, 100))
    np.save("x.npy", x)
    text = refused(capsys, f"{line} --x x.npy")
    advice = re.search(r"Write np\.save\('x-part\.npy', x\[:(\d+), :(\d+)\]\)", text)
    np.save("x-part.npy", x[: int(advice[1]), : int(advice[2])])
    run(capsys, f"{line} --x x-part.npy")


def test_a_part_of_a_weight_is_one_to_save(folder, capsys):
    np.save("w.npy", np.ones((64, 32, 4, 4)))
    assert "Write np.save('w-part.npy', weight[:16, :16])" in refused(capsys, "channels --weight w.npy")
    grouped = refused(capsys, "channels --weight w.npy --groups 4")
    assert "Write np.save('w-part.npy', weight[:" in grouped
    assert " with --groups 1" in grouped
    assert "Write a weight of fewer groups" in refused(capsys, "channels --weight w.npy --groups 4 --dialect mlx")
    np.save("k.npy", np.ones((4, 4, 32, 64)))  # Keras: [kh, kw, C_out, C_in]
    assert "weight[:, :, :16, :16])" in refused(capsys, "channels --weight k.npy --dialect keras")
    assert "w.npy has shape (64, 32, 4, 4); a bare array" in refused(capsys, "scatter --weight w.npy")


@pytest.mark.parametrize("name", ["matplotlib", "matplotlib.axes"])
def test_without_matplotlib_the_extra_is_named(name, folder, capsys, monkeypatch):
    for module in [module for module in sys.modules if module.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    assert 'pip install "tconv[draw]"' in refused(capsys, "scatter --kernel 2 -o a.png")
    assert not list(folder.iterdir())


def test_an_error_of_a_missing_package_can_be_made_again():
    error = tconv.errors.MissingExtraError("a picture", "matplotlib", "draw")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), type(error)(str(error))):
        assert (
            str(again)
            == str(error)
            == 'a picture needs matplotlib, which is not installed. Write: pip install "tconv[draw]"'
        )
