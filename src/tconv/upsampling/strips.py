"""Enlargement of one image strip by strip, so that memory stays small whatever the image's height.

Each strip is converted to numbers, enlarged, checked and stored before the next one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tconv._arrays import Array
from tconv.models.image_model import edge_extended
from tconv.upsampling.definition_check import Check
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.upsampler import Upsampler, row_strips


def enlarge(
    x: Array,
    upsampler: Upsampler,
    values: StoredValues,
    out: Array,
    check: Check | None,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Fill out [C_out, H', W'] from the stored image x [C, H, W].

    `check`, if there is one, records every strip; `advance` is called after each, for a progress bar.
    """
    height = x.shape[1]
    for rows in row_strips(upsampler, (x.shape[0], height, x.shape[2]), values.computed.itemsize):
        window = upsampler.window(rows, height)
        numbers = upsampler.strip(values.load(edge_extended(x, window, 1)), window.start, rows, values.frame(height))
        if check is not None:
            check.record(rows, numbers)
        out[:, rows] = values.store(numbers)
        advance()


def predicted_bytes(shape: tuple[int, int, int, int], upsampler: Upsampler, values: StoredValues) -> int:
    """Return the bytes of images [N, C, H, W], of their results and of the widest strip between them."""
    n, inputs, height, width = shape
    channels, (out_height, out_width) = upsampler.channels(inputs), upsampler.output_size(height, width)
    image = channels * out_height * out_width
    row = max(inputs, channels) * out_width * max(1, out_height // max(1, height)) * values.computed.itemsize
    # two passes, padded input, stored values; and the colours that are divided by opacity
    strip = (4 + values.alpha) * min(max(upsampler.strip_bytes, row), image * values.computed.itemsize)
    scratch = upsampler.scratch_bytes((inputs, height, width))
    return (math.prod(shape) + n * image) * values.dtype.itemsize + strip + scratch
