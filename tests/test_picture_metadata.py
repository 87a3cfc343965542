"""EXIF, XMP, IPTC and texts of pictures: kept where the format has a place, changed where they would lie, else named."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

import tconv
from tconv.io.exif import Exif
from tconv.io.picture_reading import open_picture

pytest.importorskip("pyvips")

PIXELS = np.add.outer(np.arange(20), np.arange(30))[:, :, None] * np.array([1, 2, 3], np.uint8)
PIXELS = PIXELS.clip(0, 255).astype(np.uint8)
FORMATS = [".jpg", ".png", ".webp", ".tif"]
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" tiff:Orientation="6" exif:PixelXDimension="30" '
    b'GPano:FullPanoWidthPixels="90" tiff:Make="Ours"><exif:PixelYDimension>20</exif:PixelYDimension>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def exif(orientation=1):
    """Return made-up EXIF data of a camera, with GPS, sizes, places in pixels and a maker note."""
    data = Image.Exif()
    data[0x010F], data[0x0132], data[0x8298], data[0x0112] = "Maker", "2020:01:02 03:04:05", "(c) me", orientation
    camera = data.get_ifd(0x8769)
    camera[0x9003], camera[0x927C], camera[0x9286] = "2020:01:02 03:04:05", b"note\0\1\2\xff", b"ASCII\0\0\0hello"
    camera[0xA002], camera[0xA003], camera[0xA210], camera[0x9214] = 30, 20, 2, (10, 5)
    camera[0xA20E], camera[0xA20F], camera[0x829A] = IFDRational(8001, 2), IFDRational(12001, 4), IFDRational(1, 200)
    place = data.get_ifd(0x8825)
    place[0], place[1], place[2] = b"\2\3\0\0", "N", (48.0, 12.5, 3.25)
    return data


def source(path, data):
    if path.suffix == ".tif":  # Pillow writes no EXIF directory into TIFF files
        return tconv.upsample(source(path.with_suffix(".png"), data), 1, kernel="nearest", output=path)
    image = Image.fromarray(PIXELS)
    image.save(path, exif=data, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def found(path):
    """Return the directories as Pillow reads them: main, camera, GPS."""
    data = Image.open(path).getexif()
    return dict(data), dict(data.get_ifd(0x8769)), dict(data.get_ifd(0x8825))


@pytest.mark.parametrize("from_", FORMATS)
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_stays_and_does_not_lie(tmp_path, from_, to, orientation):
    large = tconv.upsample(source(tmp_path / f"a{from_}", exif(orientation)), 2, output=tmp_path / f"b{to}")
    main, camera, place = found(large)
    assert (main[0x010F], main[0x0132], main[0x8298]) == ("Maker", "2020:01:02 03:04:05", "(c) me")
    assert main.get(0x0112, 1) == 1
    assert place == {0: b"\2\3\0\0", 1: "N", 2: (48.0, 12.5, 3.25)}
    assert (camera[0x9003], camera[0x927C]) == ("2020:01:02 03:04:05", b"note\0\1\2\xff")
    assert (camera[0x9286], float(camera[0x829A])) == (b"ASCII\0\0\0hello", 0.005)
    assert (camera[0xA002], camera[0xA003]) == Image.open(large).size == ((60, 40) if orientation == 1 else (40, 60))
    along_width = (8001, 6000.5) if orientation == 1 else (6000.5, 8001)
    assert (float(camera[0xA20E]), float(camera[0xA20F])) == along_width
    if orientation == 1:
        assert camera[0x9214] == (20, 10)
    else:
        assert 0x9214 not in camera
    upright = np.asarray(ImageOps.exif_transpose(Image.open(large)).convert("RGB"))
    np.testing.assert_array_equal(upright, np.asarray(Image.open(large).convert("RGB")))


def test_a_thumbnail_is_left_out(tmp_path):
    small = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 0, 0)).save(small, "JPEG")
    block, picture = exif().tobytes(), small.getvalue()
    start = block.index(b"II") if b"II" in block[:8] else block.index(b"MM")
    order = "<" if block[start : start + 2] == b"II" else ">"
    tiff = bytearray(block[start:])
    first = struct.unpack(order + "I", tiff[4:8])[0]
    link = first + 2 + 12 * struct.unpack(order + "H", tiff[first : first + 2])[0]
    tiff[link : link + 4] = struct.pack(order + "I", len(tiff))
    directory = struct.pack(order + "H", 2) + struct.pack(order + "HHII", 513, 4, 1, len(tiff) + 30)
    tiff += directory + struct.pack(order + "HHII", 514, 4, 1, len(picture)) + bytes(4) + picture
    path = source(tmp_path / "a.jpg", b"Exif\0\0" + bytes(tiff))
    assert picture in path.read_bytes()
    for ending in FORMATS:
        large = tconv.upsample(path, output=tmp_path / f"b{ending}")
        assert not dict(Image.open(large).getexif().get_ifd(1))
        assert picture not in large.read_bytes()
        assert found(large)[0][0x010F] == "Maker"


def test_a_block_of_our_own_is_read_as_it_was():
    data = Exif.of_block(exif(6).tobytes())
    again = Exif.of_block(data.block())
    assert (again.main, again.camera, again.place) == (data.main, data.camera, data.place)
    assert 0x0112 not in again.main


@pytest.mark.parametrize("seed", range(3))
def test_damaged_exif_is_named_or_read(tmp_path, seed):
    rng, block = np.random.default_rng(seed), exif().tobytes()
    for _ in range(40):
        broken = bytearray(block[: rng.integers(8, len(block))] if rng.random() < 0.3 else block)
        for _ in range(3):
            broken[rng.integers(6, len(broken))] = rng.integers(256)
        path = source(tmp_path / "a.webp", bytes(broken))
        picture = open_picture(path)
        assert picture.metadata.exif or "damaged EXIF" in picture.metadata.lost or not picture.metadata.kinds()
        for ending in (".tif", ".jpg"):
            tconv.upsample(path, kernel="nearest", output=tmp_path / f"b{ending}", overwrite=True)
            Image.open(tmp_path / f"b{ending}").load()


@pytest.mark.parametrize("from_", FORMATS)
@pytest.mark.parametrize("to", FORMATS)
def test_xmp_stays_and_does_not_lie(tmp_path, from_, to):
    path, image = tmp_path / f"a{from_}", Image.fromarray(PIXELS)
    if from_ == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(path, pnginfo=info)
    elif from_ == ".tif":
        image.save(path, tiffinfo={700: XMP})
    else:
        image.save(path, xmp=XMP)
    large = Image.open(tconv.upsample(path, 2, output=tmp_path / f"b{to}"))
    xmp = large.info["XML:com.adobe.xmp"].encode() if to == ".png" else large.info["xmp"]
    expected = XMP.replace(b'Orientation="6"', b'Orientation="1"').replace(b'="30"', b'="60"').replace(b">20<", b">40<")
    assert xmp.rstrip(b"\0") == expected.replace(b'="90"', b'="180"')


# -- IPTC, comments and texts --------------------------------------------------------------------------------------

IPTC = b"\x1c\x02\x00\x00\x02\x00\x04\x1c\x02\x69\x00\x08Headline"


def resources(*pairs):
    return b"".join(
        b"8BIM" + struct.pack(">HHI", kind, 0, len(data)) + data + bytes(len(data) % 2) for kind, data in pairs
    )


def with_segment(data, marker, content):
    return data[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content + data[2:]


def jpeg(path, **options):
    Image.fromarray(PIXELS).save(path, quality=95, **options)
    return path


def test_iptc_between_jpeg_and_tiff(tmp_path):
    path = jpeg(tmp_path / "a.jpg")
    block = b"Photoshop 3.0\0" + resources((1005, b"x" * 15), (0x0404, IPTC), (1036, b"thumbnail"))
    path.write_bytes(with_segment(path.read_bytes(), 0xED, block))
    for _ in range(2):
        tiff = tconv.upsample(path, output=tmp_path / "b.tif", overwrite=True)
        with tifffile.TiffFile(tiff) as file:
            assert bytes(file.pages[0].tags[33723].value) == IPTC
        path = tconv.upsample(tiff, output=tmp_path / "c.jpg", overwrite=True)
        assert Image.open(path).info["photoshop"] == {0x0404: IPTC}


@pytest.mark.parametrize("order", ["<", ">"])
def test_iptc_that_a_tiff_file_calls_numbers(tmp_path, order):
    padded = IPTC + bytes(-len(IPTC) % 4)
    numbers = np.frombuffer(padded, f"{order}u4").tolist()
    tags = [(33723, 4, len(numbers), numbers, True)]
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", byteorder=order, extratags=tags, metadata=None)
    assert open_picture(tmp_path / "a.tif").metadata.iptc == padded


@pytest.mark.parametrize("comment", ["made up", "Grüße, 字"])
def test_comments_of_jpeg(tmp_path, run, monkeypatch, comment):
    monkeypatch.chdir(tmp_path)
    jpeg("a.jpg", comment=comment.encode())
    tconv.upsample("a.jpg", output="b.jpg")
    assert Image.open("b.jpg").info["comment"] == comment.encode()
    image = Image.open(tconv.upsample("a.jpg", output="b.png"))
    image.load()
    assert image.text["Comment"] == comment
    assert "not kept: comments" in run("a.jpg", "-o", "b.tif")[1]
    assert "not kept: comments" in run("a.jpg", "-o", "b.webp")[1]
    Image.fromarray(PIXELS).save("a.gif", comment=comment.encode())
    tconv.upsample("a.gif", output="c.jpg")
    assert Image.open("c.jpg").info["comment"] == comment.encode()


def test_texts_of_png_stay_as_they_are(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_text("Long", "z" * 500, zip=True)
    info.add_itxt("Beschreibung", "Größe, 字", "de", "Beschreibung")
    Image.fromarray(PIXELS).save("a.png", pnginfo=info)
    image = Image.open(tconv.upsample("a.png", output="b.png"))
    image.load()
    assert dict(image.text) == {"Title": "a title", "Long": "z" * 500, "Beschreibung": "Größe, 字"}
    assert image.text["Beschreibung"].lang == "de"
    assert "not kept: texts" in run("a.png", "-o", "b.jpg")[1]
    open_picture(tmp_path / "b.png").read()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*chunks):
    """Return a PNG file with chunks behind its header."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    data = file.getvalue()
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize(
    ("chunks", "lost"),
    [
        ([chunk(b"gAMA", struct.pack(">I", 100000))], ["gamma 1"]),
        ([chunk(b"gAMA", struct.pack(">I", 45455))], []),
        ([chunk(b"gAMA", struct.pack(">I", 100000)), chunk(b"sRGB", b"\0")], []),
        ([chunk(b"cHRM", bytes(32))], ["chromaticities"]),
        ([chunk(b"cICP", b"\x09\x10\0\1")], ["cICP chunk"]),
        ([chunk(b"oFFs", bytes(9)), chunk(b"tIME", bytes(7))], ["oFFs chunk"]),
    ],
)
def test_chunks_that_are_lost_are_named(tmp_path, chunks, lost):
    (tmp_path / "a.png").write_bytes(png_with(*chunks))
    assert open_picture(tmp_path / "a.png").metadata.lost == lost


