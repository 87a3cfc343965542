"""`tconv check`: its table, options, files and exit codes, and the page of the documentation that shows them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

import json_schema
import tconv
from tconv.checking.pages.target_summary import target_summaries
from tconv.checking.traps import TRAPS

cli = pytest.importorskip("tconv.cli")
onnx = pytest.importorskip("onnx")
ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "docs" / "check-schema.json").read_text())
CAUGHT = "frozen-output-shape"
"""Trap of the layer "fixed" of `decoder`."""


def node(name, w, x="x", y=None, **attributes):
    return onnx.helper.make_node("ConvTranspose", [x, f"{name}.weight"], [y or f"{name}.y"], name=name, **attributes), (
        f"{name}.weight",
        w,
    )


def write_model(path, made, sizes=("height", "width"), channels=8):
    """Write an ONNX file of these nodes, each with its weight."""
    tensors = [onnx.numpy_helper.from_array(w.astype("f"), name) for _, (name, w) in made]
    values = [("x", [1, channels, *sizes])]
    inputs, outputs = (
        [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in each]
        for each in (values, [(made[-1][0].output[0], None)])
    )
    graph = onnx.helper.make_graph([each for each, _ in made], "g", inputs, outputs, tensors)
    onnx.save(
        onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8, producer_name="hand"
        ),
        path,
    )
    return path


def decoder(path, names=("up", "fixed")):
    """Write a decoder of two layers: one without a trap of its own, and one with a fixed output_shape."""
    rng = np.random.default_rng(0)
    first = node(
        names[0],
        tconv.artifacts.equalise(rng.standard_normal((8, 6, 4, 4)), stride=2, padding=1),
        strides=[2, 2],
        pads=[1, 1, 1, 1],
    )
    second = node(
        names[1], rng.standard_normal((6, 4, 3, 3)), first[0].output[0], strides=[2, 2], output_shape=[32, 32]
    )
    return write_model(path, [first, second])


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run `tconv check` in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        code = cli.main(["check", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


# -- the table ---------------------------------------------------------------------------------------------------


def test_the_table_is_read_without_the_documentation(run):
    code, text, errors = run(decoder(Path("decoder.onnx")))
    assert (code, errors) == (0, "")
    assert re.match(r"model +decoder\.onnx: ONNX, opset 17.*written by hand\nlayers +2 transposed convolutions: ", text)
    assert re.search(r"^1 +up +4x4 +8 -> 6 ", text, re.M)
    assert re.search(r"^2 +fixed +3x3 +6 -> 4 ", text, re.M)
    assert CAUGHT in text
    for label in ("what", "here", "who", "instead", "source"):
        assert re.search(rf"^  {label} +\S", text, re.M), label
    assert TRAPS[CAUGHT].meaning.split()[0] in text


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_fits_the_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    _, text, _ = run(
        decoder(Path("decoder.onnx"), ("encoder/" + "block/" * 30 + "up", "fixed")), "--target", "ethos-u", "rknn"
    )
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if line != line.rstrip()]
    assert "\x1b" not in text


HOSTILE = [
    "a\x1b[2J\x1b]0;title\x07b",
    "a\nb\rc",
    "[red]a[/red]",
    "<script>alert(1)</script>",
    "n" * 10_000,
    "a\u202eb",
    "",
    ":smile:",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("colours", [False, True])
def test_hostile_names(run, monkeypatch, name, colours):
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    model = decoder(Path("decoder.onnx"), (name, "fixed"))
    code, text, errors = run(model, "--html", "a.html", "--sarif", "a.sarif")
    assert (code, errors) == (0, "")
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert (text != plain) == colours
    assert all(character.isprintable() for character in plain.replace("\n", ""))
    assert max(map(len, plain.splitlines())) <= 80
    assert "<script>alert" not in Path("a.html").read_text()
    if name.startswith(("[red]", ":smile")):
        assert name in plain
    code, text, _ = run(model, "--layer", "1")
    assert code == 0
    assert all(character.isprintable() for character in re.sub(r"\x1b\[[\d;]*m", "", text).replace("\n", ""))


def test_long_models_are_summarised_the_worst_first(run):
    rng = np.random.default_rng(0)
    made = [
        node(
            f"up{i}",
            tconv.artifacts.equalise(rng.standard_normal((2, 2, 2, 2)), stride=1),
            "x" if i == 0 else f"up{i - 1}.y",
        )
        for i in range(100)
    ]
    made[70] = node("bad", rng.standard_normal((2, 2, 3, 3)), "up69.y", "up70.y", strides=[2, 2], output_shape=[32, 32])
    code, text, _ = run(write_model(Path("long.onnx"), made, channels=2))
    assert code == 0
    rows = re.findall(r"^ *(\d+) +(\w+) ", text, re.M)
    assert rows[0] == ("71", "bad")
    assert len(text.splitlines()) < 250
    assert "76 more" in text


def test_one_layer_in_full(run):
    decoder(Path("decoder.onnx"))
    code, text, _ = run("decoder.onnx", "--layer", "fixed", "--target", "ethos-u")
    assert code == 0
    assert "layer 2  fixed" in text
    assert "\n# torch\n" in text
    assert "conv_transpose2d" in text
    assert run("decoder.onnx", "--layer", "2", "--target", "ethos-u")[1] == text
    facts = json.loads(run("decoder.onnx", "--layer", "fixed", "--json")[1])
    assert [each["name"] for each in facts["layers"]] == ["fixed"]


def test_the_printed_calls_run(run):
    torch_code = re.search(r"# torch\n(.*?)\n#", run(decoder(Path("decoder.onnx")), "--layer", "up")[1] + "#", re.S)[1]
    assert torch_code.startswith("y = torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1")


def test_a_layer_that_does_not_exist(run):
    decoder(Path("decoder.onnx"))
    code, _, errors = run("decoder.onnx", "--layer", "down")
    assert code == 1
    assert (
        errors
        == "tconv: --layer 'down' is in the name of no layer; there are 1 (up), 2 (fixed). Write one of these numbers\n"
    )


# -- targets -----------------------------------------------------------------------------------------------------


def test_targets_are_listed(run):
    code, text, _ = run("--targets")
    assert code == 0
    names = [line.split()[0] for line in text.splitlines()]
    assert {"ethos-u", "rknn"} <= set(names)
    assert all(len(line.split(maxsplit=1)) == 2 for line in text.splitlines())


def test_a_target_says_every_limit(run):
    rng = np.random.default_rng(0)
    write_model(Path("five.onnx"), [node("five", rng.standard_normal((8, 4, 70, 3)), strides=[5, 5])], (16, 16))
    code, text, _ = run("five.onnx", "--target", "ethos-u")
    assert code == 0
    assert "ethos-u  refuses the layer" in text
    limits = re.findall(r"^  limit +(.*)$", text, re.M)
    assert len(limits) >= 2
    facts = json.loads(run("five.onnx", "--target", "ethos-u", "--json")[1])
    assert {limit["key"] for limit in facts["layers"][0]["targets"]["ethos-u"]["limits"]} >= {"stride"}


def test_a_target_that_is_named_twice_is_shown_once(run):
    decoder(Path("decoder.onnx"))
    code, text, _ = run("decoder.onnx", "--target", "ethos-u", "Ethos-U", "ethos-u")
    assert code == 0
    assert len(re.findall(r"^ethos-u  ", text, re.M)) == 1


def test_a_profile_of_your_own(run):
    decoder(Path("decoder.onnx"))
    code, _, errors = run("decoder.onnx", "--target", "./mine.toml")
    assert code == 1
    assert "mine.toml" in errors


def test_an_unknown_target_is_refused_before_the_file_is_read(run):
    code, _, errors = run("nothing.onnx", "--target", "etos-u")
    assert code == 1
    assert "ethos-u" in errors
    assert "nothing.onnx" not in errors


# -- files -------------------------------------------------------------------------------------------------------


def test_files_are_written_beside_json(run):
    decoder(Path("decoder.onnx"))
    code, text, errors = run("decoder.onnx", "--json", "--html", "a.html", "--sarif", "a.sarif", "--target", "rknn")
    assert code == 0
    assert errors == "wrote a.html\nwrote a.sarif\n"
    assert json_schema.errors(json.loads(text), SCHEMA) == []
    assert Path("a.html").read_text().startswith("<!doctype html>")
    assert json.loads(Path("a.sarif").read_text())["version"] == "2.1.0"


@pytest.mark.parametrize("option", ["--html", "--sarif"])
def test_existing_files_are_never_overwritten(run, option):
    decoder(Path("decoder.onnx"))
    Path("there").write_text("mine")
    code, text, errors = run("decoder.onnx", option, "there")
    assert (code, text) == (1, "")
    assert errors == "tconv: there exists, and nothing is overwritten. Choose another name\n"
    assert Path("there").read_text() == "mine"
    code, text, errors = run("nothing.onnx", option, "new")
    assert (code, text) == (1, "")
    assert not Path("new").exists()
    assert not list(Path().glob(".*.part"))


# -- exit codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", CAUGHT], 3),
        (["--fail-on", "wrong"], 3),
        (["--fail-on", "any"], 3),
        (["--fail-on", "unread"], 0),
        (["--fail-on", CAUGHT, "--layer", "up"], 0),
        (["--fail-on", "target", "--target", "conv-only"], 3),
        (["--fail-on", "target", "--target", "ethos-u", "--layer", "up"], 0),
    ],
)
def test_exit_codes(run, options, code):
    decoder(Path("decoder.onnx"))
    found, text, errors = run("decoder.onnx", *options)
    assert found == code
    assert text
    assert errors.startswith(f"tconv: the model has what --fail-on names: {options[1]} (") if code else errors == ""


def test_an_unknown_trap_is_refused_with_the_list(run):
    code, _, errors = run("decoder.onnx", "--fail-on", "everything")
    assert code == 1
    assert "--fail-on names 'everything'; there are any (" in errors
    assert all(key in errors for key in TRAPS)
    code, _, errors = run("decoder.onnx", "--fail-on", "target")
    assert code == 1
    assert "--fail-on target is about targets, and none is named" in errors


@pytest.mark.parametrize("arguments", [(), ("nothing.onnx",), ("x.txt",)])
def test_errors_say_what_to_write(run, arguments):
    Path("x.txt").write_text("x")
    code, text, errors = run(*arguments)
    assert (code, text) == (1, "")
    assert re.match(r"tconv: .*\. Write .*\n$", errors)


def test_a_model_behind_a_list_is_explained(run):
    decoder(Path("decoder.onnx"))
    code, _, errors = run("--target", "ethos-u", "decoder.onnx")
    assert code == 1
    assert errors == (
        "tconv: MODEL is missing: decoder.onnx was read as a value of --target. Write tconv check decoder.onnx --target "
        "ethos-u\n"
    )


# -- the documentation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (["1.5"], "--size is '1.5'; a whole number is needed"),
        (["99999999999"], "at most 2,147,483,647"),
        (["0"], "at least 1"),
    ],
)
def test_sizes_that_are_refused(run, size, part):
    path = decoder(Path("decoder.onnx"))
    code, _, error = run(path, "--size", *size)
    assert code == 1
    assert part in error


def test_sizes_that_are_chosen(run):
    path = decoder(Path("decoder.onnx"))
    assert "height = 40, width = 40" in " ".join(run(path, "--size", "40")[1].split())
    assert "height = 40, width = 48" in " ".join(run(path, "--size", "40", "48")[1].split())
    assert "the size 1, 2, 3 has no effect" in run(path, "--size", "1", "2", "3")[1]


def test_limits_of_the_whole_model_have_no_rewrite(tmp_path, capsys):
    up = node("up", np.random.default_rng(0).standard_normal((8, 4, 2, 2)), strides=[2, 2])
    path = write_model(tmp_path / "m.onnx", [up])
    assert cli.main(["check", str(path), "--target", "tensorrt-dla"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "are accepted (a limit of the whole model, which no step ends)" in printed
    assert "rewrite layer" not in printed
    assert "\\n" not in printed


def test_pages_are_not_written_over_each_other(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = decoder(tmp_path / "m.onnx")
    assert cli.main(["check", str(path), "--html", "a.html", "--sarif", "./a.html"]) == 1
    assert "--html and --sarif name one file, a.html. Write two names" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("ONNX", "phases"),
        ("TorchScript", "phases, by tconv.torch.rewrite before the export"),
        ("exported program", "phases, by tconv.torch.rewrite before the export"),
        ("TensorFlow Lite", "phases, by tconv rewrite after an export to ONNX"),
    ],
)
def test_steps_say_what_takes_them_in_each_format(format, words, tmp_path):
    checked = tconv.check(decoder(tmp_path / "m.onnx"), target="conv-only")
    (summary,) = target_summaries(dataclasses.replace(checked, format=format))
    assert summary.plan_text(("phases",), "") == words
