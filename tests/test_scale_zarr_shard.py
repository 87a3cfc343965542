"""Shards that are written without zarr: zarr reads the same numbers, whatever the shape, codec and dtype."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

from tconv.scale.stores.zarr_shard import ShardWriter  # noqa: E402
from tconv.scale.stores.zarr_store import codecs_for  # noqa: E402


def created(shape, chunks, shards, dtype, compression):
    return {
        "shape": shape,
        "chunks": chunks,
        "shards": shards,
        "dtype": np.dtype(dtype),
        "compressors": codecs_for(compression, np.dtype(dtype)),
        "fill_value": 0,
    }


CASES = [
    ((3, 20, 31), (3, 4, 5), (3, 8, 10)),
    ((2, 3, 7, 9, 11), (1, 3, 2, 2, 2), (1, 3, 4, 6, 4)),
    ((1, 1), (1, 1), (1, 1)),
    ((100,), (7,), (21,)),
    ((20, 20), (1, 1), (20, 20)),  # more chunks than one call writes
]


@pytest.mark.parametrize(
    ("dtype", "compression"),
    [("u1", "lz4"), ("?", "zstd"), ("i2", "zstd"), ("f2", None), ("f4", "lz4"), ("f8", None), ("c8", "zstd"), ("c16", "lz4")],
)  # fmt: skip
def test_zarr_reads_what_is_written(tmp_path, dtype, compression):
    """All shards, those at the ends with chunks that are partly or wholly beyond the array."""
    random = np.random.default_rng(0)
    for number, (shape, chunks, shards) in enumerate(CASES):
        arguments = created(shape, chunks, shards, dtype, compression)
        place = tmp_path / f"{number}.zarr"
        array = zarr.create_array(str(place), **arguments)
        values = random.integers(-100, 100, shape).clip(-100 if dtype != "u1" else 0).astype(dtype)
        writer = ShardWriter.of(arguments)
        for at in itertools.product(*(range(-(-n // s)) for n, s in zip(shape, shards, strict=True))):
            spans = tuple(slice(i * s, (i + 1) * s) for i, s in zip(at, shards, strict=True))
            writer.write(place / array.metadata.encode_chunk_key(at), values[spans])
        read = zarr.open_array(str(place), mode="r")[...]
        assert np.array_equal(read, values), (shape, chunks, shards)
        assert not list(place.rglob("*.partial"))


def test_bytes_are_those_of_zarr(tmp_path):
    """A shard of one chunk has the bytes that zarr writes; more chunks may stand in another order."""
    values = np.random.default_rng(1).integers(0, 9, (16, 16)).astype("f4")
    for compression in (None, "lz4", "zstd"):
        arguments = created((16, 16), (16, 16), (16, 16), "f4", compression)
        place = tmp_path / f"{compression}.zarr"
        array = zarr.create_array(str(place), **arguments)
        array[...] = values
        file = place / array.metadata.encode_chunk_key((0, 0))
        theirs = file.read_bytes()
        ShardWriter.of(arguments).write(file, values)
        assert file.read_bytes() == theirs


def test_unknown_codecs_are_left_to_zarr():
    """No shards, or codecs that are not ours."""
    arguments = created((8, 8), (4, 4), (8, 8), "f4", None)
    assert ShardWriter.of(arguments | {"shards": None}) is None
    assert ShardWriter.of(arguments | {"compressors": [zarr.codecs.GzipCodec()]}) is None


def test_two_writers_of_one_shard(tmp_path):
    """A worker that was given up may go on beside the one that took its place: the same bytes, whoever is last."""
    file, values = tmp_path / "c" / "0", np.random.default_rng(0).random((64, 64))
    arguments = created((64, 64), (8, 8), (64, 64), "f8", "lz4")
    ShardWriter.of(arguments).write(file, values)
    expected = file.read_bytes()

    def write(_):
        ShardWriter.of(arguments).write(file, values)
        return file.read_bytes() == expected

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(write, range(40)))
    assert [each.name for each in file.parent.iterdir()] == ["0"]


def test_a_failed_write_leaves_the_old_shard(tmp_path, monkeypatch):
    """An error of the disk leaves the old file and no other."""
    file = tmp_path / "c" / "0" / "0"
    writer = ShardWriter.of(created((8, 8), (4, 4), (8, 8), "f4", None))
    writer.write(file, np.ones((8, 8), "f4"))
    before = file.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.writev", full)
    with pytest.raises(OSError, match="No space"):
        writer.write(file, np.zeros((8, 8), "f4"))
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == ["0"]
