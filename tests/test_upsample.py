"""The command `tconv upsample` with one input: its files, its lines, its refusals, and that it leaves nothing half-written."""

import doctest
import gc
import importlib
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import tconv.cli
from tconv.cli import main
from tconv.definition import gather
from tconv.errors import CheckError
from tconv.io import array_files, output_files
from tconv.io.picture_reading import open_picture
from tconv.upsampling import filters, inputs, metrics, sample_photo, strips, torch_comparison
from tconv.upsampling.definition_check import Check
from tconv.upsampling.stored_values import StoredValues
from tconv.weights.interpolation import FILTERS, upsample

MODULES = [module.name for module in pkgutil.iter_modules(tconv.cli.__path__, "tconv.cli.")]
TCONV = [sys.executable, "-c", "import sys; from tconv.cli import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run every test in a directory of its own, without PyTorch, which is only loaded in processes of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch_comparison, "times", lambda model, pixels: torch_comparison.Times(0.002, 0.004, "2.0"))
    return tmp_path


@pytest.fixture
def facts(run):
    """Run with --json, expect success and return the facts."""

    def call(*arguments):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def noise(*shape, dtype="u1", seed=0):
    return np.random.default_rng(seed).integers(0, 256 ** np.dtype(dtype).itemsize, shape).astype(dtype)


def pixels(path):
    return open_picture(Path(path)).read()


def rounds(actual, exact):
    """Return True if every stored integer is the exact value, clipped and rounded; float32 may round a tie up or down."""
    top = np.iinfo(actual.dtype).max
    return np.abs(actual - np.clip(exact, 0, top)).max() <= 0.5 + 1e-6 * top


def enlarged(x, scale=2, kernel="bicubic"):
    """Return [H, W, C] or [H, W] enlarged exactly, as planes [C, sH, sW] in float64."""
    return upsample(np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0).astype("f8"), scale, kernel)


def luma(picture):
    """Return the luma of red, green and blue by ITU-R BT.601."""
    return np.tensordot([0.299, 0.587, 0.114], picture.astype("f8"), 1)


def psnr(original, picture):
    return peak_signal_noise_ratio(luma(original), luma(picture), data_range=255)


def ssim(original, picture):
    return structural_similarity(luma(original), luma(picture), data_range=255)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


# -- without an input --------------------------------------------------------------------------------------------


def test_the_default_run(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert sorted(os.listdir()) == ["tconv_chelsea_x2.png", "tconv_chelsea_x2_side_by_side.png"]
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "upsample",
        "input",
        "plan",
        "output",
        "check",
        "psnr",
        "ssim",
        "torch",
        "see",
        "time",
    ]
    assert re.match(r"upsample +2 times by photo x2 \(a network of \d+ convolutions, added to bicubic\)$", lines[0])
    assert "222 x 150, RGB, 8 bit; shrunk 2 times; photograph by Stefan van der Walt, CC0" in lines[1]
    assert lines[2].startswith("plan      444 x 300 pixels in 1 strip, ")
    assert re.search(
        r"; \S+ GFLOP as direct sums: convolutions .* stride 2x2, 8x1 stride 2x1, 1x8 stride 1x2, 12 by winograd F\(4,3\), 4 by simd$",
        lines[2],
    )
    assert lines[3].startswith("output    tconv_chelsea_x2.png: 444 x 300, PNG, RGB, 8 bit, ")
    found = re.match(
        r"check +(\d+) random outputs (?:\(of \d+, in the time of the work\) )?agree with the definition: largest difference \S+, allowed \S+$",
        lines[4],
    )
    assert int(found[1]) >= 576  # one square in one channel
    original, result = sample_photo.photograph(2), pixels("tconv_chelsea_x2.png")
    plain = sample_photo.enlarged(sample_photo.shrink(original, 2), 2, "bicubic")
    for line, unit, score in [(lines[5], " dB", psnr), (lines[6], "", ssim)]:
        expected = f"{score(original, result):.4g}{unit} in luma, against the original"
        assert line[10:] == f"{expected} (bicubic {score(original, plain):.4g}{unit})"
    assert lines[7][10:] == "2.0 takes 4 ms for this network and picture, tconv 2 ms (the best of 5)"
    assert "tconv_chelsea_x2_side_by_side.png: bicubic | network | original" in lines[8]


def test_the_run_of_a_filter(run):
    code, out, err = run("--kernel", "bicubic")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    arguments = [line.split()[0] for line in lines]
    assert arguments == ["upsample", "input", "plan", "output", "check", "psnr", "ssim", "see", "time"]
    assert "8x1 stride 2x1, 1x8 stride 1x2; by simd; 4.77 MFLOP in 1 strip" in lines[2]
    assert re.match(
        r"check +4098 random outputs agree with the definition: largest difference \S+, allowed \S+$", lines[4]
    )
    assert "tconv_chelsea_x2_side_by_side.png: nearest | bicubic | original" in lines[7]


@pytest.mark.parametrize(("arguments", "plainer"), [([], "bicubic"), (["--kernel", "bicubic"], "nearest")])
def test_the_side_by_side_picture_shows_the_named_pictures(run, arguments, plainer):
    assert run(*arguments)[0] == 0
    picture, detail = pixels("tconv_chelsea_x2_side_by_side.png"), (slice(None), *sample_photo._DETAIL)
    panels = np.split(picture, [440, 448, 888, 896], axis=2)
    small = sample_photo.shrink(sample_photo.photograph(2), 2)
    shown = [sample_photo.enlarged(small, 2, plainer), pixels("tconv_chelsea_x2.png"), sample_photo.photograph(2)]
    np.testing.assert_array_equal(sample_photo.enlarged(small, 2, "nearest"), small.repeat(2, 1).repeat(2, 2))
    for panel, image in zip(panels[::2], shown, strict=True):
        np.testing.assert_array_equal(panel[:, ::4, ::4], image[detail])
    assert all((gap == 255).all() for gap in panels[1::2])


