"""The super-resolution example: its data, that it learns, that a killed run continues with the same result, its card."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPT = EXAMPLES / "super_resolution.py"
TINY = ["--quick", "--layers", "1", "--batch", "4", "--patch", "16", "--threads", "1"]


@pytest.fixture
def photographs(monkeypatch):
    pytest.importorskip("skimage")
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(EXAMPLES)
    from super_resolution_parts import photographs

    return photographs


def start(run, *arguments, launcher=()):
    """Start the example in a process group of its own, with the folder `run`."""
    return subprocess.Popen(
        [sys.executable, *launcher, SCRIPT, "-o", run, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, seconds=200):
    """Return the exit code and the output of a process."""
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output


def weights(run, scale=2):
    """Return the tensors and the description of the weight file of a run."""
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(run / f"photo_x{scale}.safetensors", "np") as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}, json.loads(file.metadata()["tconv"])


def test_the_held_out_pictures_are_never_trained_on(photographs, tmp_path, monkeypatch):
    held_out = {name for names in photographs.HELD_OUT.values() for name in names}
    listed = [file for source in photographs.TRAINING for file in source.files]
    assert len(held_out) == 6
    assert not held_out & {Path(file).name for file in listed}
    assert len(set(listed)) == len(listed)
    assert set(photographs.VALIDATION) < set(listed)

    opened, read = [], photographs.read
    monkeypatch.setattr(photographs, "read", lambda path, factor: opened.append(path.name) or read(path, factor))
    data = photographs.Data(tmp_path / "pairs.npz", 2)
    assert set(opened) == {"brick.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "rocket.jpg"}
    assert (len(data.training), len(data.validation)) == (5, 1)


def test_every_picture_has_a_licence_and_an_author(photographs):
    free = {"GPL-2+", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "public domain", "no known restrictions"}
    assert {source.licence for source in photographs.TRAINING} == free
    assert all(source.author for source in photographs.TRAINING)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_and_the_detail_give_the_picture(photographs, scale):
    picture = np.random.default_rng(0).integers(0, 256, (25, 31, 3), dtype=np.uint8)
    luma, detail = photographs.pair(picture, scale)
    assert luma.shape == (25 // scale, 31 // scale)
    again = photographs.bicubic(luma, scale) + detail
    height, width = again.shape
    np.testing.assert_allclose(again, picture[:height, :width] @ [0.299 / 255, 0.587 / 255, 0.114 / 255], atol=1e-6)


def test_a_missing_picture_is_refused_with_its_package(photographs, tmp_path):
    with pytest.raises(SystemExit, match=r"Write: apt-get download mate-backgrounds && dpkg-deb -x mate-b"):
        photographs.collect(tmp_path / "pairs.npz", 2, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_picture_is_named(photographs, tmp_path):
    from shared_parts import picture_files

    for name in ("grass.png", "rocket.jpg"):
        whole = picture_files.path_of("scikit-image", name).read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:9], b"", bytes(len(whole))):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(SystemExit, match=f"{name} is no whole picture .*Unpack its package again"):
                picture_files.read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_damaged_cache_is_named(photographs, tmp_path, content):
    (tmp_path / "pairs.npz").write_bytes(content)
    with pytest.raises(SystemExit, match=r"pairs.npz is damaged .*\. Delete it, and write the same command"):
        photographs.Data(tmp_path / "pairs.npz", 2)


@pytest.mark.timeout(300)
def test_a_run_that_was_killed_gives_the_same_weights(tmp_path, python):
    arguments = [*TINY, "--steps", "60", "--every", "7"]
    killed = start(tmp_path / "killed", *arguments)
    while not (tmp_path / "killed" / "last.pt").exists():
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.stdout.close()
    assert not (tmp_path / "killed" / "photo_x2.safetensors").exists()

    for run in ("killed", "whole"):
        _, output = finish(start(tmp_path / run, *arguments))
        assert "photo_x2.safetensors: 60 steps" in output  # so short a run need not reach what --quick asks for
    compare = """
import sys, torch
a, b = (torch.load(path, weights_only=True) for path in sys.argv[1:])
assert a["step"] == b["step"] == 60
assert a["history"] == b["history"]
for part in ("net", "mean"):
    a_part, b_part = a["parts"][part], b["parts"][part]
    assert a_part.keys() == b_part.keys()
    assert all(torch.equal(a_part[name], b_part[name]) for name in a_part), part
