#!/usr/bin/env bash
# tifffile 2026.3.3
#
# Of a TIFF file with two pictures, the second of which happens to have half the sizes of the first, tifffile makes one
# series with two levels of a pyramid. `imread` returns the first, `imread(series=1)` raises, and `aszarr` shows the
# second as a coarser level of the first. Thirds and quarters count as levels, too.
#
# Why a good guess is wrong: TIFF has a mark for a smaller copy (NewSubfileType 1, or SubIFDs), which neither page has,
# and the pages are two series if the sizes differ in any other way.
#
# Instead: take pages by their number: imread(name, key=1).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tifffile==2026.3.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import tifffile


def series(second):
    with tifffile.TiffWriter("two.tif") as file:
        file.write(np.full((64, 96), 10, np.uint8), metadata=None)
        file.write(np.full(second, 99, np.uint8), metadata=None)
    with tifffile.TiffFile("two.tif") as file:
        assert all(page.subfiletype == 0 for page in file.pages)
        return [[level.shape for level in each.levels] for each in file.series]


for second, count in (((32, 48), 1), ((16, 24), 1), ((32, 47), 2), ((40, 60), 2)):
    found = series(second)
    print(f"pages of 64 x 96 and {second[0]} x {second[1]}: series {found}")
    assert len(found) == count
series((32, 48))
try:
    tifffile.imread("two.tif", series=1)
    raise SystemExit("the second picture is a series")
except IndexError as error:
    print("imread(series=1):", type(error).__name__, error)
assert (tifffile.imread("two.tif", key=1) == 99).all()
END