@pytest.mark.parametrize("kernel", FILTERS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
def test_psnr_and_ssim_are_scikit_images(facts, kernel, scale):
    made = facts("--scale", scale, "--kernel", kernel, "-o", "a.png")
    original = sample_photo.photograph(scale)
    assert original.shape == (3, 300, 444 // scale * scale)
    if scale == 1:
        assert made["psnr"] == {kernel: None, "nearest": None}  # equal pictures: infinite, which JSON cannot contain
        assert made["ssim"] == pytest.approx({kernel: 1, "nearest": 1})
    else:
        plain = sample_photo.enlarged(sample_photo.shrink(original, scale), scale, "nearest")
        for word, score in [("psnr", psnr), ("ssim", ssim)]:
            expected = {"nearest": score(original, plain), kernel: score(original, pixels("a.png"))}
            assert made[word] == pytest.approx(expected, abs=1e-9)
            assert made[word][kernel] >= made[word]["nearest"]


@pytest.mark.parametrize("shape", [(7, 7), (7, 30), (31, 8), (40, 50)])
@pytest.mark.parametrize("change", ["a little", "all", "flat"])
def test_scores_of_any_picture_are_scikit_images(shape, change):
    a = noise(3, *shape)
    rng = np.random.default_rng(1)
    b = {"a little": a ^ rng.integers(0, 8, a.shape).astype("u1"), "all": noise(3, *shape, seed=2), "flat": a * 0}
    assert metrics.psnr(a, b[change]) == pytest.approx(psnr(a, b[change]), abs=1e-9)
    assert metrics.ssim(a, b[change]) == pytest.approx(ssim(a, b[change]), abs=1e-9)
    assert metrics.ssim(a, a) == pytest.approx(1, abs=1e-12)
    assert np.isnan(metrics.ssim(a[:, :6], a[:, :6]))


def test_a_scale_of_1_has_texts_of_its_own(run):
    np.save("blur.npy", np.full((3, 3), 1 / 9))
    for arguments, psnr, panels in [
        ([], "no difference in luma, against the original", "bicubic | original"),
        (["--kernel", "bicubic"], "no difference in luma, against the original", "bicubic | original"),
        (["--kernel", "nearest"], "no difference in luma, against the original", "nearest | original"),
        (["--kernel", "blur.npy"], r"\d\d\.\d\d dB in luma, against the original", r"blur\.npy \| original"),
    ]:
        code, out, _ = run("--scale", 1, *arguments)
        assert code == 0
        assert re.search("^upsample  at its own size, filtered by ", out)
        assert "8 bit; not shrunk; photograph by" in out
        assert re.search(rf"^psnr +{psnr}$", out, re.M)
        assert re.search(rf": {panels.replace(' | ', ' [|] ')}, a detail$", out, re.M)


def test_the_photograph_is_shrunk_as_pillow_does():
    original = sample_photo.photograph(3)
    planes = [Image.fromarray(plane.astype("f4"), "F") for plane in original]
    exact = [np.asarray(plane.resize((148, 100), Image.Resampling.BICUBIC)) for plane in planes]
    assert rounds(sample_photo.shrink(original, 3), exact)


def test_the_photograph_is_scikit_images_and_its_licence_is_beside_it():
    from skimage.data import chelsea

    np.testing.assert_array_equal(sample_photo.photograph(12), np.moveaxis(chelsea()[:, :444], 2, 0))
    folder = Path(tconv.__file__).parent / "data"
    assert "CC0" in (folder / "LICENSE.txt").read_text()
    assert (folder / "chelsea.png").stat().st_size < 250_000


def test_runs_never_write_the_same_file(run):
    for _ in range(3):
        assert run()[0] == 0
    assert sorted(path for path in os.listdir() if "side" not in path) == [
        "tconv_chelsea_x2-2.png",
        "tconv_chelsea_x2-3.png",
        "tconv_chelsea_x2.png",
    ]
    assert len(os.listdir()) == 6


# -- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", FILTERS)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("shape", [(11, 7, 3), (11, 7), (1, 1), (1, 9, 3), (9, 1)], ids=str)
def test_pictures(facts, shape, dtype, kernel):
    x = noise(*shape, dtype=dtype)
    tifffile.imwrite("a.tif", x, photometric="rgb" if len(shape) == 3 else "minisblack")
    made = facts("a.tif", "--scale", 3, "--kernel", kernel)
    assert made["output"]["path"] == "a_x3.png"
    result = pixels("a_x3.png")
    assert result.dtype == x.dtype
    assert rounds(result, enlarged(x, 3, kernel))
    assert made["check"]["outputs"] == min(result.size, 3 * 1366 if len(shape) == 3 else 4096)
    assert made["check"]["difference"] <= made["check"]["tolerance"]


def test_outputs_that_are_not_finite_are_counted(facts):
    """All outputs of two images are compared here."""
    x = np.ones((2, 3, 4, 5), np.float32)
    x[0, 1, 2, 3], x[1, 0] = np.nan, np.inf
    np.save("a.npy", x)
    check = facts("a.npy", "--kernel", "nearest")["check"]
    assert (check["outputs"], check["not_finite"]) == (2 * 3 * 8 * 10, 4 + 8 * 10)


@pytest.mark.parametrize("kernel", FILTERS)
@pytest.mark.parametrize("scale", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("mode", "level"), [("L", 255), ("RGB", (255, 130, 1)), ("RGBA", (250, 130, 7, 90)), ("LA", (255, 128))]
)
def test_a_constant_picture_stays_constant(facts, mode, level, scale, kernel):
    """Edges do not darken, and colours do not change under their opacity."""
    Image.new(mode, (5, 4), level).save("a.png")
    facts("a.png", "--kernel", kernel, "--scale", scale, "-o", "b.png")
    result = pixels("b.png")
    assert result.shape == (len(np.atleast_1d(level)), 4 * scale, 5 * scale)
    assert (result == np.reshape(level, (-1, 1, 1))).all()


def test_sixteen_bit_white_stays_white(facts):
    tifffile.imwrite("a.tif", np.full((5, 4, 3), 65535, "u2"), photometric="rgb")
    facts("a.tif", "--kernel", "lanczos", "--scale", 7, "-o", "b.png")
    assert (pixels("b.png") == 65535).all()


def test_invisible_colours_do_not_bleed(facts):
    x = np.zeros((8, 8, 4), np.uint8)
    x[:, :4], x[:, 4:] = (0, 255, 0, 0), (200, 40, 10, 255)  # transparent green beside opaque red
    Image.fromarray(x).save("a.png")
    facts("a.png", "--kernel", "bilinear")
    y = pixels("a_x2.png")
    seen = y[3] > 0
    assert (y[:3, seen].T == (200, 40, 10)).all()
    assert (y[:3, ~seen] == 0).all()
    assert set(y[3, 0]) == {0, 64, 191, 255}


def test_float_pictures_stay_float_and_are_not_clipped(facts):
    x = np.random.default_rng(0).normal(0, 100, (6, 5, 3)).astype("f4")
    tifffile.imwrite("a.tif", x, photometric="rgb")
    assert facts("a.tif", "--kernel", "bicubic")["output"]["path"] == "a_x2.tif"
    np.testing.assert_array_equal(pixels("a_x2.tif"), upsample(np.moveaxis(x, 2, 0)))


def test_large_pictures_go_in_strips_that_leave_no_seam(facts, monkeypatch):
    monkeypatch.setattr(filters.NamedFilter, "strip_bytes", 5000)
    x = noise(60, 40, 3)
    Image.fromarray(x).save("a.png")
    assert facts("a.png", "--kernel", "lanczos")["plan"]["strips"] == 30
    assert rounds(pixels("a_x2.png"), enlarged(x, 2, "lanczos"))


def test_orientation_is_not_applied_twice(facts):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(4, 6, 3)).save("a.png", exif=exif)
    made = facts("a.png", "-o", "b.png")
    assert made["input"]["notes"] == ["turned upright (EXIF orientation 6)"]
    written = Image.open("b.png")
    assert written.size == (8, 12)
    assert written.getexif().get(0x0112, 1) == 1


def test_conversions_are_noted(run):
    tifffile.imwrite("a.tif", noise(8, 8, 4, dtype="u2"), photometric="rgb", extrasamples=["unassalpha"])
    code, out, _ = run("a.tif", "-o", "b.jpg")
    assert code == 0
    assert "b.jpg: 16 x 16, JPEG, RGB, 8 bit, " in out
    assert "16 bit become 8; alpha composited over white; JPEG quality 95" in out
    assert Image.open("b.jpg").mode == "RGB"


# -- feature maps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 3, 5, 4), (0, 3, 5, 4), (40, 2, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "c8"])
def test_feature_maps_keep_rank_and_dtype(facts, shape, dtype):
    x = np.random.default_rng(0).normal(0, 3, shape).astype(dtype)
    np.save("a.npy", x)
    made = facts("a.npy")
    y = np.load("a_x2.npy")
    assert y.dtype == x.dtype
    assert made["output"]["arrays"][0]["shape"][-2:] == [2 * shape[-2], 2 * shape[-1]]
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(y, upsample(x.astype(wide)), rtol=0, atol=2e-2 if dtype == "f2" else 1e-5)


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((48, 64, 3), "read as [C, H, W], 48 channels of 64 x 3; if channels are last, write np.save(name, np.moveaxis(x, -1, -3))"),
        ((8, 8, 3), "read as [C, H, W], 8 channels of 8 x 3; if channels are last"),
        ((2, 16, 9, 4), "read as [N, C, H, W], 16 channels of 9 x 4; if channels are last, write"),
        ((30, 40, 1), "read as [C, H, W], 30 channels of 40 x 1; if channels are last"),
        ((3, 48, 64), None),
        ((64, 8, 8), None),
        ((512, 4, 4), None),
        ((8, 3, 3), None),
        ((400, 3), None),
    ],
)  # fmt: skip
def test_shapes_that_look_like_channels_last_are_noted(run, facts, shape, note):
    np.save("a.npy", np.zeros(shape, "f4"))
    code, out, _ = run("a.npy", "-o", "b.npy")
    assert code == 0
    assert out.splitlines()[1].startswith(f"input     a.npy: {list(shape)} float32; {note}" if note else "input     a")
    assert ("read as" in out) == (note is not None)
    assert np.load("b.npy").shape == (*shape[:-2], 2 * shape[-2], 2 * shape[-1])
    np.savez("a.npz", key=np.zeros(shape, "f4"), other=np.zeros((2, 2)))
    notes = facts("a.npz")["input"]["notes"]
    assert [arguments.startswith(f"'key' {note}") for arguments in notes] == [True] * (note is not None)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u4", "i4", "i8", "u8", "?"])