def test_segments_that_are_lost_are_named(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = jpeg(tmp_path / "a.jpg").read_bytes()
    data = with_segment(with_segment(data, 0xE2, b"MPF\0II*\0" + bytes(20)), 0xEB, b"JP\0\1" + bytes(20))
    (tmp_path / "a.jpg").write_bytes(data)
    assert "not kept: content credentials (JUMBF), further pictures (MPF)" in run("a.jpg", "-o", "b.png")[1]


def test_exif_of_more_than_a_segment(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = exif()
    data.get_ifd(0x8769)[0x927C] = bytes(70000)
    Image.fromarray(PIXELS).save("a.png", exif=data)
    code, out, _ = run("a.png", "-o", "b.jpg")
    assert (code, "not kept: EXIF" in out) == (0, True)
    tconv.upsample("a.png", output="b.tif")
    assert len(found("b.tif")[1][0x927C]) == 70000


@pytest.mark.parametrize("still", [False, True])
def test_frames_of_an_animated_png(tmp_path, still):
    frames = [Image.new("RGB", (9, 8), (60 * n, 0, 0)) for n in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=still)
    picture = open_picture(tmp_path / "a.png")
    assert picture.notes == ["first of 3 pages"]
    assert not picture.read().any()


def test_a_description_that_a_program_wrote_for_itself(tmp_path):
    for description, stays in (('{"shape": [20, 30, 3]}', False), ("ImageJ=1.5\nimages=1", False), ("my photo", True)):
        tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", description=description, metadata=None)
        with tifffile.TiffFile(tconv.upsample(tmp_path / "a.tif", output=tmp_path / "b.tif", overwrite=True)) as file:
            assert file.pages[0].description == (description if stays else "")
            assert file.asarray().shape == (40, 60, 3)
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, photometric="rgb", ome=True)
    assert tifffile.imread(tconv.upsample(tmp_path / "a.ome.tif", output=tmp_path / "c.tif")).shape == (40, 60, 3)


def test_a_resolution_that_the_exif_block_does_not_state(tmp_path):
    path = source(tmp_path / "a.webp", exif())
    assert open_picture(path).resolution is None
