#!/usr/bin/env bash
# ngff-zarr 0.50.0, dask-image 2026.5.0
#
# to_multiscales with the method DASK_IMAGE_GAUSSIAN computes pixel o of a level by 2 around the input's pixel 2 o, and
# states in the level's translation that it lies at 2 o + 0.5. Each level is off by half a pixel of the level before: 1.5
# pixels of the image in the second, 3.5 in the third. The bin shrink and ITK-Wasm's Gaussian lie where they say.
#
# Why a good guess is wrong: the translation is that of a mean of 2 x 2 pixels, and is right for the other methods. In a
# viewer the levels jump when one zooms, by less than a pixel of the screen each time.
#
# Instead: Methods.DASK_BIN_SHRINK or ITKWASM_GAUSSIAN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ngff-zarr==0.50.0 dask-image==2026.5.0 "dask[array]==2026.8.0" zarr==3.1.6 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import ngff_zarr
import numpy as np
from ngff_zarr import Methods

ramp = np.tile(np.arange(128, dtype=np.float32), (128, 1))  # a pixel's value is its place
image = ngff_zarr.to_ngff_image(ramp, dims=("y", "x"), scale={"y": 1, "x": 1}, translation={"y": 0, "x": 0})
for method, wrong in ((Methods.DASK_IMAGE_GAUSSIAN, True), (Methods.DASK_BIN_SHRINK, False)):
    offsets = []
    for level in ngff_zarr.to_multiscales(image, scale_factors=[2, 4, 8], method=method).images[1:]:
        row = np.asarray(level.data)[level.data.shape[0] // 2]
        middle = len(row) // 2
        offsets.append(level.translation["x"] + level.scale["x"] * middle - float(row[middle]))
    print(f"{method.value}: stated place less true place, pixels of the image: {np.round(offsets, 3)}")
    assert np.allclose(offsets, [0.5, 1.5, 3.5] if wrong else 0, atol=0.01)
END
