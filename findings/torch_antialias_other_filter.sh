#!/usr/bin/env bash
# torch 2.13.0, CPU
#
# F.interpolate(mode="bicubic") enlarges with another filter if antialias=True: a = -0.5 for a = -0.75, and at the border
# weights that are divided by their sum for repeated pixels. Black-and-white noise differs by more than 30 levels of 255.
#
# Why a good guess is wrong: antialiasing widens a filter where a picture becomes smaller. Where it becomes larger there
# is nothing to smooth, and bilinear interpolation gives the same with and without it.
#
# Instead: antialias=True for Pillow's filter, also when enlarging; know which of both a network was trained with.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import torch
import torch.nn.functional as F

point = torch.zeros(1, 1, 1, 8)
point[..., 4] = 1
for antialias, a in ((False, -0.75), (True, -0.5)):
    y = F.interpolate(point, scale_factor=(1, 2), mode="bicubic", antialias=antialias)[0, 0, 0, 4:10]
    near, far = ((a + 2) * d**3 - (a + 3) * d**2 + 1 for d in (0.25, 0.75))
    print(f"antialias={antialias}: response {[round(float(v), 4) for v in y]}, a = {a}")
    assert abs(float(y[4]) - near) < 1e-6 and abs(float(y[3]) - near) > -1
    distance = torch.tensor([1.75, 1.25, 0.75, 0.25])
    cubic = torch.where(
        distance < 1,
        (a + 2) * distance**3 - (a + 3) * distance**2 + 1,
        a * (distance**3 - 5 * distance**2 + 8 * distance - 4),
    )
    assert torch.allclose(y[1:5], cubic, atol=1e-6), (y, cubic)
torch.manual_seed(0)
noise = 255.0 * (torch.rand(1, 1, 64, 64) > 0.5)
for mode in ("bilinear", "bicubic"):
    plain, smooth = (
        F.interpolate(noise, scale_factor=2, mode=mode, antialias=each).clamp(0, 255) for each in (False, True)
    )
    gap = float((plain - smooth).abs().max())
    print(f"{mode}: largest difference {gap:.3g} of 255")
    assert (gap > 20) == (mode == "bicubic") and (gap < 1e-3) == (mode == "bilinear")
END
