"""Stores of images: every region of every order of axes, whole shards from several processes, and damaged files."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import zarr

from tconv.errors import ArgumentError, ArrayError, DtypeError, FileError, OutputError, ShapeError, TconvError
from tconv.scale.regions import grid, whole
from tconv.scale.stores.array_file import NpySource
from tconv.scale.stores.axis_layout import bare_axes
from tconv.scale.stores.formats import open_source, target_for
from tconv.scale.stores.memory_array import ArraySource
from tconv.scale.stores.zarr_chunks import cells, chunk_and_shard
from tconv.scale.stores.zarr_files import sync_files

RNG = np.random.default_rng(5)
LAYOUTS = [  # shape, spatial axes, names
    ((2, 3, 37, 53), 2, None),
    ((3, 37, 53), 2, None),
    ((37, 53), 2, None),
    ((37, 53, 3), 2, "YXC"),
    ((2, 5, 4, 7, 9), 2, "TZCYX"),
    ((3, 11, 7, 9), 3, None),
    ((3, 100), 1, None),
    ((7, 9, 2, 3), 2, "XYTC"),
    ((1, 1, 1, 5), 2, None),
]
DTYPES = ["f4", ">f4", "f2", "u1", ">u2", "c8", "f8", "i4", "?"]


def numbers(shape, dtype):
    """Return random elements, half of them the fill value, zeros of both signs among them."""
    values = RNG.normal(size=shape) * 50
    x = values > 0 if np.dtype(dtype).kind == "b" else np.abs(values).astype(dtype)
    x[..., : shape[-1] // 2] = 0
    if x.dtype.kind in "fc":
        x[..., :1] = -0.0
    return x


def images(x, ndim, axes):
    """Return an array as images [N, C, *sizes]."""
    if axes:
        order = [axes.index(letter) for letter in "TZCYX" if letter in axes]
        x = x.transpose(order)
        channels = x.shape[-3] if "C" in axes else 1
        return x.reshape(-1, channels, *x.shape[-2:])
    return x.reshape((1,) * (ndim + 2 - x.ndim) + x.shape)


def regions(shape, count=4):
    """Yield the whole image, and random parts of one."""
    yield 0, whole(shape[2:])
    for _ in range(count):
        starts = [int(RNG.integers(0, size)) for size in shape[2:]]
        stops = [int(RNG.integers(start + 1, size + 1)) for start, size in zip(starts, shape[2:], strict=True)]
        yield int(RNG.integers(shape[0])), tuple(map(slice, starts, stops))


def check_source(source, expected):
    source = pickle.loads(pickle.dumps(source))
    assert source.shape == expected.shape
    for image, region in regions(expected.shape):
        got = source.read(image, region)
        assert got.dtype.isnative
        assert got.dtype == source.dtype
        assert got.flags.c_contiguous
        assert got.flags.writeable
        assert np.array_equal(got, expected[(image, slice(None), *region)])
        assert source.read_bytes(region) >= got.nbytes
    source.close()


def fill(target, source, place):
    """Write all units of a target from a source of its sizes, each as another process would."""
    target.create(place)
    target = pickle.loads(pickle.dumps(target))
    parts = [(image, region) for image in range(target.shape[0]) for region in grid(target.shape[2:], target.unit)]
    for image, region in parts:
        values = source.read(image, region)
        target.write(image, region, values)
        assert target.has(image, region)
        assert target.stored(image, region).tobytes() == values.tobytes()
    target.sync(*parts[0])
    target.sync_many(parts)
    target.finish()
    target.close()


# -- NumPy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_npy_files_memory_maps_and_arrays(tmp_path, dtype):
    for number, (shape, ndim, axes) in enumerate(LAYOUTS):
        x = numbers(shape, dtype)
        for order in "CF":
            path = tmp_path / f"{number}{order}.npy"
            np.save(path, np.asarray(x, order=order))
            mapped = np.load(path, mmap_mode="r")
            for source in (path, str(path), mapped, np.load(path, mmap_mode="c"), x):
                check_source(open_source(source, ndim=ndim, axes=axes), images(x, ndim, axes))
            assert isinstance(open_source(mapped, ndim=ndim, axes=axes), NpySource)
            half = open_source(mapped[..., ::2], ndim=ndim, axes=axes)
            check_source(half, images(x[..., ::2], ndim, axes))
        source, out = open_source(path, ndim=ndim, axes=axes), tmp_path / f"{number}.out.npy"
        fill(target_for(out, source.shape, source.dtype, like=source), source, out)
        assert np.load(out).tobytes() == x.astype(source.dtype).tobytes()


def test_a_memory_map_is_read_without_growing(tmp_path):
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", "u1", (1, 8192, 8192))[:, ::7] = 3
    for array in (np.load(path, mmap_mode="r"), np.load(path, mmap_mode="r")[:, :, :8191]):
        source = open_source(array)
        before = resident()
        for region in grid((8192, source.shape[3]), (512, 2048)):
            assert source.read(0, region).shape[0] == 1
        assert resident() - before < 24 << 20  # of 64 MiB
    assert isinstance(source, ArraySource)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_private_map_is_read_with_what_was_written_into_it(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 5), "f4"))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped[2, 3] = 7
    assert open_source(mapped).read(0, (slice(2, 3), slice(3, 4))).item() == 7


def test_a_map_whose_file_was_replaced_is_read_itself(tmp_path):
    np.save(tmp_path / "x.npy", np.full((4, 5), 1.0))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.save(tmp_path / "y.npy", np.full((4, 5), 2.0))
    os.replace(tmp_path / "y.npy", tmp_path / "x.npy")
    assert np.all(open_source(mapped).read(0, whole((4, 5))) == 1)


def test_parts_of_a_memory_map_have_identities_of_their_own(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(36, dtype="f4").reshape(6, 6))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    parts = [open_source(each).identity()["modified"] for each in (mapped[:3], mapped[3:], mapped[:3].view("i4"))]
    assert parts[0] == open_source(mapped[:3]).identity()["modified"]
    assert len({*map(str, parts)}) == 3
    assert open_source(mapped).identity() != open_source(mapped.T).identity()


def test_a_memory_map_of_the_caller_is_written(tmp_path):
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "f4", (37, 53, 3))
    x = numbers((37, 53, 3), "f4")
    source = open_source(x, axes="YXC")
    target = target_for(out, source.shape, "f4", like=source)
    assert target.in_place
    fill(target, source, tmp_path / "unused")
    assert np.array_equal(out, x)
    assert np.array_equal(np.load(tmp_path / "y.npy"), x)


def test_an_npy_file_is_written_in_long_runs():
    assert target_for("y.npy", (1, 3, 5000, 100_000), "f4").unit == (1, 1 << 10)
    assert target_for("y.npy", (1, 3, 5000, 1000), "f4").unit == (1, 1000)


def test_a_short_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((40, 50)))
    source = open_source(tmp_path / "x.npy")
    os.truncate(tmp_path / "x.npy", 5000)
    with pytest.raises(FileError, match=r"x\.npy has 5000 bytes; its array \(40, 50\) of float64 needs 16128"):
        source.read(0, whole((40, 50)))
    with pytest.raises(FileError, match="Use a file that was written to its end"):
        open_source(tmp_path / "x.npy")


# -- Zarr --------------------------------------------------------------------------------------------------------


def stored(path, x, version, shard, names=None):
    chunks = tuple(min(size, 14) for size in x.shape)
    shards = None if shard is None else tuple(shard * chunk for chunk in chunks)
    named = {"dimension_names": names} if names and version == 3 else {}
    array = zarr.create_array(
        str(path), shape=x.shape, chunks=chunks, shards=shards, dtype=x.dtype, zarr_format=version,
        config={"write_empty_chunks": True}, **named,
    )  # fmt: skip
    array.attrs.update({"a": 1} if version == 3 or not names else {"a": 1, "_ARRAY_DIMENSIONS": names})
    array[...] = x
    return array


@pytest.mark.parametrize(("dtype", "version", "shard"), [("c8", 3, None), ("f2", 3, 2), (">u2", 2, None)])
def test_arrays_of_zarr(tmp_path, dtype, version, shard):
    for number, (shape, ndim, axes) in enumerate(LAYOUTS):
        x = numbers(shape, dtype)
        array = stored(tmp_path / f"{number}.zarr", x, version, shard)
        for source in (tmp_path / f"{number}.zarr", array):
            check_source(open_source(source, ndim=ndim, axes=axes), images(x, ndim, axes))
        source = open_source(array, ndim=ndim, axes=axes)
        options = [{}, {"chunks": 7, "shards": 14}, {"chunks": 15}, {"shards": 18}][number % 4]
        compression = ["auto", "zstd", None][number % 3]
        out = tmp_path / "out.zarr" / str(number) / "array"
        target = target_for(out, source.shape, source.dtype, like=source, compression=compression, **options)
        fill(target, source, out.with_name("part"))
        written = zarr.open_array(str(out.with_name("part")), mode="r")
        assert written[...].tobytes() == x.astype(source.dtype).tobytes()
        assert written.attrs["a"] == 1
        size = sum(file.stat().st_size for file in out.parent.rglob("*") if file.is_file())
        assert size <= target.disk_bytes()


@pytest.mark.parametrize("version", [2, 3])
def test_names_of_axes_are_those_of_the_array(tmp_path, version):
    names = ["time", "lat", "lon", "band"]
    x = numbers((4, 9, 11, 3), "f4")
    source = open_source(stored(tmp_path / "x.zarr", x, version, None, names))
    assert source.shape == (4, 3, 9, 11)
    assert source.layout.names == tuple(names)
    assert np.array_equal(source.read(2, whole((9, 11))), x[2].transpose(2, 0, 1))
    target = target_for(tmp_path / "y.zarr", (4, 3, 18, 22), "f4", like=source)
    target.create(tmp_path / "y.zarr")
    made = zarr.open_array(str(tmp_path / "y.zarr"))
    assert made.shape == (4, 18, 22, 3)
    assert made.metadata.dimension_names == tuple(names)
    assert dict(made.attrs) == {"a": 1}


def test_an_axis_of_channels_is_added_where_the_output_needs_one(tmp_path):
    source = open_source(np.zeros((5, 30, 40), "f4"), axes="TYX")
    target = target_for(tmp_path / "y.zarr", (5, 3, 60, 80), "f4", like=source)
    target.create(tmp_path / "y.zarr")
    made = zarr.open_array(str(tmp_path / "y.zarr"))
    assert made.shape == (5, 3, 60, 80)
    assert made.metadata.dimension_names == ("t", "c", "y", "x")


WRITER = """
import pickle, sys
import numpy as np
from tconv.scale.regions import grid
targets, half = pickle.load(sys.stdin.buffer), int(sys.argv[1])
x = np.arange(3 * 96 * 80, dtype="f4").reshape(3, 96, 80)
for target in targets:
    for number, region in enumerate(grid((96, 80), target.unit)):
        if number % 2 == half:
            target.write(0, region, x[:, *region])
