#!/usr/bin/env bash
# torch 2.13.0, torch.autocast("cpu") around torch.vmap
#
# Under vmap a convolution or transposed convolution is computed in float32; a matrix product beside it in bfloat16.
#
# Why a good guess is wrong: vmap changes shapes, not dtypes, and the same layers outside of it return bfloat16. The
# batched form of a convolution is entered behind the place where autocast converts its arguments.
#
# Instead: convert x and the weight by hand under vmap, or fold the mapped axis into the batch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import torch
from torch.nn import functional

x, w = torch.ones(3, 1, 4, 8, 8), torch.ones(4, 4, 2, 2)
calls = {
    "conv2d": (lambda image: functional.conv2d(image, w), torch.float32),
    "conv_transpose2d": (lambda image: functional.conv_transpose2d(image, w), torch.float32),
    "matmul": (lambda image: image @ torch.ones(8, 8), torch.bfloat16),
    "linear": (lambda image: functional.linear(image, torch.ones(8, 8)), torch.bfloat16),
}
with torch.autocast("cpu", dtype=torch.bfloat16):
    for name, (call, expected) in calls.items():
        alone, mapped = call(x[0]).dtype, torch.vmap(call)(x).dtype
        print(f"{name}: {alone} alone, {mapped} under vmap")
        assert alone is torch.bfloat16 and mapped is expected
END
