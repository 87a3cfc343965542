"""The generation example: its scores against closed forms, runs that repeat, pictures that stay apart, bad input."""

import gzip
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import generation  # noqa: E402
import torch  # noqa: E402
from generation_parts import page  # noqa: E402
from generation_parts.adversaries import (  # noqa: E402
    Adversaries,
    classifier_of,
    draw,
    generator,
    generator_of,
    numbers_of,
    upsamplings,
)
from generation_parts.labelled_pictures import INSTALLED, PACKAGE, Pictures, folder_of, framed, idx, load, spaced, split  # noqa: E402
from generation_parts.scores import fixed_spectrum, frechet, nearest, pattern_share, peaks, phase_bins, spectrum  # noqa: E402
from scipy.linalg import sqrtm  # noqa: E402
from shared_parts import training  # noqa: E402

torch.set_num_threads(1)
RNG = np.random.default_rng(0)


# -- scores


def whitened(count, features):
    """Return numbers with exactly the mean 0 and the covariance 1."""
    x = RNG.standard_normal((count, features))
    x -= x.mean(0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T


def test_frechet_distance_of_normal_distributions():
    a, b, shift = RNG.uniform(0.5, 3, 5), RNG.uniform(0.5, 3, 5), RNG.standard_normal(5)
    x = whitened(200, 5)
    assert frechet(x * a, x * b + shift) == pytest.approx(shift @ shift + ((a - b) ** 2).sum(), abs=1e-10)


def test_frechet_distance_of_covariances_that_do_not_commute():
    x = whitened(200, 4)
    one, other = x @ RNG.standard_normal((4, 4)), x @ RNG.standard_normal((4, 4))
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1])
    expected = np.trace(sum(covariances) - 2 * root.real)
    assert frechet(one, other) == pytest.approx(expected, rel=1e-8)
    assert frechet(other, one) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_a_set_and_itself_is_0_though_a_feature_is_constant():
    features = np.concatenate([RNG.standard_normal((50, 3)), np.ones((50, 1))], 1)
    assert frechet(features, features) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_one_feature():
    features = RNG.standard_normal((50, 1))
    assert frechet(features, features + 2) == pytest.approx(4)


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (5, 4))])
def test_frechet_distance_names_the_shapes_that_it_cannot_compare(shapes):
    with pytest.raises(ValueError, match=r"features have shapes"):
        frechet(*(np.ones(shape) for shape in shapes))


