"""The ground of an enlarged raster: its corners, and every point that its tags place, stay where they were."""

import numpy as np
import pytest
import tifffile

import tconv
from tconv.io import georeference
from tconv.io.tiff_directory import DOUBLE, Tag

pytest.importorskip("pyvips")

WIDTH, HEIGHT = 14, 11
AREA, POINT = 1, 2
UTM = "EPSG 32633|"


def keys(raster_type):
    """Return a GeoKeyDirectory: projected, area or point, a text that names the system."""
    entries = [(1024, 0, 1, 1), (1025, 0, 1, raster_type), (1026, 34737, len(UTM), 0), (3072, 0, 1, 32633)]
    return [1, 1, 0, len(entries), *(number for entry in entries for number in entry)]


def raster(path, tags, raster_type=AREA, bands=4, **options):
    pixels = np.random.default_rng(0).random((HEIGHT, WIDTH, bands), np.float32)
    extra = [(34735, 3, len(keys(raster_type)), keys(raster_type), True), (34737, 2, len(UTM) + 1, UTM, True), *tags]
    options = {"extrasamples": ["unspecified"] * (bands - 1), "metadata": None, **options}
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", extratags=extra, **options)
    return path


def doubles(code, numbers):
    return code, 12, len(numbers), list(numbers), True


def read(path):
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags.values()}


def ground(tags, column, row, raster_type):
    """Return the place on the ground of a point in the raster, counted from its outer corner in pixels.

    GeoTIFF 1.1, section 7.3: a raster coordinate is that of the pixel's corner (area) or of its centre (point).
    """
    i, j = (column, row) if raster_type == AREA else (column - 0.5, row - 0.5)
    if 34264 in tags:
        return (np.array(tags[34264]).reshape(4, 4) @ [i, j, 0, 1])[:2]
    (sx, sy, _), (i0, j0, _, x, y, _) = tags[33550], tags[33922]
    return np.array([x + (i - i0) * sx, y - (j - j0) * sy])


