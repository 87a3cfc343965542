"""Initial weights in place: `bilinear_` (linear interpolation) and `icnr_` (no checkerboard)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tconv._arguments import Ints
from tconv.weights import initializers


def bilinear_(tensor: torch.Tensor, stride: Ints, groups: int = 1) -> torch.Tensor:
    """Fill a weight [C_in, C_out/groups, *kernel] with linear interpolation in every channel, and return it.

    >>> import torch, tconv.torch
    >>> up = tconv.torch.ConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=8, bias=False)
    >>> weight = tconv.torch.bilinear_(up.weight, up.stride, up.groups)
    >>> up(torch.ones(1, 8, 4, 4))[0, 0, 1:3, 1:3].tolist()
    [[1.0, 1.0], [1.0, 1.0]]

    Formula and errors: `tconv.initializers.bilinear`.
    """
    return _fill(tensor, initializers.bilinear(tuple(tensor.shape), stride, groups))


def icnr_(
    tensor: torch.Tensor,
    stride: Ints,
    groups: int = 1,
    init: Callable[[torch.Tensor], Any] | None = None,
) -> torch.Tensor:
    """Fill a weight with random numbers that are equal in all phases, so that there is no checkerboard. Returns it.

    >>> import torch, tconv.torch
    >>> up = tconv.torch.ConvTranspose2d(8, 3, 4, stride=2, bias=False)
    >>> weight = tconv.torch.icnr_(up.weight, up.stride, init=torch.nn.init.xavier_normal_)
    >>> y = up(torch.randn(1, 8, 5, 5))
    >>> torch.allclose(y[..., ::2, ::2], y[..., 1::2, 1::2], atol=1e-6)
    True

    `init` fills the small weight [C_in, C_out/groups, *(kernel div stride)] in place; by default it is He's normal
    distribution, drawn from PyTorch's generator. Formula and errors: `tconv.initializers.icnr`.
    """

    def draw(shape: tuple[int, ...]) -> Any:
        small = torch.empty(shape)
        terms = small[:, 0].numel() // groups
        (init or (lambda weight: torch.nn.init.normal_(weight, 0.0, (2 / terms) ** 0.5)))(small)
        return small.numpy()

    return _fill(tensor, initializers.icnr(tuple(tensor.shape), stride, groups, draw=draw))


def _fill(tensor: torch.Tensor, values: Any) -> torch.Tensor:
    with torch.no_grad():
        return tensor.copy_(torch.from_numpy(values))
