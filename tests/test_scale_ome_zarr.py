"""OME-Zarr: levels that are read, images that are written with all their levels, and where their elements lie."""

import json
import os
import pickle
import re
import tracemalloc
from fractions import Fraction

import numpy as np
import ome_zarr_models
import pytest
import zarr
from ome_zarr_models.v05 import Image

from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.scale.operators.block_mean import BlockMean
from tconv.scale.operators.layer import computed
from tconv.scale.regions import grid, region_sizes, whole
from tconv.scale.stores.formats import open_source, target_for

RNG = np.random.default_rng(6)
OMERO = {"channels": [{"color": "FF0000", "window": {"min": 0.0, "max": 255.0, "start": 3.0, "end": 200.0}}] * 2}
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def numbers(shape, dtype):
    x = RNG.normal(size=shape) * 50 + 100
    return x.astype(dtype)


def read_all(source):
    return np.stack([source.read(image, whole(source.shape[2:])) for image in range(source.shape[0])])


def write_image(target, values, place):
    """Write level 0 from values [N, C, *sizes] and the others from it, as a job does: each stage by another process."""
    stages = target.level_stages()
    for each in (target, *(stage.target for stage in stages)):
        each.create(place)
    for image in range(target.shape[0]):
        for region in grid(target.shape[2:], target.unit):
            target.write(image, region, values[(image, slice(None), *region)])
    for stage in pickle.loads(pickle.dumps(stages)):
        sizes = stage.source.shape[2:]
        for image in range(stage.target.shape[0]):
            for region in grid(stage.target.shape[2:], stage.target.unit):
                window = stage.operator.window(region, sizes)
                out = np.empty((target.shape[1], *region_sizes(region)), target.dtype)
                x = stage.source.read(image, window)
                assert stage.source.read_bytes(window) >= x.nbytes
                stage.operator.compute(x, window, sizes, region, out)
                stage.target.write(image, region, out)
    for each in (target, *(stage.target for stage in stages)):
        each.finish()
        each.close()


CASES = [
    ((3, 300, 530), 2, None, "u1", "cyx"),
    ((2, 1, 290, 300), 2, None, "u2", "tcyx"),
    ((260, 300, 4), 2, "YXC", "f4", "cyx"),
    ((130, 10, 140), 3, None, "f2", "zyx"),
    ((2, 2, 3, 150, 131), 2, "TCZYX", "u1", "tczyx"),
    ((150, 300), 2, None, "i2", "yx"),
]


@pytest.mark.parametrize(("shape", "ndim", "axes", "dtype", "order"), CASES)
def test_an_image_with_all_levels(tmp_path, shape, ndim, axes, dtype, order):
    x = numbers(shape, dtype)
    source = open_source(x, ndim=ndim, axes=axes)
    values = read_all(source)
    for axis in range(2, 2 + ndim):
        values = np.repeat(values, 2, axis)
    path = tmp_path / "y.ome.zarr"
    target = target_for(path, values.shape, dtype, like=source, chunks=64, shards=128)
    write_image(target, values, tmp_path / "y.part")
    os.rename(tmp_path / "y.part", path)
    image = ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"))
    assert isinstance(image, Image)
    multiscale = image.attributes.ome.multiscales[0]
    assert "".join(axis.name for axis in multiscale.axes) == order
    last = zarr.open_array(str(path / multiscale.datasets[-1].path), mode="r")
    assert 128 < max(last.shape[-ndim:]) <= 256
    assert last.metadata.dimension_names == tuple(order)
    before = values
    for level, _ in enumerate(multiscale.datasets):
        got = read_all(open_source(path, ndim=ndim, level=level))
        if level:
            halving = BlockMean(values.shape[1], ndim, np.dtype(dtype))
            before = np.stack([computed(halving, each) for each in before])
        assert np.array_equal(got, before)
    assert np.array_equal(read_all(open_source(path / "0", ndim=ndim)), values)


