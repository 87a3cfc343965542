"""`tconv diagnose`: arrays in files, the picture, and the errors for invalid files."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tconv

cli = pytest.importorskip("tconv.cli")
OPTIONS = ["--option", "stride=2", "padding=1", "output_padding=1"]


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """Folder with the arrays of one call whose crop is on the wrong side."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype("f") for shape in ((1, 3, 6, 6), (3, 4, 3, 3), (4,)))
    arrays = {
        "x": x,
        "weight": w,
        "bias": b,
        "expected": tconv.conv_transpose(x, w, b, stride=2, padding=1, output_padding=1),
    }
    arrays["got"] = tconv.conv_transpose(x, w, b, stride=2, crop=((0, 1), (0, 1)))
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.savez("call.npz", **arrays)
    return tmp_path


def run(capsys, *arguments):
    code = cli.main(["diagnose", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_arrays_in_one_file_and_in_five(arrays, capsys):
    code, one, _ = run(capsys, "call.npz", *OPTIONS)
    files = ["--x", "x.npy", "--weight", "weight.npy", "--bias", "bias.npy"]
    _, five, _ = run(capsys, "got.npy", "expected.npy", *files, *OPTIONS)
    assert code == 0
    assert one.splitlines()[:-1] == five.splitlines()[:-1]  # the last line has the time
    assert "the crop is (0, 1) instead of (1, 0): output_padding extends the front" in one
    call = "conv_transpose(x, weight, bias, stride=2, padding=1, output_padding=1)\n"
    assert f"\nfix       y = tconv.{call}" in one
    assert "torch.nn.functional" in run(capsys, "call.npz", *OPTIONS, "--dialect", "torch")[1]


def test_outputs_alone(arrays, capsys):
    _, text, _ = run(capsys, "got.npy", "expected.npy")
    assert text.startswith(
        "cause     got starts elsewhere: got[i] is expected[i + shift], shift -1 along h, -1 along w"
    )


def test_json(arrays, capsys):
    _, text, _ = run(capsys, "call.npz", *OPTIONS, "--json", "--target", "keras")
    facts = json.loads(text)
    assert facts["verdict"] == "found"
    assert facts["cause"] == facts["findings"][0]["causes"][0] == "output_padding at the front"
    assert facts["fix"].startswith(
        "x = np.transpose(x, (0, 2, 3, 1)); "
        'weight = tconv.convert(weight, source="torch", target="keras"); y = keras.ops'
    )


def test_the_picture(arrays, capsys):
    pytest.importorskip("matplotlib")
    code, text, _ = run(capsys, "call.npz", *OPTIONS, "-o", "difference.png")
    assert (code, text.splitlines()[-1]) == (0, "wrote difference.png")
    assert (arrays / "difference.png").read_bytes().startswith(b"\x89PNG")
    code, _, error = run(capsys, "call.npz", *OPTIONS, "-o", "difference.png")
    assert code == 1
    assert "difference.png exists, and nothing is overwritten" in error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("taken.png", "taken.png exists, and nothing is overwritten"),
        ("picture.xyz", "picture.xyz does not end in a picture format. Choose a name that ends in .svg, .png or .pdf"),
        ("picture", "picture does not end in a picture format"),
        ("missing/picture.png", "lies in missing, which does not exist"),
    ],
)
def test_a_bad_picture_path_is_refused_before_the_work(arrays, capsys, name, message):
    pytest.importorskip("matplotlib")
    (arrays / "taken.png").write_bytes(b"mine")
    for arguments in (["call.npz", *OPTIONS], ["damaged.onnx"]):  # reading it would raise another error
        code, text, error = run(capsys, *arguments, "-o", name)
        assert (code, text) == (1, "")
        assert message in error
    assert (arrays / "taken.png").read_bytes() == b"mine"
    assert not [path for path in arrays.iterdir() if "picture" in path.name]


def test_json_is_json(arrays, capsys):
    np.save("zeros.npy", np.zeros((1, 4, 12, 12), "f"))
    for arguments in (["got.npy", "zeros.npy"], ["call.npz", *OPTIONS, "-o", "beside.png"]):
        code, text, error = run(capsys, *arguments, "--json")
        facts = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert code == 0
        assert facts["verdict"]
        assert ("wrote beside.png" in error) == ("-o" in arguments)


