#!/usr/bin/env bash
# cached_conv 2.5.0, torch 2.13.0
#
# The streaming ConvTranspose1d, with cached_conv.use_cached_conv(True), returns too many samples for every chunk, unless
# kernel - stride is 2 * padding: the tails of chunks are then not added to the next chunk, but put before it.
#
# Why a good guess is wrong: it takes the arguments of torch.nn.ConvTranspose1d and keeps the tail of a chunk as its
# state. The length of this tail is kernel - stride; it is taken to be 2 * padding. Nothing is refused.
#
# Instead: choose the padding (kernel - stride) / 2, and crop the output where another one is needed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/pip" install --quiet --no-deps cached_conv==2.5.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import cached_conv
import torch

torch.manual_seed(0)
torch.set_grad_enabled(False)
cached_conv.use_cached_conv(True)
x = torch.randn(1, 2, 24)
for kernel, stride, padding in ((8, 4, 2), (8, 2, 3), (8, 2, 1), (8, 4, 1), (9, 2, 1)):
    layer = cached_conv.ConvTranspose1d(2, 3, kernel, stride, padding)
    whole = torch.nn.functional.conv_transpose1d(x, layer.weight, layer.bias, stride)  # its first outputs, uncropped
    made = torch.cat([layer(chunk) for chunk in x.split(8, 2)], 2)
    count, fits = made.shape[2], kernel - stride == 2 * padding
    length = min(count, whole.shape[2])
    gap = (made[..., :length] - whole[..., :length]).abs().max().item()
    print(f"kernel {kernel}, stride {stride}, padding {padding}: {count} samples for 24 inputs, error {gap:.1e}")
    assert fits == (count == 24 * stride) == (gap < 1e-5)
    assert count == 24 * stride + 3 * (kernel - stride - 2 * padding)
END
