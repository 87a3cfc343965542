"""Pixels without data in TIFF files: they stay so, and leave their neighbours' results finite and near."""

import numpy as np
import pytest
import tifffile

import tconv
from tconv.io.tiff_reading import nodata_value
from tconv.upsampling.missing_data import MissingData, _fill

pytest.importorskip("pyvips")

METHODS = [
    {"kernel": "nearest"},
    {"kernel": "bilinear"},
    {"kernel": "bicubic"},
    {"kernel": "lanczos"},
    {"model": "photo"},
]
METHODS += [{"kernel": np.full((6, 6), 1 / 9)}]


def write(path, pixels, nodata=None, **options):
    tags = [] if nodata is None else [(42113, 2, len(nodata) + 1, nodata, True)]
    if pixels.ndim == 3:
        options = {"planarconfig": "contig", "extrasamples": ["unspecified"] * (pixels.shape[2] - 1), **options}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, extratags=tags, **options)
    return path


def upscaled(mask, scale):
    return mask.repeat(scale, 0).repeat(scale, 1)


def hole(shape, seed):
    """Return a mask with single pixels, a block and a border region."""
    mask = np.random.default_rng(seed).random(shape) < 0.06
    mask[5:12, 8:17] = mask[:, :3] = mask[-2:, 4:9] = True
    return mask


@pytest.mark.parametrize("options", METHODS, ids=str)
@pytest.mark.parametrize(("dtype", "value", "text"), [("f4", np.nan, None), ("f4", np.nan, "nan"), ("f8", -9999, "-9999"), ("f4", -3.4028234663852886e38, "-3.4028234663852886e+38"), ("i2", -32768, "-32768"), ("u1", 0, "0"), ("u2", 65535, "65535.0")])  # fmt: skip
def test_missing_pixels_stay_missing_and_others_get_numbers(tmp_path, options, dtype, value, text):
    rng = np.random.default_rng(3)
    pixels = (100 + 100 * rng.random((30, 26)) if dtype not in ("f4", "f8") else rng.random((30, 26))).astype(dtype)
    mask = hole(pixels.shape, 1)
    whole, holed = pixels.copy(), np.where(mask, np.dtype(dtype).type(value), pixels)
    large = tconv.upsample(write(tmp_path / "a.tif", holed, text), 2, **options)[:, :, 0]
    missing = np.isnan(large) if np.isnan(value) else large == np.dtype(dtype).type(value)
    np.testing.assert_array_equal(missing, upscaled(mask, 2))
    low, high = whole[~mask].min(), whole[~mask].max()
    span = float(high - low)
    assert (large[~missing] >= low - span).all()
    assert (large[~missing] <= high + span).all()


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_outputs_that_read_no_missing_pixel_have_the_same_bits(tmp_path, options):
    pixels = np.random.default_rng(4).random((80, 90), np.float32)
    holed = pixels.copy()
    holed[40, 45], holed[41, 45] = np.nan, -9999
    large = tconv.upsample(write(tmp_path / "a.tif", holed, "-9999"), 2, **options)
    plain = tconv.upsample(write(tmp_path / "b.tif", pixels), 2, **options)
    far = np.ones(plain.shape[:2], bool)
    far[2 * 18 : 2 * 64, 2 * 23 : 2 * 68] = False  # the network reads 19 pixels on each side, and rows in groups
    if "model" in options:  # its groups of rows round together
        np.testing.assert_allclose(large[far], plain[far], atol=2e-6)
    else:
        np.testing.assert_array_equal(large[far], plain[far])
    assert not np.array_equal(large, plain)
    assert np.isnan(large[80:82, 90:92, 0]).all()
    assert (large[82:84, 90:92, 0] == -9999).all()


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_level_image_stays_level_beside_missing_data(tmp_path, kernel):
    mask = hole((40, 33), 5)
    pixels = np.where(mask, np.nan, np.float32(0.7))
    large = tconv.upsample(write(tmp_path / "a.tif", pixels.astype("f4")), 3, kernel=kernel)[:, :, 0]
    np.testing.assert_array_equal(np.isnan(large), upscaled(mask, 3))
    np.testing.assert_allclose(large[~np.isnan(large)], 0.7, rtol=3e-6)


def test_bands_have_missing_data_of_their_own(tmp_path):
    pixels = np.random.default_rng(6).random((20, 22, 4), np.float32)
    for band in (0, 2):
        pixels[..., band][hole((20, 22), band)] = np.nan
    large = tconv.upsample(write(tmp_path / "a.tif", pixels), 2, kernel="bicubic")
    for band in range(4):
        own = tconv.upsample(write(tmp_path / "b.tif", pixels[..., band].copy()), 2, kernel="bicubic")
        np.testing.assert_array_equal(large[..., band], own[..., 0])


