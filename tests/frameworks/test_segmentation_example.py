"""The segmentation example: its scenes, its figures of merit, that runs repeat and go on, and what it refuses.

Constructed packages stand in for Debian's: coloured shapes of five classes, and noise as scenery.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
torch = pytest.importorskip("torch")
for module in ("skimage", "sklearn", "PIL", "rich", "matplotlib"):
    pytest.importorskip(module)
sys.path.insert(0, str(EXAMPLES))
import segmentation  # noqa: E402
from PIL import Image  # noqa: E402
from segmentation_parts import cut_outs, networks, page  # noqa: E402
from segmentation_parts import scores as measures  # noqa: E402
from shared_parts import debian_packages, training  # noqa: E402
from shared_parts.debian_packages import fetch  # noqa: E402
from shared_parts.intervals import interval  # noqa: E402

torch.set_num_threads(1)
TIMES_OF = segmentation.times_of
TINY = ["--quick", "--size", "32", "--scenes", "24", "--steps", "8", "--every", "3", "--batch", "4", "--jobs", "1"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder like that of the unpacked packages: ten cut-outs a class, all scenery of 80 x 100."""
    root, rng = tmp_path_factory.mktemp("packages"), np.random.default_rng(0)
    for label, folders in enumerate(cut_outs.CLASSES.values()):
        for i in range(10 if folders else 0):
            picture = np.zeros((24, 30, 4), np.uint8)
            picture[4:20, 2 : 20 + i] = (*(40 * label + rng.integers(0, 20, 3)), 255)
            path = root / cut_outs.STAMPS / cut_outs.STAMPS_FOLDER / folders[0] / f"{'abcdefghij'[i]}thing-{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    for (package, folder), files in cut_outs.SCENERY.items():
        for file in files if not package.startswith("scikit") else []:
            path = root / package / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def splits(packages, cache):
    return cut_outs.load(packages, cache)


@pytest.fixture(scope="module")
def example(packages, cache):
    """Run the example in a folder, with tiny settings, and return the folder's metrics. Times are made up."""
    made_up = {"seconds": {"PyTorch": 2.0, "tconv": 1.0}, "ratio": {"tconv": 2.0}, "threads": 1}
    patch = pytest.MonkeyPatch()
    patch.setattr(
        segmentation,
        "times_of",
        lambda *_: {"training step": {**made_up, "scenes": 3}, "inference": {**made_up, "shape": [1, 3, 32, 32]}},
    )

    def run(folder, *arguments):
        segmentation.main([*TINY, "--packages", str(packages), "--cache", str(cache), "-o", str(folder), *arguments])
        return json.loads((folder / "metrics.json").read_text())

    yield run
    patch.undo()


# -- scenes ----------------------------------------------------------------------------------------------------------


def test_a_scene_depends_on_the_seed_and_its_number_alone(splits):
    images, labels = cut_outs.scenes(splits["training"], 3, 4, 32)
    assert images.shape == (4, 32, 32, 3)
    assert labels.shape == (4, 32, 32)
    assert images.dtype == labels.dtype == np.uint8
    later, its_labels = cut_outs.scenes(splits["training"], 3, 2, 32, start=2)
    assert np.array_equal(later, images[2:])
    assert np.array_equal(its_labels, labels[2:])
    assert not np.array_equal(cut_outs.scenes(splits["training"], 4, 4, 32)[0], images)


def test_no_file_and_no_scenery_is_in_two_splits_and_each_class_is_in_all(packages, cache, splits):
    with np.load(cache / "cut-outs.npz") as file:
        files, split, scenery = len(file["classes"]), file["pictures_split"], file["scenery_split"]
        names = file["names"]
    assert len(set(names[:files])) == files == 50
    assert len(names) == files + len(scenery)
    for name, number in zip(cut_outs.SPLITS, range(3), strict=True):
        assert set(splits[name].classes) == set(range(1, 6)), name
        assert len(splits[name].pictures) == (split == number).sum() > 0
        assert len(splits[name].scenery) == (scenery == number).sum() > 0


def test_near_duplicates_are_in_one_split():
    names = ["a/gnu-baby.png", "b/gnu-sitting.png", "apple_red.png", "apple_green.png", "flower1.png", "flower2.png"]
    assert [cut_outs.group_of(name) for name in names] == ["gnu", "gnu", "apple", "apple", "flower1", "flower2"]
    many = [*names, *(f"{letter}.png" for letter in "abcdefghijklmnop")]
    split = cut_outs.split_of(many)
    assert split[0] == split[1]
    assert split[2] == split[3]
    assert set(split) == {0, 1, 2}


