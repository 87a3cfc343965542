"""Picture files of every mode: the pixels that Pillow, tifffile and libvips write are read, and damage is refused."""

import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

import tconv
from tconv.errors import FileError, MissingExtraError
from tconv.io.output_files import NewFile
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
    """Return the pixels in the layout of Pillow and tifffile: [H, W, C], or [H, W] of one channel."""
    pixels = np.moveaxis(picture.read(), 0, 2)
    return pixels[:, :, 0] if picture.shape[0] == 1 else pixels


# -- modes ---------------------------------------------------------------------------------------------------------


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


# -- orientation and pages -----------------------------------------------------------------------------------------


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


# -- refusals of readers -------------------------------------------------------------------------------------------


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
    with pytest.raises(FileError, match=r"is damaged.* \(.+\); a whole .* is needed\. Choose an intact copy"):
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
        ("text.png", b"hello world\n" * 9, "is not a picture that can be read (buffer is not in a known format); PNG, JPEG, TIFF, WebP, GIF, HEIF, BMP, JPEG 2000, .npy and .npz are. Save it as PNG, for example"),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>', "is not a picture that can be read (its kind is svg); PNG"),
        ("empty.png", b"", "is empty. Choose another file"),
        ("head.png", b"\x89PNG\r\n\x1a\n", "is damaged, or of a kind that libvips does not read ("),
    ],
)  # fmt: skip
def test_files_that_are_not_pictures_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError) as caught:
        open_picture(tmp_path / name).read()
    assert str(caught.value).startswith(f"{tmp_path / name} {words}")


def test_paths_that_are_not_files_are_refused(tmp_path):
    for path, words in [
        (tmp_path / "none.png", "does not exist; a file is needed. Choose one that does"),
        (tmp_path, "is a directory; a file is needed. Choose a file in it"),
        (Path("/dev/zero"), "is a device or a pipe; a file is needed. Choose another"),
    ]:
        with pytest.raises(FileError) as caught:
            open_picture(path)
        assert str(caught.value) == f"{path} {words}"


def test_samples_that_no_reader_has_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4)))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages[0].tags["BitsPerSample"].valueoffset
    data[place] = 24
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(
        FileError, match=r"that libvips does not read \(.*\).*save it in grey, .* as a TIFF with Deflate"
    ):
        open_picture(tmp_path / "a.tif").read()


# -- refusals of writers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "alpha", "words"),
    [
        ("a.bmp", (3, 8, 8), "u1", False, "a.bmp ends in .bmp; a picture is written as .png, .jpg, .jpeg, .tif, .tiff, .webp. Write a.png, for example"),
        ("a", (3, 8, 8), "u1", False, "a has no file ending; a picture is written as"),
        ("a.png", (3, 8, 8), "f4", False, "the picture is RGB, 32 bit float, which PNG cannot contain. Write a.tif"),
        ("a.jpg", (5, 8, 8), "u1", False, "the picture is 5 channels, 8 bit, which JPEG cannot contain. Write a.tif"),
        ("a.png", (4, 8, 8), "u1", False, "the picture is 4 channels, 8 bit, which PNG cannot contain. Write a.tif"),
        ("a.webp", (3, 8, 20000), "u1", False, "the picture would be 20000 x 8, and WebP allows at most 16383 pixels a side. Write a.png"),
    ],
)  # fmt: skip
def test_pictures_that_a_format_cannot_contain_are_refused(name, shape, dtype, alpha, words):
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


def test_the_losses_of_jpeg_are_noted(tmp_path):
    pixels = np.zeros((4, 16, 16), np.uint16)
    pixels[:3], pixels[3] = 257 * 200, 65535
    pixels[3, :, :8] = 0
    form, lost = format_for(tmp_path / "a.jpg", pixels.shape, pixels.dtype, True)
    assert lost == ["16 bit become 8", "alpha composited over white", "JPEG quality 95"]
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


