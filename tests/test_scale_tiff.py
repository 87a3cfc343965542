"""TIFF files read and written by tiles: the numbers of the whole, of any compression, layout, type and page."""

import io
import itertools
import logging
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from tconv.errors import ArgumentError, DtypeError, FileError, ShapeError, TconvError, TooLargeError
from tconv.geometry import Geometry
from tconv.io.picture import ASSOCIATED, GREY, RGB, UNASSOCIATED, Samples
from tconv.io.picture_reading import open_picture
from tconv.io.tiff_directory import LONG, SHORT, Tag, directory, head
from tconv.scale.functional import verify
from tconv.scale.job import Job
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.regions import grid, tile_count, whole
from tconv.scale.stores.formats import open_source, target_for
from tconv.scale.stores.tiff_source import TiffSource
from tconv.scale.stores.tiff_target import TiffTarget
from tconv.scale.tile_run import Stage

pyvips = pytest.importorskip("pyvips")

H, W = 37, 53
TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8"]


def made_up(shape, dtype="u1", seed=0):
    """Return random numbers over the range of a type."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind in "fc":
        return (rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.kind == "c" else 0)).astype(
            dtype
        )
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def all_of(source, image=0):
    """Return a whole image [C, *sizes], read at once."""
    return source.read(image, whole(source.shape[2:]))


def assert_regions(source, expected, image=0, count=5, seed=3):
    """Compare the whole and random regions with an array [C, *sizes]."""
    assert source.dtype == expected.dtype
    assert np.array_equal(all_of(source, image), expected, equal_nan=expected.dtype.kind in "fc")
    rng = np.random.default_rng(seed)
    for _ in range(count):
        ends = [np.sort(rng.integers(0, size + 1, 2)).tolist() for size in expected.shape[1:]]
        region = tuple(slice(a, b) if a < b else slice(0, 1) for a, b in ends)
        got = source.read(image, region)
        assert got.flags.owndata
        assert np.array_equal(got, expected[:, *region], equal_nan=expected.dtype.kind in "fc")


# -- compressions, layouts, types ----------------------------------------------------------------------------------

BYTE_CODECS = [None, "lzw", "deflate", "zstd", "lzma", "packbits"]
PICTURE_CODECS = [("jpeg", "u1"), ("jpeg2000", "u1"), ("jpeg2000", "u2"), ("webp", "u1"), ("png", "u1"), ("png", "u2")]
PICTURE_CODECS += [("jpegxl", "u1"), ("jpegxr", "u2"), ("lerc", "f4"), ("lerc", "u1")]


@pytest.mark.parametrize("layout", [{"tile": (16, 32)}, {"rowsperstrip": 7}, {"rowsperstrip": H}])
@pytest.mark.parametrize("compression", BYTE_CODECS)
def test_every_compression_of_bytes(tmp_path, compression, layout):
    for dtype, planar in itertools.product(["u1", "u2", "f2", "f4", "i8"], [False, True]):
        pixels = made_up((3, H, W), dtype)
        stored = pixels if planar else np.moveaxis(pixels, 0, 2)
        config = "separate" if planar else "contig"
        tifffile.imwrite(
            tmp_path / "a.tif", stored, photometric="rgb", planarconfig=config, compression=compression, **layout
        )
        source = TiffSource(tmp_path / "a.tif")
        assert source.shape == (1, 3, H, W)
        assert_regions(source, pixels)


@pytest.mark.parametrize(("compression", "dtype"), PICTURE_CODECS)
def test_every_compression_of_pictures(tmp_path, compression, dtype):
    pixels = made_up((H, W, 3), dtype)
    for layout in ({"tile": (16, 32)}, {"rowsperstrip": 8}):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression, **layout)
        assert_regions(TiffSource(tmp_path / "a.tif"), np.moveaxis(tifffile.imread(tmp_path / "a.tif"), 2, 0))


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_and_byte_order(tmp_path, dtype):
    pixels = made_up((H, W), dtype)
    for order, compression in itertools.product("<>", [None, "deflate"]):
        tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=order, compression=compression, tile=(16, 16))
        assert_regions(TiffSource(tmp_path / "a.tif"), pixels[None], count=2)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8"])
def test_predictors(tmp_path, dtype):
    pixels = made_up((H, W, 3), dtype)
    for compression, big in itertools.product(["lzw", "deflate", "zstd"], [False, True]):
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric="rgb", compression=compression, predictor=True, bigtiff=big
        )
        assert_regions(TiffSource(tmp_path / "a.tif"), np.moveaxis(pixels, 2, 0), count=2)


def test_wide_uncompressed_strips_are_read_by_columns(tmp_path):
    pixels = made_up((6, 40_000, 3), "u2")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", rowsperstrip=6)
    source = TiffSource(tmp_path / "a.tif")
    assert source.block == (1, 1)  # no tile of a job has to be as wide as the strip
    assert_regions(source, np.moveaxis(pixels, 2, 0))
    assert np.array_equal(source.read(0, (slice(2, 5), slice(39_000, 40_000))), pixels[2:5, 39_000:].transpose(2, 0, 1))


# -- pages, stacks, pyramids ---------------------------------------------------------------------------------------


def test_pages_are_images_and_one_can_be_chosen(tmp_path):
    pages = made_up((5, H, W), "u2")
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", compression="lzw", metadata=None)
    source = open_source(tmp_path / "a.tif")
    assert source.shape == (5, 1, H, W)
    for number in range(5):
        assert_regions(source, pages[number][None], number, count=1)
    one = open_source(tmp_path / "a.tif", page=3)
    assert one.shape == (1, 1, H, W)
    assert one.notes == ["page 3 of 5"]
    assert_regions(one, pages[3][None])
    with pytest.raises(ArgumentError, match=r"page is 5, and .* has 5 of them; a number from 0 to 4 is needed"):
        open_source(tmp_path / "a.tif", page=5)


@pytest.mark.parametrize("options", [{"imagej": True, "truncate": True}, {"imagej": True}, {"ome": True}, {}])
def test_a_stack_in_depth(tmp_path, options):
    stack = made_up((6, H, W), "u2")
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "ZYX"}, **options)
    assert open_source(path).shape == (6, 1, H, W)
    volume = open_source(path, ndim=3)
    assert volume.shape == (1, 1, 6, H, W)
    assert volume.layout.names == ("Z", "Y", "X")
    assert_regions(volume, stack[None])


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_volumes_of_one_page(tmp_path, name):
    """Images of depth 1 are not one image of their number: the file says what its pages are."""
    for images, channels in itertools.product((1, 3), (1, 3)):
        x = made_up((images, channels, 1, 20, 30))
        written(tmp_path / name, x, (1, 16, 16))
        volumes = open_source(tmp_path / name, ndim=3)
        assert volumes.shape == x.shape
        assert_regions(volumes, x[-1], images - 1)
        assert open_source(tmp_path / name).shape == (images, channels, 20, 30)
        (tmp_path / name).unlink()
    stack = made_up((6, H, W))  # of no name: the depth, if the operator has one
    tifffile.imwrite(tmp_path / "b.tif", stack, description="ImageJ=1.53t\nimages=6\n", metadata=None)
    assert_regions(open_source(tmp_path / "b.tif", ndim=3), stack[None])


def test_a_file_that_changes_while_it_is_open(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, made_up((H, W)))
    source = open_source(path)
    before = source.identity()
    assert source.identity() == before
    os.utime(path, (1, 1))
    after = source.identity()
    assert after.pop("modified") != before.pop("modified")
    assert after == before
    path.unlink()
    with pytest.raises(FileError, match=r"a.tif cannot be read: No such file"):
        source.identity()


def test_axes_of_microscopes(tmp_path):
    stack = made_up((2, 3, 4, H, W), "u1")  # T, Z, C
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": "TZCYX"})
    pictures = open_source(tmp_path / "a.ome.tif")
    assert pictures.shape == (6, 4, H, W)  # channels are pages here
    assert_regions(pictures, stack[1, 2], 5)
    volumes = open_source(tmp_path / "a.ome.tif", ndim=3)
    assert volumes.shape == (2, 4, 3, H, W)
    assert_regions(volumes, stack[1].swapaxes(0, 1), 1)
    assert open_source(tmp_path / "a.ome.tif", axes="TZNYX").shape == (24, 1, H, W)
    with pytest.raises(ArgumentError, match=r"axes is 'ZYX'; .* has pages along .* Write axes='TZCYX'"):
        open_source(tmp_path / "a.ome.tif", axes="ZYX")


def test_axes_may_be_named_where_the_file_is_silent(tmp_path):
    stack = made_up((4, H, W))
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata=None)
    assert_regions(open_source(tmp_path / "a.tif", axes="CYX"), stack)
    assert open_source(tmp_path / "a.tif", axes="CYX").shape == (1, 4, H, W)


def test_levels_of_pyramids(tmp_path):
    pixels = made_up((64, 96, 3))
    small = pixels[::2, ::2]
    with tifffile.TiffWriter(tmp_path / "sub.ome.tif") as file:
        options = {"photometric": "rgb", "tile": (16, 16)}
        file.write(pixels, subifds=1, **options)
        file.write(small, subfiletype=1, **options)
    for level, expected in enumerate((pixels, small)):
        source = open_source(tmp_path / "sub.ome.tif", level=level)
        assert_regions(source, np.moveaxis(expected, 2, 0))
        assert f"level {level} of 2" in source.notes
    image = pyvips.Image.new_from_memory(pixels.tobytes(), 96, 64, 3, "uchar")
    for subifd in (False, True):
        image.tiffsave(str(tmp_path / "b.tif"), tile=True, pyramid=True, subifd=subifd, tile_width=16, tile_height=16)
        assert_regions(open_source(tmp_path / "b.tif"), np.moveaxis(pixels, 2, 0), count=1)
        assert open_source(tmp_path / "b.tif", level=1).shape == (1, 3, 32, 48)
    with pytest.raises(ArgumentError, match="level is 7"):
        open_source(tmp_path / "b.tif", level=7)


def test_a_slide_of_a_scanner(tmp_path):
    """The slide is the first series; a thumbnail and a label lie beside its levels."""
    pixels = made_up((64, 96, 3))
    with tifffile.TiffWriter(tmp_path / "a.svs", bigtiff=True) as file:
        options = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
        text = "Aperio Image Library v12.0.16\r\n96x64 [0,0 96x64] (16x16) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"
        file.write(pixels, tile=(16, 16), description=text, **options)
        file.write(pixels[::3, ::3], rowsperstrip=16, description=text, **options)
        file.write(pixels[::2, ::2], tile=(16, 16), description=text, **options)
        file.write(made_up((20, 30, 3)), rowsperstrip=16, description=text + " label", subfiletype=1, **options)
    for level, page in ((0, 0), (1, 2)):
        source = open_source(tmp_path / "a.svs", level=level)
        assert_regions(source, np.moveaxis(tifffile.imread(tmp_path / "a.svs", key=page), 2, 0))
        assert f"level {level} of 2" in source.notes


def test_one_axis_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", made_up((H, W)))
    with pytest.raises(ShapeError, match="has rows and columns, and the operator 1 spatial axis"):
        open_source(tmp_path / "a.tif", ndim=1)


# -- meaning: the same numbers and words as the reader of whole pictures -------------------------------------------


def assert_as_whole(path):
    """Compare pixels and their meaning with `open_picture`."""
    picture, source = open_picture(path), TiffSource(path)
    expected = picture.read()
    assert_regions(source, expected, count=3)
    mine = source.picture
    for name in ("shape", "dtype", "alpha", "has_bands", "profile", "resolution", "metadata", "masks_nodata"):
        assert getattr(mine, name) == getattr(picture, name), name
    assert np.array_equal(mine.read(), expected)
    return source


def test_bits_palettes_and_white_zeros(tmp_path):
    path = tmp_path / "a.tif"
    bilevel = made_up((H, W)) > 99
    for compression in ("raw", "group4", "group3", "tiff_lzw", "packbits"):
        Image.fromarray(bilevel).save(path, compression=compression)
        assert "1 bit read as 8" in assert_as_whole(path).notes
    grey = pyvips.Image.new_from_memory(made_up((H, W)).tobytes(), W, H, 1, "uchar")
    for bits, white in itertools.product((1, 2, 4, 8), (False, True)):
        grey.tiffsave(str(path), bitdepth=bits, miniswhite=white)
        assert_as_whole(path)
    Image.fromarray(made_up((H, W, 3))).quantize(16).save(path)
    assert "palette applied" in assert_as_whole(path).notes
    Image.fromarray(made_up((H, W))).quantize(200).save(path)
    assert assert_as_whole(path).shape == (1, 1, H, W)
    for dtype in ("u2", "f4"):
        tifffile.imwrite(path, made_up((H, W), dtype), photometric="miniswhite")
        assert_as_whole(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path, orientation):
    for layout in ({"tile": (16, 16), "compression": "deflate"}, {"rowsperstrip": 5}):
        tags = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(
            tmp_path / "a.tif", made_up((H, W, 3)), photometric="rgb", extratags=tags, resolution=(90, 150), **layout
        )
        assert_as_whole(tmp_path / "a.tif")


def test_opacity_and_bands(tmp_path):
    path = tmp_path / "a.tif"
    for kind in (0, 1, 2):
        tifffile.imwrite(path, made_up((H, W, 4)), photometric="rgb", extrasamples=[kind])
        assert assert_as_whole(path).picture.samples == Samples(RGB, (kind,))
    for planar in (False, True):  # opacity between bands is the last channel
        pixels = made_up((H, W, 5), "u2")
        stored, config = (np.moveaxis(pixels, 2, 0), "separate") if planar else (pixels, "contig")
        tifffile.imwrite(
            path, stored, photometric="minisblack", planarconfig=config, extrasamples=[0, 2, 0, 0], compression="lzw"
        )
        assert assert_as_whole(path).picture.samples == Samples(GREY, (0, UNASSOCIATED, 0, 0))


def test_missing_data_profile_and_jpeg_colours(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, made_up((H, W), "i2"), extratags=[(42113, 2, 6, "-9999", True)])
    assert_as_whole(path)
    tifffile.imwrite(path, made_up((H, W), "f4"), iccprofile=b"\1" * 200, description="a field", resolution=(300, 300))
    assert assert_as_whole(path).picture.profile == b"\1" * 200
    for photometric in ("rgb", "ycbcr"):
        tifffile.imwrite(path, made_up((H, W, 3)), photometric=photometric, compression="jpeg", tile=(16, 16))
        assert_as_whole(path)


def tags_of(width, height, code, tile, offsets, sizes, **more):
    """Return the tags of a tiled grey page."""
    tags = {
        256: Tag.of(LONG, [width]),
        257: Tag.of(LONG, [height]),
        258: Tag.of(SHORT, [8]),
        259: Tag.of(SHORT, [code]),
    }
    tags |= {262: Tag.of(SHORT, [1]), 277: Tag.of(SHORT, [1]), 322: Tag.of(LONG, [tile]), 323: Tag.of(LONG, [tile])}
    return tags | {324: Tag.of(LONG, offsets), 325: Tag.of(LONG, sizes)} | more


def test_tiles_without_data_have_the_no_data_value(tmp_path):
    data = made_up((16, 16)).tobytes()
    for nodata, fill in ((None, 0), ("7", 7)):
        tags = tags_of(32, 32, 1, 16, [8, 0, 8, 0], [256, 0, 256, 0])
        if nodata:
            tags[42113] = Tag.text(nodata)
        (tmp_path / "a.tif").write_bytes(head(8 + len(data), False) + data + directory(tags, 8 + len(data)))
        picture = all_of(TiffSource(tmp_path / "a.tif"))[0]
        assert (picture[:, 16:] == fill).all()
        assert np.array_equal(picture[16:, :16], np.frombuffer(data, np.uint8).reshape(16, 16))


@pytest.mark.parametrize("photometric", ["separated", "cielab", "cfa"])
def test_other_colours_are_refused_by_name(tmp_path, photometric):
    pixels = {"separated": (H, W, 4), "cielab": (H, W, 3), "cfa": (H, W)}[photometric]
    tifffile.imwrite(tmp_path / "a.tif", made_up(pixels), photometric=photometric)
    with pytest.raises(
        FileError, match=r"is not read by tiles: its colours are (CMYK|Lab|a colour filter array); grey"
    ):
        TiffSource(tmp_path / "a.tif")


# -- memory, threads, processes ------------------------------------------------------------------------------------


def test_a_tile_is_decoded_once_for_neighbouring_windows(tmp_path, monkeypatch):
    pixels = made_up((96, 96, 3))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(16, 16), compression="deflate")
    source = TiffSource(tmp_path / "a.tif")
    decoded = []
    plain = source._decoded
    monkeypatch.setattr(source, "_decoded", lambda page, number: decoded.append(number) or plain(page, number))
    for rows, columns in grid((96, 96), (32, 32)):
        source.read(0, (slice(max(0, rows.start - 3), rows.stop), slice(max(0, columns.start - 3), columns.stop)))
    assert sorted(decoded) == list(range(36))
    source.close()
    assert source.cache.bytes == 0


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("tconv.scale.stores.tiff_source._LEAST_KEPT", 2000)  # two tiles of 768 bytes
    tifffile.imwrite(tmp_path / "a.tif", made_up((H, W, 3)), photometric="rgb", tile=(16, 16), compression="deflate")
    source = TiffSource(tmp_path / "a.tif")
    region = (slice(3, 4), slice(0, W))
    source.read(0, region)
    assert 2000 < source.cache.bytes <= source.cache.limit == 5 * 768  # what a row may touch
    assert source.read_bytes(region) >= 3 * W + source.cache.limit
    source.cache.limit = 2000
    source.read(0, (slice(20, 21), slice(0, 1)))
    assert source.cache.bytes <= 2000


def test_a_huge_compressed_strip_is_refused_before_anything_runs(tmp_path):
    side = 2**30
    tags = tags_of(side, side, 8, 16, [8], [8])
    del tags[322], tags[323], tags[324], tags[325]
    tags |= {273: Tag.of(LONG, [8]), 279: Tag.of(LONG, [8]), 278: Tag.of(LONG, [side])}
    (tmp_path / "a.tif").write_bytes(head(16, False) + bytes(8) + directory(tags, 16))
    with pytest.raises(TooLargeError, match=r"compressed in strips of .* GB when decoded.*Save it with tiles: vips"):
        TiffSource(tmp_path / "a.tif")


def test_threads_read_at_a_time(tmp_path):
    pixels = made_up((128, 128), "u2")
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(16, 16), compression="lzw")
    source = TiffSource(tmp_path / "a.tif")
    regions = list(grid((128, 128), (24, 40))) * 4
    with ThreadPoolExecutor(8) as pool:
        for region, got in zip(regions, pool.map(lambda region: source.read(0, region), regions), strict=True):
            assert np.array_equal(got[0], pixels[region])


def test_a_source_can_be_pickled(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", made_up((3, H, W)), photometric="minisblack", metadata=None)
    source = open_source(tmp_path / "a.tif", page=1)
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(all_of(again), all_of(source))
    assert again.identity() == source.identity()
    assert open_source(tmp_path / "a.tif", page=2).identity() != source.identity()


# -- damaged files -------------------------------------------------------------------------------------------------


def test_messages_name_page_and_tile(tmp_path):
    pages = made_up((2, 64, 64))
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", tile=(16, 16), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages[1].dataoffsets[5]  # directories lie before the tiles
    os.truncate(tmp_path / "a.tif", place + 100)
    source = TiffSource(tmp_path / "a.tif")
    all_of(source, 0)
    with pytest.raises(FileError, match=r"is damaged \(page 1, tile 5: the file ends in it\); a whole file is needed"):
        all_of(source, 1)


def test_a_damaged_tile_is_an_error(tmp_path):
    pixels = made_up((32, 32, 3))
    for compression in ("deflate", "jpeg", "zstd", "lzma", "png"):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(16, 16), compression=compression)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            place = file.pages[0].dataoffsets[2]
        data = bytearray((tmp_path / "a.tif").read_bytes())
        data[place : place + 12] = bytes(12)
        (tmp_path / "a.tif").write_bytes(data)
        source = TiffSource(tmp_path / "a.tif")
        source.read(0, (slice(0, 16), slice(0, 32)))
        with pytest.raises(FileError, match="page 0, tile 2: "):
            all_of(source)


@pytest.mark.parametrize(
    "compression", ["lzw", "deflate", "zstd", "packbits", "jpeg", "jpeg2000", "webp", "png", "lerc"]
)
def test_a_tile_that_is_cut_is_an_error(tmp_path, compression):
    slope = np.add.outer(np.arange(64), np.arange(64)).astype("u1")[:, :, None].repeat(3, 2)
    for share in (0.3, 0.8):
        tifffile.imwrite(tmp_path / "a.tif", slope, photometric="rgb", compression=compression, tile=(32, 32))
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
            sizes = list(file.pages[0].tags[325].value)
            sizes[1] = int(share * sizes[1])
            file.pages[0].tags[325].overwrite(sizes)
        with pytest.raises(FileError, match="page 0, tile 1: "):
            all_of(TiffSource(tmp_path / "a.tif"))


def test_a_tile_that_states_other_sizes_is_not_decoded(tmp_path):
    inside = io.BytesIO()
    for form in ("JPEG", "PNG", "WEBP", "JPEG2000"):
        inside = io.BytesIO()
        Image.new("L" if form != "WEBP" else "RGB", (640, 480), 90).save(inside, form)
        code = {"JPEG": 7, "PNG": 34933, "WEBP": 50001, "JPEG2000": 34712}[form]
        data = inside.getvalue() + bytes(len(inside.getvalue()) % 2)
        tags = tags_of(16, 16, code, 16, [8], [len(data)])
        (tmp_path / "a.tif").write_bytes(head(8 + len(data), False) + data + directory(tags, 8 + len(data)))
        with pytest.raises(
            FileError, match="page 0, tile 0: it states 640 x 480 pixels, and its page tiles of 16 x 16"
        ):
            all_of(TiffSource(tmp_path / "a.tif"))


def test_altered_counts_are_compared_before_anything_is_allocated(tmp_path):
    data = bytes(256)
    for change in (
        {256: Tag.of(LONG, [2**31 - 1])},
        {322: Tag.of(LONG, [2**31 - 16])},
        {277: Tag.of(SHORT, [60000])},
        {324: Tag.of(LONG, [])},
        {325: Tag.of(LONG, [2**32 - 1])},
        {324: Tag.of(LONG, [2**32 - 1])},
        {323: Tag.of(LONG, [0])},
        {259: Tag.of(SHORT, [65001])},
        {259: Tag.of(SHORT, [777])},
        {258: Tag.of(SHORT, [13])},
    ):
        tags = tags_of(16, 16, 8, 16, [8], [256]) | change
        (tmp_path / "a.tif").write_bytes(head(8 + len(data), False) + data + directory(tags, 8 + len(data)))
        with pytest.raises(TconvError):
            all_of(TiffSource(tmp_path / "a.tif"))


def test_mutated_and_truncated_files(tmp_path):
    logging.disable(logging.CRITICAL)
    rng, seeds = np.random.default_rng(5), []
    for compression in (None, "lzw", "deflate", "jpeg", "zstd", "packbits"):
        for layout in ({"tile": (16, 16)}, {"rowsperstrip": 9}):
            memory = io.BytesIO()
            tifffile.imwrite(memory, made_up((H, W, 3)), photometric="rgb", compression=compression, **layout)
            seeds.append(memory.getvalue())
    memory = io.BytesIO()
    tifffile.imwrite(memory, made_up((3, H, W)), imagej=True, metadata={"axes": "ZYX"})
    seeds.append(memory.getvalue())
    outcomes = set()
    for _ in range(300):
        data = bytearray(seeds[rng.integers(len(seeds))])
        if rng.random() < 0.25:
            data = data[: rng.integers(1, len(data))]
        else:
            for at in rng.integers(0, len(data) if rng.random() < 0.4 else 400, rng.integers(1, 4)):
                data[at] = rng.integers(256)
        (tmp_path / "a.tif").write_bytes(data)
        try:
            source = TiffSource(tmp_path / "a.tif")
            last = tuple(slice(max(0, size - 20), size) for size in source.shape[2:])
            source.read(source.shape[0] - 1, last)
            source.close()
            outcomes.add("read")
        except TconvError:
            outcomes.add("refused")
    logging.disable(logging.NOTSET)
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"not a TIFF file at all", b"MM\0+" + bytes(12)]
)
def test_other_content(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FileError):
        TiffSource(tmp_path / "a.tif")


def test_missing_files(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        TiffSource(tmp_path / "none.tif")
    with pytest.raises(FileError, match="is a directory"):
        TiffSource(tmp_path)


# -- writing -------------------------------------------------------------------------------------------------------


def written(path, images, tile, **options):
    """Write images [N, C, *sizes], tile by tile in a random order; return the target, closed."""
    target = TiffTarget(path, images.shape, images.dtype, tile=tile, **options)
    target.create(path)
    places = list(itertools.product(range(len(images)), grid(images.shape[2:], target.unit)))
    for at in np.random.default_rng(1).permutation(len(places)):
        image, region = places[at]
        target.write(image, region, images[image, :, *region])
    target.sync(0, places[0][1])
    target.finish()
    target.close()
    return target


@pytest.mark.parametrize("dtype", TYPES)
def test_written_files_have_the_same_numbers_everywhere(tmp_path, dtype):
    for channels, count in itertools.product((1, 2, 3, 4, 7), (1, 3)):
        images = made_up((count, channels, H, W), dtype)
        path = tmp_path / "a.tif"
        target = written(path, images, (16, 32))
        pixels = np.moveaxis(images, 1, 3)
        assert np.array_equal(tifffile.imread(path).reshape(pixels.shape), pixels)
        source = open_source(path)
        assert all(np.array_equal(all_of(source, image), images[image]) for image in range(count))
        target.open(path)
        assert np.array_equal(target.stored(count - 1, (slice(3, 20), slice(9, W))), images[-1, :, 3:20, 9:])
        assert target.has(count - 1, (slice(32, H), slice(32, W)))
        target.close()
        data = path.read_bytes()
        if dtype not in ("u8", "i8", "f8", "c8"):
            image = pyvips.Image.new_from_buffer(data, "", page=count - 1, fail_on="error")
            assert np.array_equal(image.numpy().reshape(H, W, channels), pixels[-1])
        if (dtype == "u1" and channels in (1, 3)) or (dtype in ("u2", "f4", "i4") and channels == 1):
            with Image.open(io.BytesIO(data)) as image:
                image.seek(count - 1)
                assert np.array_equal(np.asarray(image).reshape(H, W, channels), pixels[-1])
        path.unlink()


def test_volumes_are_pages(tmp_path):
    images = made_up((2, 3, 5, H, W), "f4")
    target = written(tmp_path / "a.tif", images, (1, 16, 16))
    assert target.unit == (1, 16, 16)
    target.open(tmp_path / "a.tif")
    region = (slice(2, 5), slice(16, H), slice(0, W))
    assert np.array_equal(target.stored(1, region), images[1, :, *region])
    target.close()
    volumes = open_source(tmp_path / "a.tif", ndim=3)
    assert volumes.shape == images.shape
    assert np.array_equal(all_of(volumes, 1), images[1])


def test_a_picture_keeps_what_lies_beside_its_pixels(tmp_path):
    path = tmp_path / "a.tif"
    tags = [
        (33550, 12, 3, (10.0, 10.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True),
        (42113, 2, 5, "-1.5", True),
        (33432, 2, 4, "me!", True),
    ]
    pixels = made_up((H, W, 4), "f4")
    tifffile.imwrite(
        path, pixels, photometric="rgb", extrasamples=[1], extratags=tags, iccprofile=bytes(200), resolution=(300, 200)
    )
    source = open_source(path)
    target = target_for(tmp_path / "b.tif", (1, 4, 2 * H, 2 * W), "f4", like=source)
    target.create(tmp_path / "b.tif")
    target.close()
    large = open_picture(tmp_path / "b.tif")
    assert large.samples == Samples(RGB, (ASSOCIATED,))
    assert (large.profile, large.resolution, large.metadata.nodata) == (bytes(200), (300.0, 200.0), "-1.5")
    assert large.metadata.georeference[33550].numbers() == (5.0, 5.0, 0.0)
    assert large.metadata.georeference[33922].numbers() == (0.0, 0.0, 0.0, 500.0, 900.0, 0.0)
    assert large.metadata.exif.main[33432].string() == "me!"
    bands = target_for(tmp_path / "c.tif", (1, 2, 2 * H, 2 * W), "f4", like=source)
    assert "2 channels, 32 bit float" in bands.description


@pytest.mark.parametrize("name", ["b.tif", "b.ome.tif"])
@pytest.mark.parametrize(("axes", "ndim"), [("TZCYX", 2), ("TZCYX", 3), ("ZYX", 2), ("ZYX", 3), ("CYX", 2), ("YX", 2)])
def test_names_of_axes_are_kept(tmp_path, axes, ndim, name):
    sizes = {"T": 2, "Z": 3, "C": 4, "Y": H, "X": W}
    stack = made_up([sizes[axis] for axis in axes])
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": axes})
    source = open_source(tmp_path / "a.ome.tif", ndim=ndim)
    target = target_for(tmp_path / name, source.shape, "u1", like=source)
    again = target_for(tmp_path / name, source.shape, "u1", like=source)
    assert target.settings() == again.settings()  # a job that goes on has the same file
    target.create(tmp_path / name)
    for image in range(source.shape[0]):
        target.write(image, whole(source.shape[2:]), all_of(source, image))
    target.close()
    result = open_source(tmp_path / name, ndim=ndim)
    assert result.shape == source.shape
    assert sorted(result.layout.names) == sorted(source.layout.names)
    assert all(np.array_equal(all_of(result, image), all_of(source, image)) for image in range(source.shape[0]))
    assert np.array_equal(np.sort(tifffile.imread(tmp_path / name), axis=None), np.sort(stack, axis=None))


def test_opacity_goes_back_to_its_place(tmp_path):
    pixels = made_up((H, W, 4), "u2")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extrasamples=[2, 0, 0])
    source = open_source(tmp_path / "a.tif")
    target = target_for(tmp_path / "b.tif", source.shape, "u2", like=source)
    target.create(tmp_path / "b.tif")
    target.write(0, whole((H, W)), all_of(source))
    assert np.array_equal(target.stored(0, whole((H, W))), all_of(source))
    target.close()
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)


def test_large_outputs_are_sparse_bigtiff(tmp_path):
    target = TiffTarget(tmp_path / "a.tif", (1, 3, 60_000, 50_000), "u1")
    assert target.description.startswith("BigTIFF, RGB, 8 bit, 50000 x 60000, tiles of 512 x 512")
    target.create(tmp_path / "a.tif")
    assert target.disk_bytes() == os.path.getsize(tmp_path / "a.tif") > 9e9
    assert os.stat(tmp_path / "a.tif").st_blocks * 512 < 5e6
    values = made_up((3, 512, 336))
    region = (slice(59_392, 59_904), slice(49_664, 50_000))
    target.write(0, region, values)
    assert target.write_bytes(region) < 3e6
    target.close()
    source = open_source(tmp_path / "a.tif")
    assert np.array_equal(source.read(0, region), values)
    assert source.read_bytes(region) < 6e6
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff


def test_threads_and_processes_write_different_tiles(tmp_path):
    images = made_up((1, 3, 128, 160))
    target = TiffTarget(tmp_path / "a.tif", images.shape, "u1", tile=(16, 16))
    target.create(tmp_path / "a.tif")
    closed = TiffTarget(tmp_path / "a.tif", images.shape, "u1", tile=(16, 16))
    with pytest.raises(FileError, match="is closed"):
        pickle.loads(pickle.dumps(closed)).stored(0, whole((16, 16)))
    others = [pickle.loads(pickle.dumps(target)) for _ in range(2)]  # open as the first is
    regions = list(grid((128, 160), (32, 16)))
    barrier = threading.Barrier(3)

    def write(writer):
        barrier.wait()
        for region in regions[writer::3]:
            (target, *others)[writer].write(0, region, images[0, :, *region])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert np.array_equal(target.stored(0, whole((128, 160))), images[0])
    for each in (target, *others):
        each.close()


def test_only_the_file_of_the_job_is_opened(tmp_path):
    target = TiffTarget(tmp_path / "a.tif", (1, 1, H, W), "u1", tile=(16, 16))
    with pytest.raises(FileError, match="does not exist; the file of the job is needed"):
        target.open(tmp_path / "a.tif")
    target.create(tmp_path / "a.tif")
    with pytest.raises(FileError, match="exists, and nothing is overwritten"):
        target.create(tmp_path / "a.tif")
    target.close()
    other = TiffTarget(tmp_path / "a.tif", (1, 1, H, W), "u1", tile=(32, 16))
    assert other.settings() != target.settings()
    with pytest.raises(FileError, match="is another TIFF file than TIFF, grey, 8 bit"):
        other.open(tmp_path / "a.tif")
    os.truncate(tmp_path / "a.tif", target.disk_bytes() - 1)
    with pytest.raises(FileError, match="is damaged"):
        target.open(tmp_path / "a.tif")
    with pytest.raises(FileError, match="cannot be written"):
        target.create(tmp_path / "none" / "a.tif")


def test_a_full_disk_and_a_truncated_file(tmp_path):
    import resource
    import signal

    target = TiffTarget(tmp_path / "a.tif", (1, 1, 64, 64), "u1", tile=(16, 16))
    target.create(tmp_path / "a.tif")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(FileError, match=r"cannot be written: .*Free some space") as caught:
            target.write(0, whole((64, 64)), made_up((1, 64, 64)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(caught.value.__cause__, OSError)
    os.truncate(tmp_path / "a.tif", 4096 + 300)
    assert target.has(0, (slice(0, 16), slice(0, 16)))
    assert not target.has(0, (slice(0, 16), slice(16, 32)))
    with pytest.raises(FileError, match="is damaged"):
        target.stored(0, whole((64, 64)))
    target.close()


def test_what_a_file_cannot_contain_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    with pytest.raises(ShapeError, match="a TIFF file has rows and columns"):
        TiffTarget(path, (1, 1, 9), "u1")
    with pytest.raises(DtypeError, match="which TIFF cannot contain"):
        TiffTarget(path, (1, 1, 9, 9), "bool")
    with pytest.raises(ShapeError, match="at most 65535 channels"):
        TiffTarget(path, (1, 65536, 9, 9), "u1")
    with pytest.raises(ArgumentError, match=r"multiples of 16 .* Write chunks=\(112, 16\)"):
        target_for(path, (1, 1, 9, 9), "u1", chunks=(100, 8))
    with pytest.raises(ArgumentError, match="compression=None is needed"):
        target_for(path, (1, 1, 9, 9), "u1", compression="zstd")
    with pytest.raises(ArgumentError, match="chunks= is needed"):
        target_for(path, (1, 1, 9, 9), "u1", shards=512)
    target = TiffTarget(path, (1, 1, H, W), "u1", tile=(16, 16))
    target.create(path)
    with pytest.raises(ShapeError, match="whole tiles are needed"):
        target.write(0, (slice(0, 15), slice(0, 16)), np.zeros((1, 15, 16), np.uint8))
    with pytest.raises(DtypeError, match="values are float32"):
        target.write(0, (slice(0, 16), slice(0, 16)), np.zeros((1, 16, 16), np.float32))
    with pytest.raises(ShapeError, match="values of shape"):
        target.write(0, (slice(0, 16), slice(0, 16)), np.zeros((2, 16, 16), np.uint8))
    with pytest.raises(ShapeError, match="image is 1"):
        target.write(1, (slice(0, 16), slice(0, 16)), np.zeros((1, 16, 16), np.uint8))
    target.close()


# -- a layer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
def test_a_layer_from_file_to_file_has_the_bits_of_the_whole(tmp_path, dtype):
    pages = made_up((2, H, W, 3), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb", tile=(16, 16), compression="deflate", metadata=None)
    weight, bias = made_up((3, 4, 5, 4), dtype, 1), made_up(4, dtype, 2)
    operator = LayerOperator(weight, bias, Geometry((5, 4), (2, 3), ((1, 2), (2, 0))))
    source = open_source(tmp_path / "a.tif")
    shape = (2, 4, *operator.output_sizes((H, W)))
    target = target_for(tmp_path / "b.tif", shape, operator.result, chunks=(32, 16), like=source)
    report = Job([Stage(operator, source, target, (32, 48))], tmp_path / "b.tif", max_memory="4GB").run()
    assert report.done_now == 2 * tile_count(shape[2:], (32, 48))
    assert verify(tmp_path / "b.tif").tiles == report.tiles
    result = open_source(tmp_path / "b.tif")
    for image in range(2):
        expected = computed(operator, np.moveaxis(pages[image], 2, 0))
        assert np.array_equal(all_of(result, image), expected)
        assert np.array_equal(tifffile.imread(tmp_path / "b.tif", key=image), np.moveaxis(expected, 0, 2))
