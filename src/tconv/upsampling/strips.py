"""Enlargement of one image strip by strip, so that memory stays small whatever the image's height.

Each strip is converted to numbers, enlarged, checked and stored before the next one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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
    advance: Callable[[float], None] = lambda share: None,
) -> Any:
    """Fill out [C_out, H', W'] from the stored image x [C, H, W]; return the run of a network over it, or None.

    `check`, if there is one, records every strip; `advance` is called with shares of the work, for a progress bar.
    """
    shape = x.shape[0], x.shape[1], x.shape[2]
    progress = _Progress(advance)
    source = upsampler.source(x, values, progress.network, check)
    frame = values.frame(shape[1])._replace(source=source)
    if check is not None:
        check.source = source
    bands = upsampler.bands(shape)
    for number, columns in enumerate(bands):
        part = frame._replace(columns=columns) if len(bands) > 1 else frame
        for rows in row_strips(upsampler, shape, values.computed.itemsize):
            window = upsampler.own_window(rows, shape[1])
            numbers = upsampler.strip(values.load(edge_extended(x, window, 1)), window.start, rows, part)
            if check is not None:
                check.record(rows, numbers, columns.start)
            out[:, rows, columns] = values.store(numbers)
            progress.rows((number + rows.stop / out.shape[1]) / len(bands))
    return source


class _Progress:
    """Shares of an image that is done: by the rows that are stored, or by the work of a network before them."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance, self._done, self._network = advance, 0.0, 0.0

    def rows(self, done: float) -> None:
        """Count this part of the image as done."""
        if done > self._done:
            self._advance(done - self._done)
            self._done = done

    def network(self, share: float) -> None:
        """Count a share of the network's work."""
        self._network += share
        self.rows(min(self._network, 1.0))


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