def checkerboard(period, amplitude=40):
    """Return a pattern of 32 x 32 that repeats with the period and whose mean is 0."""
    tile = RNG.standard_normal((period, period))
    return np.tile(amplitude * (tile - tile.mean()) / np.abs(tile - tile.mean()).max(), (32 // period, 32 // period))


@pytest.mark.parametrize("period", [2, 4, 8])
def test_the_whole_energy_of_a_checkerboard_is_at_its_frequencies(period):
    power = spectrum((128 + checkerboard(period))[None])
    assert pattern_share(power, power, period) == pytest.approx(1)
    assert pattern_share(power, power, 8) == pytest.approx(1)


def test_the_energy_of_a_checkerboard_beside_noise_is_its_share_of_the_variance():
    pattern, noise = checkerboard(2, 30), RNG.normal(0, 20, (4000, 32, 32))
    power = spectrum(128 + pattern + noise)
    expected = (pattern.var() + 400 * 3 / 1024) / (pattern.var() + 400 * 1023 / 1024)
    assert pattern_share(power, power, 2) == pytest.approx(expected, rel=0.01)


def test_a_spectrum_sums_to_the_mean_square():
    pictures = RNG.integers(0, 256, (700, 32, 32), np.uint8)
    assert spectrum(pictures).sum() == pytest.approx(((pictures / 255) ** 2).mean())


def test_the_mean_picture_keeps_a_pattern_of_one_sign_alone():
    pattern, signs = checkerboard(2), np.tile([1, -1], 50)[:, None, None]
    same, both = 128 + np.ones((100, 1, 1)) * pattern, 128 + signs * pattern
    for pictures, kept in ((same, 1), (both, 0)):
        power = spectrum(pictures)
        assert pattern_share(power, power, 2) == pytest.approx(1)
        assert pattern_share(fixed_spectrum(pictures), power, 2) == pytest.approx(kept)


@pytest.mark.parametrize("period", [2, 8])
def test_a_checkerboard_stands_out_of_noise_as_far_as_it_is_strong(period):
    noise = RNG.normal(0, 20, (3000, 32, 32))
    assert peaks(spectrum(128 + noise), period) == pytest.approx(1, abs=0.1)
    tile = np.zeros((32, 32))
    tile[::period, ::period] = 60  # the same power at all frequencies of the phases
    power, own = spectrum(128 + noise + tile), spectrum((128 + tile)[None])
    found = phase_bins(own.shape, period)
    expected = np.exp(np.log1p(own[found] / (400 / 255**2 / 1024)).mean())
    assert peaks(power, period) == pytest.approx(expected, rel=0.1)
    assert expected > 2


def test_powers_below_rounding_are_no_peaks():
    assert peaks(np.full((32, 32), 1e-30), 2) == pytest.approx(1)
    sharp = np.full((32, 32), 1e-30)
    sharp[16, 16] = 1e-20
    assert peaks(sharp, 2) == pytest.approx(1)


def test_a_period_that_does_not_divide_the_picture_is_named():
    with pytest.raises(ValueError, match="no bins at multiples of 1/3"):
        phase_bins((32, 32), 3)


def test_a_copy_of_a_training_picture_is_at_distance_0():
    known = RNG.integers(0, 256, (30, 32, 32), np.uint8)
    places, distances = nearest(np.stack([known[7], 255 - known[9]]), known)
    assert places[0] == 7
    assert distances[0] == 0
    assert distances[1] > 0.1


# -- networks


@pytest.mark.parametrize("name", generation.STARTS)
def test_starts_make_pictures_and_only_pytorchs_has_a_checkerboard(name):
    torch.manual_seed(0)
    net = generator(generation.STARTS[name]["kernel"], generation.STARTS[name]["start"], channels=8)
    assert draw(net, numbers_of(RNG, 3)).shape == (3, 32, 32)
    energies = generation.weight_energies(net)
    if name.startswith("default"):
        assert min(energies) > 0.3
    else:
        assert max(energies) < 1e-9


def test_icnr_draws_from_the_distribution_of_pytorchs_start():
    torch.manual_seed(0)
    default, icnr = (upsamplings(generator(5, start, channels=32)) for start in ("default", "icnr"))
    for one, other in zip(default, icnr, strict=True):
        taps = other.weight[..., :4, :4]  # the fifth is 0, as not all phases have it
        assert one.weight.abs().max().item() == pytest.approx(taps.abs().max().item(), rel=0.02)
        assert one.weight.std().item() == pytest.approx(taps.std().item(), rel=0.15)


RECIPE = {"seed": 0, "kernel": 5, "start": "icnr", "channels": 4, "ema": 0.5, "rate": 1e-3, "batch": 8}


def test_layers_compute_and_train_as_pytorchs():
    real, z = torch.rand(8, 1, 32, 32) * 2 - 1, numbers_of(RNG, 8)
    pairs = [Adversaries(RECIPE, layer) for layer in (torch.nn.ConvTranspose2d, generation.tconv.torch.ConvTranspose2d)]
    losses = [[pair.step(real, z) for _ in range(3)] for pair in pairs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_numbers_between_two_pictures_keep_their_length():
    z = generation.between(np.random.default_rng(3), 9).flatten(1)
    ends = numbers_of(np.random.default_rng(3), 2).flatten(1)
    assert torch.allclose(z[[0, -1]], ends, atol=1e-5)
    lengths = z.norm(dim=1)
    assert lengths.min() >= ends.norm(dim=1).min() - 1e-4


# -- pictures


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Folder of a package of clothes as the real one has them, but noise, and few."""
    folder = tmp_path_factory.mktemp("packages")
    place = folder / PACKAGE / INSTALLED.relative_to("/")
    place.mkdir(parents=True)
    for part, count in (("train", 120), ("t10k", 20)):
        classes = np.arange(count, dtype=np.uint8) % 10
        pixels = RNG.integers(0, 256, (count, 28, 28), np.uint8)
        for name, array in ((f"{part}-images-idx3", pixels), (f"{part}-labels-idx1", classes)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (place / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def test_clothes_are_read_and_split(packages):
    data = load("clothes", packages)
    assert [len(part.classes) for part in data[:3]] == [110, 10, 20]
    assert data.training.pixels.shape[1:] == (32, 32)
    assert sorted(data.validation.classes) == list(range(10))
    every = np.concatenate([part.pixels for part in data[:3]]).reshape(140, -1)
    assert len(np.unique(every, axis=0)) == 140  # no picture is in two parts


def test_digits_are_split_without_a_picture_in_two_parts():
    data = load("digits")
    assert [len(part.classes) for part in data[:3]] == [3500, 500, 1000]
    assert (np.bincount(data.held_out.classes) == 100).all()
    every = np.concatenate([part.pixels for part in data[:3]]).reshape(5000, -1)
    assert len(np.unique(every, axis=0)) == 5000


def test_pictures_that_stand_for_all_are_of_all_classes():
    held_out = load("digits").held_out
    assert set(spaced(held_out.classes, 64)) == set(range(10))
    assert len(np.unique(spaced(np.arange(100), 30))) == 30
    assert len(spaced(np.arange(5), 30)) == 5


def test_parts_are_the_same_in_every_run():
    pictures = Pictures(np.arange(200), np.arange(200) % 7)
    first, second = (split(pictures, [0.5, 0.75]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert sorted(np.concatenate([part.pixels for part in first])) == list(range(200))


def test_a_frame_is_black():
    made = framed(np.full((1, 28, 28), 9, np.uint8))
    assert made.sum() == 9 * 28 * 28


def test_a_missing_package_is_named_with_what_to_do(tmp_path):
    message = f"Unpack the Debian package dataset-fashion-mnist into {tmp_path}/dataset-fashion-mnist, or write"
    with pytest.raises(SystemExit, match=message):
        folder_of(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b""),
        gzip.compress(b"\0\0\x08\1\0\0\0\5abc"),
        gzip.compress(b"\0\0\x0d\1\0\0\0\1a"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"train-labels-idx1-ubyte\.gz .*Unpack the package again"):
        idx(path)


# -- runs


TRAINING = {**RECIPE, "name": "icnr-5-0", "of": "icnr-5", "pictures": "clothes", "steps": 6, "every": 2, "samples": 30}
JUDGE = {"name": "classifier", "pictures": "clothes", "seed": 0, "steps": 3}


def trained(folder, packages, show=None):
    """Train the classifier and a generator in a folder, and return the generator's figures."""
    folder.mkdir(exist_ok=True)
    generation.train_classifier(packages, JUDGE, folder, None)
    return generation.train(packages, "classifier.pt", training.Share(0, 1), TRAINING, folder, show)


def without_seconds(figures):
    return {name: value for name, value in figures.items() if name != "seconds"}


def test_a_killed_run_equals_one_that_was_not_and_a_run_repeats(tmp_path, packages):
    def kill(words, done, steps):
        if done == 5:
            raise KeyboardInterrupt

    whole = trained(tmp_path / "whole", packages)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", packages, kill)
    assert without_seconds(trained(tmp_path / "killed", packages)) == without_seconds(whole)
    assert without_seconds(trained(tmp_path / "again", packages)) == without_seconds(whole)
    assert [entry["step"] for entry in whole["history"]] == [2, 4, 6]


def test_held_out_pictures_do_not_change_the_training(tmp_path, packages, monkeypatch):
    def other_held_out(name, packages):
        data = load(name, packages)
        return data._replace(held_out=Pictures(255 - data.held_out.pixels, data.held_out.classes))

    first = trained(tmp_path / "first", packages)
    monkeypatch.setattr(generation, "load", other_held_out)
    second = trained(tmp_path / "second", packages)
    assert second["history"] == first["history"]
    assert second["after"]["distance"] != first["after"]["distance"]


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path, packages):
    trained(tmp_path, packages)
    before = (tmp_path / "icnr-5-0.pt").read_bytes()
    for name, function in {
        "classifier": classifier_of,
        "icnr-5-0": partial(generator_of, recipe=TRAINING),
    }.items():
        whole = (tmp_path / f"{name}.pt").read_bytes()
        function(tmp_path / f"{name}.pt")
        (tmp_path / f"{name}.pt").write_bytes(whole[:1000])
        with pytest.raises(SystemExit, match=rf"{name}\.pt is no checkpoint of this example, or damaged"):
            function(tmp_path / f"{name}.pt")
        (tmp_path / f"{name}.pt").write_bytes(whole)
    with pytest.raises(SystemExit, match="kernel=5, and this run has kernel=4"):
        generation.train(packages, "classifier.pt", training.Share(0, 1), {**TRAINING, "kernel": 4}, tmp_path, None)
    assert (tmp_path / "icnr-5-0.pt").read_bytes() == before


def test_processes_draw_parts_of_the_same_batch(tmp_path, packages, monkeypatch):
    drawn = []
    monkeypatch.setattr(Adversaries, "step", lambda self, real, z: drawn.append((real, z)) or 0.0)
    generation.train_classifier(packages, JUDGE, tmp_path, None)
    for share in (training.Share(0, 1), training.Share(0, 2), training.Share(1, 2)):
        recipe = {**TRAINING, "name": str(share), "steps": 1}
        generation.train(packages, "classifier.pt", share, recipe, tmp_path, None)
    whole, first, second = drawn
    for all_of, even, odd in zip(whole, first, second, strict=True):
        assert torch.equal(all_of[::2], even)
        assert torch.equal(all_of[1::2], odd)


# -- the command line


def run_of(before, after, energy=0.1):
    figures = {"pattern 2": 0.0, "peaks 2": 1.5, "peaks 8": 1.2, "weights": [energy] * 4, "nearest": 0.2}
    about = {"history": [], "seconds": 1.0, "parameters": 9}
    return {"before": {"distance": before, **figures}, "after": {"distance": after, **figures}, **about}


def test_quick_fails_by_each_of_its_bounds():
    good = {"icnr-5": [run_of(100, 40)]}
    assert list(generation.shortfalls(good, {"accuracy": 0.9})) == []
    (line,) = generation.shortfalls(good, {"accuracy": 0.8})
    assert line == "the classifier's accuracy is 0.800; at least 0.85 is needed"
    (line,) = generation.shortfalls({"icnr-5": [run_of(100, 60)]}, {"accuracy": 0.9})
    assert line == "icnr-5: the Fréchet distance is 60.0; 50.0 is the most allowed"


def test_recipes_have_every_start_with_every_seed():
    options = generation.options_of(["--seed", "3", "--runs", "2"])
    names = [recipe["name"] for recipe in generation.recipes_of(options)]
    assert sorted(names) == sorted(f"{start}-{seed}" for start in generation.STARTS for seed in (3, 4))


def test_options_beside_quick_hold():
    options = generation.options_of(["--quick", "--steps", "7"])
    assert options.steps == 7
    assert options.pictures == "digits"


def test_the_table_has_intervals_and_the_ratio_of_the_two_starts():
    runs = {"default-5": [run_of(700, 41, 0.4), run_of(700, 43, 0.4)], "icnr-5": [run_of(700, 42)] * 2}
    row, _, end = generation.table_of(runs, {"noise": {"distance": 500.0, "pattern 2": 0, "peaks 2": 1, "peaks 8": 1}})
    assert end["Fréchet distance"] == "500.0"
    assert row["Fréchet distance"] == "700.0 → 42.0 ± 12.7"  # Student's t is 12.7 for two runs
    assert generation.ratios(runs)["last layer's weights"] == pytest.approx(0.25)
    assert "at most half" in generation.sentence("mean picture", 0.25)
    assert "not half" in generation.sentence("mean picture", 0.51)


def test_the_page_says_which_start_is_closest_and_whether_that_can_be_chance():
    runs = {"default-5": [run_of(700, 50), run_of(700, 60)], "icnr-5": [run_of(700, 42), run_of(700, 52.2)]}
    first = "The lowest Fréchet distance after training is that of ICNR, kernel 5, 47.1"
    less = "7.9 ± 1.3 less than the next, of PyTorch's start, kernel 5"
    assert page.closest(runs) == f"{first}: {less}."
    runs["default-5"][1] = run_of(700, 53)
    assert page.closest(runs).endswith(", which can be chance: the 95% interval holds 0.")
    assert page.closest({"icnr-5": [run_of(700, 42)]}).endswith("of ICNR, kernel 5, 42.0.")


def test_a_figure_rounded_to_zero_has_no_sign():
    text = page.unsigned_zeros("-0.04 → -0.00 ± 0.03, -0.0, -0, -0.10, -10.0")
    assert text == "-0.04 → 0.00 ± 0.03, 0.0, 0, -0.10, -10.0"


def test_a_start_that_leaves_no_checkerboard_has_no_ratio():
    runs = {"default-5": [run_of(700, 41, -0.01)], "icnr-5": [run_of(700, 42, 0.1)]}
    assert generation.ratios(runs) == {}
    assert "leaves 0.00 of" in generation.sentence("mean picture", -0.2)


def test_a_single_sample_is_refused():
    with pytest.raises(SystemExit, match="--samples 1 is given; a Fréchet distance needs two or more"):
        generation.options_of(["--samples", "1"])


def test_the_rate_rises_and_falls_and_stays_above_0():
    rates = [generation.rate(i, 200, 1.0) for i in range(200)]
    assert max(rates) == 1
    assert min(rates) > 0
    assert rates[9] == 1
    assert rates[-1] < 0.05