def image_of(path, version, shape=(2, 2, 3, 8, 10)):
    """Write an image of two levels as other programs do, and return the values of the levels."""
    levels = [numbers(shape, "u2"), numbers((*shape[:3], shape[3] // 2, shape[4] // 2), "u2")]
    datasets = []
    for number in range(len(levels)):
        factor = 2.0**number
        moves = [
            {"type": "scale", "scale": [1.0, 1.0, 3.0, 0.5 * factor, 0.25 * factor]},
            {"type": "translation", "translation": [0.0, 0.0, 0.0, 7.0, -2.0]},
        ]
        datasets.append({"path": f"s{number}", "coordinateTransformations": moves})
    outer = [{"type": "scale", "scale": [0.1, 1.0, 1.0, 2.0, 2.0]}]
    multiscale = {"name": "cells", "axes": AXES, "datasets": datasets, "coordinateTransformations": outer}
    attributes = {"multiscales": [multiscale], "omero": OMERO}
    zarr_format = 2 if version == "0.4" else 3
    multiscale |= {"version": version} if zarr_format == 2 else {}
    attributes = attributes if zarr_format == 2 else {"ome": {"version": version, **attributes}}
    zarr.create_group(str(path), zarr_format=zarr_format, attributes=attributes)
    named = {"dimension_names": "tczyx"} if zarr_format == 3 else {}
    for number, level in enumerate(levels):
        array = zarr.create_array(
            str(path / f"s{number}"), shape=level.shape, dtype="u2", chunks=(1, 1, 2, 4, 4), zarr_format=zarr_format,
            **named,
        )  # fmt: skip
        array[...] = level
    return levels


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("name", ["x.ome.zarr", "x.zarr", "plate.zarr/A/1"])
def test_levels_of_other_programs(tmp_path, version, name):
    levels = image_of(tmp_path / name, version)
    for given in (None, 0, 1):
        x = levels[given or 0]
        source = open_source(tmp_path / name, level=given)
        assert source.shape == (6, 2, *x.shape[3:])
        assert np.array_equal(read_all(source), x.transpose(0, 2, 1, 3, 4).reshape(source.shape))
        volume = open_source(tmp_path / name, level=given, ndim=3)
        assert np.array_equal(read_all(volume), x)
    assert open_source(zarr.open_group(str(tmp_path / name), mode="r")).shape == (6, 2, 8, 10)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_coordinates_units_and_channels_are_kept(tmp_path, version):
    image_of(tmp_path / "x.ome.zarr", version)
    source = open_source(tmp_path / "x.ome.zarr", level=1)
    target = target_for(tmp_path / "y.ome.zarr", (6, 2, 12, 20), "u2", like=source)  # 3 times y, 4 times x
    target.create(tmp_path / "y.ome.zarr")
    image = ome_zarr_models.open_ome_zarr(zarr.open_group(str(tmp_path / "y.ome.zarr"), mode="r"))
    metadata = json.loads((tmp_path / "y.ome.zarr/zarr.json").read_text())["attributes"]["ome"]
    assert metadata["omero"] == OMERO
    multiscale = image.attributes.ome.multiscales[0]
    assert multiscale.name == "cells"
    assert [axis.unit for axis in multiscale.axes] == [axis.get("unit") for axis in AXES]
    scale, translation = multiscale.datasets[0].coordinateTransformations
    # the outer scale is applied to the inner one; old elements are 2 and 1 wide, the first has its centre at 14 and -4
    assert np.allclose(scale.scale, [0.1, 1, 3, 2 / 3, 1 / 4])
    assert np.allclose(translation.translation, [0, 0, 0, 14 - 1 + 1 / 3, -4 - 1 / 2 + 1 / 8])


def test_centres_of_levels_lie_where_their_blocks_are(tmp_path):
    target = target_for(tmp_path / "y.ome.zarr", (1, 1, 700, 900), "u1")
    for level in target.image.levels[1:]:
        number = int(level.path)
        block = np.arange(2**number)  # elements of the first block of level 0
        assert level.scale == (1.0, 1.0, 2.0**number, 2.0**number)
        assert level.translation[2:] == (block.mean(), block.mean())


def test_colours_of_other_channels_are_left_out(tmp_path):
    image_of(tmp_path / "x.ome.zarr", "0.5")
    target = target_for(tmp_path / "y.ome.zarr", (6, 3, 8, 10), "u2", like=open_source(tmp_path / "x.ome.zarr"))
    assert target.image.omero is None


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "i8", "u8", "?", "f2", "f4", "c8"])
def test_means_of_blocks(dtype):
    for shape in ((3, 7, 10), (1, 1, 9), (2, 5, 1, 4), (2, 13)):
        if np.dtype(dtype).kind in "iu":
            least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
            x = RNG.integers(least, most, shape, np.dtype(dtype), endpoint=True)
            x.flat[:4] = most
        else:
            x = (RNG.normal(size=shape) * 3).astype(dtype)
        halving = BlockMean(shape[0], len(shape) - 1, x.dtype)
        got = computed(halving, x)
        expected = np.empty(got.shape, x.dtype if x.dtype.kind in "iub" else complex)
        for place in np.ndindex(got.shape):
            block = x[(place[0], *(slice(2 * n, 2 * n + 2) for n in place[1:]))].ravel()
            exact = x.dtype.kind in "iub"
            expected[place] = round(Fraction(sum(map(int, block)), block.size)) if exact else block.astype("c16").mean()
        assert np.array_equal(got, expected) if x.dtype.kind in "iub" else np.allclose(got, expected, rtol=2e-3)
        tiled = np.empty_like(got)
        for region in grid(got.shape[1:], (2, 3, 1)[: got.ndim - 1]):
            window = halving.window(region, shape[1:])
            part = np.ascontiguousarray(x[:, *window])
            halving.compute(part, window, shape[1:], region, tiled[:, *region])
        assert tiled.tobytes() == got.tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "c16"])
