#!/usr/bin/env bash
# torch 2.13.0, conv_transpose2d of float64 on the CPU, one input channel
#
# The gradient of a weight whose memory is channels last raises "grad_weight needs to be contiguous".
#
# Why a good guess is wrong: a permuted weight is taken by the forward pass, and its gradient is computed with two input
# channels, and in float32. With one channel the memory of x is contiguous and channels last at once; the forward and
# the backward pass settle on different ones of the two.
#
# Instead: weight.contiguous() in front of the call, where there is one input channel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import torch

def gradient(channels, dtype, contiguous=False):
    x = torch.ones(2, 4, 4, channels, dtype=dtype).permute(0, 3, 1, 2)  # stored [N, h, w, C]
    stored = torch.ones(3, 3, channels, 2, dtype=dtype, requires_grad=True)  # [kh, kw, C_in, C_out]
    w = stored.permute(2, 3, 0, 1)
    y = torch.conv_transpose2d(x, w.contiguous() if contiguous else w, stride=2)
    y.sum().backward()
    return stored.grad

right = gradient(2, torch.float64)[:, :, :1]
assert torch.equal(gradient(1, torch.float32).double(), right)
assert torch.equal(gradient(1, torch.float64, contiguous=True), right)
try:
    gradient(1, torch.float64)
except RuntimeError as error:
    assert "grad_weight needs to be contiguous" in str(error)
    print("float64, one input channel:", error)
else:
    raise SystemExit("the gradient is computed now")
END
