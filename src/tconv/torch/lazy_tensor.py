"""A tensor without memory, whose values are computed when they are read: the output of a fused layer.

A fused layer has also done the work of the modules behind it, and its output is meant for them alone. But other code
may read it, too: a branch that the example did not take, or a hook that was added later. So the layer returns a tensor
that has no memory. The next module recognises it and passes the finished result on. Every other use, in Python,
TorchScript or C++, goes through PyTorch's dispatcher, and gets what the layer alone returns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from tconv._arrays.torch_names import tree_map_only, without_memory, without_transforms


class TensorSource(Protocol):
    """Origin of the values of a lazy tensor."""

    @property
    def like(self) -> torch.Tensor:
        """A tensor of the same shape, strides, dtype and device; its values may differ."""

    def values(self) -> torch.Tensor:
        """Return the tensor itself, the same object in every call."""


class LazyTensor(torch.Tensor):
    """A tensor that knows its shape, and asks its source for its values when they are read."""

    source: TensorSource

    @staticmethod
    def __new__(cls, source: TensorSource) -> Any:
        """Return a tensor with the metadata of `source.like`, and no memory."""
        tensor = without_memory(cls, source.like)
        tensor.source = source
        return tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer questions about the shape; compute the values for everything else."""
        if func in _METADATA and not kwargs and isinstance(args[0], LazyTensor):
            return func(args[0].source.like, *args[1:])
        return func(*_with_values(args), **_with_values(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute the values for calls that did not come through Python: TorchScript, C++."""
        return func(*_with_values(args), **_with_values(kwargs or {}))


def _with_values(arguments: Any) -> Any:
    # the compiler would trace into the kernel, too; asking for it when it is not loaded would load it
    read = torch.compiler.disable(_values) if "torch._dynamo" in sys.modules else _values
    return tree_map_only(LazyTensor, read, arguments)


def _values(tensor: LazyTensor) -> torch.Tensor:
    return tensor.source.values()


_properties = ("shape", "ndim", "dtype", "device", "layout", "is_cpu", "is_cuda", "requires_grad", "grad_fn", "is_leaf")
_methods = ("size", "dim", "stride", "numel", "nelement", "__len__", "is_contiguous", "is_floating_point", "is_complex")
_METADATA = {getattr(torch.Tensor, name).__get__ for name in _properties} | {
    getattr(torch.Tensor, name) for name in _methods
}


@contextmanager
def plain_eager(inference: bool) -> Iterator[None]:
    """Run without modes, transforms, autocast and gradients: tensors that are stored for later are computed so."""
    with (
        without_transforms(),
        torch.autocast("cpu", enabled=False),
        torch.inference_mode(inference),
        torch.no_grad(),
    ):
        yield