def test_descriptions():
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


# -- resolution ----------------------------------------------------------------------------------------------------


def dpi_of(path):
    """Return the pixels per inch as Pillow reads them."""
    image = Image.open(path)
    if "dpi" in image.info and image.format != "JPEG":  # of those, Pillow takes one number of the two in EXIF
        return tuple(round(float(value), 1) for value in image.info["dpi"])
    exif = image.getexif()
    assert exif[0x0128] == 2  # inches
    return tuple(round(float(exif[tag]), 1) for tag in (0x011A, 0x011B))


def with_resolution(tmp_path, ending, dpi, image=None):
    """Write a picture file that states its resolution, as its format does, and return its path."""
    path, image = tmp_path / f"source{ending}", image or Image.fromarray(SMOOTH)
    if ending in (".webp", ".avif"):
        exif = Image.Exif()
        exif[0x011A], exif[0x011B], exif[0x0128] = float(dpi[0]), float(dpi[1]), 2
        image.save(path, exif=exif)
    else:
        image.save(path, dpi=dpi)
    return path


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp", ".bmp", ".avif"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("dpi", [(300, 300), (72, 72), (600, 300)])
def test_the_resolution_stays(tmp_path, source, target, dpi):
    path = with_resolution(tmp_path, source, dpi)
    assert open_picture(path).resolution == pytest.approx(dpi, abs=0.02)
    large = tconv.upsample(path, 3, kernel="nearest", output=tmp_path / f"large{target}")
    assert dpi_of(large) == dpi
    assert Image.open(large).size == (3 * 56, 3 * 40)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp", ".gif", ".bmp", ".jp2"])
def test_without_a_resolution_72_is_written(tmp_path, ending):
    path = tmp_path / f"source{ending}"
    Image.fromarray(SMOOTH).save(path, **({"dpi": (0, 0)} if ending == ".bmp" else {}))
    assert open_picture(path).resolution is None
    for target in (".png", ".jpg", ".tif", ".webp"):
        assert dpi_of(tconv.upsample(path, kernel="nearest", output=tmp_path / f"large{target}")) == (72, 72)


def test_a_turned_picture_has_its_resolution_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SMOOTH).save(tmp_path / "a.png", dpi=(600, 300), exif=exif)
    assert dpi_of(tconv.upsample(tmp_path / "a.png", output=tmp_path / "b.png")) == (300, 600)


@pytest.mark.parametrize(("unit", "expected"), [(1, None), (2, (96, 48)), (3, (96 * 2.54, 48 * 2.54))])
def test_units_of_tiff(tmp_path, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", SMOOTH, photometric="rgb", resolution=(96, 48), resolutionunit=unit)
    found = open_picture(tmp_path / "a.tif").resolution
    assert found is None if expected is None else found == pytest.approx(expected, abs=0.01)


# -- BMP and JPEG 2000 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "plain", "words", "notes"),
    [
        ("1", "L", "grey, 8 bit", ["1 bit read as 8"]),
        ("L", "L", "grey, 8 bit", []),
        ("P", "RGB", "RGB, 8 bit", []),
        ("RGB", "RGB", "RGB, 8 bit", []),
    ],
)
def test_bmp(tmp_path, mode, plain, words, notes):
    image = Image.fromarray(RGB).convert(mode)
    picture = open_picture(saved(tmp_path, image, "a.bmp"))
    assert (picture.description, picture.notes, picture.alpha) == (f"BMP, {words}", notes, False)
    np.testing.assert_array_equal(rows(picture), np.asarray(image.convert(plain)))


def bitmap(width, height, bits, data, masks=(), palette=b"", compression=0, core=False):
    """Return the bytes of a BMP file with this header, palette and data."""
    masked = b"".join(mask.to_bytes(4, "little") for mask in masks)
    if core:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    elif len(masks) == 4:
        rest = masked + b"\0" * 52
        header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, bits, compression, len(data), 0, 0, 0, 0) + rest
    else:
        colours = len(palette) // 4
        header = (
            struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colours, 0) + masked
        )
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + header + palette + data


