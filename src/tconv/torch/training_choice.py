"""TrainingChoice of what runs on tconv's kernel in a training step: forward pass, and gradients by x and by the weight.

On chips with AVX-512, PyTorch's oneDNN computes 16 channels at a time, and reorders contiguous tensors for it: with 12
channels nearly half of the work, and with 3 most of it, is zeros. The kernel's lanes are positions, so it needs long
rows instead, and enough of them: it adds up 16 lanes for each element of the weight in every tile. With channels last
PyTorch does not reorder, and is as fast. On other chips, and without oneDNN, nothing was measured: all is PyTorch's.

`benchmarks/training_steps.py` times whole steps (results/2026-11-30-xeon-2-cores-training-steps.json). The constants
are cautious bounds from single layers on one thread of that Xeon, whose times are not kept.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd.availability import reason_unavailable
from tconv.kernels.simd.weight_gradient.tiles import tiles_of
from tconv.torch.kernel_call import LAST, Arguments, format_of

_BLOCK = 16
"""Channels that PyTorch computes at a time in float32, and lanes of the chips that were measured."""
_MOST_FILLED = 0.65
"""Share of PyTorch's blocks of channels with numbers in them, up to which the kernel is used."""
_LEAST_ROW = 24
_LEAST_PRODUCTS = 8_000_000
"""Multiply-adds from which on a gain is larger than the time that Python takes for a call."""
_LEAST_POSITIONS = 8192
"""Positions of a batch that pay for packing the weight and adding the lanes of its sums."""
_LEAST_POSITIONS_OF_LESS = 32768
"""The same where there is less to gain: blocks without zeros, and with a stride the gradient by x alone."""
_LEAST_TILE = 384
"""Positions of a tile that pay for adding the lanes of its sums: 16 of the shortest rows."""
_LEAST_BUSY = 0.75
"""Share of the threads' time in which they have a tile, all tiles being as long."""
_FEW_CHANNELS = 4
"""Channels of x up to which, with a stride, the kernel computes its gradient: PyTorch's blocks are mostly zeros."""
_MOST_FULL_TAPS = 9
"""Taps up to which the kernel is used where PyTorch's blocks are full."""
_MOST_FLOAT64_CHANNELS = 64


class TrainingChoice(NamedTuple):
    """True for what runs on the kernel, if it can."""

    forward: bool
    by_input: bool
    by_weight: bool


NOTHING = TrainingChoice(False, False, False)


def choose(x: torch.Tensor, weight: torch.Tensor, arguments: Arguments, transposed: bool) -> TrainingChoice:
    """Return what of a convolution, or of a transposed one, runs on the kernel. `forward` is for convolutions alone."""
    chosen, tiles = _choose(x.shape, weight.shape, x.dtype, arguments, transposed)
    if chosen is NOTHING:
        return chosen
    # what may change between two calls is asked for in each
    if chosen.by_weight and (format_of(x, weight) in LAST.values() or not _keeps_busy(tiles)):
        return NOTHING
    return chosen if _is_measured() and torch.backends.mkldnn.enabled else NOTHING


@cache
def _is_measured() -> bool:
    """Return True if the chip, and what PyTorch runs on it, is of the kind that was measured."""
    if not torch.backends.mkldnn.is_available() or reason_unavailable() is not None:
        return False
    from tconv.kernels.simd.cpu_target import target

    return bool(target().is_x86 and target().lanes == _BLOCK)


def _keeps_busy(tiles: int) -> bool:
    """Return True if the weight's gradient in so many tiles gives each thread work nearly all the time."""
    threads = min(torch.get_num_threads(), get_num_threads())
    return bool(tiles >= max(threads, _LEAST_BUSY * threads * -(-tiles // threads)))


@lru_cache(maxsize=1024)
def _choose(
    x_shape: Any, w_shape: Any, dtype: torch.dtype, arguments: Arguments, transposed: bool
) -> tuple[TrainingChoice, int]:
    """Return the choice, with stride 1 for contiguous tensors alone, and the number of the weight gradient's tiles."""
    groups, kernel, strided = arguments.groups, w_shape[2:], max(arguments.stride) > 1
    channels = w_shape[0] // groups, w_shape[1]  # of a group, on both sides
    positions = x_shape[0] * math.prod(x_shape[2:])
    products = positions * math.prod(w_shape)
    if not transposed:
        products //= math.prod(arguments.stride)
    if dtype not in (torch.float32, torch.float64) or math.prod(kernel) == 1 or products < _LEAST_PRODUCTS:
        return NOTHING, 0
    if strided:
        pays = not transposed and channels[1] <= _FEW_CHANNELS and groups == 1
        pays = pays and positions >= _LEAST_POSITIONS_OF_LESS
        return (TrainingChoice(False, True, False) if pays else NOTHING), 0
    if x_shape[-1] < _LEAST_ROW or positions < _LEAST_POSITIONS:
        return NOTHING, 0
    # the output is nearly as large: its padding makes little difference here
    rows, width, size = math.prod(x_shape[2:-1]), x_shape[-1], dtype.itemsize
    row_bytes = (w_shape[0] + w_shape[1] * groups) * width * size
    tiles = tiles_of(x_shape[0], rows, row_bytes, math.prod(w_shape) * size)
    if tiles.rows * width < _LEAST_TILE:
        return NOTHING, 0
    if dtype is torch.float64:  # PyTorch has no fast form of it
        pays = max(channels) <= _MOST_FLOAT64_CHANNELS
    else:
        blocks = [-(-count // _BLOCK) * _BLOCK for count in channels]
        pays = math.prod(channels) <= _MOST_FILLED * math.prod(blocks)
        if max(channels) <= _BLOCK and len(kernel) == 2 and math.prod(kernel) <= _MOST_FULL_TAPS:
            pays = pays or (x_shape[-1] >= 2 * _LEAST_ROW and positions >= _LEAST_POSITIONS_OF_LESS)
    return (TrainingChoice(not transposed, True, True) if pays else NOTHING), tiles.of_call
