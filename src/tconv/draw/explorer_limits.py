"""Limits of the explorer's page, from the file that the page is built with, and the refusal of what is beyond them."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any

from tconv.draw.picture_limits import part_text
from tconv.errors import ShapeError
from tconv.geometry import Geometry

MOST_NUMBERS = 4096
"""Most numbers of an array in an address, as the page reads it."""


def refuse_beyond_page(
    geometry: Geometry, input_shape: tuple[int, ...], channels: tuple[int, int], arrays: tuple[str, ...] = ()
) -> None:
    """Raise ShapeError for an operator on one or two axes that the page would not draw.

    >>> refuse_beyond_page(Geometry((16, 16), 2), (64, 64), (1, 1))
    >>> refuse_beyond_page(Geometry((17, 3), 2), (4, 4), (1, 1))
    Traceback (most recent call last):
        ...
    tconv.errors.ShapeError: kernel is (17, 3); the page draws at most 16 on an axis in 2-D. Write kernel=(16, 3), or \
compute it with tconv.conv_transpose

    `channels` are those of input and output; `arrays` names those of x and w that are arrays: a part is proposed.
    """
    limits, rank = page_limits(), str(geometry.ndim)
    for name, array, sizes, most in (
        ("kernel", "w", geometry.kernel, limits["taps"][rank]),
        ("input", "x", input_shape, limits["inputs"][rank]),
    ):
        if max(sizes) > most:
            fewer = tuple(min(size, most) for size in sizes)
            given, part = f"{name} is {sizes}", f"{name}={fewer}"
            if array in arrays:
                given = f"{array} has shape {sizes}"
                part = f"a part of it, {part_text(array, fewer)}"
            raise ShapeError(
                f"{given}; the page draws at most {most} on an axis in {rank}-D. Write {part}, or compute it with "
                "tconv.conv_transpose"
            )
    for part, values, most in (
        ("stride", geometry.stride, limits["step"]),
        ("dilation", geometry.dilation, limits["step"]),
        ("crop", [max(map(abs, pair)) for pair in geometry.crop], limits["crop"]),
    ):
        if max(values) > most:
            raise ShapeError(f"the {part} is {max(values)}; the page draws at most {most}. Use a smaller {part}")
    outputs = limits["outputs"][rank]
    longest = max(*geometry.full_shape(input_shape), *geometry.output_shape(input_shape))
    if longest > outputs:
        raise ShapeError(
            f"the output would have {longest} elements on an axis, with input {input_shape}; the page draws at most "
            f"{outputs}. Use a smaller input, stride or dilation"
        )
    if max(channels) > limits["channels"]:
        fewer = tuple(min(count, limits["channels"]) for count in channels)
        instead = "Use fewer groups" if geometry.groups > 1 else f"Write channels={fewer}"
        raise ShapeError(f"channels is {channels}; the page draws at most {limits['channels']} on each side. {instead}")
    products = math.prod(input_shape) * math.prod(geometry.kernel) * channels[0] * channels[1] // geometry.groups
    if products > limits["products"]:
        raise ShapeError(
            f"there are {products} products, inputs times taps times channels; the page computes at most "
            f"{limits['products']}. Use a smaller input, or fewer channels"
        )


@cache
def page_limits() -> dict[str, Any]:
    """Return the limits: by the number of axes, the most inputs, outputs and taps on one; of the others, one each."""
    limits: dict[str, Any] = json.loads(files("tconv.draw").joinpath("explorer_limits.json").read_text("utf-8"))
    return limits
