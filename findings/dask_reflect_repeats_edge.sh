#!/usr/bin/env bash
# dask 2026.8.0, numpy 2.4.6, scikit-image 0.26.0
#
# map_overlap(..., boundary="reflect") repeats the outermost element: 1 0 0 1 2. NumPy's mode of that name, and
# dask.array.pad in the same package, do not: 2 1 0 1 2. NumPy calls Dask's way "symmetric". skimage.util.apply_parallel
# takes both names, and gives the same for both.
#
# Why a good guess is wrong: boundary and np.pad's mode are for the same thing and share the words. A layer that pads by
# reflection (PyTorch's ReflectionPad2d), run on blocks with boundary="reflect", is right everywhere but at the picture's
# border, where no seam shows it.
#
# Instead: pad the whole array with dask.array.pad(x, depth, mode="reflect"), and overlap with boundary="none".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" numpy==2.4.6 scikit-image==0.26.0
"$work/venv/bin/python" - <<'END'
import dask.array as da
import numpy as np
from skimage.util import apply_parallel

x = np.arange(6)
overlapped = da.overlap.overlap(da.from_array(x, chunks=6), depth={0: 2}, boundary={0: "reflect"}).compute()
padded = da.pad(da.from_array(x, chunks=6), 2, mode="reflect").compute()
print("boundary='reflect'  ", overlapped)
print("da.pad 'reflect'    ", padded)
print("np.pad 'reflect'    ", np.pad(x, 2, mode="reflect"))
print("np.pad 'symmetric'  ", np.pad(x, 2, mode="symmetric"))
assert np.array_equal(overlapped, np.pad(x, 2, mode="symmetric"))
assert np.array_equal(padded, np.pad(x, 2, mode="reflect"))
assert not np.array_equal(overlapped, padded)

# the sum of both neighbours, in blocks
image = np.arange(36.0).reshape(6, 6)


def neighbours(block):
    result = np.zeros_like(block)
    result[:, 1:-1] = block[:, :-2] + block[:, 2:]
    return result


made = {
    mode: apply_parallel(neighbours, image, chunks=3, depth=1, mode=mode, dtype=float)
    for mode in ("reflect", "symmetric")
}
wide = np.pad(image, 1, mode="reflect")[1:-1]
right = wide[:, :-2] + wide[:, 2:]
print("apply_parallel 'reflect', first row", made["reflect"][0], "by np.pad", right[0])
assert np.array_equal(made["reflect"], made["symmetric"])
assert np.array_equal(made["reflect"][:, 1:-1], right[:, 1:-1]) and not np.array_equal(made["reflect"], right)
END