"""
    python(compare, tmp_path / "killed" / "last.pt", tmp_path / "whole" / "last.pt")
    killed, whole = (json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("killed", "whole"))
    assert killed["scores"] == whole["scores"]
    assert [each["step"] for each in whole["history"]] == [*range(7, 60, 7), 60]

    before = (tmp_path / "whole" / "last.pt").read_bytes()
    code, output = finish(start(tmp_path / "whole", *arguments, "--seed", "1"))
    assert code == 1
    assert "holds results of seed=0, and this run has seed=1. Write the same options, or another -o FOLDER" in output
    code, output = finish(start(tmp_path / "whole", *arguments, "--compile"))
    assert code == 1
    assert "holds results of compile=False, and this run has compile=True" in output
    assert (tmp_path / "whole" / "last.pt").read_bytes() == before


@pytest.mark.timeout(300)
def test_two_processes_train_as_one(tmp_path):
    arguments = [*TINY, "--steps", "5"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two, one = start(tmp_path / "two", *arguments, launcher=launcher), start(tmp_path / "one", *arguments)
    for process in (two, one):
        code, output = finish(process)
        assert code in (0, 1), output
    (tensors, described), (alone, same) = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert described == same
    assert tensors.keys() == alone.keys()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(tensor, alone[name], atol=2e-3, err_msg=name)

    first, middle, last = described.pop("layers")
    assert described == {"format": 1, "scale": 2, "input": "luma", "adds": "bicubic", "border": "edge"}
    assert first == {"op": "conv", "weight": "0.weight", "bias": "0.bias", "activation": ["prelu", "0.slopes"]}
    assert middle["activation"] == ["prelu", "1.slopes"]
    assert last == {"op": "conv_transpose", "weight": "2.weight", "bias": "2.bias", "stride": 2, "padding": 4}
    assert [tensors[f"{i}.weight"].shape for i in range(3)] == [(12, 1, 5, 5), (12, 12, 3, 3), (12, 1, 6, 6)]
    assert tensors["1.slopes"].shape == (12,)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_quick_run_beats_bicubic_and_shows_it(tmp_path):
    code, output = finish(start(tmp_path / "quick", "--quick"), seconds=280)
    assert code == 0, output
    page = (tmp_path / "quick" / "page.html").read_text()
    metrics = json.loads((tmp_path / "quick" / "metrics.json").read_text())
    pictures = ["astronaut", "coffee", "chelsea", "camera"]
    assert list(metrics["scores"]) == [*pictures, "mean"]
    assert {"bicubic", "photo", "photo-large", "this run"} < set(metrics["scores"]["mean"])
    for picture in pictures:
        with Image.open(tmp_path / "quick" / f"{picture}.png") as detail:
            assert detail.size[1] == 192
        assert f'alt="{picture}, from left: bicubic ' in page
    assert metrics["scores"]["mean"]["this run"][0] > metrics["scores"]["mean"]["bicubic"][0] + 0.3
    assert "this example" in metrics["step_times"]["ratio"]


@pytest.mark.timeout(200)
def test_a_run_that_does_not_beat_bicubic_fails_and_others_can_start_from_it(tmp_path):
    code, output = finish(start(tmp_path / "x2", *TINY, "--steps", "1"))
    assert code == 1
    assert "at least +0.30 dB is needed" in output

    other = [*TINY, "--scale", "3", "--steps", "1", "--lr", "0", "--start", tmp_path / "x2" / "last.pt"]
    code, output = finish(start(tmp_path / "x3", *other))
    assert code == 1, output
    (before, _), (after, described) = weights(tmp_path / "x2"), weights(tmp_path / "x3", scale=3)
    assert described["scale"] == described["layers"][2]["stride"] == 3
    for name in ("0.weight", "0.bias", "0.slopes", "1.weight", "1.bias", "1.slopes"):
        np.testing.assert_array_equal(before[name], after[name])
    assert after["2.weight"].shape == (12, 1, 9, 9)
    assert not after["2.weight"].any()

    for path, message in {
        tmp_path / "x2" / "metrics.json": "is no network of this example, or damaged",
        tmp_path / "none.pt": "none.pt cannot be read: No such file or directory. Write --start with another file",
    }.items():
        code, output = finish(start(tmp_path / "other", *TINY, "--start", path))
        assert code == 1
        assert message in output


def test_the_late_loss_is_the_mean_logarithm_of_each_patchs_squared_error(python):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import super_resolution as example, torch
error = torch.zeros(2, 1, 2, 2)
error[0, 0, 0, 0], error[1, 0, 1, 0] = 0.2, -0.4
# mean squares 0.01 and 0.04: (log 0.01001 + log 0.04001) / 2 = (-4.60417 - 3.21863) / 2; of both together -3.68848
assert abs(example.loss_of(error, True).item() + 0.0391140) < 1e-6
# sqrt(0.040001) + sqrt(0.160001) and six times sqrt(0.000001), of 8
assert abs(example.loss_of(error, False).item() - (0.2000025 + 0.40000125 + 0.006) / 8) < 1e-7
"""
    python(code, EXAMPLES)


