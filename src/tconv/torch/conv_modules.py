"""`Conv1d`, `Conv2d`, `Conv3d`: PyTorch's convolutions, with training steps on tconv's kernel where that is faster."""

from __future__ import annotations

from typing import Any

import torch

from tconv.torch.convolution import apply
from tconv.torch.kernel_call import Arguments
from tconv.torch.modules import Replacement


class ConvolutionDropIn(Replacement):
    """Forward pass of all three layers; everything else is inherited from PyTorch's layer."""

    def _conv_forward(self: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        padding, given = self.padding, input
        if self.padding_mode != "zeros":
            input = torch.nn.functional.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * len(self.kernel_size)
        elif padding == "valid":
            padding = (0,) * len(self.kernel_size)
        elif padding == "same" and type(self.dilation) is tuple and self.stride == (1,) * len(self.dilation):
            both = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            if not any(sides % 2 for sides in both):  # else one side is longer: PyTorch pads
                padding = tuple(sides // 2 for sides in both)
        if not all(type(value) is tuple for value in (self.stride, padding, self.dilation)):  # assigned later
            output: torch.Tensor = self._stock._conv_forward(self, given, weight, bias)
            return output
        arguments = Arguments(self.stride, padding, (0,) * len(padding), self.dilation, self.groups)
        output = apply(input, weight, bias, arguments)
        return output


class Conv1d(ConvolutionDropIn, torch.nn.Conv1d):
    """`torch.nn.Conv1d`; see `Conv2d`.

    >>> import torch, tconv.torch
    >>> tconv.torch.Conv1d(12, 12, 5)(torch.randn(2, 12, 100)).shape
    torch.Size([2, 12, 96])
    """

    _stock = torch.nn.Conv1d


class Conv2d(ConvolutionDropIn, torch.nn.Conv2d):
    """`torch.nn.Conv2d` for training: a subclass with the same arguments, initial weights and state dict.

    >>> import torch, tconv.torch
    >>> layer, stock = tconv.torch.Conv2d(12, 12, 3), torch.nn.Conv2d(12, 12, 3)
    >>> layer.load_state_dict(stock.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(2, 12, 64, 64)
    >>> torch.testing.assert_close(layer(x), stock(x), rtol=1e-4, atol=1e-4)

    On the kernel run, on x86 chips with AVX-512 and in float32 and float64:

    - with stride 1, forward and backward: contiguous tensors with rows of at least 24, 8192 positions in a batch, and 8
      million multiply-adds, whose channels fill PyTorch's blocks of 16 badly (12, 20, 3), or in 2-D are at most 16 with
      rows of at least 48, 32768 positions and at most 9 taps; in float64 at most 64 channels (`docs/torch.md` has what
      threads and short pictures change)
    - with other strides, from 32768 positions on, the gradient by an x of at most 4 channels

    A kernel of 1 x 1, calls under autocast, what is compiled, exported or scripted, and all else are PyTorch's.
    """

    _stock = torch.nn.Conv2d


class Conv3d(ConvolutionDropIn, torch.nn.Conv3d):
    """`torch.nn.Conv3d`; see `Conv2d`.

    >>> import torch, tconv.torch
    >>> tconv.torch.Conv3d(8, 8, 3, padding="same")(torch.randn(1, 8, 4, 6, 24)).shape
    torch.Size([1, 8, 4, 6, 24])
    """

    _stock = torch.nn.Conv3d


for _layer in (Conv1d, Conv2d, Conv3d):
    _layer.__module__ = "tconv.torch"  # pickles name the public module, so that files can move
