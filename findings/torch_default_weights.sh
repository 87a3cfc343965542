#!/usr/bin/env bash
# torch 2.13.0, CPU
#
# torch.nn.ConvTranspose2d draws its weights within 1 / sqrt(C_out / groups * k * k): by the output's channels. A layer
# from 256 channels to 1 multiplies the spread of its input by more than 4; one from 1 to 256 nearly removes it.
#
# Why a good guess is wrong: Conv2d draws within 1 / sqrt(C_in / groups * k**2), which makes the spread of y independent
# of the width. The fan-in is taken from the second axis of the weight, and in a transposed layer that is the axis of
# the output's channels. The documentation states it, in a formula that differs from that of Conv2d in one index.
#
# Instead: draw the weight within 1 / sqrt(C_in / groups * k * k / stride**2), the number of products per output.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import torch

torch.manual_seed(0)
with torch.no_grad():
    for c_in, c_out in ((256, 1), (1, 256)):
        x = torch.randn(1, c_in, 32, 32)
        for kind, fan, stride in ((torch.nn.Conv2d, c_in, 1), (torch.nn.ConvTranspose2d, c_out, 2)):
            layer = kind(c_in, c_out, 4, stride=stride)
            bound, spread = (fan * 16) ** -0.5, float(layer(x).std())
            largest = float(layer.weight.abs().max())
            print(f"{kind.__name__} {c_in} to {c_out}: weights within {largest:.4f}, spread of y {spread:.2f}")
            assert 0.998 * bound < largest <= bound
            if kind is torch.nn.Conv2d:
                assert 0.5 < spread < 0.65
            else:
                assert (spread > 4) if c_in == 256 else (spread < 0.03)
    layer = torch.nn.ConvTranspose2d(256, 1, 4, stride=2)
    bound = (256 * 16 / 4) ** -0.5
    torch.nn.init.uniform_(layer.weight, -bound, bound)
    spread = float(layer(torch.randn(1, 256, 32, 32)).std())
    print(f"drawn as proposed: spread of y {spread:.2f}")
    assert 0.5 < spread < 0.65
END
