"""TIFF files of any number of bands, in any type and layout: each band is enlarged as its own numbers are."""

import itertools
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import tconv
from tconv.errors import CheckError, DtypeError, FileError, ShapeError, TooLargeError
from tconv.geometry import Geometry
from tconv.io.picture_reading import open_picture
from tconv.io.tiff_directory import DOUBLE, LONG, SHORT, Tag, directory, head, read_chain
from tconv.models.image_model import Model
from tconv.models.network import Convolution, Network, Node
from tconv.upsampling.stored_values import StoredValues

pytest.importorskip("pyvips")

TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8"]


def made_up(shape, dtype, seed=0):
    """Return random numbers over much of the range of a type; floats of a radar band, 0 to 0.3."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "c":
        return (rng.random(shape) + 1j * rng.random(shape)).astype(dtype)
    if dtype.kind == "f":
        return (0.3 * rng.random(shape)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min // 2, info.max // 2, shape, dtype, endpoint=True)


def bits(array):
    """Return the bytes of an array, so that NaN and -0 compare as they are stored."""
    return np.ascontiguousarray(array).tobytes()


def write(path, pixels, planar=False, **options):
    """Write pixels [H, W, C] with tifffile; more samples than grey are of no stated meaning unless `options` say so."""
    count = pixels.shape[2]
    options = {"photometric": "minisblack", "metadata": None, **options}
    colours = 3 if options["photometric"] == "rgb" else 1
    if count > colours:
        options.setdefault("extrasamples", ["unspecified"] * (count - colours))
    if count == 1:
        tifffile.imwrite(path, pixels[:, :, 0], **options)
    else:
        stored = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)) if planar else pixels
        tifffile.imwrite(path, stored, planarconfig="separate" if planar else "contig", **options)
    return path


# -- bands are bands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 13])
def test_each_band_equals_its_own_enlargement(tmp_path, dtype, count):
    """As a file of one band, and as the same numbers in a .npy file: the same bits, back in the file, too."""
    seed = count + 100 * TYPES.index(dtype)
    pixels = made_up((11, 9, count), dtype, seed)
    path = write(tmp_path / "a.tif", pixels, planar=bool(seed % 2), compression="zlib" if seed % 3 else None)
    large = tconv.upsample(path, 3, kernel="bicubic")
    assert (large.dtype, large.shape) == (pixels.dtype, (33, 27, count))
    np.save(tmp_path / "a.npy", np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
    assert bits(np.moveaxis(large, 2, 0)) == bits(tconv.upsample(tmp_path / "a.npy", 3))
    for band in range(count):
        own = write(tmp_path / f"{band}.tif", pixels[:, :, band : band + 1])
        assert bits(large[:, :, band]) == bits(tconv.upsample(own, 3, kernel="bicubic")[:, :, 0])
    written = tconv.upsample(path, 3, kernel="bicubic", output=tmp_path / "b.tif")
    assert bits(tifffile.imread(written)) == bits(large)
    with tifffile.TiffFile(written) as file:
        assert file.pages[0].photometric == 1
        assert file.pages[0].extrasamples == (0,) * (count - 1)


@pytest.mark.parametrize("extra", ["rgb with near infrared", "grey, untagged", "radar"])
def test_a_four_band_tile_through_the_command(tmp_path, monkeypatch, run, extra):
    """Without an option, too: bands are interpolated as feature maps are."""
    pixels = made_up((20, 24, 4), "f4" if extra == "radar" else "u2", 5)
    path = write(tmp_path / "tile.tif", pixels, photometric="rgb" if extra.startswith("rgb") else "minisblack")
    if extra == "grey, untagged":
        path.write_bytes(without_tag(path.read_bytes(), 338))
    np.save(tmp_path / "tile.npy", np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
    monkeypatch.chdir(tmp_path)
    for name in ("tile.tif", "tile.npy"):
        code, out, _ = run(name, "--json", "-o", f"large_{name}")
        assert (code, json.loads(out)["upsampler"]) == (0, "bicubic")
    large = tifffile.imread(tmp_path / "large_tile.tif")
    np.testing.assert_array_equal(np.moveaxis(large, 2, 0), np.load(tmp_path / "large_tile.npy"))
    with tifffile.TiffFile(tmp_path / "large_tile.tif") as file:
        assert file.pages[0].photometric == (2 if extra.startswith("rgb") else 1)
        assert file.pages[0].extrasamples == ((0,) if extra.startswith("rgb") else (0, 0, 0))
    for band in range(4):
        own = write(tmp_path / f"{band}.tif", pixels[:, :, band : band + 1])
        np.testing.assert_array_equal(large[:, :, band], tconv.upsample(own, kernel="bicubic")[:, :, 0])


def without_tag(data, code):
    """Return a TIFF file whose first directory does not have this tag."""
    (tags, *_) = read_chain(data)
    place = len(data) + len(data) % 2
    del tags[code]
    return head(place, False) + data[8:] + bytes(len(data) % 2) + directory(tags, place)


@pytest.mark.parametrize(
    ("options", "planar"),
    [
        ({"tile": (16, 32)}, False),
        ({"tile": (16, 16), "compression": "zlib"}, True),
        ({"rowsperstrip": 7, "compression": "zlib", "predictor": 2}, False),
        ({"rowsperstrip": 7, "compression": "zlib", "predictor": 2, "byteorder": ">"}, True),
        ({"rowsperstrip": 5, "byteorder": ">"}, True),
        ({"compression": "lzma", "bigtiff": True}, True),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4"])
def test_layouts_and_compressions(tmp_path, dtype, options, planar):
    pixels = made_up((37, 45, 5), dtype, 3)
    picture = open_picture(write(tmp_path / "a.tif", pixels, planar, **options))
    assert bits(np.moveaxis(picture.read(), 0, 2)) == bits(pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate", "zstd", "lzma"])
@pytest.mark.parametrize("dtype", ["f8", "u4", "i8"])
def test_compressed_bytes_of_any_type(tmp_path, dtype, compression):
    """Pillow compresses the bytes; another directory of the same file says what numbers they are."""
    pixels = made_up((12, 10, 2), dtype, 8)
    grey = np.frombuffer(pixels.tobytes(), np.uint8).reshape(12, -1)
    Image.fromarray(grey).save(tmp_path / "bytes.tif", compression=compression)
    data = (tmp_path / "bytes.tif").read_bytes()
    (tags, *_) = read_chain(data)
    tags |= {256: Tag.of(SHORT, [10]), 277: Tag.of(SHORT, [2]), 258: Tag.of(SHORT, [8 * pixels.itemsize] * 2)}
    tags[339] = Tag.of(SHORT, [{"f": 3, "u": 1, "i": 2}[dtype[0]]] * 2)
    data += bytes(len(data) % 2)
    (tmp_path / "a.tif").write_bytes(head(len(data), False) + data[8:] + directory(tags, len(data)))
    assert bits(np.moveaxis(open_picture(tmp_path / "a.tif").read(), 0, 2)) == bits(pixels)


def test_the_predictor_of_floats(tmp_path):
    """Differences of the bytes of a row, sorted by their weight: Adobe's technical note 3, computed here."""
    for dtype, count in itertools.product(("f2", "f4", "f8"), (1, 3, 4)):
        pixels = made_up((6, 7, count), dtype, count)
        rows = pixels.astype(f">{dtype}").view(np.uint8).reshape(6, 7 * count, -1)
        sorted_bytes = rows.swapaxes(1, 2).reshape(6, -1)
        differences = sorted_bytes.copy()
        differences[:, count:] -= sorted_bytes[:, :-count]
        path = write(tmp_path / "a.tif", pixels, rowsperstrip=6)
        (tags, *_) = read_chain(path.read_bytes())
        strip = zlib.compress(differences.tobytes())
        strip += bytes(len(strip) % 2)
        tags |= {
            259: Tag.of(SHORT, [8]),
            317: Tag.of(SHORT, [3]),
            273: Tag.of(LONG, [8]),
            279: Tag.of(LONG, [len(strip)]),
        }
        path.write_bytes(head(8 + len(strip), False) + strip + directory(tags, 8 + len(strip)))
        assert bits(np.moveaxis(open_picture(path).read(), 0, 2)) == bits(pixels)