def opened(tmp_path, data, name="a.bmp"):
    (tmp_path / name).write_bytes(data)
    return open_picture(tmp_path / name)


def test_bmp_of_16_bits_a_pixel(tmp_path):
    red, green, blue = 31 << 10, 31 << 5, 31
    data = struct.pack("<4H", red, green, blue, red | green | blue) + struct.pack("<4H", 0, 16, 16 << 5, 16 << 10)
    picture = opened(tmp_path, bitmap(4, 2, 16, data))
    assert (picture.description, picture.notes) == ("BMP, RGB, 8 bit", ["5 bit read as 8"])
    np.testing.assert_array_equal(picture.read()[:, 1].T, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    wide = bitmap(
        4, 2, 16, struct.pack("<8H", *[0xF800, 0x7E0, 0x1F, 0xFFFF] * 2), (0xF800, 0x7E0, 0x1F), compression=3
    )
    np.testing.assert_array_equal(
        opened(tmp_path, wide).read()[:, 0].T, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    )


def test_bmp_of_32_bits_a_pixel(tmp_path):
    """A fourth byte is opacity only if a mask states it."""
    rgba = np.random.default_rng(0).integers(1, 256, (2, 3, 4), dtype=np.uint8)
    data = rgba[::-1, :, [2, 1, 0, 3]].tobytes()
    picture = opened(tmp_path, bitmap(3, 2, 32, data, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), compression=3))
    assert (picture.description, picture.alpha) == ("BMP, RGB with alpha, 8 bit", True)
    np.testing.assert_array_equal(np.moveaxis(picture.read(), 0, 2), rgba)
    plain = opened(tmp_path, bitmap(3, 2, 32, data))
    assert plain.description == "BMP, RGB, 8 bit"
    np.testing.assert_array_equal(np.moveaxis(plain.read(), 0, 2), rgba[:, :, :3])


def test_bmp_of_4_bits_top_down_os2_and_run_lengths(tmp_path):
    palette = b"".join(bytes([n * 16, 255 - n * 16, n, 0]) for n in range(16))
    colours = np.array([(n, 255 - n * 16, n * 16) for n in range(16)])
    index = np.array([[1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1]])
    packed = (index[::-1, ::2] * 16 + index[::-1, 1::2]).astype("u1").tobytes()
    for data in (
        bitmap(8, 2, 4, packed, palette=palette),
        bitmap(8, -2, 4, packed[4:] + packed[:4], palette=palette),
        bitmap(
            8,
            2,
            4,
            bytes([0, 8, 0x87, 0x65, 0x43, 0x21, 0, 0, 0, 8, 0x12, 0x34, 0x56, 0x78, 0, 1]),
            palette=palette,
            compression=2,
        ),
        bitmap(8, 2, 4, packed, palette=b"".join(palette[4 * n : 4 * n + 3] for n in range(16)), core=True),
    ):
        picture = opened(tmp_path, data)
        assert (picture.description, picture.notes) == ("BMP, RGB, 8 bit", [])
        np.testing.assert_array_equal(np.moveaxis(picture.read(), 0, 2), colours[index])
    runs = bytes([4, 1, 4, 2, 0, 0, 8, 3, 0, 1])
    eight = opened(tmp_path, bitmap(8, 2, 8, runs, palette=palette + b"\0" * 4 * 240, compression=1))
    np.testing.assert_array_equal(np.moveaxis(eight.read(), 0, 2), colours[[[3] * 8, [1] * 4 + [2] * 4]])


