#!/usr/bin/env bash
# thop 0.1.1.post2209072238, torchinfo 1.8.0, torchprofile 0.1.0 and torch-pruning 1.6.1, on torch 2.13.0
#
# Four counters of multiplications report stride**d times as many for a transposed convolution as it has: 4 times for
# 2-D and stride 2, 8 times for 1-D and stride 8. torchprofile ignores the groups as well. PyTorch's own FlopCounterMode is right.
#
# Why a good guess is wrong: for a convolution, each output element takes C_in / groups * k**d products, and the counters use
# that. In a transposed layer each *input* element takes C_out / groups * k**d. At stride 1 and sizes kept the two agree.
#
# Instead: torch.utils.flop_counter.FlopCounterMode, halved, or x.numel() * (C_out / groups) * k**d without a crop.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torchinfo==1.8.0
"$work/venv/bin/pip" install --quiet --no-deps thop==0.1.1.post2209072238 torchprofile==0.1.0 torch-pruning==1.6.1
mkdir "$work/venv/lib/python3.11/site-packages/torchvision" # thop and torchprofile ask for its version or name alone
echo '__version__ = "0.0.0"' >"$work/venv/lib/python3.11/site-packages/torchvision/__init__.py"
"$work/venv/bin/python" -W ignore - <<'END'
import thop
import torch
import torch_pruning
import torchinfo
import torchprofile
from torch.utils.flop_counter import FlopCounterMode

for layer, shape, factor in (
    (torch.nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), (1, 8, 5, 6), 4),
    (torch.nn.ConvTranspose2d(8, 4, 4, 2, 1, groups=2, bias=False), (1, 8, 5, 6), 4),
    (torch.nn.ConvTranspose1d(8, 4, 16, 8, 4, bias=False), (1, 8, 50), 8),
    (torch.nn.ConvTranspose2d(8, 4, 3, 1, 1, bias=False), (1, 8, 5, 6), 1),
):
    x = torch.randn(shape)
    products = x.numel() * layer.weight[0].numel()
    counted = {
        "thop": thop.profile(layer, (x,), verbose=False)[0],
        "torchinfo": torchinfo.summary(layer, input_size=shape, verbose=0).total_mult_adds,
        "torch-pruning": torch_pruning.utils.count_ops_and_params(layer, x)[0],
        "torchprofile": torchprofile.profile_macs(layer, x),
    }
    with FlopCounterMode(display=False) as own:
        layer(x)
    print(products, "products;", {name: round(count / products, 3) for name, count in counted.items()}, "times")
    assert own.get_total_flops() == 2 * products
    assert counted.pop("torchprofile") == products * factor * layer.groups
    assert all(count == products * factor for count in counted.values())
END
