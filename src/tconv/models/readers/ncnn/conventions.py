"""Conventions of the programs that ncnn's networks were made for, which their files do not say.

Sources: nihui/realcugan-ncnn-vulkan, nihui/waifu2x-ncnn-vulkan and xinntao/Real-ESRGAN-ncnn-vulkan. All of their
networks take red, green and blue from 0 to 1. Around a picture, Real-CUGAN's program reflects, and waifu2x's repeats
the outermost pixels. The program of Real-CUGAN adds the output of networks of scale 4 to the picture.
"""

from __future__ import annotations

import numpy as np

from tconv.errors import ShapeError
from tconv.models.network import Network
from tconv.models.readers.ncnn.param_file import Line

_SIDE = 64
_BLACK = 0.03
"""Largest output for flat pictures of networks whose output is added to the enlarged picture; 0.015 was seen."""
_MOST_NUMBERS = 1 << 24
"""Largest output of a layer for which a flat picture is computed to know that; Real-CUGAN's are a fiftieth of it."""


def is_detail(lines: list[Line], network: Network) -> bool:
    """Return True if flat pictures become black: the output is only what has to be added to the enlarged picture."""
    if lines[-1].kind != "PixelShuffle":
        return False
    flat = np.stack([np.full((network.channels[0], _SIDE, _SIDE), level, np.float32) for level in (0, 0.5, 1)])
    try:
        sizes = network.sizes((_SIDE, _SIDE))
    except ShapeError:
        return False
    if max(c * h * w for c, (h, w) in zip(network.channels, sizes, strict=True)) > _MOST_NUMBERS:
        return False
    return bool(np.abs(network(flat)).max() < _BLACK)


def is_real_cugan(lines: list[Line]) -> bool:
    """Return True for the layers of Real-CUGAN: crops by fixed margins, and gates of means over the picture.

    waifu2x's networks with such gates crop to the size of another value.
    """
    means = any(line.kind == "Pooling" and line.numbers.get(4) for line in lines)
    return means and any(line.kind == "Crop" and line.lists.get(9) for line in lines)


def notes(lines: list[Line], adds: str | None) -> tuple[str, ...]:
    """Return sentences about the file for the report."""
    found = []
    quantized = sum(
        bool(line.numbers.get(8)) for line in lines if line.kind.startswith(("Convolution", "InnerProduct"))
    )
    if quantized:
        layers = "1 layer is" if quantized == 1 else f"{quantized} layers are"
        found.append(f"{layers} meant for int8: float32 is computed here; ncnn would round weights and inputs to int8")
    if adds:
        found.append(f"its output is 0 for flat pictures: it is added to the picture with repeated pixels ({adds})")
    return tuple(found)
