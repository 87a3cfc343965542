#!/usr/bin/env bash
# torchscan 0.2.0, on torch 2.13.0
#
# The receptive field that its summary prints for a transposed layer is the kernel with a minus sign: -4 "elements" for a
# kernel of 4 with stride 2, whose outputs read 2 inputs along each axis. Its status is "complete", and no warning is given.
#
# Why a good guess is wrong: a minus marks the step that goes up, as in rules of thumb for a whole decoder, but the column
# states the field of one module in elements. An output of a transposed layer reads ceil(k / stride) inputs along an axis
# (without dilation), and the stride does not enter the printed number at all.
#
# Instead: (k - 1) // stride + 1 inputs per axis, or the rows of a gradient that are not zero, as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/pip" install --quiet --no-deps torchscan==0.2.0
"$work/venv/bin/python" -W ignore - <<'END'
import torch
import torchscan


def measured(layer):
    """Return the most inputs along an axis that one output's gradient reaches."""
    torch.nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 16, 16, requires_grad=True)
    y = layer(x)
    middle = y.shape[-1] // 2
    rows = [torch.autograd.grad(y[0, 0, middle + at, middle], x, retain_graph=True)[0][0, 0].any(1).sum() for at in range(8)]
    return int(max(rows))


for kernel, stride in ((4, 2), (3, 2), (2, 2), (16, 8), (3, 1)):
    layer = torch.nn.ConvTranspose2d(1, 1, kernel, stride, bias=False)
    report = torchscan.crawl_module(torch.nn.Sequential(layer).eval(), (1, 16, 16))
    stated = report["layers"][1]["metrics"]["receptive_field"]
    print(f"kernel {kernel}, stride {stride}: {stated['value']} {stated['unit']}, {stated['status']};", measured(layer), "measured")
    assert stated["value"] == -kernel
    assert stated["status"] == "complete"
    assert measured(layer) == (kernel - 1) // stride + 1
convolution = torchscan.crawl_module(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3)).eval(), (1, 16, 16))
assert convolution["layers"][1]["metrics"]["receptive_field"]["value"] == 3
END