def test_what_a_sparse_file_leaves_out(tmp_path):
    pixels = made_up((32, 32, 2), "i2", 1)
    path = write(tmp_path / "a.tif", pixels, tile=(16, 16), extratags=[(42113, 2, 6, "-9999", True)])
    data = path.read_bytes()
    (tags, *_) = read_chain(data)
    sizes = list(tags[325].numbers())
    sizes[1] = 0
    tags[325] = Tag.of(LONG, sizes)
    path.write_bytes(head(len(data), False) + data[8:] + directory(tags, len(data)))
    expected = pixels.copy()
    expected[:16, 16:] = -9999
    np.testing.assert_array_equal(np.moveaxis(open_picture(path).read(), 0, 2), expected)


def test_the_words_for_wide_types(tmp_path):
    wide = open_picture(write(tmp_path / "a.tif", made_up((5, 6, 1), "u8")))
    assert wide.notes == ["64-bit integers are computed in float64, exact to 2^53"]
    for dtype, words in (("f8", "grey, 64 bit float"), ("u4", "grey, 32 bit"), ("c8", "grey, 64 bit complex")):
        assert open_picture(write(tmp_path / "a.tif", made_up((5, 6, 1), dtype))).description == f"TIFF, {words}"


def test_float64_keeps_its_precision(tmp_path):
    pixels = made_up((8, 9, 1), "f8") + 2.0**30
    large = tconv.upsample(write(tmp_path / "a.tif", pixels), kernel="bilinear")[:, :, 0]
    padded = np.pad(pixels[:, :, 0], 1, mode="edge")
    expected = (9 * padded[1:-1, 1:-1] + 3 * (padded[:-2, 1:-1] + padded[1:-1, :-2]) + padded[:-2, :-2]) / 16
    np.testing.assert_allclose(large[2::2, 2::2], expected[1:, 1:], rtol=1e-14)


