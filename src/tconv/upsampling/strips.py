"""Enlargement of one image strip by strip, so that memory stays small whatever the image's height.

Each strip is converted to numbers, enlarged, checked and stored before the next one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from tconv._arrays import Array
from tconv.models.image_model import edge_extended
from tconv.upsampling.definition_check import Check
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.upsampler import Upsampler


def row_strips(upsampler: Upsampler, shape: tuple[int, int, int], itemsize: int) -> Iterator[slice]:
    """Return the output rows of an enlarged image [C, height, width], in strips of whole input rows."""
    channels, height, width = shape
    scale = upsampler.scale
    row = upsampler.channels(channels) * scale * width * itemsize
    step = scale * max(1, upsampler.strip_bytes // max(1, row * scale))
    return (slice(start, min(start + step, scale * height)) for start in range(0, scale * height, step))


def enlarge(
    x: Array,
    upsampler: Upsampler,
    values: StoredValues,
    out: Array,
    check: Check,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Fill out [C_out, scale*H, scale*W] from the stored image x [C, H, W].

    `check` records every strip; `advance` is called after each, for a progress bar.
    """
    height = x.shape[1]
    for rows in row_strips(upsampler, (x.shape[0], height, x.shape[2]), values.computed.itemsize):
        window = upsampler.window(rows, height)
        numbers = upsampler.strip(values.load(edge_extended(x, window, 1)), window.start, rows, values.frame(height))
        check.record(rows, numbers)
        out[:, rows] = values.store(numbers)
        advance()


def predicted_bytes(shape: tuple[int, int, int, int], upsampler: Upsampler, values: StoredValues) -> int:
    """Return the bytes of images [N, C, H, W], of their results and of the widest strip between them."""
    n, inputs, height, width = shape
    channels, area = upsampler.channels(inputs), upsampler.scale**2
    image = channels * height * width * area
    row = max(inputs, channels) * width * area * values.computed.itemsize
    # two passes, padded input, stored values; and the colours that are divided by opacity
    strip = (4 + values.alpha) * min(max(upsampler.strip_bytes, row), image * values.computed.itemsize)
    scratch = upsampler.scratch_bytes((inputs, height, width))
    return (math.prod(shape) + n * image) * values.dtype.itemsize + strip + scratch
