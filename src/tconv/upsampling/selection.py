"""Which upsampler a command line asks for."""

from __future__ import annotations

from pathlib import Path

from tconv.errors import ArgumentError
from tconv.io import array_files
from tconv.upsampling import learned
from tconv.upsampling.filters import by_kernel
from tconv.upsampling.upsampler import Upsampler

USUAL_KERNEL = "bicubic"


def choose(
    source: Path | None, scale: int | None, model: str | None, kernel: str | None, weights: Path | None
) -> Upsampler:
    """What --model, --kernel or --weights names; without them, the network of photographs for pictures.

    Feature maps and --scale 1 are interpolated. Raises ArgumentError, FileError, ShapeError, MissingExtraError.
    """
    asked = {"--model": model, "--kernel": kernel, "--weights": weights}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise ArgumentError(f"{' and '.join(given)} were given; each says what enlarges. Write one of them")
    maps = source is not None and source.suffix.lower() in array_files.ENDINGS
    if maps and kernel is None and given:
        raise ArgumentError(
            f"{source} holds feature maps, and {given[0]} is for pictures. Write --kernel, or the name of a picture"
        )
    if weights is not None:
        return learned.by_weights(weights, scale)
    scale = 2 if scale is None else scale
    if kernel is not None or (model is None and (maps or scale == 1)):
        return by_kernel(kernel or USUAL_KERNEL, scale)
    return learned.by_model(model or learned.NAME, scale)
