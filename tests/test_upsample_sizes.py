"""Results of any size: scales that are not whole, widths and heights; and checks that take no longer than the work."""

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import tconv
from tconv.models import Convolution, Model, Network, Node
from tconv.upsampling import definition_check, resizing
from tconv.upsampling.definition_check import Budget, Check
from tconv.upsampling.resampling import AxisResampler
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.strips import enlarge
from tconv.upsampling.target_size import TargetSize
from tconv.upsampling.upsampler_selection import Selection
from tconv.weights.interpolation import FILTERS, Interpolation

OWN = np.ones((4, 4)) / 4
PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(*shape, dtype="u1", seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def resampled(x, size, kernel):
    """Return x [H, W, ...] resampled by Pillow's float32 images, plane by plane."""
    planes = np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0).astype("f4")
    made = [np.asarray(Image.fromarray(plane, "F").resize(size[::-1], PILLOW[kernel])) for plane in planes]
    return np.moveaxis(np.array(made), 0, 2).reshape(*size, *x.shape[2:])


# -- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "size", "expected"),
    [
        (TargetSize(Fraction(3, 2)), (60, 101), (90, 152)),  # halves up
        (TargetSize(Fraction(4, 3)), (75, 30), (100, 40)),
        (TargetSize(Fraction(1, 10)), (3, 40), (1, 4)),  # at least one pixel
        (TargetSize(width=1920), (600, 800), (1440, 1920)),
        (TargetSize(height=50), (200, 333), (50, 83)),
        (TargetSize(width=7, height=9), (100, 100), (9, 7)),
    ],
    ids=str,
)
def test_sizes(target, size, expected):
    assert target.of(*size) == expected


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"scale": 1.5}, (60, 92, 3)),
        ({"scale": np.float64(1.5)}, (60, 92, 3)),
        ({"scale": Fraction(4, 3)}, (53, 81, 3)),
        ({"scale": 0.1}, (4, 6, 3)),
        ({"width": 100}, (66, 100, 3)),
        ({"height": np.int64(100)}, (100, 153, 3)),
        ({"width": 122}, (80, 122, 3)),
        ({"width": 30, "height": 90}, (90, 30, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", [{}, {"kernel": "lanczos"}, {"kernel": OWN}], ids=["", "filter", "own"])
def test_results_have_the_size_that_was_asked_for(options, shape, method):
    x = noise(40, 61, 3)
    assert tconv.upsample(x, **options, **method).shape == shape
    if method.get("kernel") is not OWN:
        constant = tconv.upsample(np.full(x.shape, 200, "u1"), **options, **method)
        assert np.abs(constant.astype(int) - 200).max() <= 1


# -- filters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize("size", [(60, 92), (7, 100), (100, 9), (3, 2), (41, 60)], ids=str)
@pytest.mark.parametrize("shape", [(40, 61), (40, 61, 3), (40, 61, 7)], ids=str)
def test_filters_are_pillows_for_any_channels(kernel, size, shape):
    """Shrunk, too: the filter is then wider, so that nothing aliases."""
    x = np.random.default_rng(0).normal(0, 1, shape).astype("f4")
    y = tconv.upsample(x, width=size[1], height=size[0], kernel=kernel, alpha=False)
    np.testing.assert_allclose(y, resampled(x, size, kernel), atol=2e-5)


def test_nearest_repeats_pixels_and_takes_means():
    x = noise(5, 7)
    larger = tconv.upsample(x, width=11, height=9, kernel="nearest")
    np.testing.assert_array_equal(larger, np.asarray(Image.fromarray(x).resize((11, 9), Image.Resampling.NEAREST)))
    y = np.arange(24, dtype="f8").reshape(4, 6)
    smaller = tconv.upsample(y, 0.5, kernel="nearest")
    np.testing.assert_allclose(smaller, y.reshape(2, 2, 3, 2).mean((1, 3)))


@pytest.mark.parametrize("kernel", FILTERS)
@pytest.mark.parametrize("scale", [1, 2, 3, 5])
def test_whole_scales_are_the_interpolation(kernel, scale):
    rng, filtered = np.random.default_rng(0), Interpolation(kernel, scale)
    for x, size, expected in [
        (small := rng.normal(size=(9, 11)), (9 * scale, 11 * scale), filtered.upsample(small)),
        (large := rng.normal(size=(9 * scale, 11 * scale)), (9, 11), filtered.downsample(large)),
    ]:
        y = x
        for axis in (0, 1):
            y = AxisResampler(kernel, x.shape[axis], size[axis]).resample(y, axis, 0, slice(0, size[axis]))
        np.testing.assert_allclose(y, expected, atol=1e-13)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", "i4", "u2", "i1", "?"])
def test_feature_maps_of_every_dtype(dtype):
    """One rule for all: the numbers are those of float64, rounded."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 50, (2, 5, 12, 15)) + (1j * rng.normal(0, 50, (2, 5, 12, 15)) if dtype[0] == "c" else 0)
    x = np.abs(x).astype(dtype) if dtype == "u2" else x.astype(dtype)
    np.save("a.npy", x)
    y = tconv.upsample("a.npy", 1.4)
    assert (y.shape, y.dtype) == ((2, 5, 17, 21), np.dtype(dtype))
    wide = x.astype("c16" if dtype[0] == "c" else "f8")
    for axis, size in ((2, 17), (3, 21)):
        wide = AxisResampler("bicubic", wide.shape[axis], size).resample(wide, axis, 0, slice(0, size))
    if y.dtype.kind in "biu":
        low, high = (0, 1) if y.dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        assert np.abs(y.astype("f8") - np.clip(wide, low, high)).max() <= 0.5 + 1e-4
    else:
        np.testing.assert_allclose(y, wide, rtol=1e-3 if dtype == "f2" else 1e-5, atol=0.2 if dtype == "f2" else 1e-4)


def test_infinite_neighbours_that_no_tap_reaches_do_not_count():
    x = np.ones((12, 12), "f4")
    x[6, 6] = np.inf
    y = tconv.upsample(x, 1.5, kernel="bilinear")
    assert np.isfinite(y[:7]).all()
    assert not np.isfinite(y[8:11, 8:11]).all()
    np.testing.assert_array_equal(
        np.isfinite(y), np.isfinite(tconv.upsample(np.where(x == 1, 1, np.nan), 1.5, kernel="bilinear"))
    )


# -- networks ----------------------------------------------------------------------------------------------------


def plain_network(scale, channels=1, layers=1, features=4, seed=0):
    """Return a network whose layers have random weights; its output is the whole picture."""
    rng = np.random.default_rng(seed)
    nodes = []
    for n in range(layers):
        into = features if n else channels
        weight = (rng.normal(0, 1, (features, into, 3, 3)) / np.sqrt(9 * into)).astype("f4")
        nodes.append(Node(Convolution.ordinary(weight, None, 1, activation="relu"), (n,)))
    last = (rng.normal(0, 0.3, (features, channels, scale, scale))).astype("f4")
    nodes.append(Node(Convolution(last, tconv.Geometry((scale, scale), scale)), (layers,)))
    return Model.of(Network(nodes), "mine")


@pytest.mark.parametrize(("scale", "own"), [(1.5, 2), (1.1, 3), (2.5, 2), (3, 2), (3.5, 4), (Fraction(9, 2), 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_runs_once_and_its_output_is_resampled(scale, own, channels):
    model = plain_network(own, channels)
    x = np.random.default_rng(1).random((20, 31, 3) if channels == 3 else (20, 31), np.float32)
    size = TargetSize(Fraction(scale)).of(20, 31)
    larger = tconv.upsample(x, weights=model)
    expected = resampled(larger, size, "bicubic")
    np.testing.assert_allclose(tconv.upsample(x, scale, weights=model), expected, atol=1e-5 * np.abs(expected).max())


def test_photographs_take_the_network_of_the_next_scale():
    x = noise(30, 40, 3)
    for options, whole in [({"scale": 1.7}, 2), ({"scale": 2.2}, 3), ({"width": 130}, 4), ({"scale": 4.5}, 5)]:
        y = tconv.upsample(x, **options)
        larger = tconv.upsample(x.astype("f4") / 255, whole)
        expected = resampled(larger, y.shape[:2], "bicubic") * 255
        assert np.abs(y - np.clip(expected, 0, 255)).max() <= 0.51


def test_opacity_is_resampled_and_colours_count_by_it():
    x = np.zeros((8, 8, 4), np.uint8)
    x[:, :4], x[:, 4:] = (0, 255, 0, 0), (200, 40, 10, 255)  # transparent green beside opaque red
    for kernel in ("bilinear", None):
        y = tconv.upsample(x, 1.6, kernel=kernel)
        assert y.shape == (13, 13, 4)
        clear = y[..., 3] == 255
        assert clear.any()
        if kernel:
            assert (y[y[..., 3] > 0][:, :3] == (200, 40, 10)).all()
        assert (y[y[..., 3] == 0][:, :3] == 0).all()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "lanczos", "target": TargetSize(Fraction(13, 10))},
        {"kernel": "bicubic", "target": TargetSize(Fraction(3, 10))},
        {"kernel": np.random.default_rng(3).normal(0, 0.2, (5, 4)), "target": TargetSize(Fraction(3, 2))},
        {"model": "photo", "target": TargetSize(Fraction(3, 2))},
        {"model": "photo", "target": TargetSize(width=101)},
        {"weights": plain_network(2), "target": TargetSize(Fraction(5, 2))},
    ],
    ids=lambda options: " ".join(options),
)
def test_the_result_does_not_depend_on_strips(monkeypatch, options, alpha):
    x = noise(4 if alpha else 3, 50, 37)
    values = StoredValues(x.dtype, alpha)

    def enlarged(strip_bytes):
        upsampler = Selection(**options).for_pictures().fitted(50, 37)
        assert isinstance(upsampler, resizing.Resized)
        upsampler.strip_bytes = strip_bytes
        out = np.empty((len(x), *upsampler.output_size(50, 37)), "u1")
        check = Check(x, upsampler, values, 1)
        enlarge(x, upsampler, values, out, check)
        assert check.compare(out).outputs > 0  # the definition agrees at all places
        return out

    whole = enlarged(1 << 30)
    for strip_bytes in (1, 5000, 20_000):
        np.testing.assert_array_equal(enlarged(strip_bytes), whole)


@pytest.mark.parametrize(
    "options", [{"kernel": "bicubic"}, {"model": "photo"}, {"kernel": np.ones((4, 4)) / 4}], ids=str
)
def test_a_wrong_number_fails_the_check(monkeypatch, options):
    honest = AxisResampler.resample

    def spoiled(self, *given):
        return honest(self, *given) * np.float32(1.01)

    monkeypatch.setattr(AxisResampler, "resample", spoiled)
    with pytest.raises(tconv.errors.CheckError):
        tconv.upsample(noise(20, 30, 3), 1.5, **options)


MEASURED = """
import sys
from fractions import Fraction
import numpy as np
from tconv.upsampling.strips import enlarge, predicted_bytes
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.target_size import TargetSize
from tconv.upsampling.upsampler_selection import Selection

def run(height, width):
    x = np.random.default_rng(0).integers(0, 256, (channels, height, width), "u1")
    values = StoredValues(x.dtype, channels == 4)
    upsampler = selection.for_pictures().fitted(height, width)
    out = np.empty((channels, *upsampler.output_size(height, width)), "u1")
    enlarge(x, upsampler, values, out, None)
    return predicted_bytes((1, *x.shape), upsampler, values)

def peak():  # ru_maxrss would know the parent's
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

scale, kind, channels, height, width = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
options = {"model": "photo"} if kind == "photo" else {"kernel": kind}
selection = Selection(TargetSize(Fraction(scale)), **options)
run(20, 20)
before = peak()
predicted = run(height, width)
print(peak() - before, predicted)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize(
    "words",
    ["3/2 photo 3 700 1000", "3/2 photo 4 700 1000", "13/10 lanczos 3 1500 2200", "1/20 bicubic 3 3000 4000"],
)
def test_the_memory_of_a_run_is_predicted(python, words):
    peak, predicted = map(int, python(MEASURED, *words.split()).split())
    assert 0.3 * predicted < peak <= predicted + 20_000_000


# -- the command -------------------------------------------------------------------------------------------------


def test_numbers_are_read_as_they_are_typed_beside_pydantic(run):
    """The library of the command line checks options by Pydantic once anything has imported that."""
    pytest.importorskip("pydantic")
    Image.fromarray(noise(40, 60, 3)).save("a.png")
    code, out, err = run("a.png", "--scale", "4/3", "--threads", "1")
    assert (code, err) == (0, ""), err
    assert out.startswith("upsample  1.33333 times"), out


def test_the_command_takes_scales_widths_and_heights(run):
    Image.fromarray(noise(40, 60, 3)).save("a.png", dpi=(300, 300))
    for words, name, size, text in [
        (["--scale", "1.5"], "a_x1.5.png", (90, 60), r"1.5 times, to 90 x 60, by photo x2 (a network"),
        (["--scale", "4/3"], "a_x1.33333.png", (80, 53), "1.33333 times, to 80 x 53, by photo x2"),
        (["--width", "150"], "a_150x100.png", (150, 100), "to 150 x 100 by photo x3"),
        (["--height", "20"], "a_30x20.png", (30, 20), "to 30 x 20 by bicubic"),
        (["--width", "9", "--height", "90", "--kernel", "lanczos"], "a_9x90.png", (9, 90), "to 9 x 90 by lanczos"),
        (["--width", "120"], "a_120x80.png", (120, 80), "2 times by photo x2"),
    ]:
        code, out, err = run("a.png", *words)
        assert (code, err) == (0, ""), err
        assert out.startswith(f"upsample  {text}"), out
        made = Image.open(name)
        assert made.size == size
        assert made.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert f"output    {name}: {size[0]} x {size[1]}, PNG" in out
    facts = json.loads(run("a.png", "--scale", "1.5", "--json", "-o", "b.png")[1])
    assert facts["scale"] == 1.5
    assert facts["output"]["arrays"][0]["shape"] == [1, 3, 60, 90]


@pytest.mark.parametrize("option", ["width", "height", "scale"])
def test_a_result_that_is_too_large_names_the_option(run, option):
    Image.fromarray(noise(4, 4)).save("a.png")
    code, out, err = run("a.png", f"--{option}", "123456789.5" if option == "scale" else "12345678901")
    assert (code, out) == (1, "")
    assert err.endswith(f"Use a smaller --{option}, cut the input, or work by tiles: -o large.zarr --max-memory 1GB\n")


def test_a_folder_to_one_width(run):
    """Pictures that are larger already are made smaller, by a filter."""
    for n, size in enumerate([(40, 60), (30, 100), (200, 300)]):
        Image.fromarray(noise(*size, 3, seed=n)).save(f"{n}.png")
    np.save("maps.npy", np.ones((2, 5, 10), "f4"))
    code, out, err = run("0.png", "1.png", "2.png", "maps.npy", "-o", "large/", "--width", "120")
    assert (code, err) == (0, ""), err
    assert "upsample  120 pixels wide by photo" in out
    assert [Image.open(f"large/{name}.png").size for name in ("0_120x80", "1_120x36", "2_120x80")] == [
        (120, 80),
        (120, 36),
        (120, 80),
    ]
    assert np.load("large/maps_120x60.npy").shape == (2, 60, 120)
    names = [path.name for path in tconv.upsample(["0.png", "2.png"], scale=1.25, output="more/")]
    assert names == ["0_x1.25.png", "2_x1.25.png"]


# -- the time of the check ---------------------------------------------------------------------------------------


class Clock:
    """Clock by which the work takes `work` seconds, and every part of a check `part`."""

    def __init__(self, work, part):
        self.work, self.part, self.now = work, part, 0.0

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize(("part", "squares"), [(0.01, None), (0.3, 3), (0.6, 1), (5, 1)])
def test_the_check_takes_no_longer_than_the_work(monkeypatch, part, squares):
    """With a second of work; at least one square is always compared."""
    clock = Clock(1.0, part)
    honest_enlarge, honest_compare = enlarge, Check._compare_places

    def slow_enlarge(*given):
        honest_enlarge(*given)
        clock.now += clock.work

    def slow_compare(self, *given):
        clock.now += clock.part
        return honest_compare(self, *given)

    monkeypatch.setattr("tconv.upsampling.run.time", clock)
    monkeypatch.setattr(definition_check, "time", clock)
    monkeypatch.setattr("tconv.upsampling.run.enlarge", slow_enlarge)
    monkeypatch.setattr(Check, "_compare_places", slow_compare)
    from tconv.upsampling.inputs import ArrayInput
    from tconv.upsampling.run import Run

    run = Run(ArrayInput(noise(1, 96, 96), False, False), Selection(2).for_pictures())
    _, check = run.execute()
    assert check.wanted == 8 * 576
    assert check.outputs == (check.wanted if squares is None else squares * 576)
    assert clock.now <= max(2.0, 1 + part) + 1e-9


def test_a_budget_is_shared():
    budget = Budget()
    assert budget.allows_another()
    budget.spend(2)
    budget.seconds += 3  # of the next image
    assert not budget.allows_another()
    budget.seconds += 1
    assert budget.allows_another()


def test_each_file_of_a_batch_is_checked(run, monkeypatch):
    """Also where the checks of the first files have used up the time."""
    monkeypatch.setattr(Budget, "allows_another", lambda self: False)
    for n in range(4):
        Image.fromarray(noise(5, 6, 3, seed=n)).save(f"{n}.png")
    np.save("maps.npy", np.ones((2, 5, 10), "f4"))
    code, out, _ = run("0.png", "1.png", "2.png", "3.png", "maps.npy", "-o", "large/", "--json")
    assert code == 0
    assert all(file["check"]["outputs"] > 0 for file in json.loads(out)["files"])


def test_a_large_network_is_checked_in_about_the_time_of_its_work():
    """Of 24 squares that would take far longer, some are compared: seen by the number, not by a clock."""
    model = plain_network(2, 1, 12, 48)
    x = np.random.default_rng(0).random((1, 150, 150), np.float32)
    from tconv.upsampling.inputs import ArrayInput
    from tconv.upsampling.run import Run

    run = Run(ArrayInput(x, False, False), Selection(weights=model).for_pictures())
    _, check = run.execute()
    assert 0 < check.outputs < check.wanted
    assert check.difference <= check.tolerance


def test_without_a_check(run, monkeypatch):
    def fail(*given):
        raise AssertionError("it was checked")

    monkeypatch.setattr(Check, "__init__", fail)
    Image.fromarray(noise(10, 12, 3)).save("a.png")
    code, out, _ = run("a.png", "--no-check")
    assert code == 0
    assert "check     nothing was checked (--no-check)\n" in out
    assert json.loads(run("a.png", "--no-check", "--json")[1])["check"] is None
    code, out, _ = run("a.png", "a.png", "-o", "large/", "--no-check")
    assert "check     nothing was checked (--no-check)\n" in out
    x = noise(10, 12, 3)
    for options in ({}, {"kernel": "bicubic"}, {"scale": 1.5}):
        assert tconv.upsample(x, check=False, **options).dtype == np.uint8
    assert [y.shape for y in tconv.upsample([x, x], check=False)] == [(20, 24, 3)] * 2
    assert tconv.upsample(["a.png"], output="more/", check=False)[0].name == "a_x2.png"
