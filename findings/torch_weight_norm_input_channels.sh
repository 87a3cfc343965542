#!/usr/bin/env bash
# torch 2.13.0
#
# weight_norm on a transposed convolution takes one norm per *input* channel by default. Its documentation says: "with
# dim=0, the norm is computed independently per output channel/plane". spectral_norm switches the axis by itself, so the
# two differ on the same layer.
#
# Why a good guess is wrong: dim=0 is the output's channels in Conv and Linear. In a transposed layer it is the input's, so
# editing or comparing g per output channel, as one does in a convolution, edits something else; shapes differ only
# where C_in is not C_out.
#
# Instead: weight_norm(layer, dim=1) for a layer without groups. Models trained with the default must keep dim=0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

assert "per output\n    channel/plane" in weight_norm.__doc__
torch.manual_seed(0)
with torch.no_grad():
    for kind, touched in ((torch.nn.Conv1d, "y"), (torch.nn.ConvTranspose1d, "x")):
        layer = weight_norm(kind(4, 6, 3, bias=False))
        g = layer.parametrizations.weight.original0
        x = torch.randn(1, 4, 9)
        before = layer(x)
        g[0] = 0
        changed = (layer(x) != before).any(2)[0].tolist()
        print(f"{kind.__name__} 4 to 6: g has shape {tuple(g.shape)}; g[0] = 0 changes the output's channels {changed}")
        assert g.numel() == (6 if touched == "y" else 4)
        assert changed == ([True] + [False] * 5 if touched == "y" else [True] * 6)
        if touched == "x":
            x[:, 0] += 1  # the first input channel no longer counts
            again = layer(x)
            x[:, 0] -= 1
            assert torch.equal(again, layer(x))
    assert weight_norm(torch.nn.ConvTranspose1d(4, 6, 3), dim=1).parametrizations.weight.original0.numel() == 6
    assert spectral_norm(torch.nn.ConvTranspose1d(4, 6, 3)).parametrizations.weight[0]._u.shape == (6,)
END
