#!/usr/bin/env bash
# dask 2026.8.0, numpy 2.4.6
#
# map_overlap of a function that makes blocks twice as large cuts `depth` elements from each block of the output, not
# twice as many: the halo of every seam stays in the result. y.shape does not say so: computed, y is larger than it.
#
# Why a good guess is wrong: trim=True is the default, `chunks` takes the larger sizes, and one block gives a result that
# looks right. Nothing compares the sizes of the blocks with those that were stated.
#
# Instead: trim=False, and cut scale * depth elements in the function.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import dask.array as da
import numpy as np


def twice(block):
    return np.repeat(block, 2)


x = da.from_array(np.arange(12), chunks=4)
y = da.map_overlap(twice, x, depth=1, boundary="nearest", dtype=int, chunks=((8, 8, 8),))
computed = y.compute()
print("stated shape", y.shape, "computed shape", computed.shape)
print("computed", computed)
assert computed.shape == (30,) and y.shape != computed.shape
assert np.array_equal(computed[:10], [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]), computed  # a 0 too many, and the 4 of block 2
assert np.array_equal(computed[10:12], [3, 4])  # block 2 begins with the end of block 1

cut = da.map_overlap(
    lambda block: twice(block)[2:-2], x, depth=1, boundary="nearest", trim=False, dtype=int, chunks=((8, 8, 8),)
)
assert np.array_equal(cut.compute(), np.repeat(np.arange(12), 2)) and cut.shape == (24,)
END