def test_the_first_patch_of_a_batch_may_be_artificial_and_has_no_detail_and_its_own_weight(python):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import super_resolution as example, numpy as np, torch
rng = np.random.default_rng(0)
pairs = [(rng.random((40, 44)), rng.random((80, 88)))]
plain, mixed = (example.Samples(pairs, 2, 3, 16, 4, 0, artificial) for artificial in (0, 0.25))
kinds = set()
for step in range(12):
    photographs, both = plain(step), mixed(step)
    assert photographs[2].tolist() == [1, 1, 1, 1] and both[2].tolist() == [0.25, 1, 1, 1]
    for theirs, ours in zip(photographs[:2], both[:2]):
        assert torch.equal(theirs[1:], ours[1:]) and not torch.equal(theirs[0], ours[0])
        assert theirs.shape == ours.shape and theirs.dtype == ours.dtype == torch.float32
    luma, detail, _ = both
    assert not detail[0].any() and 0 <= luma.min() and luma.max() <= 1
    flat = (luma[0] == luma[0].median()).float().mean()
    kinds.add("dots" if 0.9 < flat < 1 else "noise" if flat < 0.1 else "something else")
    halves = [mixed(step, rank, 2) for rank in (0, 1)]
    for whole, first, second in zip(both, *halves):
        assert torch.equal(whole[::2], first) and torch.equal(whole[1::2], second)
assert kinds == {"dots", "noise"}
error = torch.rand(4, 1, 8, 8)
for late in (True, False):
    each = torch.stack([example.loss_of(one[None], late) for one in error])
    torch.testing.assert_close(example.loss_of(error, late, both[2]), (each * both[2]).mean())
"""
    python(code, EXAMPLES)


def test_a_network_with_more_channels_and_layers_starts_as_the_one_that_it_grows_from(python):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from super_resolution_parts import networks as example
torch.manual_seed(0)
for scale in (2, 3):
    small, large = example.network(2, 2, 5), example.network(scale, 4, 7)
    torch.nn.init.normal_(small[-1].weight)
    for layer in small:
        torch.nn.init.normal_(layer.weight, 0, 0.3)
    fresh = large[0].weight[5:].clone()
    example.grow(large, small)
    assert torch.equal(large[0].weight[5:], fresh)
    x = torch.rand(1, 1, 20, 21)
    y = large[:-1](x)[:, :5] if scale == 3 else large(x)
    inner = x[..., 2:-2, 2:-2]
    expected = small[:-1](inner) if scale == 3 else small(inner)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert large[-1].weight[:5].any() == (scale == 2)
    try:
        example.grow(small, large)
    except SystemExit as error:
        assert "Write --channels 7 --layers 4, or more" in str(error)
    else:
        raise AssertionError
"""
    python(code, EXAMPLES)


def test_one_network_has_a_column_of_its_gain_and_several_have_none(photographs):
    from super_resolution_parts import scores as example

    scores = {"bicubic": (30.0, 0.9), "a": (31.5, 0.91)}
    (one,), (two,) = (example.rows({"camera": each}) for each in (scores, {**scores, "b": (32.0, 0.92)}))
    assert one == {"picture": "camera", "bicubic": "30.00 / 0.9000", "a": "31.50 / 0.9100", "a - bicubic": "+1.50 dB"}
    assert list(two) == ["picture", "bicubic", "a", "b"]


@pytest.mark.parametrize("name", ["photo_x2", "photo_x3", "photo_x4", "photo_large_x2"])
def test_the_card_has_the_scores_of_the_weights(photographs, monkeypatch, name):
    from super_resolution_parts import scores as example

    monkeypatch.setitem(photographs.HELD_OUT, "scikit-image", ["camera.png"])
    folder, scale = EXAMPLES.parent / "src/tconv/models/data", int(name[-1])
    pictures = example.enlargements({"network": str(folder / f"{name}.safetensors")}, scale, ["scikit-image"])
    measured, _mean = example.rows(example.scores(pictures, scale))
    card = (folder / "README.md").read_text(encoding="utf-8").split(f"### `{name}.safetensors`")[1]
    assert f"| {' | '.join(measured.values())} |" in card.split("###")[0].splitlines()
