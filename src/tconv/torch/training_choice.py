"""TrainingChoice of what runs on tconv's kernel in a training step: forward pass, and gradients by x and by the weight.

The rules are from measured steps of small networks (`benchmarks/training_steps.py`). PyTorch computes 16 channels at a
time, and reorders contiguous tensors for it: with 12 channels nearly half of the work, and with 3 most of it, is
zeros. The kernel's lanes are positions, so it needs long rows instead. With channels last PyTorch does not reorder, and
is as fast.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from tconv.torch.kernel_call import LAST, Arguments, format_of

_BLOCK = 16
"""Channels that PyTorch computes at a time in float32."""
_MOST_FILLED = 0.65
"""Share of PyTorch's blocks of channels with numbers in them, up to which the kernel is faster."""
_LEAST_ROW = 24
_LEAST_PRODUCTS = 8_000_000
"""Multiply-adds from which on a gain is larger than the time that Python takes for a call."""
_LEAST_STRIDED_PRODUCTS = 2_000_000
"""The same for an x of few channels, whose gradient is several times as fast."""
_FEW_CHANNELS = 8
_MOST_FLOAT64_CHANNELS = 64


class TrainingChoice(NamedTuple):
    """True for what runs on the kernel, if it can."""

    forward: bool
    by_input: bool
    by_weight: bool


NOTHING = TrainingChoice(False, False, False)


def choose(x: torch.Tensor, weight: torch.Tensor, arguments: Arguments, transposed: bool) -> TrainingChoice:
    """Return what of a convolution, or of a transposed one, runs on the kernel. `forward` is for convolutions alone."""
    chosen = _choose(x.shape, weight.shape, x.dtype, arguments, transposed)
    if chosen is NOTHING or max(arguments.stride) > 1 or format_of(x, weight) not in LAST.values():
        return chosen
    return NOTHING


@lru_cache(maxsize=1024)
def _choose(x_shape: Any, w_shape: Any, dtype: torch.dtype, arguments: Arguments, transposed: bool) -> TrainingChoice:
    """Return the choice for contiguous tensors; with a stride, for those with channels last, too."""
    groups, kernel, strided = arguments.groups, w_shape[2:], max(arguments.stride) > 1
    channels = w_shape[0] // groups, w_shape[1]  # of a group, on both sides
    products = x_shape[0] * math.prod(x_shape[2:]) * math.prod(w_shape)
    if not transposed:
        products //= math.prod(arguments.stride)
    least = _LEAST_STRIDED_PRODUCTS if strided else _LEAST_PRODUCTS
    if dtype not in (torch.float32, torch.float64) or math.prod(kernel) == 1 or products < least:
        return NOTHING
    if strided:
        pays = not transposed and channels[1] <= _FEW_CHANNELS and groups == 1
        return TrainingChoice(False, True, False) if pays else NOTHING
    if x_shape[-1] < _LEAST_ROW:
        return NOTHING
    if dtype is torch.float64:  # PyTorch has no fast form of it
        pays = max(channels) <= _MOST_FLOAT64_CHANNELS
    else:
        blocks = [-(-count // _BLOCK) * _BLOCK for count in channels]
        pays = math.prod(channels) <= _MOST_FILLED * math.prod(blocks)
        pays = pays or (max(channels) <= _BLOCK and len(kernel) == 2 and x_shape[-1] >= 2 * _LEAST_ROW)
    return TrainingChoice(not transposed, True, True) if pays else NOTHING
