#!/usr/bin/env bash
# Pillow 13.0.0, numpy 2.4.6
#
# Image.resize(size, BICUBIC, box=...) of the tiles of a picture does not give the pixels of the whole picture resized:
# by 1.5, 3, 5 or 7 some pixels differ by 1 or 2 levels, because the box is kept in float32 and a tile's scale is computed
# from it. By 2 and 4, where all borders of tiles are whole numbers of float32, all pixels are equal.
#
# Why a good guess is wrong: box takes floats for this purpose (tiles with sub-pixel borders), reads pixels outside of the
# box, and so has no seams.
#
# Instead: tiles whose borders in the input are whole pixels (multiples of 3 outputs for a scale of 3), or box on no
# axis: crop with a halo, resize, cut.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
from PIL import Image

bicubic = Image.Resampling.BICUBIC
picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 600)).astype(np.uint8))


def by_tiles(scale, tile):
    n = int(600 * scale)
    result = np.zeros((n, n), np.uint8)
    for y in range(0, n, tile):
        for x in range(0, n, tile):
            width, height = min(tile, n - x), min(tile, n - y)
            box = x / scale, y / scale, (x + width) / scale, (y + height) / scale
            result[y : y + height, x : x + width] = np.asarray(picture.resize((width, height), bicubic, box))
    return result


for scale, tile, equal in ((2, 256, True), (4, 256, True), (3, 256, False), (1.5, 256, False), (7, 256, False), (3, 300, True)):
    n = int(600 * scale)
    whole = np.asarray(picture.resize((n, n), bicubic))
    gap = np.abs(by_tiles(scale, tile).astype(int) - whole)
    print(f"by {scale}, tiles of {tile}: {np.count_nonzero(gap)} of {gap.size} pixels differ, by {gap.max()} at most")
    assert (gap.max() == 0) == equal
END
