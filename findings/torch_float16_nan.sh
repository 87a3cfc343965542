#!/usr/bin/env bash
# torch 2.13.0, conv_transpose1d, 2d and 3d of float16 on a CPU without AVX512-FP16, eager and under torch.compile
#
# An output that is exactly 0 comes out as NaN, where two taps above 65504 cancel.
#
# Why a good guess is wrong: float16 products are summed in float32 by nearly everyone, so only a result beyond 65504
# should overflow. conv2d, fed the same numbers with zeros inserted, and the bfloat16 operator do that. The transposed
# convolution in float16 rounds the product of each tap before it adds the taps of an output: inf - inf is NaN.
#
# Instead: compute the layer in float32 or bfloat16, or scale the input down and the output up again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
# more instructions would let oneDNN add in float32: torch_float16_transposed_sums.sh
ONEDNN_MAX_CPU_ISA=AVX512_CORE "$work/venv/bin/python" - <<'END'
import torch
from torch.nn import functional

for axes in (1, 2, 3):
    transposed = getattr(functional, f"conv_transpose{axes}d")
    convolution = getattr(functional, f"conv{axes}d")
    x = torch.full((1, 1) + (8,) * axes, 300.0, dtype=torch.float16)
    w = torch.full((1, 1) + (4,) * axes, 240.0, dtype=torch.float16)
    w[..., 2:] = -240.0  # 300 x 240 = 72000 for two taps, -72000 for the others

    exact = transposed(x.double(), w.double(), stride=2, padding=1)
    got = transposed(x, w, stride=2, padding=1)
    apart = torch.zeros((1, 1) + (15,) * axes, dtype=torch.float16)
    apart[(...,) + (slice(None, None, 2),) * axes] = x
    flipped = w.flip(list(range(2, 2 + axes)))
    same = convolution(apart, flipped, padding=2)

    zeros = exact == 0
    print(f"{axes}-D: {int(zeros.sum())} outputs are 0; NaN {int(got[zeros].isnan().sum())}, "
          f"as a convolution {int(same[zeros].isnan().sum())}")
    assert zeros.any() and got[zeros].isnan().all()
    assert (same[zeros] == 0).all()
    assert (transposed(x.bfloat16(), w.bfloat16(), stride=2, padding=1)[zeros] == 0).all()
END
