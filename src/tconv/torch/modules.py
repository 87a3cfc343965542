"""`ConvTranspose1d`, `ConvTranspose2d`, `ConvTranspose3d`: PyTorch's layers on tconv's kernel."""

from __future__ import annotations

from typing import Any

import torch

from tconv.torch.functional import apply
from tconv.torch.kernel_call import Arguments


class Replacement:
    """A layer that inherits from PyTorch's layer all but what it runs."""

    _stock: Any
    """PyTorch's class that this one replaces."""

    def __prepare_scriptable__(self: Any) -> torch.nn.Module:
        """Return the layer that TorchScript compiles: PyTorch's, with the same parameters."""
        stock = self._stock.__new__(self._stock)
        stock.__dict__ = self.__dict__
        return stock


class DropIn(Replacement):
    """Forward pass of all three layers; everything else is inherited from PyTorch's layer."""

    def forward(self: Any, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Run the layer on input [N, C_in, *spatial] or [C_in, *spatial]; output_size is the output's spatial size."""
        padding = self.output_padding
        if output_size is not None:
            sizes = (self.stride, self.padding, self.kernel_size, len(self.kernel_size), self.dilation)
            padding = self._output_padding(input, output_size, *sizes)
        arguments = Arguments(self.stride, self.padding, tuple(padding), self.dilation, self.groups)
        chain = self.__dict__.get("_chain")
        if chain is not None and not torch.compiler.is_compiling():
            output: torch.Tensor | None = chain.run(self, input, arguments)
            if output is not None:
                return output
        return apply(input, self.weight, self.bias, arguments)


class ConvTranspose1d(DropIn, torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` on tconv's kernel; see `ConvTranspose2d`.

    >>> import torch, tconv.torch
    >>> layer = tconv.torch.ConvTranspose1d(512, 256, 16, stride=8, padding=4)
    >>> layer(torch.randn(1, 512, 100)).shape
    torch.Size([1, 256, 800])
    """

    _stock = torch.nn.ConvTranspose1d


class ConvTranspose2d(DropIn, torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` on tconv's kernel: a subclass with the same arguments, initial weights and state dict.

    >>> import torch, tconv.torch
    >>> layer, stock = tconv.torch.ConvTranspose2d(64, 32, 4, 2, 1), torch.nn.ConvTranspose2d(64, 32, 4, 2, 1)
    >>> layer.load_state_dict(stock.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(1, 64, 14, 14)
    >>> torch.testing.assert_close(layer(x), stock(x), rtol=1e-4, atol=1e-4)

    x [N, C_in, h, w] or [C_in, h, w]; weight [C_in, C_out/groups, kh, kw]. `tconv.torch.conv_transpose` says which
    calls run on the kernel; `tconv.torch.plan(layer, x)` prints it. `torch.compile` keeps tconv's kernel;
    `torch.export`, ONNX and TorchScript contain PyTorch's operator. Raises what PyTorch's layer raises.
    """

    _stock = torch.nn.ConvTranspose2d


class ConvTranspose3d(DropIn, torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` on tconv's kernel; see `ConvTranspose2d`.

    >>> import torch, tconv.torch
    >>> layer = tconv.torch.ConvTranspose3d(16, 8, 2, stride=2)
    >>> layer(torch.randn(1, 16, 4, 6, 8)).shape
    torch.Size([1, 8, 8, 12, 16])
    """

    _stock = torch.nn.ConvTranspose3d


for _layer in (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d):
    _layer.__module__ = "tconv.torch"  # pickles name the public module, so that files can move
