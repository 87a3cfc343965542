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
    last = format_of(x, weight) in LAST.values()
    return _choose(x.shape, weight.shape, x.dtype, last, arguments, transposed)


@lru_cache(maxsize=1024)
def _choose(
    x_shape: Any, w_shape: Any, dtype: torch.dtype, last: bool, arguments: Arguments, transposed: bool
) -> TrainingChoice:
    groups, kernel = arguments.groups, w_shape[2:]
    channels = w_shape[0] // groups, w_shape[1]  # of a group, on both sides
    products = x_shape[0] * math.prod(x_shape[2:]) * math.prod(w_shape)
    if not transposed:
        products //= math.prod(arguments.stride)
    if dtype not in (torch.float32, torch.float64) or math.prod(kernel) == 1 or products < _LEAST_PRODUCTS:
        return NOTHING
    if max(arguments.stride) > 1:
        return TrainingChoice(False, not transposed and channels[1] <= _FEW_CHANNELS and groups == 1, False)
    if last or x_shape[-1] < _LEAST_ROW:
        return NOTHING
    if dtype is torch.float64:  # PyTorch has no fast form of it
        pays = max(channels) <= _MOST_FLOAT64_CHANNELS
    else:
        blocks = [-(-count // _BLOCK) * _BLOCK for count in channels]
        pays = math.prod(channels) <= _MOST_FILLED * math.prod(blocks)
        pays = pays or (max(channels) <= _BLOCK and len(kernel) == 2 and x_shape[-1] >= 2 * _LEAST_ROW)
    return TrainingChoice(pays and not transposed, pays, pays)
