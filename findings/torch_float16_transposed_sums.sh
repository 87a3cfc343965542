#!/usr/bin/env bash
# torch 2.13.0 (CPU build)
#
# Whether ConvTranspose2d in float16 sums in float16 depends on the chip: with AVX512-FP16 oneDNN computes it, with sums
# in float32; with fewer instructions PyTorch's own code adds every tap, and the bias, in float16. Conv2d has float32 sums
# on both. So one float16 model gives other numbers on another machine of the same cluster, in its decoder alone.
#
# Why a good guess is wrong: a convolution and its transpose are the same matrix, and run by the same library elsewhere;
# and ONEDNN_MAX_CPU_ISA, which is there to choose among instructions, here chooses the dtype of the sums.
#
# Instead: layer.float() for a reference; torch.autocast with bfloat16, or float32, where machines are mixed.
#
# Seen, with AVX512-FP16 (the second line does not need it):
#   oneDNN's choice         Conv2d: 99.7% correctly rounded, ConvTranspose2d: 99.9%
#   up to AVX512_CORE       Conv2d: 99.8% correctly rounded, ConvTranspose2d: 47.0%
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$work/shares.py" <<'END'
import copy
import sys

import torch

torch.manual_seed(0)
x, shares = torch.randn(1, 64, 32, 32).half(), []
for kind in (torch.nn.Conv2d, torch.nn.ConvTranspose2d):
    layer = kind(64, 8, 4, 2).half()
    with torch.no_grad():
        exact = copy.deepcopy(layer).double()(x.double())
        shares.append((layer(x) == exact.half()).double().mean().item())
print(f"{sys.argv[1]:23} Conv2d: {shares[0]:.1%} correctly rounded, ConvTranspose2d: {shares[1]:.1%}")
wide = sys.argv[2] == "wide"
sys.exit(not (shares[0] > 0.97 and (shares[1] > 0.97 if wide else shares[1] < 0.75)))
END
has_fp16=narrow
if grep -qw avx512_fp16 /proc/cpuinfo; then has_fp16=wide; fi
"$work/venv/bin/python" "$work/shares.py" "oneDNN's choice" "$has_fp16"
ONEDNN_MAX_CPU_ISA=AVX512_CORE "$work/venv/bin/python" "$work/shares.py" "up to AVX512_CORE" narrow
