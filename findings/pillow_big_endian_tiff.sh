#!/usr/bin/env bash
# Pillow 13.0.0; files made with tifffile 2026.3.3
#
# A TIFF file of 32-bit floats or 32-bit integers that is compressed (LZW, Deflate, Zstandard, PackBits) and has the
# heaviest byte first ("MM", big-endian) is read with the bytes of every number reversed: 1.0 becomes 4.6e-41. There is
# no error and no warning.
#
# Why a good guess is wrong: the same file without compression is read right, and so are compressed 16-bit integers of
# the same byte order. libtiff turns the numbers into the order of the machine while it decodes; Pillow turns them once
# more. ImageJ writes big-endian files.
#
# Instead: read such files with tifffile or libvips, or undo it: numpy.asarray(image).byteswap().
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import tifffile
from PIL import Image

pixels = np.arange(12).reshape(3, 4)


def read(dtype, order, compression):
    tifffile.imwrite("a.tif", pixels.astype(dtype), byteorder=order, compression=compression)
    assert np.array_equal(tifffile.imread("a.tif"), pixels)
    with Image.open("a.tif") as image:
        return np.asarray(image)


for dtype in ("float32", "int32"):
    assert np.array_equal(read(dtype, ">", None), pixels)
    for compression in ("lzw", "deflate", "zstd", "packbits"):
        assert np.array_equal(read(dtype, "<", compression), pixels)
        got = read(dtype, ">", compression)
        print(f"{dtype}, {compression}, big-endian: {pixels[0]} is read as {got[0]}")
        assert not np.array_equal(got, pixels)
        assert np.array_equal(got.byteswap(), pixels)
assert np.array_equal(read("uint16", ">", "deflate"), pixels)
END