def test_a_file_of_more_than_4_gb_is_a_bigtiff(tmp_path, monkeypatch):
    """The limit is lowered here; what is written is read by tifffile, Pillow and this library."""
    monkeypatch.setattr("tconv.io.tiff_writing._BIG_FROM", 100)
    exif = Image.Exif()
    exif[0x010F], exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8825)[1] = "Maker", 9, "N"
    pixels = made_up((300, 200, 3), "u2", 1)
    Image.fromarray(np.uint8(pixels >> 8)).save(tmp_path / "a.png", exif=exif)
    large = tconv.upsample(tmp_path / "a.png", 2, kernel="nearest", output=tmp_path / "b.tif")
    expected = np.uint8(pixels >> 8).repeat(2, 0).repeat(2, 1)
    with tifffile.TiffFile(large) as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), expected)
        assert file.pages[0].tags[34665].value["PixelXDimension"] == 400
        assert file.pages[0].tags[34853].value["GPSLatitudeRef"] == "N"
    np.testing.assert_array_equal(np.asarray(Image.open(large)), expected)
    np.testing.assert_array_equal(np.moveaxis(open_picture(large).read(), 0, 2), expected)
    assert open_picture(large).metadata.exif.main[0x010F].string() == "Maker"


def test_a_network_says_that_it_computes_in_float32(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.tif", made_up((9, 8, 1), "f8"))
    code, out, _ = run("a.tif", "-o", "b.tif")
    assert (code, "the network computes in float32" in out) == (0, True)
    assert tifffile.imread("b.tif").dtype == np.float64
    assert "float32" not in run("a.tif", "--kernel", "bicubic", "-o", "c.tif")[1]


def test_numbers_of_which_0_is_white(tmp_path):
    """With a no-data value, and as several bands, they are kept; other formats get the picture that they show."""
    pixels = made_up((6, 7, 1), "u1", 2) | 1
    path = write(tmp_path / "a.tif", pixels, photometric="miniswhite", extratags=[(42113, 2, 2, "0", True)])
    assert "its numbers are kept, of which 0 is white" in open_picture(path).notes
    large = tconv.upsample(path, kernel="nearest", output=tmp_path / "b.tif")
    with tifffile.TiffFile(large) as file:
        assert file.pages[0].photometric == 0
        np.testing.assert_array_equal(file.asarray(), pixels[:, :, 0].repeat(2, 0).repeat(2, 1))
    shown = np.asarray(Image.open(tconv.upsample(path, kernel="nearest", output=tmp_path / "b.png")))
    np.testing.assert_array_equal(shown, 255 - tifffile.imread(large))
    path = write(tmp_path / "a.tif", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(open_picture(path).read()[0], 255 - pixels[:, :, 0])


def test_complex_numbers_are_no_picture(tmp_path):
    path = write(tmp_path / "a.tif", made_up((6, 7, 1), "c8"))
    assert tconv.upsample(path).dtype == np.complex64
    with pytest.raises(DtypeError, match=r'networks compute with real numbers\. Write kernel="bicubic"'):
        tconv.upsample(path, model="photo")


def test_a_first_directory_that_is_a_smaller_copy(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint8), subfiletype=1, metadata=None)
    assert open_picture(tmp_path / "a.tif").notes == ["a smaller copy of a picture that the file has elsewhere"]


# -- opacity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize(("photometric", "count"), [("minisblack", 2), ("rgb", 4)])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_opacity_is_what_the_file_calls_so(tmp_path, dtype, photometric, count, kind):
    pixels = made_up((9, 8, count), dtype, 4)
    white = np.iinfo(dtype).max if dtype[0] == "u" else 1.0
    pixels[2:5, 3:6, -1] = 0
    if kind == "assocalpha":
        pixels[..., :-1] = pixels[..., :-1] * (pixels[..., -1:] / white)
    path = write(tmp_path / "a.tif", pixels, photometric=photometric, extrasamples=[kind])
    large = tconv.upsample(path, 2, kernel="bilinear")
    number = pixels.astype("f8")
    if kind == "unassalpha":
        number[..., :-1] *= number[..., -1:] / white
    expected = np.stack([tconv.upsample(number[..., c].copy(), 2, kernel="bilinear") for c in range(count)], -1)
    if kind == "unassalpha":
        opaque = expected[..., -1:] / white
        expected[..., :-1] = np.divide(
            expected[..., :-1], opaque, out=np.zeros_like(expected[..., :-1]), where=opaque > 1e-5
        )
    slack = {"u1": 0.501, "u2": 0.8}.get(dtype, 1e-4)  # float32, divided by an opacity of 0.02
    visible = expected[..., -1:] > 0.02 * white
    assert (np.abs(large - expected) <= slack)[np.broadcast_to(visible, large.shape)].all()
    written = tconv.upsample(path, 2, kernel="bilinear", output=tmp_path / "b.tif")
    with tifffile.TiffFile(written) as file:
        assert file.pages[0].extrasamples == ({"assocalpha": 1, "unassalpha": 2}[kind],)
        assert file.pages[0].photometric == {"minisblack": 1, "rgb": 2}[photometric]
        np.testing.assert_array_equal(file.asarray(), large)


def test_opacity_between_bands_keeps_its_place(tmp_path):
    pixels = made_up((9, 8, 6), "u2", 2)
    meanings = ["unspecified", "unassalpha", "unspecified"]
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=meanings)
    order = [0, 1, 2, 3, 5, 4]
    assert open_picture(path).alpha
    np.testing.assert_array_equal(np.moveaxis(open_picture(path).read(), 0, 2), pixels[..., order])
    large = tconv.upsample(path, kernel="lanczos")
    np.testing.assert_array_equal(large[..., order], tconv.upsample(pixels[..., order], kernel="lanczos", alpha=True))
    written = tconv.upsample(path, kernel="lanczos", output=tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(written), large)
    with tifffile.TiffFile(written) as file:
        assert file.pages[0].extrasamples == (0, 2, 0)


