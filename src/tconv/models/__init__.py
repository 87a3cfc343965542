"""Networks that make pictures larger, run on tconv's own kernel without a framework.

>>> import numpy as np, tconv.models
>>> enlarge = tconv.models.photo(2)                     # comes with tconv
>>> enlarge(np.full((3, 20, 30), 0.5, np.float32)).shape
(3, 40, 60)

`load` reads a network of your own: .onnx, ncnn's .param, .safetensors with a description, or a checkpoint.
"""

from __future__ import annotations

from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path

from tconv.errors import ArgumentError, FileError
from tconv.models.image_model import Model
from tconv.models.layers import Convolution, Node
from tconv.models.network import Network
from tconv.models.readers import READERS
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.resizing import Resize

__all__ = [
    "PHOTO_SCALES",
    "PHOTO_SIZES",
    "Affine",
    "ChannelRange",
    "ChannelsToPixels",
    "Combination",
    "Concat",
    "Convolution",
    "GlobalMean",
    "Model",
    "Network",
    "Node",
    "Padding",
    "PixelsToChannels",
    "Pointwise",
    "Resize",
    "Sum",
    "load",
    "photo",
]

PHOTO_SIZES = {"small": (2, 3, 4), "large": (2,)}
"""Sizes of the networks of photographs that come with tconv, and the scales of each."""
PHOTO_SCALES = PHOTO_SIZES["small"]
"""Scales for which a network of photographs comes with tconv."""


def photo(scale: int = 2, size: str = "small") -> Model:
    """Return the network that comes with tconv for photographs at this scale: 2, 3 or 4; the large one has scale 2.

    >>> import numpy as np
    >>> network = photo(3)
    >>> network.name, network(np.full((3, 5, 6), 0.5, np.float32)).shape
    ('photo x3', (3, 15, 18))
    >>> photo(2, size="large").name                                     # up to twice the time, more detail
    'photo-large x2'

    Data, training and scores are in `tconv/models/data/README.md`. Raises ArgumentError for another scale or size.
    """
    if size not in PHOTO_SIZES:
        raise ArgumentError(
            f'size is {size!r}; {" and ".join(PHOTO_SIZES)} come with tconv. Write photo(2, size="large")'
        )
    if type(scale) is not int or scale not in PHOTO_SIZES[size]:
        words, argument = ("the large network", ', size="large"') if size == "large" else ("networks", "")
        raise ArgumentError(
            f"scale is {scale!r}; {words} come{'s' * (size == 'large')} with tconv for {PHOTO_SIZES[size]}. "
            f"Write photo(2{argument})"
        )
    large = size == "large"
    with as_file(files("tconv.models") / "data" / f"photo_{'large_' * large}x{scale}.safetensors") as path:
        return load(path)._replace(name=f"photo{'-large' * large} x{scale}")


def load(
    path: Path | str, *, value_range: tuple[float, float] | None = None, channel_order: str | None = None
) -> Model:
    """Return the network in a file: .onnx, ncnn's .param with the .bin beside it, .safetensors, .pth, .pt or .ckpt.

    >>> from importlib.resources import files
    >>> network = load(files("tconv.models") / "data" / "photo_x2.safetensors")
    >>> network.scale
    2

    A .safetensors file has a description, or is a checkpoint like the last three: weights of an architecture that the
    `spandrel` package knows (`pip install "tconv[spandrel]"`), of which tensors alone are loaded.

    Layers of pixels around a place are read: convolutions, activations, arithmetic, resizing, depth to space, and means
    over the whole picture. Raises FileError for a file that cannot be read or is damaged, and for one with anything
    else, such as attention; ShapeError for one that is not a network of pictures, or shrinks them; MissingExtraError
    without the package that reads it.

    `value_range` are the network's numbers for black and white, (0, 255) for example, and `channel_order` is "RGB" or
    "BGR": for networks whose file does not say it, and which differ from (0, 1) and "RGB". Raises ArgumentError for
    others.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path} is a folder; a file of weights is needed. Write the name of a file in it")
    if path.suffix.lower() == ".bin" and path.with_suffix(".param").is_file():
        raise FileError(
            f"{path} has the weights of {path.with_suffix('.param').name}, which has the layers. Write "
            f"{path.with_suffix('.param')}; both are read"
        )
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FileError(
            f"{path} ends in {path.suffix or 'nothing'}; .onnx, .param (ncnn), .safetensors, or .pth, .pt or .ckpt "
            "(checkpoints) is needed. Write the name of such a file"
        )
    if not path.is_file():
        raise FileError(f"{path} does not exist, or is not a file. Write the name of a file of weights")
    model: Model = import_module(f"tconv.models.readers.{reader}").read(path)
    return model.stated(value_range, channel_order)
