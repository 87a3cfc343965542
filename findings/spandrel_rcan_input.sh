#!/usr/bin/env bash
# spandrel 0.4.2 with torch 2.13.0
#
# A call of an RCAN multiplies the picture that it is given by 255, in place. The next call with the same tensor gets
# numbers up to 255 and returns another picture, mostly white.
#
# Why a good guess is wrong: a model's call does not change its input anywhere else in the package, and its clamp and
# padding make copies. RCAN's forward has `x *= self.rgb_range` before its first layer, and pads nothing.
#
# Instead: model(picture.clone()).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 safetensors==0.8.0 typing_extensions einops==0.8.2
"$work/venv/bin/pip" install --quiet --no-deps spandrel==0.4.2
cd "$work"
# spandrel imports two names of torchvision, for LaMa and RestoreFormer alone
mkdir -p torchvision/transforms
touch torchvision/__init__.py torchvision/transforms/__init__.py
printf 'InterpolationMode = rotate = normalize = None\n' > torchvision/transforms/functional.py
"$work/venv/bin/python" - <<'END'
import torch
from spandrel import ModelLoader
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.RCAN import RCAN

torch.manual_seed(0)
networks = {
    "RCAN": RCAN(n_feats=16, n_resblocks=1, n_resgroups=1, scale=2),
    "ESRGAN": ESRGAN(num_filters=16, num_blocks=1, scale=2),
}
for name, network in networks.items():
    model = ModelLoader().load_from_state_dict(network.state_dict()).eval()
    picture = torch.rand(1, 3, 8, 8)
    before = picture.clone()
    with torch.no_grad():
        first = model(picture)
        after = picture.clone()
        again = model(picture)
    print(name, "largest number of the picture:", before.max().item(), "after the call:", after.max().item())
    if name == "RCAN":
        assert torch.allclose(after, 255 * before)
        assert not torch.allclose(first, again)
    else:
        assert torch.equal(after, before)
        assert torch.equal(first, again)
END
