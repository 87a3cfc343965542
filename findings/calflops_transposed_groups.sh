#!/usr/bin/env bash
# calflops 0.3.2, on torch 2.13.0
#
# The count for a transposed convolution is divided by the groups twice: half of the right one for two groups, and 0 for a
# depthwise layer. A convolution with groups and a transposed one without are counted right.
#
# Why a good guess is wrong: a convolution's weight is [C_out, C_in / groups, ...], a transposed one's [C_in, C_out / groups,
# ...]. The second axis of either is one group's, and the counter divides it by the groups once more, rounding down.
#
# Instead: torch.utils.flop_counter.FlopCounterMode, halved.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 psutil transformers==5.24.0
"$work/venv/bin/pip" install --quiet --no-deps calflops==0.3.2 accelerate
"$work/venv/bin/python" -W ignore - <<'END'
import calflops
import torch

for kind in (torch.nn.Conv2d, torch.nn.ConvTranspose2d):
    for groups in (1, 2, 8):
        layer = kind(8, 8, 4, stride=2, padding=1, groups=groups, bias=False)
        shape = (1, 8, 6, 6)
        macs = calflops.calculate_flops(layer, input_shape=shape, output_as_string=False, print_results=False)[1]
        small = 3 * 3 if kind is torch.nn.Conv2d else 6 * 6  # places of the kernel: of y, or of x
        right = small * 8 * 8 // groups * 16
        print(f"{kind.__name__:16} groups={groups}: {macs}, right is {right}")
        assert macs == ({1: right, 2: right // 2, 8: 0}[groups] if kind is torch.nn.ConvTranspose2d else right)
END
