#!/usr/bin/env bash
# libvips 8.18.7 (pyvips 3.2.0, with the wheel pyvips-binary); files made with tifffile 2026.3.3
#
# A TIFF file with tiles, compressed by a codec that the libtiff in the wheel does not have (Zstandard, LZMA, LERC, PNG,
# JPEG XL), is read as a black picture of the right size. There is no error, with fail_on="error", too.
#
# Why a good guess is wrong: the same picture in strips raises an error that names the codec, and fail_on="error" is the
# option by which libvips does not return damaged pictures. GDAL writes tiles with Zstandard and LERC for large rasters.
#
# Instead: read the tag Compression first and refuse codecs that are not built in, or decode with tifffile and
# imagecodecs.
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

pixels = np.full((64, 64), 200, np.uint8)


def read(compression, tile):
    tifffile.imwrite("a.tif", pixels, compression=compression, tile=tile)
    assert np.array_equal(tifffile.imread("a.tif"), pixels)
    with open("a.tif", "rb") as file:
        return pyvips.Image.new_from_buffer(file.read(), "", fail_on="error").numpy()


assert np.array_equal(read("deflate", (16, 16)), pixels)
for compression in ("zstd", "lzma", "lerc", "png", "jpegxl"):
    got = read(compression, (16, 16))
    try:
        read(compression, None)
        raise SystemExit("strips are read")
    except pyvips.Error as error:
        why = str(error).splitlines()[1].strip()
    print(f"{compression}: 64 x 64 pixels of 200 are read as {np.unique(got)} from tiles; strips raise: {why}")
    assert got.shape == pixels.shape
    assert (got == 0).all()
END
