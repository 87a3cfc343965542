#!/usr/bin/env bash
# dask 2026.8.0: dask.array.from_array of numpy.memmap
#
# Two memory maps of the same bytes with different dtypes, or byte orders, are arrays of one name. Computed together,
# both return the values of one of them: an array that is stated to be int16 is computed as float16, or the reverse, and
# the sum of a little-endian and a big-endian reading is twice one of them. Each of them alone is right.
#
# Why a good guess is wrong: an ndarray is named by its bytes, its dtype and its shape; of a memory map the bytes alone
# are hashed. The chunks add the shape again, so that only the dtype is lost.
#
# Instead: from_array(..., name=False), which draws a name at random (and does not read the whole file for it).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import dask
import dask.array as da
import numpy as np

np.array([0, 1, 2, 3, 4, 5], "u1").tofile("values.bin")


def mapped(dtype, **options):
    return da.from_array(np.memmap("values.bin", dtype, mode="r", shape=(3,)), chunks=2, **options)


def in_memory(dtype):
    return da.from_array(np.fromfile("values.bin", dtype), chunks=2)


def summed(read):
    return (read("<u2") + read(">u2")).compute()


right = np.fromfile("values.bin", "<u2") + np.fromfile("values.bin", ">u2")
print("little-endian + big-endian:", right, "in memory", summed(in_memory), "memory maps", summed(mapped))
assert np.array_equal(summed(in_memory), right)
assert np.array_equal(summed(lambda dtype: mapped(dtype, name=False)), right)
whole, halves = dask.compute(mapped("i2"), mapped("f2"))
print("stated int16:", mapped("i2").dtype, "computed beside float16:", whole.dtype, halves.dtype)
assert (whole.dtype == halves.dtype) != np.array_equal(summed(mapped), right)
if np.array_equal(summed(mapped), right):
    raise SystemExit("memory maps with different dtypes have different names now")
END
