"""Warnings about a network whose output is not a picture like its input, and the options that would explain it."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.errors import TconvError
from tconv.models.image_model import Model
from tconv.upsampling.option_names import Naming

_RANGES = (0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)
_SIDE = 16
_SMALL = 0.1
"""Mean difference between a grey ramp and what a network makes of it, as a share of white, that is usual."""


def unlike_input(model: Model, naming: Naming) -> str:
    """Return the warning that a network makes something else of pictures, with the range that would help, if any."""
    text = f"the output of {model.name} is far from the picture"
    differences = {each: _difference(model._replace(value_range=each), ramp=True) for each in _RANGES}
    best = min(differences, key=lambda each: differences[each])
    here = _difference(model, ramp=True)
    if best != model.value_range and differences[best] < min(_SMALL, here / 3):
        low, high = (f"{number:g}" for number in best)
        value = f"{low}..{high}" if naming.prefix else f"({low}, {high})"
        return (
            f"{text}; with numbers from {low} (black) to {high} (white) it is near. Write "
            f"{naming.name('value_range')}{naming.separator}{value}"
        )
    if _difference(model, ramp=False) < _SMALL < here:
        return f"{text}: it is near black for any grey, so perhaps it has to be added to the enlarged picture"
    return f"{text}; perhaps its numbers for black and white are others ({naming.name('value_range')})"


def _difference(model: Model, ramp: bool) -> float:
    """Return the mean difference between a network's output for a grey ramp and that ramp, or black."""
    picture: Array = np.empty((model.network.channels[0], _SIDE, _SIDE), np.float32)
    picture[...] = np.linspace(0.25, 0.75, _SIDE, dtype=np.float32)
    try:
        made = model(picture)[:, model.scale // 2 :: model.scale, model.scale // 2 :: model.scale]
    except TconvError:  # too small a picture for its padding
        return float("inf")
    with np.errstate(all="ignore"):
        difference = float(np.abs(made - (picture if ramp else 0)).mean())
    return difference if np.isfinite(difference) else float("inf")
