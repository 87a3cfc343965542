#!/usr/bin/env bash
# torchscan 0.2.0, on torch 2.13.0: the receptive field of a transposed convolution
#
# module_rf returns minus the kernel for every transposed layer: -4 for a kernel of 4 with stride 2, of which gradients
# show that an output reads 2 inputs per axis; -3 for a kernel of 3 with stride 2 and dilation 3, which reads 4.
#
# Why a good guess is wrong: a layer that enlarges has a stride of 1/s, so one may expect a field of less than the kernel,
# but no output reads fewer than 0 inputs. The number is the extent of the kernel, dilated, over the stride, rounded up.
#
# Instead: take the gradient of one output and count the inputs that have one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/pip" install --quiet --no-deps torchscan==0.2.0
"$work/venv/bin/python" - <<'END'
import torch
from torchscan.modules import module_rf

LAYERS = [
    torch.nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1),
    torch.nn.ConvTranspose2d(1, 1, 2, stride=2),
    torch.nn.ConvTranspose2d(1, 1, 3, stride=2, padding=3, dilation=3),
    torch.nn.Conv2d(1, 1, 3, padding=1),
]


def read_inputs(layer):
    """Most inputs along the rows that any output reads."""
    most = 0
    x = torch.ones(1, 1, 9, 9, requires_grad=True)
    y = layer(x)
    for row in range(y.shape[2] // 2 - 3, y.shape[2] // 2 + 4):
        (gradient,) = torch.autograd.grad(y[0, 0, row, y.shape[3] // 2 :].sum(), x, retain_graph=True)
        rows = gradient[0, 0].abs().sum(1).nonzero()
        most = max(most, int(rows.max() - rows.min()) + 1 if len(rows) else 0)
    return most


x = torch.ones(1, 1, 9, 9)
for layer in LAYERS:
    told = module_rf(layer, x, layer(x))[0]
    print(f"{layer}: told {told}, read {read_inputs(layer)}")
    if isinstance(layer, torch.nn.ConvTranspose2d) and told != -layer.kernel_size[0]:
        raise SystemExit("the receptive field is another one now")
assert module_rf(LAYERS[-1], x, x)[0] == read_inputs(LAYERS[-1]) == 3
assert [read_inputs(layer) for layer in LAYERS[:2]] == [2, 1]
END
