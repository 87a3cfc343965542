"""Networks that people enlarge pictures with, in ncnn's files, equal the ncnn wheel on whole pictures.

The models are those of four packages, from pinned wheels; `benchmarks/ncnn_models.py` runs them on larger pictures.
"""

from __future__ import annotations

import numpy as np
import pytest

import real_models
from tconv.models import load
from tconv.models.readers.ncnn.graph import network_of
from tconv.models.readers.ncnn.param_file import read_lines
from tconv.models.readers.ncnn.stored_weights import Blob

ncnn = pytest.importorskip("ncnn")

CUGAN = ["", "_CONSERVATIVE", "_DENOISE3X"]
NAMES = [
    *(f"REALCUGAN_PRO_UP{scale}X{kind}" for scale in (2, 3) for kind in CUGAN),
    *(f"REALCUGAN_SE_UP{scale}X{kind}" for scale in (2, 3, 4) for kind in CUGAN),
    *(f"REALCUGAN_SE_UP2X_DENOISE{level}X" for level in (1, 2)),
    *(f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X" for scale in (2, 3, 4)),
    "REALESRGAN_X4PLUSANIME_UP4X",
    "REALESRGAN_X4PLUS_UP4X",
    "REALSR_DF2K_UP4X",
    *(f"WAIFU2X_CUNET_UP1X_DENOISE{level}X" for level in range(4)),
    *(f"WAIFU2X_{kind}_UP2X" for kind in ("CUNET", "PHOTO", "ANIME")),
    *(f"WAIFU2X_{kind}_UP2X_DENOISE{level}X" for kind in ("CUNET", "PHOTO", "ANIME") for level in range(4)),
]
"""All models of the four packages."""


def size_of(name):
    """Return height and width of a small picture that the network takes: odd ones, where it takes odd ones."""
    if name.startswith("REALCUGAN"):
        return (52, 56) if "UP3X" in name else (50, 46)
    if "CUNET_UP1X" in name:
        return 63, 61
    if "CUNET" in name:
        return 49, 51
    return (24, 20) if "X4PLUS" in name or "DF2K" in name else (33, 29)


def picture(height, width):
    """Return waves, edges and a little noise: as in pictures, and not noise alone, which "PRO" networks amplify."""
    y, x = np.mgrid[:height, :width]
    waves = [0.5 + 0.3 * np.sin((x + c * y) / (5 + c)) + 0.15 * ((x // 9 + y // 7 + c) % 2) for c in range(3)]
    noise = np.random.default_rng(0).normal(0, 0.02, (3, height, width))
    return np.clip(np.stack(waves) + noise, 0, 1).astype(np.float32)


def computed_by_ncnn(path, x):
    lines = read_lines(path)
    used = {name for line in lines for name in line.inputs}
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
        setattr(net.opt, f"use_{option}", False)
    assert net.load_param(str(path)) == 0
    assert net.load_model(str(path.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    extractor.input(lines[0].outputs[0], ncnn.Mat(x).clone())
    (end,) = (name for line in lines for name in line.outputs if name not in used)
    code, mat = extractor.extract(end)
    assert code == 0
    y = np.array(mat)
    del mat  # before the net that owns its memory
    return y


@pytest.mark.parametrize("name", NAMES)
def test_models_equal_ncnn(name):
    path = real_models.file(name.split("_")[0].lower(), f"{name}.param")
    network = network_of(read_lines(path), Blob(path.with_suffix(".bin").read_bytes()))
    x = picture(*size_of(name))
    y, expected = network(x[None])[0], computed_by_ncnn(path, x)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-4 * np.ptp(expected)


@pytest.mark.parametrize(
    ("name", "scale", "border", "block", "mode"),
    [
        ("REALCUGAN_SE_UP2X", 2, 18, 2, "reflect"),
        ("REALCUGAN_PRO_UP3X", 3, 14, 4, "reflect"),
        ("REALCUGAN_SE_UP4X", 4, 19, 2, "reflect"),
        ("WAIFU2X_CUNET_UP1X_DENOISE0X", 1, 28, 4, "edge"),
        ("WAIFU2X_CUNET_UP2X", 2, 18, 2, "edge"),
        ("WAIFU2X_PHOTO_UP2X", 2, 7, 1, "edge"),
        ("REALESRGAN_ANIMAVIDEOV3_UP3X", 3, 0, 1, "edge"),
    ],
)
def test_pictures_are_treated_as_by_the_programs(name, scale, border, block, mode):
    """Borders, sizes that the network does not take, and what its output is added to, as the programs have them."""
    path = real_models.file(name.split("_")[0].lower(), f"{name}.param")
    model = load(path)
    x = picture(41, 35)
    sides = [(border, border + -n % block) for n in x.shape[1:]]
    expected = computed_by_ncnn(path, np.pad(x, ((0, 0), *sides), mode))[:, : 41 * scale, : 35 * scale]
    if name == "REALCUGAN_SE_UP4X":
        expected = expected + x.repeat(4, 1).repeat(4, 2)
        assert "it is added to the picture" in model.notes[0]
    y = model(x)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-4 * np.ptp(expected)
