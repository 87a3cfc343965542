#!/usr/bin/env bash
# torch 2.13.0
#
# BatchNorm is not folded into a transposed convolution with groups: fuse_conv_bn_eval(..., transpose=True), fuse_modules and
# fuse_fx raise. With one channel per group they do not: they return a layer whose weight has grown from [8, 1, 4, 4] to
# [8, 8, 4, 4], which only fails when it is called.
#
# Why a good guess is wrong: a convolution with groups is folded right, and so is a transposed one without. The scale is
# shaped [1, C_out, 1, 1], and a transposed weight's second axis has C_out / groups elements.
#
# Instead: weight * scale.reshape(groups, 1, -1, 1, 1), applied to weight.reshape(groups, C_in / groups, -1, k, k).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from torch.ao.quantization import fuse_modules
from torch.ao.quantization.quantize_fx import fuse_fx
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fused(transposed, groups, way):
    torch.manual_seed(0)
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    model = torch.nn.Sequential(kind(8, 8, 4, 2, 1, groups=groups, bias=False), torch.nn.BatchNorm2d(8)).eval()
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    x = torch.randn(1, 8, 6, 6)
    try:
        if way == "fuse_conv_bn_eval":
            result = fuse_conv_bn_eval(*model, transpose=transposed)
        else:
            result = fuse_modules(model, ["0", "1"])[0] if way == "fuse_modules" else getattr(fuse_fx(model), "0")
    except RuntimeError as error:
        return f"raises {error}"
    try:
        y = result(x)
    except RuntimeError:
        return f"weight of shape {tuple(result.weight.shape)} that does not run"
    return torch.allclose(y, model(x), atol=1e-5)


for way in ("fuse_conv_bn_eval", "fuse_modules", "fuse_fx"):
    for groups in (1, 2, 8):
        found = fused(True, groups, way)
        print(f"{way}, groups={groups}: {found}")
        assert fused(False, groups, way) is True
        if groups == 1:
            assert found is True
        elif groups == 2:
            assert "must match the size" in found
        else:
            assert found == "weight of shape (8, 8, 4, 4) that does not run"
END