LAYOUTS = [("rgb", 1), ("minisblack", 1), ("minisblack", 3), ("rgb", 3), ("rgb_inner", 3)]
# each layout with either kind and either dtype, each kind with either dtype
OPACITY = [
    (*layout, kind, ("u2", "f4")[(number + associated) % 2])
    for number, layout in enumerate(LAYOUTS)
    for associated, kind in enumerate(("unassalpha", "assocalpha"))
]


@pytest.mark.parametrize(("photometric", "extra", "kind", "dtype"), OPACITY)
def test_opacity_can_be_a_band(tmp_path, run, monkeypatch, kind, photometric, extra, dtype):
    monkeypatch.chdir(tmp_path)
    meanings = ["unspecified"] * extra
    meanings[0 if photometric == "rgb_inner" else -1] = kind
    photometric = photometric[:3] if photometric[0] == "r" else photometric
    pixels = made_up((9, 8, extra + (3 if photometric == "rgb" else 1)), dtype, 5)
    path = write(Path("a.tif"), pixels, photometric=photometric, extrasamples=meanings)
    for options in ({}, {"kernel": "lanczos"}, {"scale": 1.5, "kernel": "bilinear"}):
        large = tconv.upsample(path, alpha=False, **options)
        options = {"kernel": "bicubic", **options}
        for band in range(pixels.shape[2]):
            assert bits(large[..., band]) == bits(tconv.upsample(pixels[..., band].copy(), **options))
    code, out, err = run("a.tif", "--no-alpha", "--kernel", "lanczos", "-o", "b.tif")
    assert (code, err) == (0, "")
    assert "alpha" not in out
    np.testing.assert_array_equal(tifffile.imread("b.tif"), tconv.upsample(path, alpha=False, kernel="lanczos"))
    with tifffile.TiffFile("b.tif") as file:
        assert file.pages[0].extrasamples == (0,) * extra
        assert file.pages[0].photometric == {"minisblack": 1, "rgb": 2}[photometric]
    assert run("a.tif", "a.tif", "--no-alpha", "-o", "many/")[0] == 0
    assert bits(tifffile.imread("many/a_x2.tif")) == bits(tconv.upsample(path, alpha=False))