def test_drawings_and_mirrored_twins_are_left_out(packages):
    folder = packages / cut_outs.STAMPS / cut_outs.STAMPS_FOLDER / "vehicles"
    (folder / "cartoon").mkdir()
    added = [folder / "cartoon" / "boat.png", folder / "dumper_mirror.png"]
    for path in added:
        Image.new("RGBA", (4, 4)).save(path)
    found = {name for name, _ in cut_outs.cut_out_files(packages)}
    for path in added:
        path.unlink()
    assert len(found) == 50
    assert not any("cartoon" in name or "mirror" in name for name in found)


def test_the_label_is_the_class_that_lies_on_top():
    rng, image, labels = np.random.default_rng(0), np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.uint8)
    square = np.full((40, 40, 4), 255, np.uint8)
    for label in (1, 2):
        before = labels.copy()
        while not (labels == label).any():
            cut_outs._paste(rng, image, labels, square, label)
        changed = labels != before
        assert set(labels[changed]) == {label}
        assert (image[labels > 0] > 60).all()
    assert (labels == 0).any()
    assert (image[labels == 0] < 255).all()


def test_a_damaged_cache_is_made_again(packages, tmp_path, capsys):
    cut_outs.load(packages, tmp_path)
    path, splits = tmp_path / "cut-outs.npz", cut_outs.load(packages, tmp_path)
    whole = path.read_bytes()
    for damage in (whole[:1000], b"", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        path.write_bytes(damage)
        again = cut_outs.load(packages, tmp_path)
        assert "damaged" in capsys.readouterr().err
        assert all(map(np.array_equal, again["training"].pictures, splits["training"].pictures))
    first, second = (cut_outs.pool(splits, "training", 5, 3, 32, tmp_path) for _ in range(2))
    drawn = cut_outs.scenes(splits["training"], 5, 3, 32)
    assert all(np.array_equal(a, b) and np.array_equal(a, c) for a, b, c in zip(first, second, drawn, strict=True))


def test_a_partly_unpacked_package_is_told_once(packages, tmp_path, capsys):
    for _ in range(2):
        cut_outs.load(packages, tmp_path)
    assert capsys.readouterr().err.count(f"cut-outs.npz has 50 cut-outs; {cut_outs.STAMPS} 2022.06.04 has 191.") == 1


def test_a_cache_of_other_choices_is_made_again(packages, tmp_path, monkeypatch):
    before = cut_outs.load(packages, tmp_path)
    monkeypatch.setattr(cut_outs, "_SPLIT_OF_PLACE", (2, 0, 1, 0, 0, 0, 0, 0))
    after = cut_outs.load(packages, tmp_path)
    assert len(after["held-out"].pictures) < len(before["held-out"].pictures)


def test_a_cache_that_is_a_file_is_refused(packages, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit, match=r"file.* cannot be used: .*Write another --cache FOLDER"):
        cut_outs.load(packages, tmp_path / "file")
    with pytest.raises(SystemExit, match=r"file.* cannot be made: .*Write another folder"):
        fetch(["present"], tmp_path / "file" / "packages")
    assert (tmp_path / "file").read_text() == "x"


def test_packages_that_cannot_be_had_are_an_error_that_says_what_to_write(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian_packages, "CACHE", tmp_path / "packages")
    with pytest.raises(
        SystemExit, match=r"(?s)tuxpaint-stamps-default could not be fetched.*apt-get update.*--packages"
    ):
        cut_outs.load(None, tmp_path / "cache")
    assert not list((tmp_path / "packages").iterdir())
    for name, lines in {
        "apt-get": [
            "[ $2 = absent ] && { echo W: note >&2; echo E: Unable to locate package >&2; exit 100; }",
            "> $2_1.deb",
        ],
        "dpkg-deb": ["/bin/mkdir $3", ": > $3/$2"],
    }.items():
        (tmp_path / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
        (tmp_path / name).chmod(0o755)
    with pytest.raises(SystemExit, match="absent could not be fetched: E: Unable to locate package"):
        fetch(["present", "absent"], tmp_path / "found")
    assert [path.name for path in (tmp_path / "found").rglob("*")] == ["present", "present_1.deb"]
    with pytest.raises(
        SystemExit, match=r"does not exist\. Write: apt-get download tuxpaint-stamps-default && dpkg-deb"
    ):
        cut_outs.load(tmp_path, tmp_path / "cache")


# -- figures of merit ------------------------------------------------------------------------------------------------


def test_intersection_over_union_is_that_of_scikit_learn():
    from sklearn.metrics import jaccard_score

    truth, predicted = np.random.default_rng(0).integers(0, 4, (2, 3, 8, 8))
    each = measures.intersection_over_union(truth, predicted, 5)
    expected = jaccard_score(truth.ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(each[:4], expected, rtol=1e-12)
    assert math.isnan(each[4])
    assert measures.intersection_over_union(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2).tolist() == [
        1 / 2,
        2 / 3,
    ]


def square(y, x, side=20, size=96):
    mask = np.zeros((size, size), bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (square(30, 30), 1),
        (square(31, 30), 1),  # a pixel away, and the tolerance is 1.02
        (square(60, 60), 0),
        (square(30, 30) & False, 0),
        # of two squares one is right: precision 1/2, recall 1
        (square(30, 30) | square(60, 60), 2 / 3),
        # 2 pixels lower, of 76: two sides of 18 stay, with one more each below, and beside each end of the top one
        (square(32, 30), (2 * 18 + 2 + 2) / 76),
    ],
)
def test_boundary_f_of_hand_made_cases(predicted, expected):
    assert measures.boundary_f(square(30, 30), predicted) == pytest.approx(expected, abs=1e-12)


def test_boundary_f_of_pictures_without_an_object():
    nothing, labels = np.zeros((2, 48, 48), np.uint8), np.zeros((2, 48, 48), np.uint8)
    assert math.isnan(measures.boundary_f(nothing[0] > 0, nothing[0] > 0))
    labels[1, 10:20, 10:20] = 3
    assert measures.boundary_f_of_classes(labels, labels) == measures.boundary_f_of_outlines(labels, labels) == 1
    other = np.where(labels == 3, 2, 0)  # the outline is right, both classes are wrong
    assert (measures.boundary_f_of_classes(labels, other), measures.boundary_f_of_outlines(labels, other)) == (0, 1)


def test_the_interval_is_students():
    mean, half = interval([1, 2, 3])
    assert mean == 2
    assert half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert math.isnan(interval([5])[1])


def test_one_seed_tells_nothing_and_three_tell_what_their_interval_does():
    def runs(*values):
        about = {"boundary F": 0.5, "outline F": 0.5, "mean IoU at a quarter": 0.5}
        return [
            ({"net": "FCN", "up": up, "seed": seed}, {"mean IoU": value, **about})
            for seed, pair in enumerate(values)
            for up, value in zip(("transposed", "default"), pair, strict=True)
        ]

    (line,) = page.sentences(runs((0.5, 0.4)))
    assert "nothing tells these differences from chance" in line
    assert "interval" not in line + page.meaning(runs((0.5, 0.4)))
    first, alike = page.sentences(runs((0.5, 0.4), (0.5, 0.41), (0.5, 0.42)))
    assert first.endswith("against transposed convolution, bilinear start: mean IoU 9.0 ± 2.5 points lower.")
    assert alike.endswith("default start (mean IoU at a quarter, boundary F, outline F).")
    first, alike = page.sentences(runs((0.5, 0.4), (0.5, 0.6), (0.5, 0.42)))
    assert first == "No way up surely differs from the first."
    assert alike.endswith("default start (all figures).")


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ((0.98, 1.01), "hardly differs: 0.98 to 1.01 times as fast with the layers of tconv as with those of PyTorch."),
        ((1.3,), "Training steps: 1.30 times as fast"),
    ],
)
def test_the_page_says_how_the_time_of_a_step_changes(ratios, words):
    seconds = {"PyTorch": 1.0, "tconv": 1.0}
    steps = [{"training step": {"seconds": seconds, "ratio": {"tconv": ratio}}} for ratio in ratios]
    assert words in page.sentence_of_steps(dict(enumerate(steps)))