@pytest.mark.parametrize("ending", [".jp2", ".j2k"])
@pytest.mark.parametrize(
    ("mode", "words"),
    [("L", "grey, 8 bit"), ("LA", "grey with alpha, 8 bit"), ("RGB", "RGB, 8 bit"), ("RGBA", "RGB with alpha, 8 bit")],
)
def test_jpeg_2000(tmp_path, mode, words, ending):
    image = Image.fromarray(SMOOTH).convert(mode)
    picture = open_picture(saved(tmp_path, image, f"a{ending}"))
    assert (picture.description, picture.notes, picture.alpha) == (f"JPEG 2000, {words}", [], mode.endswith("A"))
    np.testing.assert_array_equal(rows(picture), np.asarray(image))


def test_grey_jpeg_2000_of_16_bits(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (12, 10), dtype=np.uint16)
    picture = open_picture(saved(tmp_path, Image.fromarray(pixels), "a.jp2"))
    assert (picture.description, picture.dtype, picture.notes) == ("JPEG 2000, grey, 16 bit", np.uint16, [])
    np.testing.assert_array_equal(rows(picture), pixels)
    assert tconv.upsample(tmp_path / "a.jp2").dtype == np.uint16


def test_jpeg_2000_colours_of_16_bits_are_refused(tmp_path):
    """Pillow would turn white into black. Only the header is changed here, because it writes no such file."""
    path = saved(tmp_path, Image.fromarray(SMOOTH), "a.j2k")
    data = bytearray(path.read_bytes())
    data[42] = data[45] = data[48] = 15
    path.write_bytes(data)
    with pytest.raises(FileError, match="has colours of 16 bits, which Pillow does not read correctly"):
        open_picture(path)