"""


def test_two_processes_write_shards_side_by_side(tmp_path):
    targets = []
    for number, options in enumerate(({"chunks": 8, "shards": 16}, {"chunks": 16})):
        targets.append(target_for(tmp_path / f"{number}.zarr", (1, 3, 96, 80), "f4", **options))
        targets[-1].create(tmp_path / f"{number}.zarr")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(half)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         env=environment)
        for half in (0, 1)
    ]  # fmt: skip
    for writer in writers:
        writer.stdin.write(pickle.dumps(targets))
        writer.stdin.close()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    for number in range(len(targets)):
        y = zarr.open_array(str(tmp_path / f"{number}.zarr"))[...]
        assert np.array_equal(y[0], np.arange(3 * 96 * 80, dtype="f4").reshape(3, 96, 80))


@pytest.mark.parametrize("options", [{"shards": 64}, {}])
@pytest.mark.parametrize("compression", ["lz4", "zstd", None])
def test_predicted_bytes_are_the_most(tmp_path, compression, options):
    """Chunks at the ends are whole ones; noise between zeros takes more room than noise alone."""
    for size in (33, 40, 63, 65):
        path = tmp_path / f"{size}.zarr"
        x = RNG.integers(0, 256, (2, size, size), np.uint8)
        target = target_for(path, (1, 2, size, size), "u1", chunks=32, compression=compression, **options)
        fill(target, open_source(x), path)
        used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        assert used <= target.disk_bytes() - 60_000  # the allowance for metadata hides nothing


def test_another_order_of_bytes_is_written_as_the_machines_own(tmp_path):
    for name in ("y.zarr", "y.npy", "y.tif"):
        target = target_for(tmp_path / name, (1, 1, 16, 16), ">u2")
        target.create(tmp_path / name)
        target.write(0, whole((16, 16)), np.full((1, 16, 16), 258, "u2"))
        target.close()
        assert open_source(tmp_path / name).read(0, whole((16, 16))).max() == 258


def test_chunks_that_are_too_large_to_compress_are_refused():
    with pytest.raises(ArgumentError, match=r"are 3,600,000,000 bytes each; 2,147,483,631 can be compressed together"):
        target_for("y.zarr", (1, 1, 40_000, 40_000), "f4", chunks=30_000)
    target_for("y.zarr", (1, 1, 40_000, 40_000), "f4", chunks=30_000, compression=None)


def test_a_part_of_a_shard_is_refused(tmp_path):
    target = target_for(tmp_path / "y.zarr", (1, 1, 96, 80), "f4", chunks=8, shards=16)
    target.create(tmp_path / "y.zarr")
    message = (
        r"the region \['0:16', '8:24'\] cuts shards of \(16, 16\) of .*y\.zarr; several writers of one lose chunks"
    )
    with pytest.raises(ShapeError, match=message):
        target.write(0, (slice(0, 16), slice(8, 24)), np.zeros((1, 16, 16), "f4"))
    with pytest.raises(ShapeError, match=r"values of shape \(2, 16, 16\) were to be written"):
        target.write(0, (slice(0, 16), slice(0, 16)), np.zeros((2, 16, 16), "f4"))


def test_default_chunks_and_shards():
    assert chunk_and_shard((10_000, 10_000), 3, None, None) == ((512, 512), (2048, 2048))
    assert chunk_and_shard((100, 90), 3, None, None) == ((100, 90), None)
    assert chunk_and_shard((5000, 700, 600), 4, None, None) == ((64, 64, 64), (128, 128, 128))
    assert chunk_and_shard((1000, 1000), 4, None, (300, 1030)) == ((300, 206), (300, 1030))
    assert chunk_and_shard((9000, 9000), 1, None, (2053, 1021)) == (
        (2053, 1021),
        (2053, 1021),
    )  # not of single elements
    with pytest.raises(
        ArgumentError, match=r"shards=\(100, 100\) is no multiple of chunks=\(64, 50\).*shards=\(128, 100\)"
    ):
        chunk_and_shard((1000, 1000), 4, (64, 50), (100, 100))
    covered = np.zeros((23, 41), int)
    for cell in cells((slice(3, 23), slice(2, 41)), (4, 6), 5):
        covered[cell] += 1
    assert covered[3:, 2:].min() == covered.max() == 1
    assert covered.sum() == 20 * 39


# -- arrays that are there ---------------------------------------------------------------------------------------


def existing(path, shape=(3, 40, 50), dtype="f4", **options):
    return zarr.create_array(str(path), shape=shape, dtype=dtype, **{"chunks": (1, 8, 8), **options})


@pytest.mark.parametrize("as_path", [True, False])
def test_an_empty_array_is_filled(tmp_path, as_path):
    array = existing(tmp_path / "y.zarr", shards=(1, 16, 16), fill_value=np.nan)
    x = numbers((3, 40, 50), "f4")
    source = open_source(x)
    target = target_for(tmp_path / "y.zarr" if as_path else array, source.shape, "f4", like=source)
    assert target.in_place
    assert target.empty()
    assert target.unit == (16, 16)
    fill(target, source, tmp_path / "unused")
    assert array[...].tobytes() == x.tobytes()
    assert not target.empty()
    assert not target_for(tmp_path / "y.zarr", source.shape, "f4", like=source).in_place


def test_codecs_that_change_values_are_refused(tmp_path):
    from numcodecs import Delta
    from numcodecs.zarr3 import BitRound

    x = numbers((3, 40, 50), "f4")
    for number, options in enumerate(
        ({"zarr_format": 2, "filters": [Delta("f4")]}, {"filters": [BitRound(keepbits=3)]})
    ):
        array = existing(tmp_path / f"{number}.zarr", **options)
        with pytest.raises(OutputError, match=r"has codecs that change values \((Delta|BitRound), "):
            target_for(array, (1, 3, 40, 50), "f4", like=open_source(x))
    array = existing(tmp_path / "y.zarr", zarr_format=2, filters=[Delta("i4")], dtype="i4")
    target = target_for(array, (1, 3, 40, 50), "i4", like=open_source(x.astype("i4")))
    fill(target, open_source(x.astype("i4")), tmp_path / "unused")
    assert [codec["id"] for codec in target.settings()["codecs"]] == ["delta", "zstd"]


def test_an_array_in_memory_is_filled():
    array = zarr.create_array({}, shape=(3, 9, 7), chunks=(3, 4, 4), dtype="f4")
    x = numbers((3, 9, 7), "f4")
    target = target_for(array, (1, 3, 9, 7), "f4", like=open_source(x))
    for region in grid((9, 7), target.unit):
        target.write(0, region, x[:, *region])
    assert np.array_equal(open_source(array).read(0, whole((9, 7))), x)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ({"shape": (3, 40, 51)}, "has shape (3, 40, 51) and dtype float32; the result has (2, 3, 40, 50) and float32"),
        ({"shape": (2, 3, 40, 50), "dtype": "f8", "chunks": (1, 3, 8, 8)}, "and dtype float64; the result has"),
        (
            {"shape": (2, 3, 40, 50), "chunks": (1, 3, 8, 8), "shards": (2, 3, 16, 16)},
            "has shards of (2, 3, 16, 16), which images along axis N share; whole shards of one image at a time are "
            "written. Write zarr.create_array(path, shards=(1, 3, 16, 16), ...)",
        ),
    ],
)
def test_an_array_that_cannot_take_the_result_is_refused(tmp_path, array, message):
    made = existing(tmp_path / "y.zarr", **array)
    with pytest.raises(OutputError, match=re.escape(message)):
        target_for(made, (2, 3, 40, 50), "f4")


def test_outputs_that_cannot_be_written_are_refused(tmp_path):
    existing(tmp_path / "y.zarr")
    like = open_source(np.zeros((3, 40, 50), "f4"))
    with pytest.raises(OutputError, match=r"was opened to be read only. Write zarr.open_array"):
        target_for(zarr.open_array(str(tmp_path / "y.zarr"), mode="r"), (1, 3, 40, 50), "f4", like=like)
    frozen = np.zeros((3, 40, 50), "f4")
    frozen.flags.writeable = False
    with pytest.raises(OutputError, match=r"output cannot be written. Open a memory map with mode"):
        target_for(frozen, (1, 3, 40, 50), "f4", like=like)
    with pytest.raises(OutputError, match=r"Write output=np.empty\(\(3, 40, 50\), np.float32\)"):
        target_for(np.zeros((3, 40, 51), "f4"), (1, 3, 40, 50), "f4", like=like)


# -- damaged, missing and foreign files --------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path):
    """Return a target with four shards that are written."""
    target = target_for(tmp_path / "y.zarr", (1, 1, 32, 32), "f4", chunks=8, shards=16)
    target.create(tmp_path / "y.zarr")
    for region in grid((32, 32), (16, 16)):
        target.write(0, region, np.ones((1, 16, 16), "f4"))
    return target


@pytest.mark.parametrize("damage", ["altered", "short", "empty"])
def test_a_damaged_shard_is_named(tmp_path, shards, damage):
    file = tmp_path / "y.zarr/c/0/0/1/0"
    data = bytearray(file.read_bytes())
    data[20] ^= 255
    file.write_bytes({"altered": bytes(data), "short": data[:-40], "empty": b""}[damage])
    for read in (shards.stored, open_source(tmp_path / "y.zarr").read):
        assert np.all(read(0, (slice(0, 16), slice(0, 32))) == 1)
        with pytest.raises(FileError, match=r"c/0/0/1/0 (cannot be read|is missing)"):
            read(0, whole((32, 32)))
    assert shards.has(0, (slice(16, 32), slice(0, 16))) == (damage != "empty")
    shards.write(0, (slice(16, 32), slice(0, 16)), np.full((1, 16, 16), 2, "f4"))  # made anew
    assert shards.stored(0, whole((32, 32))).max() == 2


def test_a_missing_shard_of_an_output_is_an_error(tmp_path, shards):
    (tmp_path / "y.zarr/c/0/0/1/1").unlink()
    assert not shards.has(0, whole((32, 32)))
    assert shards.has(0, (slice(0, 16), slice(0, 16)))
    with pytest.raises(FileError, match=r"c/0/0/1/1 is missing. Write that part anew"):
        shards.stored(0, (slice(17, 18), slice(20, 21)))


def test_a_store_that_is_removed_while_it_is_read(tmp_path, shards):
    source = open_source(tmp_path / "y.zarr")
    source.read(0, whole((32, 32)))
    os.rename(tmp_path / "y.zarr", tmp_path / "z.zarr")
    with pytest.raises(FileError, match=r"y.zarr was removed while it was read"):
        source.read(0, whole((32, 32)))


def test_what_a_broken_off_write_left_is_removed(tmp_path, shards):
    (tmp_path / "y.zarr/c/0/0/0/0.abc.partial").write_bytes(b"half")
    assert open_source(tmp_path / "y.zarr").identity()["modified"][2] == 4
    shards.finish()
    assert not list((tmp_path / "y.zarr").rglob("*.partial"))


def test_many_files_are_synced_by_one_call(tmp_path):
    files = [tmp_path / str(number) for number in range(40)]
    for file in files:
        file.write_bytes(b"x")
    sync_files(tmp_path, files)
    with pytest.raises(FileError, match=r"gone cannot be written: No such file"):
        sync_files(tmp_path, [tmp_path / "gone"])


def test_identities_change_with_the_files(tmp_path, shards):
    np.save(tmp_path / "x.npy", np.zeros((4, 5)))
    for path in (tmp_path / "y.zarr", tmp_path / "x.npy"):
        file = path if path.is_file() else path / "c/0/0/1/1"
        before = open_source(path).identity()
        assert open_source(path).identity() == before
        os.utime(file, (1, 1 << 32))
        after = open_source(path).identity()
        assert after.pop("modified") != before.pop("modified")
        assert after == before
    assert "modified" not in open_source(np.zeros((4, 5))).identity()


def test_a_taken_place_is_refused(tmp_path):
    for name in ("y.npy", "y.zarr", "y.ome.zarr"):
        (tmp_path / name).write_text("mine")
        target = target_for(tmp_path / name, (1, 1, 9, 9), "f4")
        with pytest.raises(
            FileError, match=r"exists, and nothing is overwritten. (Choose|Remove it, or choose) another name"
        ):
            target.create(tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"
        with pytest.raises(FileError, match=r"cannot be written"):
            target.create(tmp_path / "y.npy" / name)


def test_groups_above_an_output(tmp_path):
    zarr.create_group(str(tmp_path / "two.zarr"), zarr_format=2)
    existing(tmp_path / "array.zarr")
    for store, message in (
        ("two", "is a store of Zarr's version 2"),
        ("array", "is an array; a group of Zarr is needed"),
    ):
        target = target_for(tmp_path / f"{store}.zarr/a/b", (1, 1, 9, 9), "f4")
        with pytest.raises(FileError, match=message):
            target.create(tmp_path / f"{store}.zarr/a/b")
    target = target_for(tmp_path / "new.zarr/a/b", (1, 1, 9, 9), "f4")
    target.create(tmp_path / "new.zarr/a/b")
    assert list(zarr.open_group(str(tmp_path / "new.zarr"), mode="r")["a"].array_keys()) == ["b"]


REFUSED = [
    (FileError, "gone.npy", {}, "gone.npy cannot be read: No such file or directory. Use the path of a file that is there"),
    (FileError, "gone.zarr", {}, "gone.zarr does not exist. Use the path of a store that is there"),
    (FileError, "group.zarr", {}, "group.zarr is a group with a, b in it; an array is needed. Write "),
    (FileError, "group.zarr/c", {}, "group.zarr/c does not exist; an array of Zarr is needed. Use one of a, b"),
    (FileError, "text.npy", {}, "text.npy is no .npy file, or a damaged one"),
    (FileError, "x.jpg", {}, "x.jpg does not exist"),
    (FileError, "text.doc", {}, "has an ending of no known format; one of .ome.zarr, .zarr, .npy"),
    (FileError, "broken.zarr", {}, "broken.zarr cannot be opened by zarr "),
    (DtypeError, "names.npy", {}, "has elements of <U1; numbers are needed. Write array.astype(np.float32)"),
    (DtypeError, "pairs.npy", {}, "numbers are needed"),
    (ShapeError, "x.npy", {"ndim": 5}, "an array of shape (2, 3, 4, 5) has 4 axes; with 5 spatial ones it needs 5"),
    (ShapeError, "x.npy", {"ndim": 1}, 'Write axes="CZYX"'),
    (ArgumentError, "x.npy", {"axes": "YX"}, "axes is 'YX'; one name for each axis of shape (2, 3, 4, 5) is needed"),
    (ArgumentError, "x.npy", {"axes": "CSYX"}, "axes is 'CSYX', which names an axis twice"),
    (ArgumentError, "x.npy", {"axes": "NCTX", "ndim": 3}, "axes is 'NCTX'; 3 spatial axes are needed"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "options", "message"), REFUSED)
def test_refused_sources(tmp_path, kind, name, options, message):
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 4, 5)))
    np.save(tmp_path / "names.npy", np.array(["a"]))
    np.save(tmp_path / "pairs.npy", np.zeros(3, [("a", "f4")]))
    for text in ("text.npy", "text.doc"):
        (tmp_path / text).write_text("text")
    for array in "ab":
        existing(tmp_path / "group.zarr" / array)
    zarr.create_group(str(tmp_path / "group.zarr"))
    existing(tmp_path / "broken.zarr")
    (tmp_path / "broken.zarr/zarr.json").write_text("{")
    with pytest.raises(kind, match=re.escape(message)) as caught:
        open_source(tmp_path / name, **options)
    assert isinstance(caught.value, TconvError)


def test_refused_names_and_objects(tmp_path):
    with pytest.raises(FileError, match=r"is the address of a remote store; .* source=zarr.open_array\(address\)"):
        open_source("s3://bucket/x.zarr")
    with pytest.raises(FileError, match=r"y.png has an ending of no known format"):
        target_for(tmp_path / "y.png", (1, 1, 9, 9), "f4")
    with pytest.raises(ArgumentError, match=r"source is a builtins.list; a path or an array of NumPy, Zarr, Dask or"):
        open_source([1, 2])
    with pytest.raises(ArgumentError, match=r"output is a builtins.int; a path, a zarr.Array or a NumPy array"):
        target_for(3, (1, 1, 9, 9), "f4")
    with pytest.raises(ArgumentError, match=r"chunks is 0; one number of at least 1 for each of 2 spatial axes"):
        target_for("y.zarr", (1, 1, 9, 9), "f4", chunks=0)
    with pytest.raises(ArgumentError, match=r"compression is 'lzw'; \"lz4\", \"zstd\" or None is needed"):
        target_for("y.zarr", (1, 1, 9, 9), "f4", compression="lzw")
    with pytest.raises(ShapeError, match=r"the output has 2 images, the input 1"):
        target_for("y.npy", (2, 1, 9, 9), "f4", like=open_source(np.zeros((9, 9))))


# -- Dask and xarray ---------------------------------------------------------------------------------------------


def test_arrays_of_dask():
    import dask.array

    x = numbers((4, 30, 40, 3), "f4")
    source = open_source(dask.array.from_array(x, chunks=(1, 7, 11, 3)) + 1, axes="TYXC")
    assert source.block == (7, 11)
    check_source(source, (x + 1).transpose(0, 3, 1, 2))
    unknown = dask.array.from_array(x[0, 0], chunks=7)
    with pytest.raises(ShapeError, match=r"chunks of unknown sizes. Write array.compute_chunk_sizes\(\)"):
        open_source(unknown[unknown[:, 0] > 1])
    broken = dask.array.map_blocks(
        lambda _: 1 / 0, dask.array.zeros((8, 8), chunks=4), dtype="f8", meta=np.empty((0, 0))
    )
    with pytest.raises(FileError, match=r"the array of Dask cannot be computed: ZeroDivisionError"):
        open_source(broken).read(0, whole((8, 8)))


def test_arrays_of_xarray(tmp_path):
    import xarray

    x = numbers((4, 9, 11, 3), "f4")
    array = xarray.DataArray(x, dims=("time", "lat", "lon", "band"), attrs={"units": "K", "file": object()}, name="t")
    array.drop_attrs().to_zarr(tmp_path / "x.zarr", consolidated=False)
    lazy = xarray.open_zarr(tmp_path / "x.zarr", chunks=None, consolidated=False)["t"]
    for given in (array, array.chunk({"time": 1}), lazy):
        source = open_source(given)
        check_source(source, x.transpose(0, 3, 1, 2))
    target = target_for(tmp_path / "y.zarr", (4, 3, 9, 11), "f4", like=open_source(array))
    target.create(tmp_path / "y.zarr")
    made = zarr.open_array(str(tmp_path / "y.zarr"))
    assert made.metadata.dimension_names == array.dims
    assert dict(made.attrs) == {"units": "K"}
    with pytest.raises(ArrayError, match=r"source is an xarray.Dataset; one DataArray is needed"):
        open_source(array.to_dataset())


def test_layouts_of_arrays_without_names():
    assert bare_axes((5, 6, 7), 3).image_shape == (1, 1, 5, 6, 7)
