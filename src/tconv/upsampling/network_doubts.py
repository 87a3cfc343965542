"""Warnings about a network whose output is not a picture like its input, and the options that would explain it."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.errors import TconvError
from tconv.models.image_model import Model
from tconv.upsampling.block_means import BlockMeans, difference
from tconv.upsampling.option_names import Naming
from tconv.upsampling.picture_source import PictureSource

_RANGES = (0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)
_SIDE = 16
_DOUBTFUL = 0.03
"""Difference of a small version of the output from that of the picture, of white, above which other ranges are tried.

Networks that restore pictures stay below 0.01.
"""
_FAR = 0.25
"""Difference that no network of pictures makes."""
_NEAR = 0.05
"""Largest difference of a network with the right range."""
_SMALL = 0.1
"""Largest difference from black of a network whose output is added to a picture."""


def unlike_input(source: PictureSource, own_range: tuple[float, float], naming: Naming) -> str | None:
    """Return a warning if a network made something else of a picture, with the range that would help, if any.

    `own_range` is that of the network's file.
    """
    made = source.difference()
    if made <= _DOUBTFUL:
        return None
    model, picture = source.model, source.sample()
    text = f"the output of {model.name} is far from the picture"
    differences = {each: _difference(model._replace(value_range=each), picture) for each in (own_range, *_RANGES)}
    best = min(differences, key=lambda each: differences[each])
    if best != model.value_range and differences[best] < min(_NEAR, _difference(model, picture) / 3):
        if best == own_range:
            return f"{text}; without {naming.name('value_range')} it is near. Leave it out"
        low, high = (f"{number:g}" for number in best)
        value = f"{low}..{high}" if naming.prefix else f"({low}, {high})"
        return (
            f"{text}; with numbers from {low} (black) to {high} (white) it is near. Write "
            f"{naming.name('value_range')}{naming.separator}{value}"
        )
    if made <= _FAR:  # a network may change colours
        return None
    grey: Array = np.empty((model.network.channels[0], _SIDE, _SIDE), np.float32)
    grey[...] = np.linspace(0.25, 0.75, _SIDE, dtype=np.float32)
    if model.adds is None and _difference(model, grey, from_black=True) < _SMALL < _difference(model, grey):
        return f"{text}: it is near black for any grey, so perhaps it has to be added to the enlarged picture"
    return f"{text}; perhaps its numbers for black and white are others ({naming.name('value_range')})"


def _difference(model: Model, picture: Array, from_black: bool = False) -> float:
    """Return the mean difference between a network's output for a picture and that picture, or black, both small."""
    try:
        with np.errstate(all="ignore"):
            made = model(picture)
    except TconvError:  # too small a picture for its padding
        return float("inf")
    if not np.isfinite(made).all():
        return float("inf")
    height, width = picture.shape[1:]
    small, large = BlockMeans(height, width), BlockMeans(height, width, model.scale)
    small.add(picture * (not from_black))
    large.add(made)
    return difference(small.values, large.values)
