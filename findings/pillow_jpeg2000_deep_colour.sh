#!/usr/bin/env bash
# Pillow 13.0.0; files made with imagecodecs 2026.3.6
#
# A JPEG 2000 picture in colour with 12 or 16 bits per channel is read as 8 bits, without a warning. Rounding
# carries out of the 8 bits: the brightest values, white among them, become 0.
#
# Why a good guess is wrong: grey pictures of 16 bits are read in full (mode I;16), so one expects colour to be
# refused or scaled. Scaling would be harmless but for the overflow: (v + 128) >> 8 of 65535 is 256, stored as 0.
#
# Instead: read such files with another decoder, for example imagecodecs.jpeg2k_decode.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import io
import warnings

import imagecodecs
import numpy as np
from PIL import Image

warnings.simplefilter("error")
for bits in (12, 16):
    white, shift = 2**bits - 1, bits - 8
    pixels = np.linspace(0, white, 4 * 8 * 3).astype("uint16").reshape(4, 8, 3)
    data = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits)
    assert np.array_equal(imagecodecs.jpeg2k_decode(data), pixels)  # the file has every bit
    image = Image.open(io.BytesIO(data))
    read = np.asarray(image)
    print(f"{bits} bits: mode {image.mode}, {read.dtype}; last pixel {pixels[-1, -1]} read as {read[-1, -1]}")
    assert (image.mode, read.dtype) == ("RGB", np.uint8)
    rounded = (pixels.astype(int) + (1 << (shift - 1))) >> shift
    assert np.array_equal(read, rounded % 256)
    assert rounded[-1, -1, -1] == 256
    assert read[-1, -1, -1] == 0
grey = np.linspace(0, 65535, 32).astype("uint16").reshape(4, 8)
image = Image.open(io.BytesIO(imagecodecs.jpeg2k_encode(grey, level=0, reversible=True, bitspersample=16)))
assert image.mode == "I;16"
assert np.array_equal(np.asarray(image), grey)
END
