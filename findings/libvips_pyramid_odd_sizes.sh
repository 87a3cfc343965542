#!/usr/bin/env bash
# libvips 8.18.7 (pyvips 3.2.0); levels read with tifffile 2026.3.3
#
# The levels of a TIFF pyramid that libvips writes (tiffsave with pyramid=True) do not contain the last row and column
# of a level with odd sizes. What is lost grows with the levels: of 1023 x 1023 pixels the level of 31 x 31 shows the
# first 992 of each axis, and 31 rows and columns are in no pixel of it.
#
# Why a good guess is wrong: a level is expected to be the whole picture, smaller, so that a place in it is its share of
# the sizes times the place in the picture (OpenSlide, OME and Zarr readers take the ratio of the sizes as the scale).
# Here the scale is a power of 2 exactly, which is not the ratio of the sizes: 1023 / 31 is 33, not 32.
#
# Instead: pad the picture to a multiple of 2^levels before saving it, or compute places in levels with 2^level.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import pyvips
import tifffile


def levels(pixels):
    height, width = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, 1, "uchar")
    image.tiffsave("pyramid.tif", tile=True, tile_width=16, tile_height=16, pyramid=True, subifd=True)
    with tifffile.TiffFile("pyramid.tif") as file:
        return [level.asarray() for level in file.series[0].levels]


size = 1023
for seen in (991, 992, 1022):  # one white column
    pixels = np.zeros((size, size), np.uint8)
    pixels[:, seen] = 255
    found = [int(level.max()) for level in levels(pixels)]
    print(f"a white column {seen} of {size} has in the levels of {[len(level) for level in levels(pixels)]}: {found}")
    assert found[0] == 255
    assert (found[1] > 0) == (seen < 1022)
    assert (found[5] > 0) == (seen < 992)
even = np.zeros((1024, 1024), np.uint8)
even[:, 1023] = 255
assert all(level.max() > 0 for level in levels(even))
# the first pixels of a level are the means of those above, at exactly half the scale
ramp = np.arange(33, dtype=np.uint8)[None, :].repeat(33, 0) * 2
whole, half = levels(ramp)
assert half.shape == (16, 16)
assert np.array_equal(half[0], whole[0, :32].reshape(16, 2).mean(1))
END