BAD = [
    (["got.npy"], "got.npy is one output; two are needed. Write tconv diagnose got.npy expected.npy"),
    (["nothing.npy", "expected.npy"], "nothing.npy"),
    (["x.txt", "expected.npy"], "x.txt is not a .npy file. Write np.save"),
    (["bad.npz"], "bad.npz contains 'y'; it may contain got, expected, x, weight, bias"),
    (["call.npz", "--x", "x.npy"], "call.npz contains all arrays of a call, and x.npy was given, too. Write tconv diagnose call.npz alone"),
    (["half.npz"], "half.npz contains no 'expected'; got and expected are needed"),
    (["got.npy", "expected.npy", "--x", "x.npy"], "x and weight are needed together"),
    (["call.npz", "--option", "stride=0"], "stride is 0; it must be at least 1"),
    (["call.npz", *OPTIONS, "-o", "picture.xyz"], "picture.xyz does not end in a picture format"),
    (["model.onnx"], "model.onnx does not exist"),
    (["damaged.onnx"], "damaged.onnx is damaged or not an ONNX model"),
    (["damaged.onnx", "--runtimes", "caffe", "tconv"], "--runtimes names 'caffe'; there are onnxruntime, openvino, reference, tconv"),
    (["damaged.onnx", "--runtimes", "tconv"], "--runtimes names 1 of them; two run one model. Write --runtimes onnxruntime openvino"),
    (["got.npy", "expected.npy", "--option", "stride=2"], "stride= would describe a call, but x and weight are missing"),
    (["call.npz", *OPTIONS, "--target", "caffe"], "target is 'caffe'; there are torch"),
    (["damaged.onnx", "--target", "caffe"], "target is 'caffe'; there are torch"),
    (["call.npz", *OPTIONS, "--runtimes", "openvino", "tconv"], "--runtimes has no effect: call.npz contains arrays, and nothing is run on random input. Write it without --runtimes"),
    (["got.npy", "expected.npy", "--size", "8", "--seed", "1"], "--size and --seed have no effect: got.npy contains arrays"),
    (["damaged.onnx", "--dialect", "keras", "--x", "x.npy"], "--x and --dialect have no effect: damaged.onnx is a network, which defines its calls itself"),
    (["model.pt", "model.keras"], "model.pt does not exist"),
    (["damaged.onnx", "net.xyz"], "net.xyz does not exist"),
    (["damaged.onnx", "x.txt"], "x.txt is not a network file: its ending is unknown"),
    (["x.txt", "damaged.onnx"], "x.txt is not a network file: its ending is unknown. Write a .onnx, .pt (TorchScript), .pt2, .keras"),
    (["x.txt"], "x.txt is not a .npy file. Write np.save('x.npy', array); networks are files that end in .onnx, .pt, "),
    (["folder.onnx"], "folder.onnx is a folder; an ONNX model in a file is needed. Choose such a file"),
    (["damaged.onnx", "folder.keras"], "folder.keras is a folder; a Keras model in a file is needed. Choose such a file"),
    (["empty.onnx"], "empty.onnx is empty; an ONNX model in a file is needed. Choose such a file"),
    (["empty.keras", "damaged.onnx"], "empty.keras is empty; a Keras model in a file is needed. Choose such a file"),
    (["model.pt"], "model.pt is one network, and only a .onnx model has several runtimes. Write tconv diagnose model.pt and"),
    (["model.pt", "model.keras", "--runtimes", "openvino"], "--runtimes names 1 of them, and 0 of the files are .onnx. Write it without --runtimes"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_what_is_refused(arrays, capsys, arguments, message):
    pytest.importorskip("onnx")
    np.savez("bad.npz", y=np.ones(3))
    np.savez("half.npz", got=np.ones((1, 1, 3)))
    (arrays / "x.txt").write_text("1 2 3")
    (arrays / "damaged.onnx").write_bytes(b"not a model")
    for ending in ("onnx", "keras"):
        (arrays / f"folder.{ending}").mkdir()
        (arrays / f"empty.{ending}").touch()
    code, _, error = run(capsys, *arguments)
    assert code == 1
    assert message in error
    assert "Write" in error or "Choose" in error
    assert not (arrays / "picture.xyz").exists()
