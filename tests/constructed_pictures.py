"""Picture files of the kinds that users have, made larger by the command: bands, tags, numbers, sizes.

Each case writes a small file with tifffile or Pillow, runs `tconv upsample` on it, and reads the result with them.
"""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

import tconv
from constructed_cases import case, rng_of
from tconv import cli


def command(*arguments):
    """Run the command line in this process; return its exit code and all that it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = cli.main([str(argument) for argument in arguments])
    return code, out.getvalue()


def upsampled(path, folder, *options, output="out.tif"):
    """Return the path of the larger picture and all that the command printed; it must succeed."""
    code, text = command("upsample", path, "-o", folder / output, *options)
    assert code == 0, text
    return folder / output, text.replace(str(folder), "")  # whose name may contain any word


def rows(path):
    """Return the samples of a TIFF as [H, W, C]."""
    values = tifffile.imread(path)
    page = tifffile.TiffFile(path).pages[0]
    if values.ndim == 3 and page.planarconfig == 2:
        values = np.moveaxis(values, 0, -1)
    return values.reshape(*values.shape[:2], -1)


def own(values, scale=2, kernel="bicubic"):
    """Return each band [H, W] of [H, W, C] made larger alone."""
    bands = [tconv.upsample(np.ascontiguousarray(values[..., c]), scale, kernel=kernel) for c in range(values.shape[2])]
    return np.stack(bands, -1)


def check_bands(path, values, folder, *options, kernel="bicubic", scale=2):
    """Check that each band of the larger picture is the band made larger alone, and that none became opacity."""
    large, text = upsampled(path, folder, "--kernel", kernel, "--scale", scale, *options)
    got, expected = rows(large), own(values, scale, kernel)
    assert got.shape == expected.shape
    assert got.dtype == values.dtype
    limit = 1 if values.dtype.kind in "iu" else 1e-5 * np.abs(expected).max()
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max((0, 1))
    assert (difference <= limit).all(), f"bands differ by {difference}\n{text}"
    return large, text


def extra_samples(path):
    return tuple(int(v) for v in tifffile.TiffFile(path).pages[0].extrasamples)


# -- bands ------------------------------------------------------------------------------------------------------------


def tile(rng, shape, dtype, low=0, high=10_000):
    values = rng.uniform(low, high, shape)
    return values.astype(dtype)


@case("bands")
def red_green_blue_and_near_infrared(rng, folder):
    values = tile(rng, (13, 11, 4), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    large, _ = check_bands(folder / "a.tif", values, folder)
    assert extra_samples(large) in ((0,), (0, 0, 0)), extra_samples(large)


@case("bands")
def four_bands_of_floats(rng, folder):
    values = tile(rng, (9, 14, 4), np.float32, -1, 3)
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    check_bands(folder / "a.tif", values, folder)


@case("bands")
def four_grey_bands_each_in_a_plane(rng, folder):
    values = tile(rng, (9, 14, 4), np.uint16)
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    tifffile.imwrite(folder / "a.tif", planes, photometric="minisblack", planarconfig="separate")
    check_bands(folder / "a.tif", values, folder)


@case("bands")
def two_bands_of_a_radar(rng, folder):
    values = tile(rng, (15, 12, 2), np.float32, 0, 0.3)
    tifffile.imwrite(
        folder / "a.tif", values, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"]
    )
    large, _ = check_bands(folder / "a.tif", values, folder, kernel="bilinear")
    assert 0 <= rows(large).min() <= rows(large).max() <= 0.3


@case("bands")
def two_bands_of_bytes(rng, folder):
    values = tile(rng, (15, 12, 2), np.uint8, 0, 255)
    tifffile.imwrite(
        folder / "a.tif", values, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"]
    )
    check_bands(folder / "a.tif", values, folder, kernel="lanczos", scale=3)


@case("bands")
def four_bands_without_extra_samples(rng, folder):
    """Some writers leave the tag out: it is unknown what the fourth band is, but not that it is opacity."""
    values = tile(rng, (9, 14, 4), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", planarconfig="contig", metadata=None)
    check_bands(folder / "a.tif", values, folder)


@case("bands")
def eight_bands(rng, folder):
    values = tile(rng, (9, 14, 8), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", planarconfig="contig")
    check_bands(folder / "a.tif", values, folder)


@case("bands")
def near_infrared_and_opacity(rng, folder):
    """Five samples, of which the last is opacity, 100 % everywhere."""
    values = tile(rng, (9, 14, 5), np.uint8, 0, 255)
    values[..., 4] = 255
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    check_bands(folder / "a.tif", values, folder)


@case("bands")
def a_mask_of_zeros_in_the_fourth_band(rng, folder):
    """Colours where the fourth band is 0 stay what they are."""
    values = tile(rng, (12, 12, 4), np.uint8, 20, 255)
    values[:6, :, 3] = 0
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    check_bands(folder / "a.tif", values, folder, kernel="nearest")


@case("bands")
def bands_with_the_default_upsampler(rng, folder):
    """Whatever enlarges them, red, green and blue do not depend on the fourth band."""
    values = tile(rng, (16, 16, 4), np.uint8, 0, 255)
    other = values.copy()
    other[..., 3] = rng_of(3).integers(0, 256, (16, 16))
    results = []
    for name, each in (("a", values), ("b", other)):
        tifffile.imwrite(folder / f"{name}.tif", each, photometric="rgb", extrasamples=["unspecified"])
        large, _ = upsampled(folder / f"{name}.tif", folder, output=f"{name}_large.tif")
        results.append(rows(large))
    np.testing.assert_array_equal(results[0][..., :3], results[1][..., :3])
    assert (results[0][..., 3] != results[1][..., 3]).any()


@case("bands")
def opacity_is_still_opacity(rng, folder):
    """Invisible red does not bleed into visible green, for straight alpha."""
    values = np.zeros((12, 12, 4), np.uint8)
    values[:, :6] = 255, 0, 0, 0
    values[:, 6:] = 0, 100, 0, 255
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    large, _ = upsampled(folder / "a.tif", folder, "--kernel", "bicubic")
    got = rows(large)
    visible = got[..., 3] > 64
    assert visible.any()
    assert np.abs(got[visible][:, :3].astype(int) - [0, 100, 0]).max() <= 2
    assert extra_samples(large)[-1] in (1, 2)


@case("bands")
def the_command_line_and_the_array_agree(rng, folder):
    """A four-band picture is what the same numbers are in a .npy file."""
    values = tile(rng, (10, 9, 4), np.float32, 0, 1)
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    np.save(folder / "a.npy", np.moveaxis(values, -1, 0))
    large, _ = upsampled(folder / "a.tif", folder, "--kernel", "lanczos")
    array, _ = upsampled(folder / "a.npy", folder, "--kernel", "lanczos", output="out.npy")
    np.testing.assert_allclose(np.moveaxis(rows(large), -1, 0), np.load(array), atol=1e-6)


# -- tags and metadata ------------------------------------------------------------------------------------------------

GEO_KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)


def geotiff(folder, values, *tags):
    path = folder / "tile.tif"
    extra = [(34735, "H", len(GEO_KEYS), GEO_KEYS, True), *tags]
    tifffile.imwrite(path, values, photometric="minisblack", extratags=extra, metadata=None)
    return path


def tag(path, code):
    found = tifffile.TiffFile(path).pages[0].tags.get(code)
    return None if found is None else found.value


@case("tags and metadata")
def pixel_scale_and_tie_point(rng, folder):
    values = tile(rng, (8, 9), np.uint16)
    path = geotiff(
        folder,
        values,
        (33550, "d", 3, (10.0, 20.0, 0.0), True),
        (33922, "d", 6, (3.0, 2.0, 0.0, 500_000.0, 4_100_000.0, 0.0), True),
    )
    large, text = upsampled(path, folder, "--kernel", "bicubic", "--scale", 2)
    if tag(large, 33550) is None:
        assert re.search("geo", text, re.IGNORECASE), text
        return
    (sx, sy, _), (i, j, _, X, Y, _) = tag(large, 33550), tag(large, 33922)
    for column, row in ((0, 0), (9, 8)):  # the corners stay where they were
        assert np.isclose(X + (2 * column - i) * sx, 500_000 + (column - 3) * 10)
        assert np.isclose(Y - (2 * row - j) * sy, 4_100_000 - (row - 2) * 20)
    assert tuple(tag(large, 34735)) == GEO_KEYS


@case("tags and metadata")
def a_model_transformation(rng, folder):
    values = tile(rng, (8, 9), np.float32, 0, 1)
    matrix = (8.0, 1.5, 0, 500_000, -1.5, -8.0, 0, 4_100_000, 0, 0, 0, 0, 0, 0, 0, 1)
    path = geotiff(folder, values, (34264, "d", 16, tuple(map(float, matrix)), True))
    large, text = upsampled(path, folder, "--kernel", "bicubic", "--scale", 4)
    if tag(large, 34264) is None:
        assert re.search("geo", text, re.IGNORECASE), text
        return
    found = tag(large, 34264)
    np.testing.assert_allclose([found[n] for n in (0, 1, 3, 4, 5, 7)], [2, 0.375, 500_000, -0.375, -2, 4_100_000])


@case("tags and metadata")
def a_nodata_value_stays_in_the_file(rng, folder):
    path = geotiff(folder, tile(rng, (8, 9), np.float32, 0, 1), (42113, "s", 0, "-9999", True))
    large, text = upsampled(path, folder, "--kernel", "bicubic")
    kept = tag(large, 42113)
    assert (kept is not None and float(str(kept).strip("\0")) == -9999) or "nodata" in text.lower(), text


@case("tags and metadata")
def the_place_of_a_photograph(rng, folder):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}
    Image.fromarray(tile(rng, (16, 24, 3), np.uint8, 0, 255)).save(folder / "a.jpg", exif=exif)
    for output in ("b.jpg", "b.png"):
        large, text = upsampled(folder / "a.jpg", folder, "--kernel", "bicubic", output=output)
        found = Image.open(large).getexif()
        assert found.get_ifd(0x8825).get(1) == "N" or re.search("exif|gps", text, re.IGNORECASE), f"{output}: {text}"


@case("tags and metadata")
def a_rotated_photograph_is_not_rotated_twice(rng, folder):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.fromarray(tile(rng, (16, 24, 3), np.uint8, 0, 255)).save(folder / "a.jpg", exif=exif)
    large, _ = upsampled(folder / "a.jpg", folder, "--kernel", "bicubic", output="b.jpg")
    image = Image.open(large)
    assert image.size == (32, 48)
    assert image.getexif().get(0x0112, 1) == 1


def texts_of(path):
    """Return all texts of a PNG, also those behind its pixels."""
    image = Image.open(path)
    image.load()
    return image.text


@case("tags and metadata")
def xmp(rng, folder):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>'
        b"</x:xmpmeta>"
    )
    Image.fromarray(tile(rng, (16, 24, 3), np.uint8, 0, 255)).save(folder / "a.jpg", xmp=packet)
    large, text = upsampled(folder / "a.jpg", folder, "--kernel", "bicubic", output="b.png")
    assert "XML:com.adobe.xmp" in texts_of(large) or "XMP" in text, text


@case("tags and metadata")
def comments_of_a_png(rng, folder):
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", "made by hand")
    Image.fromarray(tile(rng, (16, 24, 3), np.uint8, 0, 255)).save(folder / "a.png", pnginfo=info)
    large, text = upsampled(folder / "a.png", folder, "--kernel", "bicubic", output="b.png")
    assert texts_of(large).get("Description") == "made by hand" or re.search("comment|text|metadata", text), text


@case("tags and metadata")
def the_comment_of_a_jpeg(rng, folder):
    Image.fromarray(tile(rng, (16, 24, 3), np.uint8, 0, 255)).save(folder / "a.jpg", comment=b"made by hand")
    large, text = upsampled(folder / "a.jpg", folder, "--kernel", "bicubic", output="b.jpg")
    assert b"made by hand" in large.read_bytes() or re.search("comment|text|metadata", text), text


@case("tags and metadata")
def frames_of_an_animated_png(rng, folder):
    frames = [Image.fromarray(tile(rng, (16, 24, 3), np.uint8, 0, 255)) for _ in range(3)]
    frames[0].save(folder / "a.png", save_all=True, append_images=frames[1:], duration=100)
    _, text = upsampled(folder / "a.png", folder, "--kernel", "bicubic", output="b.png")
    assert re.search("frame|first of 3|animat", text), text


@case("tags and metadata")
def pages_of_a_tiff(rng, folder):
    tifffile.imwrite(folder / "a.tif", tile(rng, (3, 16, 24), np.uint8, 0, 255), photometric="minisblack")
    _, text = upsampled(folder / "a.tif", folder, "--kernel", "bicubic")
    assert re.search("page|frame|first of 3", text), text


# -- numbers ----------------------------------------------------------------------------------------------------------


@case("numbers of a TIFF")
def nan_where_nodata_is_nan(rng, folder):
    values = tile(rng, (20, 22), np.float32, 1, 2)
    values[4:12, 5:15] = np.nan
    large, _ = upsampled(geotiff(folder, values, (42113, "s", 0, "nan", True)), folder, "--kernel", "bicubic")
    got = rows(large)[..., 0]
    assert np.isnan(got[10:22, 12:28]).all()
    assert np.isfinite(got[:4]).all()
    assert np.isfinite(got[30:]).all()
    right = own(np.nan_to_num(values, nan=1.5)[..., None])[..., 0]
    np.testing.assert_allclose(got[32:], right[32:], atol=1e-5)


@case("numbers of a TIFF")
def nan_where_nodata_is_a_number(rng, folder):
    values = tile(rng, (20, 22), np.float32, 1, 2)
    values[4:12, 5:15] = np.nan
    large, _ = upsampled(geotiff(folder, values, (42113, "s", 0, "-9999", True)), folder, "--kernel", "bilinear")
    got = rows(large)[..., 0]
    inside = got[10:22, 12:28]
    assert (np.isnan(inside) | (inside == -9999)).all()
    outside = got[np.isfinite(got) & (got != -9999)]
    assert outside.size > 0.6 * got.size
    assert 0.99 <= outside.min() <= outside.max() <= 2.01


@case("numbers of a TIFF")
def nan_in_a_picture_for_the_usual_upsampler(rng, folder):
    values = tile(rng, (20, 22), np.float32, 0, 1)
    values[4:12, 5:15] = np.nan
    large, _ = upsampled(geotiff(folder, values, (42113, "s", 0, "nan", True)), folder)
    got = rows(large)[..., 0]
    assert got.shape == (40, 44)
    assert np.isnan(got[12:20, 14:26]).all()
    assert np.isfinite(got[36:]).all()


@case("numbers of a TIFF")
def nodata_numbers_do_not_bleed(rng, folder):
    values = tile(rng, (20, 22), np.float32, 1, 2)
    values[4:12, 5:15] = -9999
    path = geotiff(folder, values, (42113, "s", 0, "-9999", True))
    large, text = upsampled(path, folder, "--kernel", "bilinear")
    got = rows(large)[..., 0]
    outside = got[np.isfinite(got) & (got != -9999)]
    assert (0.99 <= outside.min() <= outside.max() <= 2.01) or "nodata" in text.lower(), f"{outside.min()}\n{text}"


@case("numbers of a TIFF")
def float64(rng, folder):
    values = 1e6 + rng.standard_normal((12, 9))
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack")
    large, text = upsampled(folder / "a.tif", folder, "--kernel", "bicubic")
    got = rows(large)[..., 0]
    assert got.dtype == np.float64 or "float32" in text or "32 bit" in text, text
    limit = 1e-6 if got.dtype == np.float64 else 0.5
    assert np.abs(got - tconv.upsample(values, 2, kernel="bicubic")).max() <= limit


@case("numbers of a TIFF")
def four_bands_of_float64(rng, folder):
    values = rng.standard_normal((12, 9, 4))
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    large, _ = upsampled(folder / "a.tif", folder, "--kernel", "bicubic")
    assert np.abs(rows(large) - own(values)).max() <= 1e-5


@case("numbers of a TIFF")
def large_integers(rng, folder):
    for dtype, low, high in ((np.uint32, 3_000_000_000, 4_200_000_000), (np.int32, -2_000_000_000, 2_000_000_000)):
        values = rng.integers(low, high, (12, 9)).astype(dtype)
        values[:, :5] = values[0, 0]
        tifffile.imwrite(folder / "a.tif", values, photometric="minisblack")
        large, _ = upsampled(folder / "a.tif", folder, "--kernel", "bilinear", "--overwrite")
        got = rows(large)[..., 0]
        assert got.dtype == dtype
        assert np.abs(got[:, :6].astype(np.int64) - int(values[0, 0])).max() <= 300  # float32 has 24 bits
        assert values.min() <= got.min() + 300
        assert got.max() <= int(values.max()) + 300


@case("numbers of a TIFF")
def large_integers_of_four_bands(rng, folder):
    values = rng.integers(3_000_000_000, 4_200_000_000, (12, 9, 4)).astype(np.uint32)
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", planarconfig="contig")
    large, _ = upsampled(folder / "a.tif", folder, "--kernel", "bilinear")
    assert rows(large).dtype == np.uint32
    right = np.stack([tconv.upsample(values[..., c].astype(np.float64), 2, kernel="bilinear") for c in range(4)], -1)
    assert np.abs(rows(large) - right).max() <= 600


@case("numbers of a TIFF")
def counts_of_32_bits_for_the_usual_upsampler(rng, folder):
    """Small numbers in uint32, as photon counts are stored: enlarged, or refused with a reason that is so."""
    values = rng.integers(0, 5000, (12, 9)).astype(np.uint32)
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack")
    code, text = command("upsample", folder / "a.tif", "-o", folder / "out.tif")
    assert "damaged" not in text, text
    if code:
        assert re.search("--kernel|float32|16 bits", text), text
        return
    got = rows(folder / "out.tif")[..., 0].astype(float)
    assert abs(got.mean() - values.mean()) < 0.05 * values.mean()


@case("numbers of a TIFF")
def a_file_that_really_is_damaged(rng, folder):
    path = folder / "a.tif"
    tifffile.imwrite(path, rng.standard_normal((40, 30)), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:2000])
    code, text = command("upsample", path, "--kernel", "bicubic", "-o", folder / "b.tif")
    assert code == 1
    assert not (folder / "b.tif").exists()
    assert re.search("damaged|broken|truncated|cannot|end", text), text


# -- sizes and options ------------------------------------------------------------------------------------------------


def ramp(folder, width=40, height=30, name="ramp.png"):
    """Write a picture whose grey rises by 5 for each column and by 1 for each row."""
    values = 10 + np.add.outer(np.arange(height), 5 * np.arange(width))
    Image.fromarray(np.repeat(values[..., None], 3, 2).clip(0, 255).astype(np.uint8)).save(folder / name)
    return folder / name


def check_ramp(path, scale, shape):
    """Check that a larger ramp has this shape and is the same ramp, with pixel centres where they belong."""
    got = np.asarray(Image.open(path)).astype(np.float64)
    assert got.shape[:2] == shape, got.shape
    at = [(np.arange(size) + 0.5) / scale - 0.5 for size in shape]
    right = 10 + np.add.outer(at[0], 5 * at[1])
    inner = tuple(slice(4, -4) for _ in shape)
    assert np.abs(got[..., 0] - right)[inner].max() <= 1.6, np.abs(got[..., 0] - right)[inner].max()


@case("sizes and options")
def one_and_a_half_times(rng, folder):
    for options in ((), ("--kernel", "bicubic"), ("--kernel", "lanczos")):
        large, _ = upsampled(ramp(folder), folder, "--scale", 1.5, *options, "--overwrite", output="b.png")
        check_ramp(large, 1.5, (45, 60))


@case("sizes and options")
def two_and_a_half_times(rng, folder):
    large, _ = upsampled(ramp(folder), folder, "--scale", "2.5", output="b.png")
    check_ramp(large, 2.5, (75, 100))


@case("sizes and options")
def to_a_width(rng, folder):
    for width in (60, 100, 80):
        large, _ = upsampled(ramp(folder), folder, "--width", width, "--overwrite", output="b.png")
        check_ramp(large, width / 40, (width * 3 // 4, width))


@case("sizes and options")
def a_width_of_an_odd_picture(rng, folder):
    large, _ = upsampled(ramp(folder, 37, 23), folder, "--width", 90, output="b.png")
    assert Image.open(large).size in ((90, 56), (90, 55))


@case("sizes and options")
def no_ghosts_where_detail_is_too_fine(rng, folder):
    """Noise made 1.5 times larger has no more power than before: it is filtered, not only sampled."""
    values = rng.integers(0, 256, (48, 48)).astype(np.uint8)
    Image.fromarray(values).save(folder / "a.png")
    large, _ = upsampled(folder / "a.png", folder, "--kernel", "bicubic", "--scale", 1.5, output="b.png")
    got = np.asarray(Image.open(large).convert("L")).astype(float)
    assert abs(got.mean() - values.mean()) < 2
    assert 0.4 * values.std() < got.std() < values.std()


@case("sizes and options")
def scales_that_make_no_sense(rng, folder):
    path = ramp(folder)
    for options in (
        ("--scale", "nan"),
        ("--scale", "-1.5"),
        ("--scale", "0"),
        ("--width", "0"),
        ("--scale", "1.5", "--width", "60"),
    ):
        code, text = command("upsample", path, *options, "-o", folder / "b.png")
        assert code in (1, 2), f"{options}: {text}"
        assert "Traceback" not in text
        assert not (folder / "b.png").exists()


def network_file(rng, folder):
    """Write a network of scale 2 for luma with random weights that changes bicubic interpolation a little."""
    from safetensors.numpy import save_file

    tensors = {
        "a": (0.2 * rng.standard_normal((8, 1, 3, 3))).astype(np.float32),
        "b": (0.02 * rng.standard_normal((8, 1, 4, 4))).astype(np.float32),
    }
    layers = [
        {"op": "conv", "weight": "a", "padding": 1, "activation": "relu"},
        {"op": "conv_transpose", "weight": "b", "stride": 2, "padding": 1},
    ]
    import json

    description = {"format": 1, "adds": "bicubic", "layers": layers}
    save_file(tensors, folder / "net.safetensors", metadata={"tconv": json.dumps(description)})
    return folder / "net.safetensors"


@case("sizes and options")
def a_network_without_the_check(rng, folder):
    net, path = network_file(rng, folder), ramp(folder)
    checked, text = upsampled(path, folder, "--weights", net, output="b.png")
    unchecked, other = upsampled(path, folder, "--weights", net, "--no-check", output="c.png")
    np.testing.assert_array_equal(np.asarray(Image.open(checked)), np.asarray(Image.open(unchecked)))
    assert re.search("check", text)
    assert not re.search(r"check +\d|outputs? (equal|agree)", other), other


@case("sizes and options")
def a_network_at_one_and_a_half(rng, folder):
    large, _ = upsampled(ramp(folder), folder, "--weights", network_file(rng, folder), "--scale", 1.5, output="b.png")
    assert Image.open(large).size == (60, 45)


@case("sizes and options")
def filters_without_the_check(rng, folder):
    large, _ = upsampled(ramp(folder), folder, "--kernel", "bicubic", "--no-check", output="b.png")
    check_ramp(large, 2, (60, 80))
