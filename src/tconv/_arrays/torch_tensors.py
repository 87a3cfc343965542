"""PyTorch's tensors."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from tconv._arrays.library import Array, Library, bfloat16, loaded_kinds
from tconv.errors import ArrayError, DtypeError, OutputError


def _take(tensor: Any, name: str) -> Array:
    torch = sys.modules["torch"]
    if tensor.requires_grad:
        if torch.is_grad_enabled():
            raise ArrayError(
                f"{name} is a torch tensor that requires gradients, which NumPy kernels would lose. Write "
                f"{name}.detach(), or torch.no_grad() around the call, or tconv.torch.conv_transpose to train"
            )
        tensor = tensor.detach()
    if _is_traced(tensor):
        raise ArrayError(
            f"{name} is being traced or differentiated in forward mode, which NumPy kernels would lose. Write the call "
            "outside, or tconv.torch.conv_transpose inside"
        )
    if tensor.device.type == "meta":
        raise ArrayError(f"{name} is a meta tensor, which has no values. Write the call with tensors on the CPU")
    if tensor.device.type != "cpu":
        raise ArrayError(f"{name} is on {tensor.device}; this method runs on the CPU. Write {name}.cpu()")
    if tensor.is_quantized:
        raise ArrayError(f"{name} is a quantized tensor; plain numbers are needed. Write {name}.dequantize()")
    if tensor.layout is not torch.strided:
        raise ArrayError(f"{name} is a {tensor.layout} tensor; a dense one is needed. Write {name}.to_dense()")
    try:
        dense = tensor.resolve_conj().resolve_neg()
        if dense.dtype is torch.bfloat16:
            array: Array = dense.view(torch.int16).numpy().view(bfloat16(name))
        else:
            array = dense.numpy()
    except DtypeError:
        raise
    except (RuntimeError, TypeError) as error:  # fake and functorch tensors have no memory
        if "ScalarType" in str(error):
            kind = str(tensor.dtype).removeprefix("torch.")
            supported = "complex64" if kind.startswith("complex") else "float32"
            raise DtypeError(
                f"{name} is {kind}, which NumPy does not have. Write {name}.to(torch.{supported})"
            ) from None
        raise ArrayError(
            f"{name} is a {type(tensor).__name__} without memory of its own (traced, vmapped or of an unknown dtype: "
            f"{error}). Write the call outside the transform, with plain tensors"
        ) from None
    return array


@cache
def _names() -> Any:
    """Return the module of PyTorch's undocumented names, which imports PyTorch."""
    return import_module("tconv._arrays.torch_names")


def _is_traced(tensor: Any) -> bool:
    """Return True if a tracer, a dispatch mode or forward-mode differentiation would lose track of the result."""
    names = _names()
    return bool(names.is_dual(tensor) or names.is_tracing() or names.inside_dispatch_mode())


def _needs_adapter(tensor: Any) -> bool:
    """Return True if a gradient, a transform or a tracer must follow the operations on a tensor."""
    torch = sys.modules["torch"]
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    return bool(_names().inside_transform()) or _is_traced(tensor)


def _target(tensor: Any, name: str) -> Array:
    if tensor.is_conj() or tensor.is_neg():
        raise OutputError(f"{name} is a conjugated or negated view, without memory of its own. Write {name}.clone()")
    array = _take(tensor, name)
    # autograd is told of the write, so that a backward pass that needs the old values raises instead of using the new
    sys.modules["torch"].autograd.graph.increment_version(tensor)
    return array


def _give(array: Array) -> Any:
    torch = sys.modules["torch"]
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


LIBRARY = Library(
    lambda: loaded_kinds("torch", "Tensor"),
    _take,
    _give,
    _target,
    "torch",
    "{name}.to({dtype})",
    "torch.as_tensor({name})",
    "{name}.permute{axes}",
    "tconv.torch.dialect_calls:run",
    _needs_adapter,
)
