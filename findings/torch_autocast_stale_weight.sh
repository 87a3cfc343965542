#!/usr/bin/env bash
# torch 2.13.0, torch.autocast on the CPU
#
# A weight that is changed in place inside an autocast block, under no_grad, goes on being used with its old numbers.
#
# Why a good guess is wrong: autocast seems to convert the weight in each call. It keeps the converted copy of a leaf that
# needs a gradient until the outermost block ends, and finds it by the tensor, whatever its version. So a loop that
# averages weights, clips them or loads a checkpoint within the block computes with the old numbers afterwards.
#
# Instead: leave the block before weights change, pass cache_enabled=False, or call torch.clear_autocast_cache().
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import torch

for name in ("Conv2d", "ConvTranspose2d", "Linear"):
    layer = torch.nn.Linear(4, 4, bias=False) if name == "Linear" else getattr(torch.nn, name)(4, 4, 2, bias=False)
    x = torch.ones(1, 4, 4, 4)
    for cached in (True, False):
        torch.nn.init.ones_(layer.weight)
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=cached):
            before = layer(x).detach().max().item()
            with torch.no_grad():
                layer.weight.mul_(2)
                after = layer(x).max().item()
            again = layer(x).detach().max().item()
            torch.clear_autocast_cache()
            cleared = layer(x).detach().max().item()
        print(f"{name}, cache {cached}: {before:g}, weight doubled: {after:g} and {again:g}, cache cleared: {cleared:g}")
        assert cleared == 2 * before
        assert again == (before if cached else 2 * before)
END