ROTATED = np.array([[8.66, 5, 0, 500000], [5, -8.66, 0, 4649776], [0, 0, 1, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("raster_type", [AREA, POINT])
@pytest.mark.parametrize("scale", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["corner", "inner tie point", "matrix"])
def test_the_corners_stay_where_they_are(tmp_path, kind, scale, raster_type):
    tags = {
        "corner": [doubles(33550, [10, 20, 0]), doubles(33922, [0, 0, 0, 500000, 4649776, 0])],
        "inner tie point": [doubles(33550, [10, 20, 0.5]), doubles(33922, [3.5, 6, 2, 500000, 4649776, 9])],
        "matrix": [doubles(34264, ROTATED.ravel())],
    }[kind]
    small = raster(tmp_path / "a.tif", tags, raster_type)
    large = tconv.upsample(small, scale, kernel="bicubic", output=tmp_path / "b.tif")
    before, after = read(small), read(large)
    for column, row in [(0, 0), (WIDTH, 0), (0, HEIGHT), (WIDTH, HEIGHT), (3.25, 7.5)]:
        place = ground(before, column, row, raster_type)
        np.testing.assert_allclose(ground(after, scale * column, scale * row, raster_type), place, rtol=1e-12)
    assert after[34735] == before[34735]
    assert after[34737] == before[34737]
    if kind == "corner":
        assert after[33922][:3] == (0, 0, 0)  # some readers look at the first pixel alone
    if kind == "inner tie point":
        assert (after[33550][2], after[33922][2], after[33922][5]) == (0.5, 2, 9)


@pytest.mark.parametrize("raster_type", [AREA, POINT])
def test_ground_control_points_stay_on_the_ground(tmp_path, raster_type):
    points = np.random.default_rng(1).random((5, 6)) * 10
    small = raster(tmp_path / "a.tif", [doubles(33922, points.ravel())], raster_type)
    after = np.array(read(tconv.upsample(small, 3, output=tmp_path / "b.tif"))[33922]).reshape(5, 6)
    np.testing.assert_array_equal(after[:, 2:], points[:, 2:])
    half = 0.5 if raster_type == POINT else 0
    np.testing.assert_allclose(after[:, :2] + half, 3 * (points[:, :2] + half), rtol=1e-14)


def test_rational_polynomials_count_from_the_centre_of_the_first_pixel(tmp_path):
    numbers = np.random.default_rng(2).random(92) * 10
    small = raster(tmp_path / "a.tif", [doubles(50844, numbers)])
    after = np.array(read(tconv.upsample(small, 4, output=tmp_path / "b.tif"))[50844])
    for offset, extent in ((2, 7), (3, 8)):
        # normalised coordinates of the same place on the ground, from the corner, are the same
        for place in (0.0, 3.7, 9.0):
            before_at = (place - 0.5 - numbers[offset]) / numbers[extent]
            assert (4 * place - 0.5 - after[offset]) / after[extent] == pytest.approx(before_at, rel=1e-12)
    rest = [n for n in range(92) if n not in (2, 3, 7, 8)]
    np.testing.assert_array_equal(after[rest], numbers[rest])


def test_sizes_that_are_no_multiples():
    """1.5 times, and widths that are asked for: each axis has its own factor."""
    tags = {33550: Tag.of(DOUBLE, [10, 20, 0]), 33922: Tag.of(DOUBLE, [0, 0, 0, 500, 900, 0])}
    tags[34735] = Tag.of(3, keys(POINT))
    after = {code: tag.numbers() for code, tag in georeference.enlarged(tags, (40, 30), (60, 50)).items()}
    before = {code: tag.numbers() for code, tag in tags.items()}
    for column, row in [(0, 0), (40, 30), (7, 11)]:
        place = ground(before, column, row, POINT)
        np.testing.assert_allclose(ground(after, column * 1.5, row * 5 / 3, POINT), place, rtol=1e-12)


def test_gdal_metadata_loses_its_statistics_alone(tmp_path):
    text = (
        '<GDALMetadata>\n  <Item name="MYTAG">keep</Item>\n  <Item name="STATISTICS_MEAN" sample="0">0.5</Item>\n'
        '  <Item name="DESCRIPTION" sample="3" role="description">nir</Item>\n</GDALMetadata>\n'
    )
    small = raster(tmp_path / "a.tif", [(42112, 2, len(text) + 1, text, True)])
    after = read(tconv.upsample(small, output=tmp_path / "b.tif"))[42112]
    assert "keep" in after
    assert 'sample="3" role="description">nir' in after
    assert "STATISTICS" not in after
    mixed = tconv.upsample(small, kernel=np.ones((4, 2, 2, 2)), output=tmp_path / "c.tif")
    assert 42112 not in read(mixed)  # it counts the bands


def test_losses_are_named(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raster("a.tif", [doubles(33550, [10, 20, 0]), doubles(33922, [0, 0, 0, 5, 4, 0])], bands=3, extrasamples=[0, 0])
    for name in ("a.tfw", "a.tif.aux.xml", "other.tfw"):
        (tmp_path / name).write_text("10\n")
    assert "not kept: a.tfw, a.tif.aux.xml" in run("a.tif", "-o", "b.tif")[1]
    pixels = (255 * tifffile.imread("a.tif")).astype("u1")
    tags = [doubles(33550, [10, 20, 0]), doubles(33922, [0, 0, 0, 5, 4, 0]), (65001, 3, 1, 7, True)]
    tifffile.imwrite("c.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    assert "not kept: georeference, tag 65001" in run("c.tif", "-o", "d.png")[1]
    assert "not kept: tag 65001" in run("c.tif", "-o", "d.tif")[1]
    assert run("c.tif", "--json")[0] == 0
    assert (tmp_path / "c_x2.tif").exists()  # not PNG, which has no place for it
    turned = [*tags[:2], (274, 3, 1, 6, True)]
    tifffile.imwrite("e.tif", pixels, photometric="rgb", extratags=turned, metadata=None)
    assert "not kept: georeference of a turned picture" in run("e.tif", "-o", "e2.tif")[1]


@pytest.mark.parametrize("numbers", [[], [1.0], [np.nan] * 3, [0.0] * 3, [np.inf, 1, 1]])
def test_damaged_tags_are_no_reason_to_fail(tmp_path, numbers):
    small = raster(tmp_path / "a.tif", [doubles(33550, numbers or [0]), doubles(33922, [0, 0, 0, 5, 4, 0])])
    assert tconv.upsample(small, output=tmp_path / "b.tif").exists()
