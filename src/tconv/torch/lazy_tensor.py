"""A tensor without numbers of its own: they are made when somebody reads them.

A fused layer has done the work of the modules behind it, too, and what it returns is meant for them alone. But nobody
can know who else will read it: a branch that the example did not take, a hook that came later. So it returns a tensor
that has no memory. The next module knows it and passes it; every other use, in Python, TorchScript or C++, must ask
PyTorch's dispatcher, and is given what the layer alone returns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only


class Source(Protocol):
    """Where the numbers of a deferred tensor come from."""

    @property
    def like(self) -> torch.Tensor:
        """A tensor of the same shape, strides, dtype and device, if not the same numbers."""

    def numbers(self) -> torch.Tensor:
        """The tensor itself, the same object in every call."""


class Deferred(torch.Tensor):
    """A tensor that knows its shape, and asks its source for its numbers when they are read."""

    source: Source

    @staticmethod
    def __new__(cls, source: Source) -> Any:
        """A tensor with the metadata of `source.like`, and no memory."""
        like = source.like
        made = torch.Tensor._make_wrapper_subclass(
            cls, like.shape, strides=like.stride(), dtype=like.dtype, device=like.device
        )
        torch._C._set_throw_on_mutable_data_ptr(made)  # where C++ asks for memory, it gets an error, not a null
        made.source = source
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """A question about the shape is answered; all else is done with the numbers."""
        if func in _TOLD and not kwargs and isinstance(args[0], Deferred):
            return func(args[0].source.like, *args[1:])
        return func(*_with_numbers(args), **_with_numbers(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What did not come through Python: TorchScript, C++."""
        return func(*_with_numbers(args), **_with_numbers(kwargs or {}))


def _with_numbers(given: Any) -> Any:
    compiler = sys.modules.get("torch._dynamo")  # it would look into the kernel, too
    read = _numbers if compiler is None else compiler.disable(_numbers)
    return tree_map_only(Deferred, read, given)


def _numbers(tensor: Deferred) -> torch.Tensor:
    return tensor.source.numbers()


_properties = ("shape", "ndim", "dtype", "device", "layout", "is_cpu", "is_cuda", "requires_grad", "grad_fn", "is_leaf")
_methods = ("size", "dim", "stride", "numel", "nelement", "__len__", "is_contiguous", "is_floating_point", "is_complex")
_TOLD = {getattr(torch.Tensor, name).__get__ for name in _properties} | {
    getattr(torch.Tensor, name) for name in _methods
}


@contextmanager
def unwatched(inference: bool) -> Iterator[None]:
    """No mode, transform, autocast or gradient: tensors that are kept for later are made so."""
    with (
        temporarily_clear_interpreter_stack(),
        _disable_current_modes(),
        torch._C.DisableTorchFunction(),
        torch.autocast("cpu", enabled=False),
        torch.inference_mode(inference),
        torch.no_grad(),
    ):
        yield