@pytest.mark.parametrize("part", [0.0005, 0.01, 0.05, 0.5, 0.98, 0.9999])
@pytest.mark.parametrize("name", ["a.bmp", "a.jp2", "a.j2k", "run.bmp"])
def test_a_cut_bmp_or_jpeg_2000_is_refused(tmp_path, name, part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if name == "run.bmp":
        palette = b"".join(bytes([n, 255 - n, 3, 0]) for n in range(256))
        lines = b"".join(b"".join(bytes([1, 7 * n % 256]) for n in range(64)) + b"\0\0" for _ in range(64)) + b"\0\1"
        data = bitmap(64, 64, 8, lines, palette=palette, compression=1)
    else:
        data = saved(tmp_path, Image.fromarray(noise), name).read_bytes()
    cut = data[: max(2, int(part * len(data)))]
    if name == "run.bmp" and part >= 0.9999:
        cut = data[:-200]
    with pytest.raises(FileError, match=r"is damaged|is not a picture that can be read"):
        opened(tmp_path, cut, name).read()


@pytest.mark.parametrize("ending", [".bmp", ".jp2"])
def test_a_changed_byte_is_read_or_refused_and_never_crashes(tmp_path, ending):
    whole = saved(tmp_path, Image.fromarray(RGB), f"a{ending}").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for place in [*range(2, min(130, len(whole))), *rng.integers(len(whole), size=60)]:
        data = bytearray(whole)
        data[place] ^= int(rng.integers(1, 256))
        try:
            picture = opened(tmp_path, bytes(data), f"b{ending}")
            if np.prod(picture.shape, dtype=float) < 1e6:
                picture.read()
        except FileError:
            refused += 1
    assert refused > 10


def test_large_bmps_are_not_refused_for_their_size(tmp_path):
    """Image.open refuses more than 179 million pixels; here the memory of the machine decides."""
    header = bitmap(30000, 20000, 8, b"", palette=b"\1\2\3\0" * 256)
    picture = opened(tmp_path, header)
    assert picture.shape == (3, 20000, 30000)
    with pytest.raises(FileError, match="is damaged"):
        opened(tmp_path, bitmap(300, 200, 8, b"", palette=b"\1\2\3\0" * 256)).read()


# -- what files may state --------------------------------------------------------------------------------------------


def profile():
    """Return a profile of sRGB as other programs embed it."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def jpeg2000_with(icc, path):
    """Write a JPEG 2000 file whose colour box holds a profile, which Pillow does not write."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (10, 20, 30)).save(buffer, "JPEG2000")
    data = buffer.getvalue()
    place = data.index(b"colr") - 4
    size = int.from_bytes(data[place : place + 4], "big")
    box = (11 + len(icc)).to_bytes(4, "big") + b"colr\2\0\0" + icc
    header = data.index(b"jp2h") - 4
    longer = int.from_bytes(data[header : header + 4], "big") + len(box) - size
    data = data[:place] + box + data[place + size :]
    path.write_bytes(data[:header] + longer.to_bytes(4, "big") + data[header + 4 :])


def bmp_with(icc, path):
    """Write a bitmap of version 5 with a profile behind its pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2), (10, 20, 30)).save(buffer, "BMP")
    pixels = buffer.getvalue()[54:]
    header = (124).to_bytes(4, "little") + buffer.getvalue()[18:54] + bytes(16)
    header += b"DEBM" + bytes(36 + 12 + 4) + (124 + len(pixels)).to_bytes(4, "little")
    header += len(icc).to_bytes(4, "little") + bytes(4)
    start = (14 + 124).to_bytes(4, "little")
    size = (14 + 124 + len(pixels) + len(icc)).to_bytes(4, "little")
    path.write_bytes(b"BM" + size + bytes(4) + start + header + pixels + icc)


@pytest.mark.parametrize(("write", "ending"), [(jpeg2000_with, "jp2"), (bmp_with, "bmp")])
def test_a_colour_profile_is_read_through_pillow(tmp_path, write, ending):
    icc, path = profile(), tmp_path / f"a.{ending}"
    write(icc, path)
    assert open_picture(path).profile == icc
    assert (open_picture(path).read()[:, 0, 0] == [10, 20, 30]).mean() >= 2 / 3  # JPEG 2000 may round a colour
    write(icc[:200], path)  # a profile that breaks off
    assert open_picture(path).profile is None


@pytest.mark.parametrize("text", ["1e400", "1e30000000", "inf", "nan", "-300", "1/0", "300/", "4294967295"])
def test_a_resolution_that_no_picture_has_is_not_read(tmp_path, text):
    value = text.encode() + b"\0"
    entries = [struct.pack("<HHII", tag, 2, len(value), 38) for tag in (282, 283)]  # XResolution, YResolution as text
    block = b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + bytes(4) + value
    Image.new("RGB", (4, 4)).save(tmp_path / "a.webp", exif=b"Exif\0\0" + block)
    assert open_picture(tmp_path / "a.webp").resolution is None


@pytest.mark.parametrize("dpi", [2.6e7, 1e5, 0.01])
@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_absurd_resolutions_are_not_kept(tmp_path, dpi, ending):
    Image.new("RGB", (4, 4)).save(tmp_path / f"a.{ending}", dpi=(dpi, dpi))
    assert open_picture(tmp_path / f"a.{ending}").resolution is None


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">i4"])
def test_the_order_of_bytes_in_memory_does_not_matter(tmp_path, dtype):
    pixels = (np.random.default_rng(0).random((3, 4, 5)) * 60000).astype(dtype)
    form, _ = format_for(tmp_path / "a.tif", pixels.shape, pixels.dtype, alpha=False)
    with open(tmp_path / "a.tif", "wb") as file:
        write_picture(file, form, pixels, alpha=False)
    np.testing.assert_array_equal(open_picture(tmp_path / "a.tif").read(), pixels)


def test_threads_write_files_of_their_own(tmp_path):
    """Names that share their first 100 characters, and one name of the longest kind."""
    names = [tmp_path / ("x" * 120 + f"{number}.bin") for number in range(16)] + [tmp_path / ("字" * 80 + ".bin")]

    def write(path):
        with NewFile([path]) as new:
            for _ in range(50):
                new.file.write(path.name.encode())
        return path.read_bytes() == path.name.encode() * 50

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, names))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in names)
