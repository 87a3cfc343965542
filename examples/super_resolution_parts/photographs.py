"""Photographs for training, validating and scoring the example networks, as pairs of small and large pictures.

A pair is the luma of the small picture, and the detail that the large one has beyond bicubic interpolation of it.
"""

from __future__ import annotations

import zipfile
from typing import NamedTuple

import numpy as np
from PIL import Image
from shared_parts.picture_files import opened, path_of, read
from shared_parts.report import replacing
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tconv.weights import interpolation

LUMA = np.float32([0.299, 0.587, 0.114]) / np.float32(255)

HELD_OUT = {
    "scikit-image": ["astronaut.png", "coffee.png", "chelsea.png", "camera.png"],
    "scikit-learn": ["china.jpg", "flower.jpg"],
}
"""Pictures for the final scores alone: no training and no choice uses them."""


class Source(NamedTuple):
    """Photographs of one package by one author: their folder in it, and the licence that its copyright file names."""

    package: str
    folder: str
    licence: str
    author: str
    files: list[str]


_MATE, _LOMIRI, _PLASMA = "usr/share/backgrounds/mate/nature", "usr/share/backgrounds", "usr/share/wallpapers"
_PALAPELI = "usr/share/palapeli/collection"
_LARGE = "contents/images/2560x1600.jpg"
TRAINING = [
    Source("mate-backgrounds", _MATE, "GPL-2+", "Charles Barbin", ["Aqua.jpg", "Garden.jpg", "LadyBird.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Charles Barbin", ["YellowFlower.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Charles Barbin, Hylke Bons", ["TwoWings.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Lennart Poettering, Andrea Cimitan", ["Blinds.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Marco Cogoni, Hylke Bons", ["Dune.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Jens Ansorg", ["FreshFlower.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Timothy Schellhase, Lapo Calamandrei", ["GreenMeadow.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "blackcombwhistler07", ["RainDrops.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Sergey Nazarov", ["Storm.jpg"]),
    Source("mate-backgrounds", _MATE, "GPL-2+", "Jean-François Fortin Tam", ["Wood.jpg"]),
    Source("lomiri-wallpapers-16.04", _LOMIRI, "CC-BY-SA-4.0", "Sander Klootwijk", ["Bridge_by_Sander_Klootwijk.jpg"]),
    Source("lomiri-wallpapers-16.04", _LOMIRI, "CC-BY-SA-4.0", "Bolly", ["Dragonfly_by_Bolly.jpg"]),
    Source(
        "lomiri-wallpapers-16.04",
        _LOMIRI,
        "CC-BY-SA-4.0",
        "Peter Nerlich",
        ["free_by_Peter_Nerlich.jpg", "greentock_by_Peter_Nerlich.jpg"],
    ),
    Source(
        "lomiri-wallpapers-16.04",
        _LOMIRI,
        "CC-BY-4.0",
        "Aitzol Berasategi",
        [f"{name}_by_Aitzol_Berasategi.jpg" for name in ["aitzgorri", "friends", "life", "picosdeeuropa", "sunset"]],
    ),
    Source(
        "lomiri-wallpapers-16.04",
        _LOMIRI,
        "CC-BY-4.0",
        'Trevor "Freespace"',
        ["Picture_0B_by_freespace.jpg", "Picture_1A_by_freespace.jpg"],
    ),
    Source("lomiri-wallpapers-16.04", _LOMIRI, "CC0-1.0", "Clemens Engelhardt", ["seeding_by_Clements_Engelhardt.jpg"]),
    Source("lomiri-wallpapers-16.04", _LOMIRI, "CC-BY-4.0", "Jakub Mede", ["Wine_by_Jakkub_Mede.jpg"]),
    Source("lomiri-wallpapers-20.04", _LOMIRI, "CC-BY-SA-3.0", "Lukas Baubkus", ["Kleiber_by_Lukas_Baubkus.jpg"]),
    Source("palapeli-data", _PALAPELI, "public domain", "Derek Jensen", ["cincinnati-bridge.jpg"]),
    Source("palapeli-data", _PALAPELI, "public domain", "US Department of Agriculture", ["citrus-fruits.jpg"]),
    Source("palapeli-data", _PALAPELI, "public domain", "John Severns", ["european-honey-bee.jpg"]),
    Source("plasma-workspace-wallpapers", _PLASMA, "GPL-2+", "Maciej Wiklo", [f"BytheWater/{_LARGE}"]),
    Source("plasma-workspace-wallpapers", _PLASMA, "GPL-2+", "Dmitri Popov", [f"ColorfulCups/{_LARGE}"]),
    Source("plasma-workspace-wallpapers", _PLASMA, "GPL-2+", "Ian Hex", [f"EveningGlow/{_LARGE}"]),
    Source("plasma-workspace-wallpapers", _PLASMA, "GPL-2+", "Martin Klapetek", [f"FallenLeaf/{_LARGE}"]),
    Source("plasma-workspace-wallpapers", _PLASMA, "GPL-2+", "Sigi Sagi", [f"Grey/{_LARGE}"]),
    Source(
        "plasma-workspace-wallpapers",
        _PLASMA,
        "GPL-2+",
        "Risto Saukonpää",
        [f"{name}/{_LARGE}" for name in ["ColdRipple", "Kite", "OneStandsOut", "Path"]],
    ),
    Source("scikit-image", "", "CC0-1.0", "see skimage.data", ["brick.png", "grass.png", "gravel.png"]),
    Source("scikit-image", "", "no known restrictions", "Brooklyn Museum", ["coins.png"]),
    Source("scikit-image", "", "public domain", "SpaceX", ["rocket.jpg"]),
    Source("scikit-image", "", "public domain", "NASA", ["hubble_deep_field.jpg"]),
]
PACKAGES = list(dict.fromkeys(source.package for source in TRAINING if source.package != "scikit-image"))
"""The Debian packages of training pictures."""
VALIDATION = ["Wine_by_Jakkub_Mede.jpg", "citrus-fruits.jpg", f"EveningGlow/{_LARGE}", f"Grey/{_LARGE}", "gravel.png"]
"""Training pictures that are set aside for validation, and never sampled."""
LONGER_SIDES = [1280, 900, 600, 400]
"""Sizes in which a picture is used, at most half its own: that removes the noise and the blocks of JPEG."""
AS_IT_IS = {"scikit-image": [1.0], "palapeli-data": [1.0, 0.6]}
"""Factors by which the small, clean pictures of these packages are shrunk instead."""


def training_files(packages=None):
    """Yield the package, the name and the path of each training picture; without `packages` scikit-image's alone."""
    for source in TRAINING:
        if packages is not None or source.package == "scikit-image":
            for file in source.files:
                yield source.package, file, path_of(source.package, file, packages, source.folder)


def shrink(picture, scale):
    """Return the picture cropped to a multiple of the scale, and the small picture."""
    height, width = (n // scale * scale for n in picture.shape[:2])
    large = np.ascontiguousarray(picture[:height, :width])
    small = Image.fromarray(large).resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    return large, np.asarray(small)


def bicubic(x, scale):
    """Return [..., H, W] interpolated to [..., s*H, s*W], which the network's detail is added to."""
    return interpolation.upsample(np.ascontiguousarray(x, np.float32), scale, "bicubic")


def pair(picture, scale):
    """Return the luma [h, w] of the small picture and the detail [s*h, s*w] that its interpolation lacks, float32."""
    large, small = (image @ LUMA for image in shrink(picture, scale))
    return small, large - bicubic(small, scale)


def measure(truth, picture, scale):
    """Return PSNR in dB and SSIM of the luma (BT.601, 16 to 235 of 255) without `scale` pixels of the border."""
    inner = np.s_[scale:-scale, scale:-scale]
    a, b = (rgb2ycbcr(image)[..., 0][inner] for image in (truth, picture))
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return peak_signal_noise_ratio(a, b, data_range=255), structural_similarity(a, b, data_range=255, **gaussian)


class Data:
    """All (luma, detail) pairs of a scale, from a cache file that is written once."""

    def __init__(self, cache, scale, packages=None):
        if not cache.exists():
            collect(cache, scale, packages)
        try:
            with np.load(cache) as file:
                shapes, luma, detail, validation = (file[name] for name in ("shapes", "luma", "detail", "validation"))
        except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
            raise SystemExit(f"{cache} is damaged ({error}). Delete it, and write the same command") from None
        area = shapes.prod(1)
        starts = np.concatenate([[0], np.cumsum(area)])
        pairs = [
            (luma[a:b].reshape(h, w), detail[a * scale**2 : b * scale**2].reshape(h * scale, w * scale))
            for a, b, (h, w) in zip(starts, starts[1:], shapes, strict=False)
        ]
        self.validation = [p for p, aside in zip(pairs, validation, strict=True) if aside]
        self.training = [p for p, aside in zip(pairs, validation, strict=True) if not aside]


def collect(cache, scale, packages=None):
    """Write the cache file: every training picture in several sizes; without `packages` those of scikit-image alone."""
    pairs, validation = [], []
    for package, file, path in training_files(packages):
        with opened(path) as picture:
            longer = max(picture.size)
        factors = AS_IT_IS.get(package) or [n / longer for n in LONGER_SIDES if 2 * n <= longer]
        for factor in factors[1:2] if file in VALIDATION and len(factors) > 1 else factors:
            pairs.append(pair(read(path, factor), scale))
            validation.append(file in VALIDATION)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache) as part, part.open("wb") as stream:
        np.savez(
            stream,
            shapes=np.array([luma.shape for luma, _ in pairs]),
            luma=np.concatenate([luma.ravel() for luma, _ in pairs]),
            detail=np.concatenate([detail.ravel() for _, detail in pairs]).astype(np.float16),
            validation=np.array(validation),
        )
