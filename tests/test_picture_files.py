"""Picture files of every mode: the pixels that Pillow, tifffile and libvips put in come out, and damage is refused."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from tconv.errors import FileError, MissingExtraError
from tconv.io.picture import describe
from tconv.io.picture_reading import open_picture
from tconv.io.picture_writing import format_for, write_picture

pyvips = pytest.importorskip("pyvips")
RGB = np.random.default_rng(1).integers(0, 256, (7, 9, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(40), np.arange(56))[:, :, None] * np.array([1, 2, 1]) + [20, 0, 90]
SMOOTH = SMOOTH.clip(0, 255).astype(np.uint8)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def rows(picture):
    """The pixels as Pillow and tifffile have them: [H, W, C], or [H, W] of one channel."""
    pixels = np.moveaxis(picture.read(), 0, 2)
    return pixels[:, :, 0] if picture.shape[0] == 1 else pixels


# -- modes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize(
    ("mode", "plain", "words", "notes"),
    [
        ("1", "L", "grey, 8 bit", ["1 bit read as 8"]),
        ("L", "L", "grey, 8 bit", []),
        ("LA", "LA", "grey with alpha, 8 bit", []),
        ("P", "RGB", "RGB, 8 bit", []),
        ("RGB", "RGB", "RGB, 8 bit", []),
        ("RGBA", "RGBA", "RGB with alpha, 8 bit", []),
    ],
)
def test_modes(tmp_path, mode, plain, words, notes, ending):
    image = Image.fromarray(RGB).convert(mode)
    picture = open_picture(saved(tmp_path, image, f"a{ending}"))
    expected = np.asarray(image.convert(plain))
    assert picture.description == f"{'PNG' if ending == '.png' else 'TIFF'}, {words}"
    assert picture.notes == notes
    assert picture.alpha == plain.endswith("A")
    np.testing.assert_array_equal(rows(picture), expected)


def test_a_palette_with_transparency_becomes_rgb_with_alpha(tmp_path):
    image = Image.fromarray(RGB).convert("P")
    path = saved(tmp_path, image, "a.png", transparency=3)
    picture = open_picture(path)
    assert picture.description == "PNG, RGB with alpha, 8 bit"
    np.testing.assert_array_equal(rows(picture), np.asarray(Image.open(path).convert("RGBA")))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg(tmp_path, mode):
    path = saved(tmp_path, Image.fromarray(SMOOTH).convert(mode), "a.jpg", quality=95)
    picture = open_picture(path)
    # decoders differ in how they round and smooth colours
    assert np.abs(rows(picture).astype(int) - np.asarray(Image.open(path))).max() <= 3


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_becomes_srgb(tmp_path, ending):
    ink = Image.new("CMYK", (9, 7), (255, 0, 0, 0))
    picture = open_picture(saved(tmp_path, ink, f"a{ending}"))
    assert picture.shape == (3, 7, 9)
    assert picture.notes == ["CMYK converted to sRGB"]
    red, green, blue = (int(channel.mean()) for channel in picture.read())
    assert red < 60 < 120 < green < blue  # what cyan ink looks like


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "i4", "f4", "i1"])
def test_tiff_keeps_its_samples(tmp_path, channels, dtype):
    values = np.random.default_rng(2).random((7, 9, channels)) * 60000 % (100 if dtype == "i1" else 60000)
    values = values.astype(dtype).squeeze(axis=2) if channels == 1 else values.astype(dtype)
    words = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack" if channels == 1 else "rgb", **words)
    picture = open_picture(tmp_path / "a.tif")
    assert picture.dtype == values.dtype
    np.testing.assert_array_equal(rows(picture), values)


def test_more_channels_are_planes_without_alpha(tmp_path):
    values = np.random.default_rng(2).integers(0, 9999, (7, 9, 5), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    picture = open_picture(tmp_path / "a.tif")
    assert (picture.shape, picture.alpha, picture.description) == ((5, 7, 9), False, "TIFF, 5 channels, 16 bit")


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_what_is_written_is_read(tmp_path, ending, channels, dtype):
    pixels = np.random.default_rng(3).integers(0, 256**2 if dtype == "u2" else 256, (channels, 7, 9)).astype(dtype)
    path, alpha = tmp_path / f"a{ending}", channels in (2, 4)
    form, lost = format_for(path, pixels.shape, pixels.dtype, alpha)
    with path.open("wb") as file:
        write_picture(file, form, pixels, alpha)
    picture = open_picture(path)
    assert lost == []
    assert (picture.dtype, picture.alpha) == (pixels.dtype, alpha)
    np.testing.assert_array_equal(picture.read(), pixels)
    if ending == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path).reshape(7, 9, channels), np.moveaxis(pixels, 0, 2))
    elif dtype == "u1":
        np.testing.assert_array_equal(np.asarray(Image.open(path)).reshape(7, 9, channels), np.moveaxis(pixels, 0, 2))


def test_float_tiff_is_written_and_read(tmp_path):
    pixels = np.random.default_rng(3).normal(0, 1e4, (3, 7, 9)).astype("f4")
    form, _ = format_for(tmp_path / "a.tiff", pixels.shape, pixels.dtype, False)
    with (tmp_path / "a.tiff").open("wb") as file:
        write_picture(file, form, pixels, alpha=False)
    np.testing.assert_array_equal(open_picture(tmp_path / "a.tiff").read(), pixels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tiff"), np.moveaxis(pixels, 0, 2))


def test_an_icc_profile_stays(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = open_picture(saved(tmp_path, Image.fromarray(RGB), "a.png", icc_profile=profile))
    assert picture.profile == profile
    form, _ = format_for(tmp_path / "b.png", picture.shape, picture.dtype, False)
    with (tmp_path / "b.png").open("wb") as file:
        write_picture(file, form, picture.read(), False, picture.profile)
    assert Image.open(tmp_path / "b.png").info["icc_profile"] == profile


# -- orientation and pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(SMOOTH)
    path = saved(tmp_path, image, f"a{ending}", exif=exif, **({"quality": 95} if ending == ".jpg" else {}))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    picture = open_picture(path)
    assert picture.shape[1:] == upright.shape[:2]
    assert np.abs(rows(picture).astype(int) - upright).max() <= (3 if ending == ".jpg" else 0)
    assert picture.notes == ([f"turned upright (EXIF orientation {orientation})"] if orientation > 1 else [])


@pytest.mark.parametrize("ending", [".gif", ".webp", ".tif"])
def test_the_first_of_several_pages_is_taken(tmp_path, ending):
    frames = [Image.fromarray(np.full((8, 8, 3), 60 * n, np.uint8)) for n in range(3)]
    options = {"lossless": True} if ending == ".webp" else {}
    path = saved(tmp_path, frames[0], f"a{ending}", save_all=True, append_images=frames[1:], **options)
    picture = open_picture(path)
    assert picture.notes == ["first of 3 pages"]
    assert picture.shape[1:] == (8, 8)
    assert (picture.read()[:3] == 0).all()


def test_brackets_in_a_name_are_part_of_the_name(tmp_path):
    assert open_picture(saved(tmp_path, Image.fromarray(RGB), "a[page=3].png")).shape == (3, 7, 9)


def test_a_changed_file_is_read_anew(tmp_path):
    for level in (10, 20):
        path = saved(tmp_path, Image.new("L", (4, 4), level), "a.png")
        assert (open_picture(path).read() == level).all()


# -- what cannot be read -----------------------------------------------------------------------------------------


def encoded(ending):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending))
    return file.getvalue()


@pytest.mark.parametrize("part", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "gif", "webp"])
def test_a_cut_file_is_refused(tmp_path, ending, part):
    data = encoded(ending)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(
        FileError, match=r"is damaged.* \(.+\); a whole .* is needed\. Write the name of an intact copy"
    ):
        open_picture(path).read()


def test_a_changed_byte_in_a_png_is_refused(tmp_path):
    data = bytearray(encoded("png"))
    data[len(data) // 2] ^= 0x40
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(FileError, match="is damaged"):
        open_picture(tmp_path / "a.png").read()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"hello world\n" * 9, "is not a picture that can be read (buffer is not in a known format); PNG, JPEG, TIFF, WebP, GIF, HEIF, BMP, JPEG 2000, .npy and .npz are. Write it as PNG, for example"),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>', "is not a picture that can be read (its kind is svg); PNG"),
        ("empty.png", b"", "is empty; a file with content is needed. Write the name of another"),
        ("head.png", b"\x89PNG\r\n\x1a\n", "is damaged, or of a kind that libvips does not read ("),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError) as caught:
        open_picture(tmp_path / name).read()
    assert str(caught.value).startswith(f"{tmp_path / name} {words}")


def test_what_is_no_file_is_refused(tmp_path):
    for path, words in [
        (tmp_path / "none.png", "does not exist; a file is needed. Write the name of one that does"),
        (tmp_path, "is a directory; a file is needed. Write the name of one file in it"),
        (Path("/dev/zero"), "is a device or a pipe; a file is needed. Write the name of a file"),
    ]:
        with pytest.raises(FileError) as caught:
            open_picture(path)
        assert str(caught.value) == f"{path} {words}"


def test_samples_that_libvips_does_not_read_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4)))
    with pytest.raises(FileError, match=r"a kind that libvips does not read \(samples out of range\)"):
        open_picture(tmp_path / "a.tif")


# -- what cannot be written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "alpha", "words"),
    [
        ("a.bmp", (3, 8, 8), "u1", False, "a.bmp ends in .bmp; a picture is written as .png, .jpg, .jpeg, .tif, .tiff, .webp. Write a.png, for example"),
        ("a", (3, 8, 8), "u1", False, "a ends in nothing; a picture is written as"),
        ("a.png", (3, 8, 8), "f4", False, "the picture is RGB, 32 bit float, which PNG cannot contain. Write a.tif"),
        ("a.jpg", (5, 8, 8), "u1", False, "the picture is 5 channels, 8 bit, which JPEG cannot contain. Write a.tif"),
        ("a.png", (4, 8, 8), "u1", False, "the picture is 4 channels, 8 bit, which PNG cannot contain. Write a.tif"),
        ("a.webp", (3, 8, 20000), "u1", False, "the picture would be 20000 x 8, and WebP allows at most 16383 pixels a side. Write a.png"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(name, shape, dtype, alpha, words):
    with pytest.raises(FileError) as caught:
        format_for(Path(name), shape, np.dtype(dtype), alpha)
    assert str(caught.value).startswith(words)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a full disk on Linux")
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_a_full_disk_is_named(ending):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 200, 200)).astype(np.uint8)
    form, _ = format_for(Path(f"a{ending}"), pixels.shape, pixels.dtype, alpha=False)
    words = rf"{form.name} could not be written: No space left on device\. Free some space, or write to another disk"
    with open("/dev/full", "wb") as full, pytest.raises(FileError, match=words):
        write_picture(full, form, pixels, alpha=False)


def test_jpeg_says_what_it_does_not_keep(tmp_path):
    pixels = np.zeros((4, 16, 16), np.uint16)
    pixels[:3], pixels[3] = 257 * 200, 65535
    pixels[3, :, :8] = 0
    form, lost = format_for(tmp_path / "a.jpg", pixels.shape, pixels.dtype, True)
    assert lost == ["16 bit become 8", "alpha composed over white", "JPEG quality 95"]
    with (tmp_path / "a.jpg").open("wb") as file:
        write_picture(file, form, pixels, alpha=True)
    seen = np.asarray(Image.open(tmp_path / "a.jpg")).astype(int)
    assert seen.shape == (16, 16, 3)
    assert np.abs(seen[:, :8] - 255).max() <= 1
    assert np.abs(seen[:, 8:] - 200).max() <= 1


def test_sixteen_bits_become_eight_by_the_ratio_of_their_whites(tmp_path):
    levels = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    form, _ = format_for(tmp_path / "a.webp", levels.shape, levels.dtype, False)
    with (tmp_path / "a.webp").open("wb") as file:
        write_picture(file, form._replace(options={"lossless": True}), levels, alpha=False)
    seen = np.asarray(Image.open(tmp_path / "a.webp").convert("RGB"))[:, :, 0]
    np.testing.assert_array_equal(seen.ravel(), np.rint(np.arange(65536) / 257))


def test_words():
    assert describe(1, np.uint8, False) == "grey, 8 bit"
    assert describe(2, np.uint16, True) == "grey with alpha, 16 bit"
    assert describe(3, np.int16, False) == "RGB, 16 bit signed"


def test_without_pyvips_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    words = 'reading and writing pictures needs pyvips, which is not installed. Write: pip install "tconv[cli]"'
    with pytest.raises(MissingExtraError) as caught:
        open_picture(tmp_path / "a.png")
    assert str(caught.value) == words


def test_importing_the_readers_loads_no_libvips():
    code = "import sys, tconv.io.picture_reading; assert 'pyvips' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
