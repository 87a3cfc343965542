"""The segmentation example in Keras, on the backend of this process: its start, that runs go on, what it refuses.

Constructed scenes of 32 x 32 stand in for the cut-outs, and two layers for the network where it is not the matter.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

for module in ("keras", "skimage", "sklearn", "PIL", "rich", "matplotlib"):
    pytest.importorskip(module)
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import keras  # noqa: E402
import keras_segmentation as example  # noqa: E402

CLASSES = len(example.CLASSES)
RECIPE = {"net": "FCN", "up": "transposed", "seed": 0, "steps": 8, "every": 4, "batch": 3, "rate": 3e-3}
on_torch = pytest.mark.skipif(example.BACKEND != "torch", reason="the same on every backend")


def scenes_of(recipe, *_):
    rng, pools = np.random.default_rng(0), {}
    for name in ("training", "validation", "held-out"):
        labels = rng.integers(0, CLASSES, (6, 4, 4), np.uint8).repeat(8, 1).repeat(8, 2)
        images = (40 * labels[..., None] + rng.integers(0, 30, (6, 32, 32, 3))).astype(np.uint8)
        pools[name] = images, labels
    return pools


def small(recipe, layer=example.tconv.keras.Conv2DTranspose):
    """Stand in for the network: a layer down, its moving averages, and a layer up that begins as the recipe says."""
    layers, start = keras.layers, keras.initializers.GlorotUniform(keras.random.SeedGenerator(recipe["seed"]))
    down = layers.Conv2D(CLASSES, 8, 8, kernel_initializer=start)
    first = example.tconv.keras.initializers.Bilinear(8) if recipe["up"] == "transposed" else start
    up = layer(CLASSES, 16, 8, "same", use_bias=False, kernel_initializer=first)
    body = [keras.Input((None, None, 3), dtype="uint8"), layers.Rescaling(1 / 64), down, layers.BatchNormalization()]
    return example.compiled(keras.Sequential([*body, up]), recipe)


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(example, "scenes_of", scenes_of)
    monkeypatch.setattr(example, "network", small)


@pytest.fixture
def tiny(stand_ins, monkeypatch):
    """Run the whole example in a folder with stand-ins, and return its exit code. Times are made up."""
    time = {"seconds": {"Keras": 2.0, "tconv": 1.0}, "ratio": {"tconv": 2.0}, "shape": [1, 32, 32, 3]}
    step = {**time, "scenes": 3}
    monkeypatch.setattr(example, "times_of", lambda *_: {"training step": step, "inference": dict(time)})

    def run(folder, *arguments):
        options = ["--steps", "8", "--every", "4", "--batch", "3", "--seeds", "1", "--size", "32", "--jobs", "1"]
        return example.main([*options, "-o", str(folder), *arguments])

    return run


def test_the_start_is_interpolation_and_a_step_is_taken():
    images, labels = scenes_of(None)["training"]
    nets = {up: example.network({**RECIPE, "up": up}) for up in example.UPS["FCN"]}
    before = {up: keras.ops.convert_to_numpy(net(images[:2])) for up, net in nets.items()}
    assert before["bilinear"].shape == (2, 32, 32, CLASSES)
    inside = np.s_[:, 4:-4, 4:-4]  # at the border interpolation repeats the last pixel
    np.testing.assert_allclose(before["transposed"][inside], before["bilinear"][inside], atol=1e-5)
    assert not np.allclose(before["default"][inside], before["bilinear"][inside], atol=1e-2)
    net = nets["transposed"]
    kernel = net.layers[-1].get_weights()[0]
    loss = net.train_on_batch(*example.Batches(RECIPE, images, labels)[0])
    assert 0.5 < loss < 5
    assert 0 < abs(net.layers[-1].get_weights()[0] - kernel).max() < 0.1


def test_a_run_that_was_killed_twice_in_an_epoch_has_the_numbers_of_one_that_was_not(stand_ins, tmp_path):
    recipe, seen = {**RECIPE, "steps": 12, "name": "run"}, []

    def until(last):
        def show(words, done, steps):
            seen.append(done)
            if done == last:
                raise KeyboardInterrupt

        return show

    def train(folder, last=None):
        folder.mkdir(exist_ok=True)
        return example.train(recipe, folder, until(last), packages=None, cache=None)

    whole = train(tmp_path / "whole")
    for last in (6, 11):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", last)
    resumed = train(tmp_path / "killed")
    assert seen == [*range(1, 13), *range(1, 7), *range(4, 12), *range(8, 13)]
    for result in (whole, resumed):
        del result["seconds"]
    assert resumed == whole
    assert [each["step"] for each in whole["history"]] == [4, 8, 12]
    files = [np.load(tmp_path / name / "run.npz") for name in ("killed", "whole")]
    # the layers' two weights and a bias, batch norm's four, both moments of five of them, rate and step
    assert len(files[0].files) > 7 + 10
    assert all(np.array_equal(files[0][name], files[1][name]) for name in files[0].files if name != "about")
    assert train(tmp_path / "killed", 13)["mean IoU"] == whole["mean IoU"]  # a finished run takes no step


@on_torch
def test_a_folder_has_all_results_and_another_recipe_or_a_damaged_file_leaves_them(tiny, tmp_path):
    folder = tmp_path / "run"
    assert tiny(folder) is None
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [run["recipe"]["name"] for run in metrics["runs"]] == [
        "FCN transposed 0",
        "FCN default 0",
        "FCN bilinear 0",
    ]
    assert {path.name for path in folder.glob("*.*")} >= {"page.html", "tables.md", "predictions.png", "kernel.png"}
    assert "default start" in (folder / "tables.md").read_text()
    assert metrics["checkerboard"]["bilinear start"][0] < 1e-6 < metrics["checkerboard"]["default start"][0]
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(SystemExit, match=r"holds results of rate=0\.003, and this run has rate=0\.1\. Write the same"):
        tiny(folder, "--rate", "0.1")
    checkpoint = folder / "FCN-default-0.npz"
    whole = checkpoint.read_bytes()
    for damage in (whole[:2000], b"", b"words"):
        checkpoint.write_bytes(damage)
        with pytest.raises(SystemExit, match=r"FCN-default-0\.npz is no checkpoint of this example, or damaged"):
            tiny(folder)
        assert checkpoint.read_bytes() == damage
    checkpoint.write_bytes((folder / "FCN-bilinear-0.npz").read_bytes())
    with pytest.raises(
        SystemExit, match=r"is of a run with name='FCN bilinear 0', and this run has name='FCN default 0'"
    ):
        tiny(folder)
    assert (folder / "metrics.json").read_bytes() == before


@on_torch
def test_what_cannot_be_run_is_refused_and_a_quick_run_needs_a_score(tiny, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"--every 3 does not divide --steps 8\. Write --every 8"):
        tiny(tmp_path / "a", "--every", "3")
    with pytest.raises(SystemExit, match=r"--size 40 is given.*multiple of 16.*Write --size 96"):
        tiny(tmp_path / "a", "--size", "40")
    assert not (tmp_path / "a").exists()
    for score, code in ((0.149, 1), (0.151, None)):
        monkeypatch.setattr(example.page, "write", lambda *_, score=score: score)
        assert tiny(tmp_path / "quick", "--quick") == code
    assert "the best mean IoU is 0.149; at least 0.15 is needed" in capsys.readouterr().out


@on_torch
def test_an_unknown_backend_is_a_line_that_names_the_known():
    surroundings = {**os.environ, "KERAS_BACKEND": "theano"}
    run = subprocess.run([sys.executable, example.__file__], env=surroundings, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == (
        "KERAS_BACKEND is 'theano'; torch, jax and tensorflow can be used. Write KERAS_BACKEND=torch\n"
    )


@on_torch
def test_times_are_of_the_same_network_in_both_forms(stand_ins, monkeypatch):
    made = []
    monkeypatch.setattr(example, "network", lambda *given: made.append(given[1:]) or small(*given))
    monkeypatch.setattr(example.tconv.keras, "accelerate", lambda net, x: "report")
    batch = example.Batches(RECIPE, *scenes_of(None)["training"])[0]
    found = example.times_of(RECIPE, small(RECIPE), batch, 1)
    assert made == [(), *[(keras.layers.Conv2DTranspose,)] * 3]
    assert list(found["training step"]["seconds"]) == ["Keras", "tconv"]
    assert found["inference"]["difference"] == 0