def test_integers_are_rounded_and_clipped_to_their_dtype(facts, dtype):
    x = np.zeros((4, 6), dtype)
    x[:, ::2] = np.iinfo(dtype).max if dtype != "?" else True  # bicubic overshoots on both sides
    if dtype.startswith("i"):
        x[:, 1::2] = np.iinfo(dtype).min
    np.save("a.npy", x)
    facts("a.npy")
    y = np.load("a_x2.npy")
    assert y.dtype == x.dtype
    near = pytest.approx if dtype in ("i8", "u8") else lambda value: value  # float64 holds 53 of the 64 bits
    assert y.max() == near(x.max())
    assert y.min() == near(x.min())


def test_infinite_and_missing_values_spread_as_in_the_definition(facts):
    x = np.random.default_rng(0).normal(0, 1, (2, 9, 9)).astype("f4")
    x[0, 4, 4], x[0, 0, 8], x[1, 2, 2] = np.inf, -np.inf, np.nan
    np.save("a.npy", x)
    facts("a.npy", "--scale", 3)
    y = np.load("a_x3.npy")
    assert np.isnan(y[1]).sum() < y[1].size
    assert np.isinf(y[0]).any()


def test_archives_keep_their_keys(facts):
    arrays = {
        "file": np.ones((3, 4), "f4"),
        "deep/key": np.arange(24, dtype="i2").reshape(2, 3, 4),
        "arr_0": np.ones((1, 1), "f8"),
    }
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w") as member:
                np.lib.format.write_array(member, array)
    made = facts("a.npz", "--kernel", "nearest")
    assert [entry["key"] for entry in made["input"]["arrays"]] == list(arrays)
    with np.load("a_x2.npz") as written:
        assert written.files == list(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(written[key], array.repeat(2, -2).repeat(2, -1))
            assert written[key].dtype == array.dtype


# -- a kernel of one's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (4, 4), (5, 6)])
def test_a_kernel_from_a_file_repeats_the_border(facts, size):
    w, x = np.random.default_rng(1).normal(0, 1, size), np.random.default_rng(2).normal(0, 1, (2, 6, 5))
    np.save("w.npy", w)
    np.save("a.npy", x)
    facts("a.npy", "--kernel", "w.npy")
    pad = 4
    lo = [(k - 2) // 2 + 2 * pad for k in size]
    hi = [-(-(k - 2) // 2) + 2 * pad for k in size]
    wide = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    truth = [gather(plane, w, stride=2, crop=tuple(zip(lo, hi, strict=True))) for plane in wide]
    np.testing.assert_allclose(np.load("a_x2.npy"), truth, atol=1e-12)


@pytest.mark.parametrize("kernel", ["bilinear", "nearest"])
def test_a_filter_from_a_file_is_the_filter(facts, kernel):
    """Two filters for which repeating the outermost pixels is the same as their own border rule."""
    taps = {"bilinear": np.array([1, 3, 3, 1]) / 4, "nearest": np.ones(2)}[kernel]
    np.save("w.npy", np.outer(taps, taps).astype("f2"))
    x = noise(9, 8, 3)
    Image.fromarray(x).save("a.png")
    facts("a.png", "--kernel", "w.npy")
    assert rounds(pixels("a_x2.png"), enlarged(x, 2, kernel))


def test_weights_across_channels(facts):
    x, w = noise(6, 5, 3), np.random.default_rng(1).normal(0, 0.2, (3, 1, 4, 4)).astype("f4")
    np.save("w.npy", w)
    Image.fromarray(x).save("a.png")
    facts("a.png", "--kernel", "w.npy", "-o", "b.png")
    wide = np.pad(np.moveaxis(x, 2, 0).astype("f8"), ((0, 0), (3, 3), (3, 3)), mode="edge")
    truth = gather(wide[None], w.astype("f8"), stride=2, padding=7)[0]
    assert rounds(pixels("b.png"), truth)


@pytest.mark.parametrize(
    ("taps", "notes"),
    [
        ([1, 1], []),
        ([1, 3, 3, 1], ["the kernel multiplies brightness by 16"]),
        ([1, 1, 1], ["the kernel's phases sum to 1 .. 4: expect a checkerboard"]),
    ],
)
def test_a_kernel_that_changes_brightness_is_noted(facts, run, taps, notes):
    np.save("w.npy", np.outer(taps, taps))
    Image.fromarray(noise(4, 4)).save("a.png")
    assert facts("a.png", "--kernel", "w.npy")["plan"]["notes"] == notes
    assert all(f"note      {note}\n" in run("a.png", "--kernel", "w.npy")[1] for note in notes)


# -- the check ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [*FILTERS, "w.npy"])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_truth_of_the_check_is_the_definition(kernel, scale):
    """All outputs equal T(x) / T(1) by `definition.gather`; a kernel from a file is compared above."""
    np.save("w.npy", np.random.default_rng(1).normal(0, 1, (4, 5)))
    x = np.random.default_rng(2).normal(0, 1, (2, 5, 4))
    upsampler, values = filters.from_kernel(kernel, scale), StoredValues(x.dtype)
    check = Check(x, upsampler, values, 1)
    truth = upsampler.truth(check._load, x.shape, check.rows, check.columns, values.frame(x.shape[1]))
    if kernel in FILTERS:
        w = upsampler.filter
        taps, arguments = np.outer(w.taps, w.taps), {"stride": scale, "padding": (w.size - scale) // 2}
        whole = np.array([gather(p, taps, **arguments) / gather(np.ones(p.shape), taps, **arguments) for p in x])
    else:
        wide = np.pad(x, ((0, 0), (6, 6), (6, 6)), mode="edge")
        crop = tuple(((k - scale) // 2 + 6 * scale, -(-(k - scale) // 2) + 6 * scale) for k in (4, 5))
        whole = np.array([gather(p, upsampler.weight[0, 0], stride=scale, crop=crop) for p in wide])
    np.testing.assert_allclose(truth.values, whole.reshape(2, -1), atol=1e-12)
    assert (truth.mass >= np.abs(truth.values) - 1e-12).all()


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_one_wrong_output_fails_the_check(dtype):
    x, upsampler = noise(3, 6, 5).astype(dtype), filters.from_kernel("bicubic", 2)
    values = StoredValues(x.dtype)

    def verdict(spoil):
        out, check = np.empty((3, 12, 10), dtype), Check(x, upsampler, values, 1)
        strips.enlarge(x, upsampler, values, out, check)
        spoil(out, check)
        return check.compare(out)

    assert verdict(lambda out, check: None).outputs == 360

    def stored(out, check):
        out[1, 7, 3] += 1

    def computed(out, check):
        check._numbers[1, 73] += np.float32(2e-3)

    def missing(out, check):
        check._numbers[1, 73] = np.nan

    arguments = r"the check failed: output \(channel 1, row 7, column 3\) is .*; the definition gives .*, within"
    for spoil in (stored, computed, missing):
        with pytest.raises(CheckError, match=arguments):
            verdict(spoil)


@pytest.mark.parametrize("kernel", [*FILTERS, "w.npy"])
def test_a_faulty_kernel_is_found_and_nothing_is_written(run, monkeypatch, kernel):
    np.save("w.npy", np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16)
    Image.fromarray(noise(30, 30, 3)).save("a.png")
    kind = filters.NamedFilter if kernel in FILTERS else filters.CustomKernel
    honest = kind.strip

    def faulty(self, x, first, rows, frame):
        y = honest(self, x, first, rows, frame)
        y[:, ::5] *= np.float32(1.0001)
        return y

    monkeypatch.setattr(kind, "strip", faulty)
    before = sorted(os.listdir())
    code, _, err = run("a.png", "--kernel", kernel)
    assert code == 1
    assert err.startswith("tconv: the check failed: output (channel ")
    assert "Nothing was written" in err
    assert sorted(os.listdir()) == before


# -- refusals ----------------------------------------------------------------------------------------------------


def bad_files():
    """Write damaged and foreign files, named after their faults."""
    whole = noise(4, 4)
    np.save("whole.npy", whole)
    np.savez("whole.npz", a=whole)
    Image.fromarray(whole).save("whole.png")
    Path("cut.npy").write_bytes(Path("whole.npy").read_bytes()[:-3])
    Path("cut.npz").write_bytes(Path("whole.npz").read_bytes()[:-30])
    data = bytearray(Path("whole.npz").read_bytes())
    data[data.index(b"NUMPY") + 125] ^= 1
    Path("changed.npz").write_bytes(data)
    Path("head.npy").write_bytes(b"\x93NUMPY\x01\x00")
    Path("text.npy").write_text("0 1\n2 3\n")
    Path("text.npz").write_text("0 1\n2 3\n")
    Path("empty.npy").touch()
    np.save("objects.npy", np.array([{}, None], object), allow_pickle=True)
    np.save("rank5.npy", np.zeros((1, 1, 1, 2, 2)))
    np.save("none.npy", np.zeros((3, 0, 4)))
    np.save("words.npy", np.array([["a"]]))
    np.savez("nothing.npz")
    with zipfile.ZipFile("foreign.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cut.npy"], "cut.npy is not a whole .npy file ("),
        (["cut.npz"], "cut.npz is not a whole .npz file (File is not a zip file). Save one"),
        (["changed.npz"], "changed.npz['a'] is not a whole .npz file (Bad CRC-32 for file 'a.npy'). Save one"),
        (["head.npy"], "head.npy is not a whole .npy file (EOF: reading array header length, expected 2 bytes got 0). Save one with"),
        (["text.npy"], "text.npy is not a whole .npy file (the magic string is not correct; expected b'\\x93NUMPY', got b'0 1\\n2 '). Save one with"),
        (["text.npz"], "text.npz is not a whole .npz file (File is not a zip file). Save one with"),
        (["empty.npy"], "empty.npy is empty. Choose another file"),
        (["objects.npy"], "objects.npy contains Python objects, which could run code when read; numbers are needed. Write the array with a numeric dtype: np.save(name, array.astype(np.float32))"),
        (["rank5.npy"], "rank5.npy has shape (1, 1, 1, 2, 2); [H, W], [C, H, W] or [N, C, H, W] is needed. Use an array with 2 to 4 axes"),
        (["none.npy"], "none.npy has shape (3, 0, 4); at least 1 row and 1 column are needed. Use an array that is not empty"),
        (["words.npy"], "the elements are <U1; bool, int8, uint8, int16, uint16, float16, float32, int32, uint32, int64, uint64, float64, complex64, complex128 are taken. Write array.astype(np.float32)"),
        (["nothing.npz"], "nothing.npz contains no array; at least one is needed. Write np.savez(name, features=array)"),
        (["foreign.npz"], "foreign.npz contains 'readme.txt', which is not an array; .npy members are needed. Write np.savez"),
        (["no.png"], "no.png does not exist; a file is needed. Choose one that does"),
        (["no.npy"], "no.npy does not exist; a file is needed. Choose one that does"),
        (["https://a.org/b.png"], "INPUT is https://a.org/b.png, and URLs are not read or written. Use a file on this machine"),
        (["whole.png", "-o", "ftp://a.org/b.png"], "-o is ftp://a.org/b.png, and URLs are not read or written. Use a file"),
        (["whole.png", "-o", "newdir2"], "newdir2 has no file ending; it selects the format. Write -o newdir2.png, or -o newdir2/ for a folder"),
        (["whole.png", "--kernel", "Lanzcos"], "--kernel is 'Lanzcos'; nearest, bilinear, bicubic, lanczos, or a .npy file of weights is needed. Write --kernel lanczos"),
        (["whole.npy", "-o", "b.png"], "b.png ends in .png; the result of a .npy file is written as .npy. Write b.npy"),
        (["whole.png", "-o", "b.npy"], "b.npy ends in .npy; a picture is written as .png, .jpg, .jpeg, .tif, .tiff, .webp. Write b.png, for example"),
        (["whole.png", "-o", "whole.npz"], "whole.npz ends in .npz; a picture is written as"),
        (["whole.npy", "-o", "cut.npy"], "cut.npy exists, and nothing is overwritten. Choose another name, or --overwrite"),
        (["whole.png", "-o", "whole.png"], "whole.png is the input itself, which is not overwritten. Choose another name"),
        (["whole.png", "-o", "whole.png", "--overwrite"], "whole.png is the input itself, which is not overwritten. Choose another name"),
        (["whole.png", "-o", "no/b.png"], "no/b.png lies in no, which does not exist. Choose a name in a directory that does"),
        (["whole.png", "-o", "whole.npy/b.png"], "whole.npy/b.png cannot be written: Not a directory. Choose a name where you may write"),
        (["--scale", "2.5"], "--scale 2.5 was given without a picture; the photograph that comes with tconv is shrunk by a whole number. Write --scale 2, or a picture of your own"),
        (["--width", "900", "--height", "80"], "--width 900 --height 80 was given without a picture"),
        (["whole.png", "--scale", "1e999999999"], "--scale is 1e999999999; a number above 0 is needed"),
        (["whole.png", "--scale", "1e-999999999"], "--scale is 1e-999999999; a number above 0 is needed"),
        (["whole.png", "--scale", "1/0"], "--scale is 1/0; a number above 0 is needed"),
        (["whole.png", "--scale", "inf"], "--scale is inf; a number above 0 is needed"),
        (["whole.png", "--scale", "2", "--width", "10"], "--scale and --width were given; each states the size. Use one of them"),
        (["whole.png", "--scale", "2", "--width", "10", "--height", "9"], "--scale and --width and --height were given"),
        (["whole.png", "--width", "0"], "--width is 0; a whole number of pixels, 1 or more, is needed. Write --width 1920"),
        (["whole.png", "--height", "-3"], "--height is -3; a whole number of pixels, 1 or more, is needed. Write --height 1920"),
        (["whole.png", "--height", "1.5"], "--height is 1.5; a whole number of pixels"),
        (["whole.png", "--width", "nan"], "--width is nan; a whole number of pixels"),
        (["whole.png", "--width", "9" * 40], "the result would be 999999"),
        (["whole.png", "--width", "9" * 40, "--kernel", "bicubic"], "the result would be 9999999999999999999999999999999999999999 x 9999999999999999999999999999999999999999 with"),
        (["whole.png", "--width", "2", "--model", "photo"], "--width is 2 for a picture of 4 x 4, and --model makes pictures larger. Write a larger number, or --kernel bicubic instead of --model"),
        (["whole.png", "--scale", "0.5", "--model", "photo"], "--scale is 0.5, and --model makes pictures larger. Write --scale 2, or --kernel bicubic"),
        (["whole.png", "--scale", "0"], "--scale is 0; a number above 0 is needed, 2 or 1.5 for example. Write --scale 2"),
        (["whole.png", "--scale", "1,5"], "--scale is 1,5; a number above 0 is needed, 2 or 1.5 for example. Write --scale 1.5"),
        (["whole.png", "--scale", "3x"], "--scale is 3x; a number above 0 is needed, 2 or 1.5 for example. Write --scale 3"),
        (["whole.png", "--scale", "0,0"], "--scale is 0,0; a number above 0 is needed, 2 or 1.5 for example. Write --scale 2"),
        (["whole.png", "--scale", "-2"], "--scale is -2; a number above 0 is needed, 2 or 1.5 for example. Write --scale 2"),
        (["whole.png", "--scale", "two"], "--scale is two; a number above 0 is needed, 2 or 1.5 for example. Write --scale 2"),
        (["whole.png", "--scale", ""], "--scale is empty; a number above 0 is needed, 2 or 1.5 for example. Write --scale 2"),
        (["whole.png", "--scale", "nan"], "--scale is nan; a number above 0 is needed, 2 or 1.5 for example. Write --scale 2"),
        (["whole.png", "--scale", "1e9"], "the result would be 4000000000 x"),
        (["whole.png", "--scale", "9" * 30], "the result would be 3999"),
        (["whole.png", "--scale", "9" * 100], "the result would be 3999"),
        (["whole.png", "--scale", "9" * 5000], "--scale is a number of 5000 digits, too large for any memory. Write --scale 2"),
        (["--scale", "9" * 5000], "--scale is a number of 5000 digits, too large for any memory. Write --scale 2"),
        (["--scale", "9" * 30], "--scale is 999999999999999999999999999999, and the photograph that is shrunk by it has 300"),
        (["--scale", "999999999", "--kernel", "whole.npy"], "whole.npy has a 4 x 4 kernel and the scale is 999999999; with fewer taps"),
        (["--scale", "301"], "--scale is 301, and the photograph that is shrunk by it has 300 rows. Write --scale 300 at most, or a picture of your own"),
        (["whole.png", "--kernel", "cubic"], "--kernel is 'cubic'; nearest, bilinear, bicubic, lanczos, or a .npy file of weights is needed. Write --kernel bicubic"),
        (["whole.png", "--kernel", "rank5.npy"], "rank5.npy has shape (1, 1, 1, 2, 2); a kernel [kh, kw] or weights [C_in, C_out, kh, kw] are needed. Use an array of such a shape, np.ones((4, 4)) / 4 for example"),
        (["whole.png", "--kernel", "none.npy"], "none.npy has shape (3, 0, 4); a kernel [kh, kw]"),
        (["whole.png", "--kernel", "cut.npy"], "cut.npy is not a whole .npy file"),
        (["whole.png", "--kernel", "words.npy"], "words.npy has <U1 elements; real numbers are needed. Write kernel.astype(np.float32)"),
        (["whole.png", "--kernel", "nan.npy"], "nan.npy has inf or NaN in it; finite weights are needed. Write np.nan_to_num(kernel)"),
        (["whole.png", "--kernel", "whole.npy", "--scale", "5"], "whole.npy has a 4 x 4 kernel and the scale is 5; with fewer taps than the scale, some outputs have no tap. Write --scale 4, or a kernel of at least 5 x 5"),
        (["whole.png", "--kernel", "mix.npy"], "mix.npy has 3 input channels, [C_in, C_out, kh, kw], and the image has 1. Write weights [1, 2, 4, 4], or one [kh, kw] for all channels"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)  # fmt: skip
def test_refusals(run, arguments, message):
    bad_files()
    np.save("nan.npy", [[np.nan, 1], [1, 1]])
    np.save("mix.npy", np.ones((3, 2, 4, 4)))
    before = {path: Path(path).read_bytes() for path in os.listdir()}
    code, out, err = run(*arguments)
    assert err.startswith(f"tconv: {message}")
    assert err.count("\n") == 1
    assert code == 1
    assert "output" not in out
    assert {path: Path(path).read_bytes() for path in os.listdir()} == before


def test_an_output_that_is_not_a_file(run):
    Image.fromarray(noise(4, 4)).save("a.png")
    np.save("b.npy", np.ones((2, 2)))
    os.mkfifo("pipe.png")
    before = sorted(os.listdir())
    for arguments, message in [
        (
            ["a.png", "-o", "pipe.png", "--overwrite"],
            "pipe.png is a device or a pipe; a file is needed. Write -o a_x2.png",
        ),
        (["a.png", "-o", os.devnull], f"{os.devnull} is a device or a pipe; a file is needed. Write -o a_x2.png"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith(f"tconv: {message}")
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("folder", ["folder", "folder.png", "folder/", "new/"])
def test_an_output_that_is_a_folder(run, folder):
    """A folder that is there is one with or without a / at its end."""
    Image.fromarray(noise(4, 4)).save("a.png")
    np.save("b.npy", np.ones((2, 2)))
    os.mkdir("folder")
    os.mkdir("folder.png")
    for source, written in (("a.png", "a_x2.png"), ("b.npy", "b_x2.npy")):
        assert run(source, "-o", folder)[0] == 0
        assert os.path.isfile(os.path.join(folder, written))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "Unknown option: --bogus."),
        (["--scale"], 'Command "upsample" parameter --scale requires an argument.'),
    ],
)
def test_a_command_line_that_is_not_understood(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err == f"tconv: {message} Write tconv --help, or tconv COMMAND --help\n"


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_changed_byte_is_read_or_refused_and_never_crashes(ending):
    rng = np.random.default_rng(0)
    save = np.save if ending == ".npy" else np.savez
    save("a", rng.random((3, 5, 7)))
    whole = Path(f"a{ending}").read_bytes()
    changed = Path(f"b{ending}")
    refused = 0
    for place in [*range(128), *rng.integers(len(whole), size=200)]:
        data = bytearray(whole)
        data[place] ^= int(rng.integers(1, 256))
        changed.write_bytes(data)
        try:
            array_files.read_headers(changed)
            array_files.read_features(changed)
        except tconv.errors.FileError:
            refused += 1
    assert refused > 50


def test_results_larger_than_memory_are_refused_at_once(run):
    """The header is enough: nothing is decoded or allocated."""
    import pyvips

    pyvips.Image.black(30000, 30000).pngsave("a.png", bitdepth=1)
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, 10**6, 10**6), "f4")) | {"shape": (64, 10**6, 10**6)}
    with open("a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    for name, size in [("a.png", "480000 x 480000 with 1 channels"), ("a.npy", "16000000 x 16000000 with 64 channels")]:
        start = time.perf_counter()
        code, out, err = run(name, "--scale", 16)
        assert time.perf_counter() - start < 2
        assert (code, out) == (1, "")
        assert err.startswith(f"tconv: the result would be {size}, about ")
        assert err.endswith(
            ". Use a smaller --scale, cut the input, or work by tiles: -o large.zarr --max-memory 1GB\n"
        )


def test_a_picture_that_breaks_off_leaves_nothing(run):
    Image.fromarray(noise(64, 64, 3)).save("a.jpg")
    Path("a.jpg").write_bytes(Path("a.jpg").read_bytes()[:3000])
    code, _, err = run("a.jpg", "-o", "b.png")
    assert code == 1
    assert err.startswith("tconv: a.jpg is damaged (premature end of JPEG image); a whole file is needed")
    assert os.listdir() == ["a.jpg"]


# -- files that appear whole or not at all -----------------------------------------------------------------------


def test_overwrite_replaces_the_output_only(facts):
    Path("b.png").write_text("old")
    Image.fromarray(noise(4, 4)).save("a.png")
    facts("a.png", "-o", "b.png", "--overwrite")
    assert pixels("b.png").shape == (1, 8, 8)
    assert sorted(os.listdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, SystemExit, RuntimeError])
def test_nothing_is_left_of_a_run_that_ends_while_it_writes(run, monkeypatch, kind):
    def interrupted(file, *_):
        file.write(b"half")
        raise kind(143)

    monkeypatch.setattr(inputs, "write_picture", interrupted)
    Image.fromarray(noise(4, 4)).save("a.png")
    if kind is KeyboardInterrupt:
        assert run("a.png")[0] == 130
    elif kind is MemoryError:
        assert run("a.png")[0] == 1
    else:
        with pytest.raises(kind):
            run("a.png")
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize("method", ["open", "__exit__"])
def test_an_interrupt_before_or_after_the_writing_leaves_nothing(run, monkeypatch, method):
    """A signal may arrive between any two statements: here, just after the file is created, and before it is closed."""
    owner = Path if method == "open" else output_files.NewFile
    usual = getattr(owner, method)

    def interrupted(*args):
        if method == "__exit__" or str(args[0]).endswith(".part"):
            if method == "open":
                usual(*args)
            assert len(os.listdir()) == 2
            raise KeyboardInterrupt
        return usual(*args)

    Image.fromarray(noise(4, 4)).save("a.png")
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, interrupted)
        assert run("a.png")[0] == 130
    gc.collect()
    assert os.listdir() == ["a.png"]


def test_a_name_that_another_program_takes_is_not_overwritten(here):
    new = output_files.NewFile([Path("b.png")]).__enter__()
    new.file.write(b"ours")
    Path("b.png").write_text("theirs")
    with pytest.raises(tconv.errors.FileError, match=r"b\.png exists, and nothing is overwritten"):
        new.__exit__(None, None, None)
    with output_files.NewFile(output_files.numbered("b", ".png")) as new:
        assert new.path == Path("b-2.png")
        new.file.write(b"ours")
        Path("b-2.png").write_text("theirs")
    assert new.path == Path("b-3.png")
    assert {path: Path(path).read_text() for path in sorted(os.listdir())} == {
        "b-2.png": "theirs",
        "b-3.png": "ours",
        "b.png": "theirs",
    }


def test_a_file_system_without_links(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    Path("b.png").write_text("theirs")
    with output_files.NewFile(output_files.numbered("b", ".png")) as new:
        new.file.write(b"ours")
        Path("b-2.png").write_text("theirs")
    assert new.path.read_text() == "ours"
    assert sorted(os.listdir()) == ["b-2.png", "b-3.png", "b.png"]


def test_a_full_disk_is_an_error_and_no_traceback(run, monkeypatch):
    def full(file, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_files, "write_features", full)
    np.save("a.npy", np.ones((2, 2)))
    code, _, err = run("a.npy", "-o", "b.npy")
    assert (code, err) == (
        1,
        "tconv: b.npy cannot be written: No space left on device. Free some space, or write to another disk\n",
    )
    assert os.listdir() == ["a.npy"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a full disk on Linux")
@pytest.mark.parametrize(
    "arguments", [["upsample", "a.npy"], ["upsample", "a.npy", "--json"], ["explain", "--kernel", "3"]]
)
def test_a_full_disk_under_stdout_is_not_the_pictures_fault(arguments):
    np.save("a.npy", np.ones((2, 2)))
    with open("/dev/full", "w") as full:
        done = subprocess.run([*TCONV, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "tconv: standard output cannot be written: No space left on device. Write tconv ... > FILE on another disk\n"
    )
    assert not list(Path().glob(".*"))


def test_a_reader_that_closes_the_pipe_is_no_error():
    np.save("a.npy", np.ones((2, 2)))
    child = subprocess.Popen([*TCONV, "upsample", "a.npy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()
    assert child.wait(60) == 141
    assert child.stderr.read() == ""
    child.stderr.close()
    assert os.listdir() == ["a.npy"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(number, code):
    """A real process, stopped while its hidden file exists."""
    np.save("a.npy", np.zeros((40_000, 16, 7, 7), "f4"))  # seconds of work
    child = subprocess.Popen(
        [*TCONV, "upsample", "a.npy"], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + 20
    while not list(Path().glob(".*.part")) and time.monotonic() < until:
        time.sleep(0.01)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Traceback" not in err
    assert os.listdir() == ["a.npy"]


# -- the command itself ------------------------------------------------------------------------------------------


def test_json_is_one_object_and_nothing_else():
    done = subprocess.run([*TCONV, "upsample", "--json"], capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    assert done.stderr == ""
    rest = ["upsampler", "scale", "input", "output", "check", "seconds"]
    assert list(made) == ["plan", "side_by_side", "psnr", "ssim", "torch", *rest]
    assert (made["upsampler"], made["scale"]) == ("photo", 2)
    layers = made["plan"]["passes"][:-3]
    assert [each["stride"] for each in layers] == [[1, 1]] * 13
    assert [each["method"] for each in layers] == ["simd", *["winograd F(4,3)"] * 12]
    assert [each["stride"] for each in made["plan"]["passes"][-3:]] == [[2, 2], [2, 1], [1, 2]]
    assert set(made["psnr"]) == set(made["ssim"]) == {"photo", "bicubic"}
    assert made["torch"]["version"][0].isdecimal()
    assert min(made["torch"]["here"], made["torch"]["torch"]) > 0
    assert made["output"]["arrays"] == [{"key": "", "shape": [1, 3, 300, 444], "dtype": "uint8"}]
    assert made["output"]["bytes"] == Path(made["output"]["path"]).stat().st_size


@pytest.mark.skipif(os.name != "posix", reason="terminals are imitated by pty")
def test_a_terminal_shows_a_bar_and_removes_it():
    import pty

    np.save("a.npy", np.zeros((8, 300, 300), "f4"))
    outer, inner = pty.openpty()
    done = subprocess.run([*TCONV, "upsample", "a.npy"], stderr=inner, stdout=subprocess.PIPE, text=True, check=True)
    os.close(inner)
    seen = os.read(outer, 10**6).decode()
    os.close(outer)
    assert "upsampling" in seen
    assert seen.endswith("\x1b[1A\x1b[2K")  # the bar's line, cleared
    assert "\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have text names only")
def test_a_name_that_is_not_text(run):
    Image.fromarray(noise(4, 4)).save("a.png")
    os.rename("a.png", b"\xff.png")
    code, out, err = run(os.fsdecode(b"\xff.png"))
    assert (code, err) == (0, "")
    assert "\\udcff.png: 4 x 4" in out
    assert b"\xff_x2.png" in os.listdir(b".")


def test_a_name_that_is_too_long(run):
    Image.fromarray(noise(4, 4)).save("a.png")
    for arguments in (
        ["a.png", "-o", "b" * 300 + ".png"],
        ["b" * 300 + ".png"],
        ["a.png", "--kernel", "b" * 300 + ".npy"],
    ):
        code, _, err = run(*arguments)
        assert code == 1
        assert "File name too long" in err


def test_no_command_loads_what_it_does_not_need():
    code = (
        "import sys; from tconv.cli import main; main(['--help']); main(['--version']);"
        "assert not {'pyvips', 'torch', 'tensorflow', 'jax', 'tconv.cli.upsample', 'tconv.cli.explain'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in ("upsample", "explain", "env", tconv.__version__))


def test_help_explains_every_option(capsys):
    assert main(["upsample", "--help"]) == 0
    out = capsys.readouterr().out
    assert "tconv upsample photo.jpg --scale 3 -o large.png" in out
    assert all(
        word in out
        for word in (
            "INPUT",
            "--output -o",
            "--scale",
            "--width",
            "--height",
            "--no-check",
            "--model",
            "--kernel",
            "--weights",
            "--overwrite",
            "--json",
        )
    )


def test_without_cyclopts_one_line_says_what_to_install():
    code = "import sys; sys.modules['cyclopts'] = None; from tconv.cli import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == 'tconv: the command line needs cyclopts, which is not installed. Write: pip install "tconv[cli]"\n'
    )


def test_an_error_shows_its_traceback_when_asked(monkeypatch):
    monkeypatch.setenv("TCONV_DEBUG", "1")
    with pytest.raises(tconv.errors.FileError):
        main(["upsample", "none.png"])
