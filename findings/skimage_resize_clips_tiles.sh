#!/usr/bin/env bash
# scikit-image 0.26.0, numpy 2.4.6
#
# skimage.transform.resize (and rescale, warp) limits its result to the smallest and largest number of the array that it
# is given. A tile, resized with as much halo as one likes, is limited to the range of the tile: it differs from the same
# part of the resized picture wherever cubic interpolation overshoots, by 7 % of white here.
#
# Why a good guess is wrong: an interpolating filter reads a few neighbours, so a halo of 8 pixels should give the pixels
# of the whole. With clip=True, the default, each output depends on every input.
#
# Instead: clip=False for tiles, and np.clip to the range of the whole picture.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet scikit-image==0.26.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
from skimage.transform import resize

random = np.random.default_rng(0)
picture = 0.25 + 0.5 * random.random((64, 64))
picture[50:, 50:], picture[60, 60] = 1, 0  # a corner that the tile below lies far from
differences = {}
for clip in (True, False):
    whole = resize(picture, (128, 128), order=3, clip=clip)
    tile = resize(picture[:40, :40], (80, 80), order=3, clip=clip)  # rows and columns 0 to 32, and a halo of 8
    differences[clip] = np.abs(whole[:64, :64] - tile[:64, :64]).max()
    print(f"clip={clip}: largest difference of the tile from the whole {differences[clip]:.2g}")
assert differences[True] > 0.05 and differences[False] < 1e-4
END