def test_a_kernel_across_bands_has_data_where_all_bands_have(tmp_path):
    pixels = np.random.default_rng(6).random((20, 22, 2), np.float32)
    holes = [hole((20, 22), band) for band in (0, 1)]
    for band, mask in enumerate(holes):
        pixels[..., band][mask] = np.nan
    for out in (2, 3):
        large = tconv.upsample(write(tmp_path / "a.tif", pixels), 2, kernel=np.ones((2, out, 4, 4)) / 8)
        expected = np.broadcast_to(upscaled(holes[0] | holes[1], 2)[..., None], large.shape)
        np.testing.assert_array_equal(np.isnan(large), expected)


def test_a_result_that_is_the_no_data_value_by_chance(tmp_path):
    """Between -1 and 1 a filter finds 0, and 0 would be no data: the next number is written."""
    pixels = np.array([[-8, 8, 8, 0], [-8, 8, 8, 8]], "i2")
    large = tconv.upsample(write(tmp_path / "a.tif", pixels, "0"), 2, kernel=np.ones((4, 4)) / 16)[:, :, 0]
    expected = tconv.upsample(np.where(pixels == 0, 8, pixels).astype("i2"), 2, kernel=np.ones((4, 4)) / 16)
    assert (expected == 0).any()
    expected = np.where(expected == 0, 1, expected)
    expected[:2, 6:] = 0
    np.testing.assert_array_equal(large, expected)


def test_the_value_is_written_and_reported(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).random((12, 14), np.float32)
    pixels[2:4, 5], pixels[0, 0] = -9999, np.nan
    write("a.tif", pixels, "-9999")
    code, out, _ = run("a.tif", "--kernel", "bilinear", "-o", "b.tif")
    assert code == 0
    assert "pixels of the no-data value -9999 stay so" in out
    assert "3 pixels without data in the input, which stay so" in out
    with tifffile.TiffFile("b.tif") as file:
        assert file.pages[0].tags[42113].value == "-9999"
        assert (file.asarray() == -9999).sum() == 8
    write("c.tif", np.where(np.isnan(pixels), 0, 0.5).astype("f4"), "-1")
    assert "without data" not in run("c.tif", "--kernel", "bilinear", "-o", "d.tif")[1]
    code, out, _ = run("a.tif", "--kernel", "bilinear", "-o", "e.png")
    assert code == 1  # floats
    write("f.tif", np.arange(100, 268, dtype="u2").reshape(12, 14), "8")
    assert "not kept: no-data value" in run("f.tif", "--kernel", "bilinear", "-o", "g.png")[1]


def test_arrays_and_feature_maps_have_no_missing_data(tmp_path):
    """There NaN is a number of a feature map, and spreads to every output that reads it."""
    pixels = np.random.default_rng(0).random((12, 14), np.float32)
    pixels[5, 6] = np.nan
    assert np.isnan(tconv.upsample(pixels, 2, kernel="bicubic")).sum() > 4
    np.save(tmp_path / "a.npy", pixels)
    assert np.isnan(tconv.upsample(tmp_path / "a.npy", 2)).sum() > 4


def test_opacity_is_never_missing(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (9, 8, 2), np.uint8)
    pixels[3, 3, 1], pixels[5, 5, 0] = 0, 0
    path = tmp_path / "a.tif"
    write(path, pixels, "0", extrasamples=["unassalpha"])
    large = tconv.upsample(path, 2, kernel="nearest")
    assert (large[6:8, 6:8, 1] == 0).all()
    assert (large[10:12, 10:12, 0] == 0).all()


def test_an_image_without_any_data(tmp_path):
    large = tconv.upsample(write(tmp_path / "a.tif", np.full((6, 7), np.nan, np.float32)), 2)
    assert large.shape == (12, 14, 1)
    assert np.isnan(large).all()


def test_filling_goes_out_in_rings_of_means():
    channel = np.array([[1, 0, 0, 0, 5], [3, 0, 0, 0, 5]], float)
    missing = np.array([[0, 1, 1, 1, 0], [0, 1, 1, 1, 0]], bool)
    _fill(channel, missing, 2)
    np.testing.assert_array_equal(channel, [[1, 2, 3.5, 5, 5], [3, 2, 3.5, 5, 5]])
    channel = np.zeros((1, 9))
    channel[0, 0] = 4
    _fill(channel, np.arange(9)[None] > 0, 3)
    np.testing.assert_array_equal(channel, [[4, 4, 4, 4, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("-9999", "i2", -9999),
        ("-9999", "u1", None),
        ("0.5", "u1", None),
        ("255.0", "u1", 255),
        ("inf", "f4", np.inf),
        ("18446744073709551615", "u8", 2**64 - 1),
        ("1e400", "u1", None),
        ("nan", "i2", None),
    ],
)
def test_no_data_values_of_a_type(text, dtype, value):
    assert nodata_value(text, np.dtype(dtype)) == value


def test_the_no_data_value_of_a_float32_is_rounded_to_it(tmp_path):
    assert nodata_value("0.1", np.dtype("f4")) == np.float32(0.1)
    image = np.full((1, 2, 2), 0.1, "f4")
    assert MissingData(image, nodata_value("0.1", image.dtype), False).count == 4