def test_means_take_the_memory_that_is_predicted(monkeypatch, dtype):
    monkeypatch.setattr("tconv.scale.operators.block_mean._SLAB", 1 << 12)
    for shape in ((20_001,), (199, 301), (39, 41, 43)):
        halving = BlockMean(1, len(shape), np.dtype(dtype))
        sizes = halving.output_sizes(shape)
        x, out = np.ones((1, *shape), dtype), np.empty((1, *sizes), dtype)
        tracemalloc.start()
        halving.compute(x, whole(shape), shape, whole(sizes), out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= halving.scratch_bytes(whole(sizes), shape) + 20_000


# -- refused -----------------------------------------------------------------------------------------------------


def test_levels_and_metadata_that_are_not_there(tmp_path):
    image_of(tmp_path / "x.ome.zarr", "0.5")
    with pytest.raises(ArgumentError, match=r"level is 2; .*x.ome.zarr has 2, from 0. Write level=1"):
        open_source(tmp_path / "x.ome.zarr", level=2)
    zarr.create_group(str(tmp_path / "series.zarr"), attributes={"bioformats2raw.layout": 3})
    image_of(tmp_path / "series.zarr/0", "0.5")
    with pytest.raises(
        FileError, match=r"series.zarr is a group with 0 in it; an array is needed. Write .*series.zarr/0"
    ):
        open_source(tmp_path / "series.zarr")
    document = tmp_path / "x.ome.zarr/zarr.json"
    text = document.read_text()
    document.write_text(text.replace('"datasets"', '"data"'))
    with pytest.raises(
        FileError, match=r"has damaged metadata of OME-Zarr: KeyError: 'datasets'. Write the path of an"
    ):
        open_source(tmp_path / "x.ome.zarr")
    document.write_text(text.replace('"s0"', '"s7"'))
    with pytest.raises(FileError, match=r"s7 does not exist; an array of Zarr is needed. Use one of s0, s1"):
        open_source(tmp_path / "x.ome.zarr")


@pytest.mark.parametrize(
    ("shape", "ndim", "axes"), [((2, 100), 1, None), ((2, 3, 4, 9, 9), 2, "ZTCYX"), ((2, 3, 4, 9, 9), 2, ["t", "p", "q", "y", "x"])]
)  # fmt: skip
def test_axes_that_the_format_has_not(tmp_path, shape, ndim, axes):
    source = open_source(np.zeros(shape, "f4"), ndim=ndim, axes=axes)
    with pytest.raises(ShapeError, match=r"OME-Zarr has t, c, z, y and x in this order.* Write output=NAME.zarr"):
        target_for(tmp_path / "y.ome.zarr", source.shape, "f4", like=source)


def test_a_level_is_not_made_from_damaged_files(tmp_path):
    target = target_for(tmp_path / "y.ome.zarr", (1, 2, 300, 40), "f4", chunks=32, shards=64)
    stages = target.level_stages()
    values = numbers((1, 2, 300, 40), "f4")
    write_image(target, values, tmp_path / "y.ome.zarr")
    file = tmp_path / "y.ome.zarr/0/c/0/0/1/0"
    data = bytearray(file.read_bytes())
    data[9] ^= 4
    file.write_bytes(data)
    reader = stages[0].source
    reader.open(tmp_path / "y.ome.zarr")
    with pytest.raises(FileError, match=r"0/c/0/0/1/0 cannot be read"):
        reader.read(0, (slice(0, 100), slice(0, 40)))
    file.unlink()
    with pytest.raises(FileError, match=r"0/c/0/0/1/0 is missing"):
        reader.read(0, (slice(0, 100), slice(0, 40)))
    assert np.array_equal(reader.read(0, (slice(0, 60), slice(0, 40))), values[0, :, :60])


def test_an_image_is_written_whole(tmp_path):
    with pytest.raises(FileError, match=re.escape(f"an image is written whole. Write {tmp_path / 'y.ome.zarr'}")):
        target_for(tmp_path / "y.ome.zarr/0", (1, 1, 9, 9), "f4")
