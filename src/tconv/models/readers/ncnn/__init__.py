"""Reader of networks in ncnn's files, .param (text) and .bin (weights), such as Real-ESRGAN's and waifu2x's.

`param_file` reads the lines of the text, `stored_weights` finds the weights of each, and `layers` turns lines into
nodes: one file for each family of layers, and a registry.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tconv.errors import FileError, ShapeError, TconvError
from tconv.models.image_model import Model
from tconv.models.network import Network
from tconv.models.readers.ncnn.graph import nodes_of
from tconv.models.readers.ncnn.param_file import read_lines, weights_beside
from tconv.models.readers.ncnn.stored_weights import Blob
from tconv.models.simplification import simplified
from tconv.models.steps.depth_to_space import ChannelsToPixels

_BLACK = 0.03
"""Largest output for flat pictures of networks whose output is added to the enlarged picture; 0.015 was seen."""
_MOST_NUMBERS = 1 << 24
"""Largest output of a layer for which a flat picture is computed to know that; Real-CUGAN's are a fiftieth of it."""


def read(path: Path) -> Model:
    """Return the model in a .param file and the .bin file beside it. Raises FileError, ShapeError."""
    weights = weights_beside(path)
    try:
        blob = Blob(weights.read_bytes())
        nodes = nodes_of(read_lines(path), blob)
        if blob.left:
            raise FileError(f"{weights.name} has {blob.left} bytes more than the layers need")
        network = Network(simplified(nodes))
        adds = "nearest" if nodes and isinstance(nodes[-1].step, ChannelsToPixels) and _is_detail(network) else None
    except FileError as error:
        raise FileError(f"{path} is not a network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {error.strerror}") from None
    return Model.of(network, path.name, adds)


def _is_detail(network: Network) -> bool:
    """Return True if flat pictures become black: the output is only what has to be added to the enlarged picture.

    Real-CUGAN's networks of scale 4 are so. The program that they were made for adds each pixel, repeated.
    """
    side = 64
    flat = np.stack([np.full((network.channels[0], side, side), level, np.float32) for level in (0, 0.5, 1)])
    try:
        sizes = network.sizes((side, side))
    except ShapeError:
        return False
    if max(c * h * w for c, (h, w) in zip(network.channels, sizes, strict=True)) > _MOST_NUMBERS:
        return False
    return bool(np.abs(network(flat)).max() < _BLACK)
