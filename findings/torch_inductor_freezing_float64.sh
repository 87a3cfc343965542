#!/usr/bin/env bash
# torch 2.13.0, torch.compile on the CPU with inductor's freezing
#
# A float64 convolution or transposed convolution cannot be compiled with constants folded: it raises.
#
# Why a good guess is wrong: freezing is a choice of speed for inference, and float64 layers compile without it, float32
# ones with it. With it the weight is handed to oneDNN, which has no float64, before the dtype is looked at.
#
# Instead: leave torch._inductor.config.freezing off for float64 models.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
TORCHINDUCTOR_CACHE_DIR="$work/inductor" "$work/venv/bin/python" - <<'END'
import torch
import torch._inductor.config as config


def outcome(layer, dtype, freezing):
    torch._dynamo.reset()
    config.freezing = freezing
    model = layer(4, 4, 2, stride=2).eval().to(dtype)
    x = torch.ones(1, 4, 8, 8, dtype=dtype)
    with torch.no_grad():
        try:
            torch.testing.assert_close(torch.compile(model)(x), model(x))
            return "runs"
        except AssertionError:
            raise
        except Exception as error:
            return next((line for line in str(error).splitlines() if "itensor" in line), str(error))


for layer in (torch.nn.Conv2d, torch.nn.ConvTranspose2d):
    for dtype in (torch.float32, torch.float64):
        for freezing in (False, True):
            result = outcome(layer, dtype, freezing)
            print(f"{layer.__name__}, {dtype}, freezing {freezing}: {result}")
            raised = dtype is torch.float64 and freezing
            assert ("itensor_view_from_dense" in result) if raised else result == "runs"
END
