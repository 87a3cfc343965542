#!/usr/bin/env bash
# scikit-image 0.26.0: transform.rescale by 1/2 of odd sizes
#
# 3, 5, 7, 9 and 11 pixels become 2, 2, 4, 4 and 6: the halves of odd sizes are rounded to even numbers.
#
# Why a good guess is wrong: one expects floor(n / 2), as a strided convolution without padding gives, or ceil(n / 2), as
# x[::2] and pyramid_reduce of the same package give. numpy.round takes either. A layer of stride 2 that enlarges the
# result gives 4 for 5 pixels and 8 for 7: it lacks one pixel, or has one too many.
#
# Instead: resize(image, sizes) with sizes that you compute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
from skimage.transform import pyramid_reduce, rescale

odd = (3, 5, 7, 9, 11)
found = [rescale(np.zeros((n, n)), 0.5).shape[0] for n in odd]
reduced = [pyramid_reduce(np.zeros((n, n)), 2).shape[0] for n in odd]
strided = [len(np.zeros(n)[::2]) for n in odd]
for row in zip(odd, found, reduced, strided, strict=True):
    print("{} pixels: rescale {}, pyramid_reduce {}, x[::2] {}".format(*row))
assert reduced == strided == [2, 3, 4, 5, 6]
if found != [2, 2, 4, 4, 6]:
    raise SystemExit("halves are rounded another way now")
END
