"""Operations of benchmarks/scale.py: their inputs in Zarr, their outputs in float64, and their weights.

It imports NumPy alone, so that an environment without tconv runs it, too. All arrays are [C, H, W].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORES = "none", "zstd"
"""Compression of the stores."""
_SQUARE = 16  # outputs along each axis of what the gate compares
EDGE = 16
"""Pixels of input along each border that the gate leaves out where an engine continues a picture in its own way."""


class Case(NamedTuple):
    """One operation on one input. `side` counts the pixels of a row or column of the input."""

    operation: str
    side: int
    store: str
    tile: int
    """Outputs of a shard, along each axis; a quarter of it is a chunk."""

    @property
    def channels(self) -> int:
        """Number of channels of input and output."""
        return {"bicubic": 3, "layer": 16, "network": 1}[self.operation]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of input and output."""
        return np.dtype(np.uint8 if self.operation == "bicubic" else np.float32)

    @property
    def border(self) -> int:
        """Inputs that a network reads beside each of its pixels, and that its output lacks."""
        return 15 if self.operation == "network" else 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input."""
        return self.channels, self.side, self.side

    @property
    def output(self) -> tuple[int, int, int]:
        """Shape of the output."""
        side = 2 * (self.side - 2 * self.border)
        return self.channels, side, side

    @property
    def bytes(self) -> int:
        """Bytes of the output."""
        return int(np.prod(self.output)) * self.dtype.itemsize


def case_of(operation: str, output_bytes: int, store: str) -> Case:
    """Return a case whose output has at least this many bytes; the sides are multiples of nothing in particular."""
    tile = 512 if operation == "layer" else 2048
    case = Case(operation, 64, store, tile)
    side = int(np.ceil(np.sqrt(output_bytes / case.channels / case.dtype.itemsize) / 2)) + 2 * case.border
    return case._replace(side=side + 3)


def layer_weight() -> tuple[np.ndarray, np.ndarray]:
    """Return weight [C_in, C_out, 4, 4] and bias [C_out] of the layer: stride 2, padding 1."""
    random = np.random.default_rng(7)
    weight = random.normal(size=(16, 16, 4, 4)) / 16
    return weight.astype(np.float32), random.normal(size=16).astype(np.float32)


def bicubic_taps() -> np.ndarray:
    """Return the 8 taps of bicubic interpolation (a = -1/2) by 2: y[2 i + t - 3] += x[i] taps[t]."""
    distance = np.abs(np.arange(8) - 3.5) / 2
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance < 1, near, far)


def fill(target: Any, case: Case) -> None:
    """Write the input, band by band: a photograph repeated with noise, or normal numbers."""
    rows = 1024
    for number, first in enumerate(range(0, case.side, rows)):
        random = np.random.default_rng(number)
        shape = case.channels, min(rows, case.side - first), case.side
        if case.operation == "bicubic":
            target[:, first : first + rows] = _photograph(shape) + random.integers(0, 4, shape, np.uint8)
        elif case.operation == "layer":
            target[:, first : first + rows] = random.standard_normal(shape, np.float32)
        else:
            target[:, first : first + rows] = _photograph(shape) / np.float32(255)


def _photograph(shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    import tconv

    with Image.open(Path(tconv.__file__).parent / "data" / "chelsea.png") as picture:
        pixels = np.minimum(np.asarray(picture.convert("RGB")), 252).transpose(2, 0, 1)[: shape[0]]
    return np.tile(pixels, (1, shape[1] // pixels.shape[1] + 1, shape[2] // pixels.shape[2] + 1))[
        :, : shape[1], : shape[2]
    ]


def exact(case: Case, source: Any, rows: slice, columns: slice) -> np.ndarray:
    """Return outputs [C, rows, columns] in float64, from the definition; 0 and 255 bound a picture."""
    if case.operation == "network":
        from tconv import models

        # even starts: the network's own phase
        spans = [slice(each.start // 2, each.stop // 2 + 2 * case.border) for each in (rows, columns)]
        network = models.photo(2).network
        import torch

        from tconv.upsampling.network_in_torch import in_torch

        x = torch.from_numpy(np.asarray(source[:, *spans], np.float64))[None]
        return np.asarray(in_torch(network, dtype=torch.float64)(x)[0])
    if case.operation == "layer":
        weight, bias = layer_weight()
        return _scatter(source, rows, columns, case.side, weight.astype(np.float64), 1) + bias[:, None, None]
    taps = bicubic_taps()
    weight = np.eye(3)[:, :, None, None] * taps[:, None] * taps
    total = _scatter(source, rows, columns, case.side, weight, 3)
    norm = _scatter(np.ones, rows, columns, case.side, (taps[:, None] * taps)[None, None], 3)
    return np.clip(total / norm, 0, 255)


def _scatter(source: Any, rows: slice, columns: slice, side: int, weight: np.ndarray, crop: int) -> np.ndarray:
    """Return y[2 i + t - crop] += x[i] w[t] of a few outputs, tap by tap."""
    size = weight.shape[-1]
    spans = [
        slice(max(0, -((size - 1 - each.start - crop) // 2)), min(side, (each.stop - 1 + crop) // 2 + 1))
        for each in (rows, columns)
    ]
    sizes = [each.stop - each.start for each in spans]
    x = np.ones((1, *sizes)) if source is np.ones else np.asarray(source[:, *spans], np.float64)
    full = np.zeros((weight.shape[1], *(2 * n + size for n in sizes)))
    for down in range(size):
        for across in range(size):
            part = np.einsum("ihw,io->ohw", x, weight[:, :, down, across])
            full[:, down : down + 2 * sizes[0] : 2, across : across + 2 * sizes[1] : 2] += part
    starts = [each.start + crop - 2 * span.start for each, span in zip((rows, columns), spans, strict=True)]
    return full[
        :,
        starts[0] : starts[0] + rows.stop - rows.start,
        starts[1] : starts[1] + columns.stop - columns.start,
    ]


def error_of(case: Case, source: Any, output: Any, inside: bool = False) -> float:
    """Return the largest difference from float64 in squares of an output: levels of 8 bits, or parts of the largest.

    The squares lie in the corners, over the first seam of shards, and at random; `inside` leaves out the border.
    """
    random, largest = np.random.default_rng(5), 0.0
    side, gap = case.output[1], 2 * EDGE if inside else 0
    last = (side - _SQUARE - gap) // 2 * 2
    named = [gap, min(last, case.tile - _SQUARE // 2), last]
    squares = [(down, across) for down in named for across in named]
    squares += [tuple(2 * random.integers(gap // 2, last // 2, 2)) for _ in range(6)]
    for down, across in squares:
        rows, columns = slice(int(down), int(down) + _SQUARE), slice(int(across), int(across) + _SQUARE)
        truth = exact(case, source, rows, columns)
        made = np.asarray(output[:, rows, columns], np.float64)
        of = 1.0 if case.dtype == np.uint8 else float(np.abs(truth).max())
        largest = max(largest, float(np.abs(made - truth).max()) / of)
    return largest
