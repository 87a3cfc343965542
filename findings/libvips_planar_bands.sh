#!/usr/bin/env bash
# libvips 8.18.7 (pyvips 3.2.0); files made with tifffile 2026.3.3
#
# A TIFF file of two or more bands without colours, each in a plane of its own (PlanarConfiguration 2, photometric
# min-is-black), is read with its rows in the wrong places, without a warning: row y of a strip of C bands of width W
# begins at element y W / C of the strip, not at y W.
#
# Why a good guess is wrong: the same bands interleaved are read in full, and so are planes of red, green and blue. GDAL
# writes planes by default where a raster has many bands (INTERLEAVE=BAND).
#
# Instead: read such files with tifffile or GDAL, or save them interleaved (INTERLEAVE=PIXEL).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 tifffile==2026.3.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import pyvips
import tifffile


def read(name):
    with open(name, "rb") as file:
        image = pyvips.Image.new_from_buffer(file.read(), "", fail_on="error")
    return np.moveaxis(image.numpy().reshape(image.height, image.width, image.bands), 2, 0)


for dtype in ("u1", "u2", "f4"):
    bands = np.arange(2 * 4 * 6).reshape(2, 4, 6).astype(dtype)
    options = {"photometric": "minisblack", "extrasamples": ["unspecified"]}
    tifffile.imwrite("pixels.tif", np.moveaxis(bands, 0, 2), planarconfig="contig", **options)
    assert np.array_equal(read("pixels.tif"), bands)
    tifffile.imwrite("planes.tif", bands, planarconfig="separate", **options)
    assert np.array_equal(tifffile.imread("planes.tif"), bands)
    got = read("planes.tif")
    print(f"{dtype}: the first band\n{bands[0]}\nis read as\n{got[0]}")
    for band in (0, 1):
        assert all(np.array_equal(got[band, y], bands[band].ravel()[3 * y : 3 * y + 6]) for y in range(4))
colours = np.arange(3 * 4 * 6).reshape(3, 4, 6).astype("u1")
tifffile.imwrite("colours.tif", colours, photometric="rgb", planarconfig="separate")
assert np.array_equal(read("colours.tif"), colours)
END