# -- networks and runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", segmentation.UPS)
def test_all_ways_up_give_the_size_and_begin_with_the_same_weights_elsewhere(net):
    x, states = torch.randn(1, 3, 32, 48), {}
    for up in segmentation.UPS[net]:
        made = networks.network({"net": net, "up": up, "seed": 1}).eval()
        assert made(x).shape == (1, len(segmentation.CLASSES), 32, 48)
        states[up] = {name: each for name, each in made.state_dict().items() if not name.startswith("up")}
    first, *others = states.values()
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert len(first) > 20


def test_the_bilinear_start_interpolates():
    nets = {up: networks.network({"net": "FCN", "up": up, "seed": 0}).eval() for up in ("transposed", "bilinear")}
    with torch.no_grad():
        made, expected = (
            net(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))) for net in nets.values()
        )
    torch.testing.assert_close(made[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])


@pytest.fixture(scope="module")
def undisturbed(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, example(folder)


def figures_of(metrics):
    """Return what must repeat: all that is no time."""
    runs = [{name: value for name, value in run.items() if name != "seconds"} for run in metrics["runs"]]
    return {"runs": runs, "summary": metrics["summary"], "checkerboard": metrics["checkerboard"]}


def test_a_stopped_run_goes_on_with_the_same_numbers(example, undisturbed, tmp_path, monkeypatch):
    whole, step, taken = undisturbed[1], segmentation.Run.step, []

    def stops(run, number):
        taken.append(number)
        if len(taken) == 13:  # in the second run, behind its first checkpoint
            raise KeyboardInterrupt
        return step(run, number)

    monkeypatch.setattr(segmentation.Run, "step", stops)
    with pytest.raises(KeyboardInterrupt):
        example(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    assert figures_of(example(tmp_path / "stopped")) == figures_of(whole)
    assert taken[12:15] == [4, 3, 4]  # it goes on behind step 3


def test_the_folder_has_the_figures_the_tables_and_the_pictures(undisturbed):
    folder, metrics = undisturbed
    assert {path.suffix for path in folder.iterdir()} >= {".png", ".html", ".json", ".md", ".pt"}
    text = (folder / "tables.md").read_text()
    assert all(words in text for words in ("default start", "one seed", "times as fast"))
    board = metrics["checkerboard"]
    assert board["bilinear start"][0] < 1e-6 < board["default start"][0]


def test_figures_of_the_quarter_are_those_of_the_network_then(packages, cache, undisturbed):
    folder, metrics = undisturbed
    recipe = metrics["runs"][0]["recipe"]
    pools = segmentation.scenes_of(recipe, packages, cache)
    run = segmentation.Run(recipe, *pools["training"])
    training.fit(run.parts(), run.step, 2, folder.parent / "two.pt", recipe)  # a quarter of 8
    predicted = networks.predict(run.net, pools["held-out"][0])
    found = measures.scores(pools["held-out"][1], predicted, len(segmentation.CLASSES))
    assert found["mean IoU"] == metrics["runs"][0]["mean IoU at a quarter"]


def test_times_are_of_the_same_network_in_both_forms(undisturbed, monkeypatch):
    monkeypatch.setattr(segmentation, "PICTURE", 64)
    recipe = undisturbed[1]["runs"][1]["recipe"]
    images, labels = np.zeros((5, 32, 32, 3), np.uint8), np.zeros((5, 32, 32), np.uint8)
    layers, original = [], segmentation.network
    monkeypatch.setattr(segmentation, "network", lambda recipe, layer: layers.append(layer) or original(recipe, layer))
    monkeypatch.setattr(segmentation.tconv.torch, "accelerate", lambda net, *_, **__: type("", (), {"difference": 0}))
    found = TIMES_OF(recipe, original(recipe), images, labels, 1)
    assert layers == [segmentation.tconv.torch.ConvTranspose2d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose2d]
    assert found["inference"]["shape"] == [1, 3, 64, 64]
    assert list(found["training step"]["seconds"]) == ["PyTorch", "tconv"]


def test_what_cannot_be_run_is_refused_and_earlier_results_stay(example, undisturbed, tmp_path, monkeypatch):
    def other_scenes(*given, scenes_of=segmentation.scenes_of):
        return {name: (255 - images, labels) for name, (images, labels) in scenes_of(*given).items()}

    folder, _ = undisturbed
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(SystemExit, match=r"--size 40 is given.*multiple of 16.*Write --size 96"):
        example(tmp_path, "--size", "40")
    with pytest.raises(SystemExit, match=r"holds results of rate=0\.003, and this run has rate=0\.1"):
        example(folder, "--rate", "0.1")
    checkpoint = folder / "U-Net-transposed-0.pt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    recipe = next(run["recipe"] for run in undisturbed[1]["runs"] if run["recipe"]["name"] == "U-Net transposed 0")
    for function in (lambda: example(folder), lambda: segmentation.trained(recipe, folder)):
        with pytest.raises(SystemExit, match="no checkpoint of this example, or damaged"):
            function()
    checkpoint.write_bytes(whole)
    monkeypatch.setattr(segmentation, "scenes_of", other_scenes)
    with pytest.raises(SystemExit, match=r"holds results of data='\w{8}', and this run has data='\w{8}'"):
        example(folder)
    assert (folder / "metrics.json").read_bytes() == before
