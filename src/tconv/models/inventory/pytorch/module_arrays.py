"""Arrays of PyTorch's tensors in memory, and the weights of modules, computed where a parametrization computes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.inventory.model_layer import Quantization, StoredArray
from tconv.models.inventory.pytorch.tensors import plain_type


def array_of(torch: Any, tensor: Any, origin: str = "constant") -> StoredArray:
    """Return the record of a tensor in memory."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    quantization = _quantization(torch, tensor) if tensor.is_quantized else None
    return StoredArray(
        tuple(int(size) for size in tensor.shape),
        "float32" if quantization is not None else dtype,
        lambda: numbers(torch, tensor),
        origin,
        int(tensor.numel() * tensor.element_size()),
        quantization,
        plain_type(dtype) if quantization is not None else "",
    )


def numbers(torch: Any, tensor: Any) -> Array:
    """Return the numbers of a tensor; bfloat16 and float8 as float32, quantized ones as what they stand for."""
    with torch.no_grad():
        values = tensor.detach().cpu()
        values = values.dequantize() if values.is_quantized else values
        if values.dtype is torch.bfloat16 or "float8" in str(values.dtype):
            values = values.float()
        return np.array(values.resolve_conj().resolve_neg().numpy())


def _quantization(torch: Any, tensor: Any) -> Quantization:
    dtype = plain_type(str(tensor.dtype).removeprefix("torch."))
    if tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        return Quantization(dtype, int(tensor.q_per_channel_axis()), scales.float().numpy(), zeros.numpy())
    return Quantization(dtype, None, np.array([tensor.q_scale()], np.float32), np.array([tensor.q_zero_point()]))


def parameter_of(torch: Any, module: Any, name: str) -> StoredArray | str | None:
    """Return the weight or bias of a module; None for none, or a sentence for one that cannot be read."""
    hooks = [hook for hook in module._forward_pre_hooks.values() if getattr(hook, "name", None) == name]
    for hook in hooks:
        kind = type(hook).__name__
        if kind in ("WeightNorm", "SpectralNorm"):
            extra = {} if kind == "WeightNorm" else {"do_power_iteration": False}
            norm = "weight norm" if kind == "WeightNorm" else "spectral norm"
            with torch.no_grad():
                return array_of(torch, hook.compute_weight(module, **extra), f"{norm} (torch.nn.utils)")
    parametrized = getattr(module, "parametrizations", None)
    if parametrized is not None and name in parametrized:
        kinds = [type(each).__name__ for each in parametrized[name]]
        with torch.no_grad():
            return array_of(torch, getattr(module, name), f"{_norm(kinds)} ({', '.join(kinds)})")
    found = getattr(module, name, None)
    found = found() if callable(found) and not isinstance(found, (torch.Tensor, torch.nn.Module)) else found
    if not isinstance(found, torch.Tensor):  # an LSTM's `bias` is True
        return None
    if isinstance(found, torch.nn.parameter.UninitializedTensorMixin):
        return f"Its {name} does not exist before the first call of the lazy module."
    return array_of(torch, found)


def _norm(kinds: list[str]) -> str:
    names = {"_WeightNorm": "weight norm", "_SpectralNorm": "spectral norm"}
    return next((names[kind] for kind in kinds if kind in names), "parametrization")
