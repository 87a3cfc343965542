"""`tconv explain` and `tconv env`: they print what Geometry computes, quickly and without importing a framework."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tconv
from tconv import _extras
from tconv.cli import env, explain, main
from tconv.errors import ArgumentError, DialectError, FileError, GeometryError, ShapeError


def printed(capsys, **arguments):
    explain.run(**arguments)
    return capsys.readouterr().out


def test_the_formula_holds_with_the_numbers_in_it(capsys):
    text = printed(capsys, kernel=[3], stride=[2], padding=["1"], input=[8, 8])
    assert text.startswith("8 x 8 -> 15 x 15   (full result 17 x 17)\n")
    assert "a row per input element, the number of the tap; rows are summed downwards" in text
    formulas = re.findall(r"axis \d: (.*) = (\d+)$", text, re.M)
    assert len(formulas) == 2
    for formula, value in formulas:
        assert eval(formula) == int(value) == 15
    assert "axis 0: 2 1   (uneven: a checkerboard is likely" in text
    assert "torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1)" in text
    assert "tf.nn.conv2d_transpose(x, weight, [x.shape[0], 15, 15, weight.shape[2]], strides=2, padding='SAME')" in text


def test_one_axis_is_mentioned(capsys):
    """--kernel 3 alone is a square kernel; with one number for the input, too, it is that of a signal."""
    text = printed(capsys, kernel=[3], input=[8])
    assert text.startswith("8 -> 10   (full result 10; one spatial axis, write --input 8 8 for two)\n")
    assert "one spatial axis" not in printed(capsys, kernel=[3])
    assert "one spatial axis" not in printed(capsys, kernel=[3], input=[8, 8])


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel": [3], "stride": [2], "padding": ["1"], "input": [5]},
        {"kernel": [2], "stride": [3], "output_padding": [2], "input": [3]},
    ],
)
def test_the_picture_is_the_scatter(capsys, arguments):
    """The rows of tap numbers, each times its input, summed downwards and cropped, are the operator."""
    text = printed(capsys, **arguments)
    rows = re.findall(r"^  x\[\d+\] +((?:[.0-9a-z] ?)+)$", text, re.M)
    crop = re.search(r"^  crop +((?:[xy] ?)+)", text, re.M)[1].split()
    x, w = np.arange(1, len(rows) + 1), np.arange(10, 10 + arguments["kernel"][0])
    total = sum(
        value * np.array([0 if c == "." else w[int(c)] for c in row.split()])
        for value, row in zip(x, rows, strict=True)
    )
    y = total[[position for position, letter in enumerate(crop) if letter == "y"]]
    spec = {name: int(value[0]) for name, value in arguments.items() if name not in ("kernel", "input")}
    assert y.tolist() == tconv.definition.scatter(x, w, **spec).tolist()


def test_every_dialect_is_explained(capsys):
    for name in tconv.dialects.names():
        output = [8] if name in ("tensorflow", "tflite") else None
        padding = ["SAME"] if name in ("tensorflow", "tflite", "jax") else None  # jax.lax has no default
        stride = {"option": ["stride_w=2", "stride_h=2"]} if name == "ncnn" else {"stride": [2]}
        text = printed(capsys, kernel=[4], input=[4, 4], padding=padding, output=output, dialect=name, **stride)
        assert text.startswith("4 x 4 -> ")
        assert f"\n  {name} " in text


@pytest.mark.parametrize(
    ("arguments", "meaning"),
    [
        ({"kernel": [4], "stride": [2]}, "even"),
        ({"kernel": [3], "stride": [2]}, "make the kernel a multiple of the stride"),
        ({"kernel": [2], "stride": [3]}, "the kernel is smaller than the stride"),
        ({"kernel": [5], "stride": [2], "dilation": [2]}, "the dilation shares a factor with the stride"),
    ],
)
def test_overlap_is_explained(capsys, arguments, meaning):
    assert meaning in printed(capsys, **arguments)


def test_a_size_is_a_whole_number():
    done = subprocess.run([sys.executable, "-m", "tconv", "explain", "--kernel", "3.5"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "3.5" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stride", "2.5"], "--stride is 2.5; whole numbers are needed. Write --stride 2, for example"),
        (["--dilation", "0.5", "x"], "--dilation is 0.5 x; whole numbers are needed. Write --dilation 1 2, for example"),
        (["--input", "8", "1e999"], "--input is 8 1e999; whole numbers are needed. Write --input 8 2, for example"),
        (["--output", "e.png"], "--output is e.png, and --output is the size of the output. Write -o e.png to draw a picture"),
        (["--stride", "3x3"], "--stride is 3x3; whole numbers are needed. Write --stride 3 3, for example"),
        (["--dilation", "3,5"], "--dilation is 3,5; whole numbers are needed. Write --dilation 3 5, for example"),
        (["--input", "8,", "9"], "--input is 8, 9; whole numbers are needed. Write --input 8 9, for example"),
        (["--stride", "2X3"], "--stride is 2X3; whole numbers are needed. Write --stride 2 3, for example"),
        (["--padding", "1,2"], "--padding is 1,2; whole numbers are needed. Write --padding 1 2, for example"),
        (["--padding", "same"], "takes integers only. Write --padding 1, or, for Keras' rule, --dialect keras"),
        (["--padding", "VALID"], "takes integers only. Write --padding 1, or, for Keras' rule, --dialect keras"),
        (["--padding", "half"], "takes integers only. Write --padding 1"),
        (["--output", "8.5"], "--output is 8.5; whole numbers are needed. Write --output 8, for example"),
        (
            ["--output-padding", "1"],
            "output_padding is 1 on spatial axis 0; PyTorch needs it smaller than the stride (1) or the dilation (1). "
            'Write --option "crop=[[0, -1], [0, -1]]" instead of --padding and --output-padding, which has no such limit',
        ),
        (
            ["--padding", "1", "--option", "crop=[[1, 1], [1, 1]]"],
            "crop= was given together with padding= or output_padding=; both describe the crop. "
            'Write --option "crop=[[1, 1], [1, 1]]" instead of --padding and --output-padding',
        ),
        (
            ["--dialect", "onnx", "--output-padding", "2"],
            'Write --dialect torch with --option "crop=[[0, -2], [0, -2]]" instead of --padding and --output-padding',
        ),
    ],
)  # fmt: skip
def test_the_advice_works_on_the_command_line(words, message, capsys):
    assert main(["explain", "--kernel", "3", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    option = re.search(r'--option "(.*?)"', error)
    if option is not None:
        assert main(["explain", "--kernel", "3", "--option", option[1]]) == 0


def test_tensorflows_arguments(capsys):
    text = printed(
        capsys, kernel=[4, 4], stride=[2], padding=["SAME"], input=[8, 8], output=[16, 16], dialect="tensorflow"
    )
    assert text.startswith("8 x 8 -> 16 x 16")


def test_onnxs_arguments_by_option(capsys):
    text = printed(capsys, kernel=[3, 3], input=[4, 4], option=["pads=[0, 0, 1, 1]", "auto_pad=NOTSET"], dialect="onnx")
    assert text.startswith("4 x 4 -> 5 x 5")


@pytest.mark.parametrize("pads", [{"padding": ["-1"] * 4}, {"option": ["pads=[-1, -1, -1, -1]"]}])
def test_onnxs_negative_pads_extend_the_output(capsys, pads):
    text = printed(capsys, kernel=[2, 2], stride=[4], input=[3, 3], dialect="onnx", **pads)
    assert text.startswith("3 x 3 -> 12 x 12   (full result 10 x 10)")
    assert "axis 0: 4*(3 - 1) + 1*(2 - 1) + 1 + 1 + 1 = 12" in text
    assert "y = np.pad(y, [(0, 0), (0, 0), (1, 1), (1, 1)])" in text


def test_json(capsys):
    facts = json.loads(printed(capsys, kernel=[4], stride=[2], padding=["1"], input=[8], as_json=True))
    assert facts["output"] == [16]
    assert facts["geometry"] == {"kernel": [4], "stride": [2], "crop": [[1, 1]], "dilation": [1], "groups": 1}
    assert set(facts["calls"]) == set(tconv.dialects.names())


def test_large_cases_stay_short(capsys):
    text = printed(capsys, kernel=[1024], stride=[256], input=[862])
    assert "positions, too many for a line of this picture" in text
    assert len(text.splitlines()) < 30
    begun = time.perf_counter()
    text = printed(capsys, kernel=[10**12], stride=[3], dilation=[2], input=[10**9], every=True)
    assert time.perf_counter() - begun < 5
    assert len(text.splitlines()) < 60


def test_the_picture_file(capsys, tmp_path):
    path = tmp_path / "fig.svg"
    explain.run(kernel=[3], stride=[2], padding=["1"], input=[3, 3], picture=path)
    assert path.read_text().lstrip().startswith("<?xml")
    capsys.readouterr()
    with pytest.raises(FileError, match=r"fig\.svg exists, and nothing is overwritten\. Choose another name$"):
        explain.run(kernel=[3], picture=path)
    assert capsys.readouterr().out == ""  # refused before anything is printed
    with pytest.raises(ShapeError, match="the full result has 1003 x 1003 cells; up to 80 on an axis can be drawn"):
        explain.run(kernel=[1000], picture=tmp_path / "c.svg")
    assert [file.name for file in tmp_path.iterdir()] == ["fig.svg"]
    with pytest.raises(DialectError, match="the picture shows 1 or 2 axes; there are 3"):
        explain.run(kernel=[3, 3, 3], picture=tmp_path / "b.svg")
    capsys.readouterr()
    explain.run(kernel=[3], picture=tmp_path / "d.svg", as_json=True)
    text = capsys.readouterr()
    json.loads(text.out)
    assert text.err == f"wrote {tmp_path / 'd.svg'}\n"


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"kernel": [0]}, GeometryError, "kernel is (0, 0); every entry must be at least 1. Write --kernel 1 1, for"),
        (
            {"kernel": [3], "stride": [0]},
            GeometryError,
            "stride is (0, 0); every entry must be at least 1. Write --stride 1 1, for",
        ),
        (
            {"kernel": [3], "stride": [10**12]},
            ArgumentError,
            "stride is 1000000000000; the taps of each phase are counted, and an axis may have at most 65536 phases. Write --stride 65536, or less",
        ),
        ({"kernel": [3, 3], "input": [4, 4, 4]}, GeometryError, "there are 2 spatial axes. Write --input 8 8"),
        (
            {"kernel": [4], "stride": [2], "padding": ["SAME"], "dialect": "tensorflow"},
            ArgumentError,
            "output_shape is missing; tf.nn needs it, with SAME too. Write --output 8 8",
        ),
        (
            {"kernel": [4], "stride": [2], "dialect": "ncnn"},
            ArgumentError,
            "--stride is not an option of the ncnn dialect, which has ",
        ),
        (
            {"kernel": [3], "padding": ["SAME"]},
            ArgumentError,
            "padding is 'SAME'; PyTorch's transposed convolution takes integers",
        ),
        (
            {"kernel": [3], "output": [8]},
            ArgumentError,
            "--output is not an option of the torch dialect, which has stride, padding, output_padding, groups, dilation, crop; the dialects tensorflow, tflite, haiku, onnx, onnxruntime, openvino, paddle have it. Write --dialect tensorflow, or --option NAME=VALUE with one of its names",
        ),
        ({"kernel": [3], "option": ["strid=2"]}, ArgumentError, "strid= is not an argument of the torch dialect"),
        (
            {"kernel": [3], "padding": ["1", "SAME"]},
            ArgumentError,
            "padding is 1 SAME; numbers or one name are needed. Write --padding 1, or --padding SAME",
        ),
        (
            {"kernel": [3], "groups": 2, "picture": Path("no/such/folder/x.svg")},
            FileError,
            "lies in no/such/folder, which does not exist. Choose a name",
        ),
        ({"kernel": [3], "picture": Path("fig.txt")}, FileError, "Choose a name that ends in .svg, .png or .pdf"),
        ({"kernel": [3], "dialect": "caffe"}, DialectError, "dialect is 'caffe'; there are torch"),
        ({"kernel": [3], "dialect": "tf"}, DialectError, "Write --dialect tensorflow"),
    ],
)
def test_bad_options(arguments, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=re.escape(message)):
        explain.run(**arguments)


def test_a_place_in_a_file_is_refused_without_an_echo(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "tconv", "explain", "--kernel", "3", "-o", str(tmp_path / "file" / "a.png")],
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"tconv: .*a\.png cannot be written: Not a directory\. Choose a name .*\n", done.stderr)


def test_no_framework_is_imported_by_the_command():
    code = (
        "import sys; sys.argv = ['tconv', 'explain', '--kernel', '3', '--stride', '2', '--padding', '1']\n"
        "from tconv.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'scipy', 'matplotlib', 'onnx', 'llvmlite', 'pyvips', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "7 x 7" in done.stdout


def test_env(capsys):
    env.run()
    text = capsys.readouterr().out
    assert text.startswith(f"tconv      {tconv.__version__}, Python ")
    assert re.search(rf"numpy +{re.escape(np.__version__)}\n", text)
    env.run(as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["numpy"]["version"] == np.__version__
    assert facts["methods"][0] == "simd"


def test_env_says_how_to_install_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(_extras.EXTRAS, "no_such_package", "draw")
    env.run()
    assert 'no_such_package not installed: pip install "tconv[draw]"' in capsys.readouterr().out
