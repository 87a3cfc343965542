"""Element types of PyTorch's calls: those that the kernel computes, and the one that autocast casts a call to."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from tconv import _arrays
from tconv.errors import DtypeError
from tconv.kernels.problem import accumulator


def _numpy_types() -> dict[torch.dtype, np.dtype[Any]]:
    known = {kind: np.dtype(title(kind)) for kind in (torch.float32, torch.float64, torch.float16)}
    with suppress(DtypeError):  # ml_dtypes is not installed
        known[torch.bfloat16] = np.dtype(_arrays.bfloat16("x"))
    return known


def title(dtype: torch.dtype) -> str:
    """Return a dtype's name for a message.

    >>> title(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


NUMPY = _numpy_types()
"""NumPy's dtypes of those that the kernel computes."""
SUMMED = {kind: getattr(torch, accumulator(known).name) for kind, known in NUMPY.items()}
"""Dtypes of the sums, of the packed weight and of the bias: float32 for those of two bytes, else the dtype itself."""
_CAST = frozenset((torch.float32, torch.float16, torch.bfloat16))
"""Dtypes that autocast casts to its own; float64 stays."""


def reason_against(name: str, dtype: torch.dtype) -> str:
    """Return the reason why the kernel does not compute a dtype, or an empty text."""
    if dtype in NUMPY:
        return ""
    if dtype is torch.bfloat16:
        return f"{name} is bfloat16, which NumPy has only with ml_dtypes; write pip install ml_dtypes"
    *names, last = map(title, (torch.float32, torch.float64, torch.float16, torch.bfloat16))
    return f"{name} is {title(dtype)}; the kernel computes {', '.join(names)} and {last}"


def call_dtype(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.dtype | None:
    """Return the dtype in which PyTorch computes a call on the CPU, by its rule for autocast; None if it refuses it."""
    dtype = input.dtype
    if torch.is_autocast_enabled("cpu") and dtype in _CAST:
        if weight.dtype in _CAST and (bias is None or bias.dtype in _CAST):
            return torch.get_autocast_dtype("cpu")
        return None
    return dtype if weight.dtype is dtype and (bias is None or bias.dtype is dtype) else None


def numbers(tensor: torch.Tensor, dtype: torch.dtype, rounded: bool = True) -> torch.Tensor:
    """Return a weight or a bias in the dtype of the sums of a call; without `rounded`, not rounded to `dtype` before.

    >>> numbers(torch.tensor([1 + 2**-9]), torch.bfloat16), numbers(torch.tensor([1 + 2**-9]), torch.bfloat16, False)
    (tensor([1.]), tensor([1.0020]))
    """
    return (tensor.to(dtype) if rounded else tensor).to(SUMMED[dtype])