def test_the_report_says_how_a_fourth_sample_becomes_a_band(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", made_up((9, 8, 4), "u1"), photometric="rgb")  # tifffile calls the fourth sample alpha
    advice = "calls one sample alpha: --no-alpha if it is a band"
    assert advice in run("a.tif")[1]
    assert advice not in run("a.tif", "--no-alpha")[1]
    write(Path("b.tif"), made_up((9, 8, 4), "u1"), photometric="rgb")
    assert advice not in run("b.tif")[1]


@pytest.mark.parametrize(("photometric", "count"), [("rgb", 4), ("rgb", 5), ("minisblack", 2), ("minisblack", 4)])
def test_the_last_band_can_be_opacity(tmp_path, photometric, count):
    pixels = made_up((9, 8, count), "u2", 6)
    path = write(tmp_path / "a.tif", pixels, photometric=photometric)
    large = tconv.upsample(path, kernel="bicubic", alpha=True, output=tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(large), tconv.upsample(pixels, kernel="bicubic", alpha=True))
    with tifffile.TiffFile(large) as file:
        assert file.pages[0].extrasamples[-1] == 2
    with pytest.raises(ShapeError, match=r"TIFF, RGB, 16 bit, and alpha=True; opacity needs a channel besides"):
        tconv.upsample(write(tmp_path / "c.tif", pixels[..., :1].repeat(3, 2), photometric="rgb"), alpha=True)


def test_associated_opacity_in_other_formats(tmp_path):
    """PNG contains colours that are not multiplied by opacity, and JPEG none: over white."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[...] = (50, 100, 25, 128)
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    large = tconv.upsample(path, kernel="nearest", output=tmp_path / "b.png")
    assert (np.asarray(Image.open(large)) == (100, 199, 50, 128)).all()
    flat = np.asarray(Image.open(tconv.upsample(path, kernel="nearest", output=tmp_path / "b.jpg"))).astype(int)
    assert np.abs(flat - (50 + 127, 100 + 127, 25 + 127)).max() <= 2


def test_the_check_sees_a_band_that_is_taken_for_opacity(tmp_path, monkeypatch):
    """The numbers are compared with the definition of what the file states, not of what the run made of it."""
    path = write(tmp_path / "a.tif", made_up((20, 24, 4), "f4"), photometric="rgb")
    picture = open_picture(path)
    picture.alpha = True
    monkeypatch.setattr("tconv.upsampling.inputs.open_picture", lambda source: picture)
    with pytest.raises(CheckError, match="the check failed"):
        tconv.upsample(path, kernel="bicubic")
    assert StoredValues(picture.dtype, True) != StoredValues(picture.dtype)


# -- networks ------------------------------------------------------------------------------------------------------


def network(count):
    """Return a model of `count` channels that mixes them, and enlarges twice."""
    weight = np.random.default_rng(count).normal(0, 0.2, (count, count, 4, 4)).astype("f4")
    return Model.of(Network([Node(Convolution(weight, Geometry((4, 4), 2, 1)), (0,))]), "mine")


def test_a_network_of_four_channels_takes_four_bands(tmp_path):
    pixels = made_up((10, 12, 4), "f4")
    path = write(tmp_path / "a.tif", pixels)
    large = tconv.upsample(path, weights=network(4))
    np.testing.assert_allclose(large, np.moveaxis(network(4)(np.moveaxis(pixels, 2, 0)), 0, 2), atol=1e-6)
    with pytest.raises(
        ShapeError, match=r"the picture has 3 channels; 4 are needed\. Use a picture of those, or interp"
    ):
        tconv.upsample(write(tmp_path / "b.tif", pixels[..., :3], photometric="rgb"), weights=network(4))


@pytest.mark.parametrize("options", [{"model": "photo"}, {"weights": network(3)}, {"weights": network(1)}])
def test_a_network_of_colours_refuses_bands(tmp_path, options):
    path = write(tmp_path / "a.tif", made_up((10, 12, 4), "u1"), photometric="rgb")
    with pytest.raises(
        ShapeError,
        match=r"the picture has 4 channels, none of them opacity; 1 \(grey\) or 3 .* or interpolate: kernel=",
    ):
        tconv.upsample(path, **options)
    assert tconv.upsample(path, kernel="bicubic").shape == (20, 24, 4)


def with_photometric(path, value):
    """Change the PhotometricInterpretation of the first directory of a little-endian TIFF file."""
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    for entry in range(start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12):
        if data[entry : entry + 2] == (262).to_bytes(2, "little"):
            data[entry + 8 : entry + 10] = value.to_bytes(2, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("photometric", "opaque", "planar"), [(0, False, False), (0, True, True), (1, False, True), (1, True, False)]
)
def test_three_bands_are_no_colours_unless_the_file_says_so(tmp_path, photometric, opaque, planar):
    """Near infrared, short-wave infrared and red: a change of one band changes that band alone."""
    extra = ["unspecified", "unspecified", *["unassalpha"] * opaque]
    pixels = made_up((12, 13, 3 + opaque), "u2")
    pixels[..., 3:] = 65535
    path = with_photometric(write(tmp_path / "a.tif", pixels, planar, extrasamples=extra), photometric)
    assert open_picture(path).description.startswith("TIFF, 3 channels")
    changed = pixels.copy()
    changed[..., 1] //= 2
    other = with_photometric(write(tmp_path / "b.tif", changed, planar, extrasamples=extra), photometric)
    for options in ({}, {"scale": 1.5}, {"width": 40}):
        large, beside = tconv.upsample(path, **options), tconv.upsample(other, **options)
        assert bits(large) == bits(tconv.upsample(path, kernel="bicubic", **options))
        assert bits(np.delete(large, 1, 2)) == bits(np.delete(beside, 1, 2))
        assert bits(large[..., 1]) != bits(beside[..., 1])
    for refused in ({"model": "photo"}, {"weights": network(1)}):
        with pytest.raises(ShapeError, match=r"the picture has 3 channels.*, which its file does not call red, green"):
            tconv.upsample(path, **refused)
    assert tconv.upsample(path, weights=network(3)).shape == (24, 26, 3 + opaque)
    written = tconv.upsample(path, output=f"{tmp_path}/large/")
    assert written.suffix == ".tif"
    with tifffile.TiffFile(written) as file:
        assert file.pages[0].photometric == photometric
        assert file.pages[0].extrasamples == (0, 0, *[2] * opaque)


def test_bands_in_jpeg_compression_are_bands(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(made_up((12, 13, 3), "u1")).save("colours.tif", compression="jpeg")
    Path("bands.tif").write_bytes(Path("colours.tif").read_bytes())
    with_photometric(Path("bands.tif"), 1)
    assert open_picture(Path("colours.tif")).description == "TIFF, RGB, 8 bit"
    assert open_picture(Path("bands.tif")).description == "TIFF, 3 channels, 8 bit"
    code, out, err = run("colours.tif", "bands.tif", "-o", "large/")
    assert (code, err) == (0, "")
    names = [line.split()[1] for line in out.splitlines() if line.startswith("output")]
    assert names == ["large/colours_x2.png:", "large/bands_x2.tif:"]
    with tifffile.TiffFile("large/bands_x2.tif") as file:
        assert file.pages[0].photometric == 1
    assert bits(tconv.upsample("bands.tif")) == bits(tifffile.imread("large/bands_x2.tif"))
    _, out, _ = run("bands.tif", "-o", "three.png")
    assert "RGB, 8 bit" in out
    assert "; its bands become red, green and blue" in out


def test_a_batch_names_the_method_of_each_file(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("a.tif"), made_up((8, 9, 5), "u1"))
    write(Path("b.tif"), made_up((8, 9, 3), "u1"), photometric="rgb")
    write(Path("c.tif"), made_up((8, 9, 2), "u1"))
    lines = run("a.tif", "b.tif", "c.tif", "-o", "x/")[1].splitlines()
    labels = [line.split("(")[0].split(":")[0] for line in lines if line.startswith(("upsample ", "output "))]
    wanted = ["upsample  2 times by bicubic ", "output    x/a_x2.tif", "upsample  2 times by photo x2 "]
    assert labels == [*wanted, "output    x/b_x2.png", "output    x/c_x2.tif"]
    out = run("a.tif", "c.tif", "-o", "y/")[1]
    assert out.count("upsample  ") == 1
    assert "photo" not in out


def test_kernels_across_bands_choose_bands(tmp_path):
    path = write(tmp_path / "a.tif", made_up((6, 7, 4), "u1"), photometric="rgb")
    for out in (2, 3, 4, 7):
        weights = np.random.default_rng(out).random((4, out, 4, 4)) / 16
        large = tconv.upsample(path, kernel=weights, output=tmp_path / f"{out}.tif")
        with tifffile.TiffFile(large) as file:
            assert file.pages[0].samplesperpixel == out
            assert not {1, 2} & set(file.pages[0].extrasamples)


# -- rubbish -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "f8"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}])
def test_cut_and_changed_files_are_read_or_refused(tmp_path, dtype, options):
    whole = write(tmp_path / "a.tif", made_up((20, 24, 3), dtype), planar=True, **options).read_bytes()
    rng, refused = np.random.default_rng(0), 0
    changed = tmp_path / "b.tif"
    for number in range(250):
        data = bytearray(whole)
        if number < 50:
            data = data[: max(8, len(whole) * number // 50)]
        else:
            # most of them among the tags, which tifffile writes in front
            data[rng.integers(2, len(data) if number % 5 == 0 else 500)] = rng.integers(256)
        changed.write_bytes(data)
        try:
            picture = open_picture(changed)
            if np.prod(picture.shape, dtype=float) < 1e6:
                picture.read()
        except FileError:
            refused += 1
    assert refused > 60


def forged(path, **changes):
    """Write a TIFF file whose tags were changed, and return its path."""
    data = write(path, made_up((20, 24, 2), "f4"), rowsperstrip=5).read_bytes()
    (tags, *_) = read_chain(data)
    tags |= {int(code[1:]): tag for code, tag in changes.items()}
    path.write_bytes(head(len(data), False) + data[8:] + directory(tags, len(data)))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_256": Tag.of(LONG, [0])}, "its size is 0 x 20"),
        ({"_273": Tag.of(LONG, [8, 9])}, "it lists 2 of 4 strips or tiles"),
        ({"_273": Tag.of(LONG, [2**31] * 4)}, "strip or tile 0 is not whole"),
        ({"_279": Tag.of(LONG, [960, 960, 7, 960])}, "strip or tile 2 is not whole"),
        ({"_277": Tag.of(SHORT, [9])}, "is not whole"),
        ({"_322": Tag.of(LONG, [0]), "_323": Tag.of(LONG, [16])}, "its tiles are of 0 x 16"),
        ({"_257": Tag.of(DOUBLE, [float("nan")])}, "its size is 24 x 0"),
        ({"_259": Tag.of(SHORT, [8])}, "is damaged"),
        ({"_259": Tag.of(SHORT, [5])}, "is damaged"),
    ],
)
def test_wrong_tags_are_refused(tmp_path, changes, words):
    path = forged(tmp_path / "a.tif", **changes)
    with pytest.raises(FileError, match=words):
        tconv.upsample(path, kernel="nearest", output=tmp_path / "b.tif")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif"]


def test_a_damaged_tag_that_no_pixel_needs_is_named(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = forged(tmp_path / "a.tif", _65000=Tag(2, 2**31, bytes(8)), _700=Tag(1, 10**6, bytes(8)))
    code, out, _ = run("a.tif", "-o", "b.tif")
    assert (code, "not kept: damaged tags 700, 65000" in out) == (0, True)
    assert open_picture(path).read().shape == (2, 20, 24)


def test_huge_claimed_sizes_are_refused_before_any_work(tmp_path):
    path = forged(tmp_path / "a.tif", _256=Tag.of(LONG, [2**30]), _257=Tag.of(LONG, [2**30]))
    with pytest.raises(TooLargeError, match="this machine has"):
        tconv.upsample(path, kernel="nearest")
    path = forged(tmp_path / "a.tif", _256=Tag.of(LONG, [2000]), _257=Tag.of(LONG, [2000]))
    with pytest.raises(FileError, match="it lists 4 of"):
        tconv.upsample(path, kernel="nearest")


def test_a_strip_that_unpacks_to_more_than_it_may(tmp_path):
    bomb = zlib.compress(bytes(10**7))
    data = write(tmp_path / "a.tif", made_up((16, 16, 1), "f8")).read_bytes()
    (tags, *_) = read_chain(data)
    tags |= {259: Tag.of(SHORT, [8]), 273: Tag.of(LONG, [8]), 279: Tag.of(LONG, [len(bomb)]), 278: Tag.of(LONG, [16])}
    place = 8 + len(bomb) + len(bomb) % 2
    (tmp_path / "a.tif").write_bytes(head(place, False) + bomb + bytes(len(bomb) % 2) + directory(tags, place))
    assert not open_picture(tmp_path / "a.tif").read().any()  # the first 2048 bytes of it


def test_a_chain_of_directories_that_bites_its_tail(tmp_path):
    data = bytearray(write(tmp_path / "a.tif", made_up((4, 4, 1), "u1")).read_bytes())
    place = int.from_bytes(data[4:8], "little")
    end = place + 2 + 12 * int.from_bytes(data[place : place + 2], "little")
    data[end : end + 4] = place.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    assert open_picture(tmp_path / "a.tif").read().shape == (1, 4, 4)


def test_a_file_with_overviews_and_a_mask_is_not_one_of_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size, kind in ((16, 0), (8, 1), (4, 1), (16, 4), (9, 0)):
            pixels = np.zeros((size, size), bool if kind == 4 else np.uint8)
            file.write(pixels, photometric="minisblack", subfiletype=kind, metadata=None)
    notes = open_picture(Path(tmp_path / "a.tif")).notes
    assert notes == ["first of 2 pages", "without its 2 smaller copies (overviews)", "without its mask"]


@pytest.mark.parametrize("compression", ["lerc", "png", "jpegxl", "jpegxr"])
@pytest.mark.parametrize("tile", [(16, 16), None])
def test_a_codec_that_libvips_lacks_is_refused(tmp_path, compression, tile):
    """Such tiles would be black, and no error would say so."""
    tifffile.imwrite(tmp_path / "a.tif", np.full((32, 32), 200, np.uint8), compression=compression, tile=tile)
    with pytest.raises(FileError, match=r"is compressed by (LERC|PNG|JPEG XL|JPEG XR), which is not read"):
        open_picture(tmp_path / "a.tif")


def test_jpeg_2000_is_read_right_or_refused(tmp_path):
    pixels = made_up((32, 48, 3), "u1")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="jpeg2000", tile=(16, 16))
    try:
        assert np.array_equal(open_picture(tmp_path / "a.tif").read(), np.moveaxis(pixels, 2, 0))
    except FileError as error:
        assert "is compressed by JPEG 2000, which is not read" in str(error)  # noqa: PT017
