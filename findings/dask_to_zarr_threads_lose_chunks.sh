#!/usr/bin/env bash
# dask 2026.8.0, zarr 3.1.6
#
# dask.array.to_zarr(path, shards=...) of an array whose chunks are those of the store, not its shards, loses most of
# them: 40 of 64 are the fill value afterwards, and no error says so. One process with threads suffices, Dask's default;
# so do threads of one's own that write chunks of one shard into the same zarr.Array.
#
# Why a good guess is wrong: each task writes its own chunk, and Zarr promises that chunks can be written at a time. A
# shard is one file, which every write of a part reads, changes and writes as a whole. Into an array that exists already,
# to_zarr writes the same chunks without a loss.
#
# Instead: give the Dask array chunks that are whole shards: x.rechunk(shards).to_zarr(path, shards=shards).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" zarr==3.1.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'END'
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import zarr

x = np.arange(1, 64 * 64 + 1, dtype=np.int32).reshape(64, 64)
whole, chunks = (64, 64), [(8 * i, 8 * j) for i in range(8) for j in range(8)]


def lost(array):
    return sum(not np.array_equal(array[i : i + 8, j : j + 8], x[i : i + 8, j : j + 8]) for i, j in chunks)


def by_threads(name):
    array = zarr.create_array(name, shape=whole, chunks=(8, 8), shards=whole, dtype="i4")

    def write(at):
        i, j = at
        array[i : i + 8, j : j + 8] = x[i : i + 8, j : j + 8]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, chunks))
    return lost(array)


with dask.config.set(scheduler="threads", num_workers=4):
    by_dask = []
    for number in range(3):
        da.from_array(x, chunks=(8, 8)).to_zarr(f"dask{number}.zarr", shards=whole)
        by_dask.append(lost(zarr.open_array(f"dask{number}.zarr", mode="r")))
    da.from_array(x, chunks=(8, 8)).rechunk(whole).to_zarr("aligned.zarr", shards=whole)
    aligned = lost(zarr.open_array("aligned.zarr", mode="r"))
    existing = zarr.create_array("existing.zarr", shape=whole, chunks=(8, 8), shards=whole, dtype="i4")
    da.from_array(x, chunks=(8, 8)).to_zarr(existing)
pools = [by_threads(f"pool{number}.zarr") for number in range(3)]
print("chunks lost of 64: to_zarr", by_dask, "threads", pools, "whole shards", aligned, "into an array", lost(existing))
assert max(by_dask) > 8 and max(pools) > 8 and aligned == 0 and lost(existing) == 0
END
