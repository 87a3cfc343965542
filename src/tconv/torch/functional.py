"""`tconv.torch.conv_transpose`, and the choice of how a call runs.

A call runs directly on the kernel, through PyTorch's dispatcher, or on PyTorch's operator. The dispatcher is used
when a mode, a transform or the profiler has to see the call.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import Any

import torch
from torch.nn.parameter import Parameter

from tconv._arrays import torch_names
from tconv._arrays.torch_names import has_forward_level, inside_transform, is_dual, is_tracing, must_be_seen, only_vmap
from tconv.torch.custom_op import OPERATOR, Differentiable, pytorch_conv_transpose
from tconv.torch.element_types import NUMPY, call_dtype, reason_against, title
from tconv.torch.kernel_call import Arguments, Call, against_training, cached_call, is_plain

_PLAIN_TYPES = frozenset((torch.Tensor, Parameter, torch.nn.Buffer, type(None)))


def conv_transpose(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv_transpose1d`, `2d` or `3d`, by the weight's axes, on tconv's kernel where that pays.

    >>> import torch, tconv.torch
    >>> x, w = torch.randn(1, 64, 8, 8), torch.randn(64, 32, 4, 4, requires_grad=True)
    >>> y = tconv.torch.conv_transpose(x, w, stride=2, padding=1)
    >>> y.shape
    torch.Size([1, 32, 16, 16])
    >>> y.sum().backward()                                  # stride 2: its gradients are PyTorch's

    input [N, C_in, *spatial] or [C_in, *spatial], weight [C_in, C_out/groups, *kernel], bias [C_out]; any device and
    dtype that PyTorch takes. float32, float64, float16 and bfloat16 on the CPU run on tconv's kernel, everything else
    on PyTorch's operator; `tconv.torch.plan(layer, x)` lists the reasons. Autocast, the order of the arguments, the
    errors and the memory format of the output are PyTorch's (in 3-D the output is channels last whenever input or
    weight is, and in 1-D never; PyTorch's is not always).

    Threads: at most `torch.get_num_threads()`, and at most `tconv.get_num_threads()`. The result is the same bits on
    any number of them.
    """
    ndim = weight.dim() - 2 if isinstance(weight, torch.Tensor) else 0
    arguments: Arguments | None = None
    with suppress(TypeError):
        axes = [_per_axis(value, ndim) for value in (stride, padding, output_padding, dilation)]
        count = groups if type(groups) is int else _integer(groups)
        arguments = Arguments(axes[0], axes[1], axes[2], axes[3], count)
    known = arguments is not None and 1 <= ndim <= 3 and isinstance(input, torch.Tensor)
    if arguments is None or not known or any(arguments.cut):  # PyTorch raises the error
        call = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[min(max(ndim, 1), 3) - 1]
        output: torch.Tensor = call(input, weight, bias, stride, padding, output_padding, groups, dilation)
        return output
    output = apply(input, weight, bias, arguments)
    return output


def _per_axis(value: Any, ndim: int) -> tuple[int, ...]:
    """Return one integer per axis; integers of NumPy and of tensors are taken, too. Raises TypeError for others."""
    if type(value) is int:
        return (value,) * ndim
    if not isinstance(value, (tuple, list)):
        return (_integer(value),) * ndim
    integers = tuple(one if type(one) is int else _integer(one) for one in value)
    return integers * ndim if len(integers) == 1 else integers


def _integer(value: Any) -> int:
    """Return an integer of any library. Raises TypeError for others, and for bool, which equals 1 as a cache key."""
    if isinstance(value, bool):
        raise TypeError(f"{value} is not an integer")
    return operator.index(value)


def apply(input: Any, weight: Any, bias: Any, arguments: Arguments) -> Any:
    """Run a call by the route that fits the present modes, transforms and gradients."""
    if torch.compiler.is_compiling():
        route: Any = OPERATOR if _is_kept_in_graphs(input, weight) else ""
    else:
        route = select_route(input, weight, bias)
    if route is not Call and (type(route) is str or is_trained(input, weight, arguments)):
        return pytorch_conv_transpose(input, weight, bias, arguments)
    axes = input.dim() - len(arguments.stride)
    if not 1 <= axes <= 2:  # PyTorch raises the error
        return pytorch_conv_transpose(input, weight, bias, arguments)
    batch = input if axes == 2 else input.unsqueeze(0)
    if route is OPERATOR:
        output = OPERATOR(batch, weight, bias, *arguments)
    else:
        if torch.is_autocast_enabled("cpu"):
            batch = batch.to(call_dtype(input, weight, bias))
        call = cached_call(batch, weight, bias, arguments)
        if call.reasons:
            output = None
        elif route is Differentiable:
            # gradients flow back through the casts, which do nothing outside of autocast
            own_bias = bias if bias is None else bias.to(batch.dtype)
            output = Differentiable.apply(batch, weight.to(batch.dtype), own_bias, *arguments)
        else:
            output = call(batch, weight, bias)
        if output is None:
            return pytorch_conv_transpose(input, weight, bias, arguments)
    return output if axes == 2 else output.squeeze(0)


def _is_kept_in_graphs(input: Any, weight: Any) -> bool:
    """Return True if a compiled graph or vmap gets tconv's operator: not if exported, on other devices and dtypes."""
    plain = input.device.type == "cpu" and call_dtype(input, weight, None) in NUMPY
    return plain and not torch.compiler.is_exporting()


def is_trained(input: Any, weight: Any, arguments: Arguments) -> bool:
    """Return True if the weight may change in every step, and x is too small to pay for packing it each time."""
    if not (weight.requires_grad and torch.is_grad_enabled()):
        return False
    batch = input.shape if input.dim() == len(arguments.stride) + 2 else (1, *input.shape)
    # a compiler cannot look at the chip
    dtype = None if torch.compiler.is_compiling() else call_dtype(input, weight, None)
    return against_training(batch, weight.shape, dtype)


def select_route(input: Any, weight: Any, bias: Any) -> Any:
    """Return how an eager call runs: `Call`, `Differentiable` or `OPERATOR`; or the reason to run PyTorch's, a str.

    PyTorch's operator runs for tensor subclasses with rules of their own, symbolic tracers and forward-mode
    derivatives. Vmap, dispatch modes and the profiler get tconv's operator. Otherwise the kernel is called directly.
    """
    if type(input) not in _PLAIN_TYPES or type(weight) not in _PLAIN_TYPES or type(bias) not in _PLAIN_TYPES:
        return next(reason for reason in map(_reason_of_type, _NAMES, (input, weight, bias)) if reason)
    if is_tracing():
        return "the call is being traced"
    if has_forward_level() or (not torch_names.FORWARD_LEVEL_KNOWN and any(map(is_dual, (input, weight, bias)))):
        return "forward-mode derivatives are computed by PyTorch"
    if inside_transform():
        # under autocast PyTorch's vmap leaves convolutions in their dtype
        if only_vmap() and not torch.is_autocast_enabled("cpu") and _is_kept_in_graphs(input, weight):
            return OPERATOR
        return "a transform of torch.func needs PyTorch's operator"
    if not (is_plain(input) and is_plain(weight) and (bias is None or is_plain(bias))):
        return next(reason for reason in map(_reason_of_memory, _NAMES, (input, weight, bias)) if reason)
    dtype = input.dtype
    mixed = weight.dtype is not dtype or (bias is not None and bias.dtype is not dtype)
    if (mixed or torch.is_autocast_enabled("cpu")) and (dtype := call_dtype(input, weight, bias)) not in NUMPY:
        return _reason_of_dtypes(dtype, input, weight, bias)
    if must_be_seen():
        return OPERATOR
    if torch.is_grad_enabled() and (
        input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return Differentiable
    return Call


_NAMES = ("x", "the weight", "the bias")


def _reason_of_type(name: str, tensor: Any) -> str:
    kind = type(tensor)
    return "" if kind in _PLAIN_TYPES else f"{name} is a {kind.__qualname__}, a subclass with rules of its own"


def _reason_of_memory(name: str, tensor: Any) -> str:
    if tensor is None or is_plain(tensor):
        return ""
    if tensor.device.type != "cpu":
        return f"{name} is on {tensor.device}; the kernel runs on the CPU"
    if reason := reason_against(name, tensor.dtype):
        return reason
    return f"{name} is not plain memory (it is sparse, negated, wrapped by a transform or not aligned)"


def _reason_of_dtypes(dtype: Any, *tensors: Any) -> str:
    if dtype is not None:
        return reason_against("with autocast x", dtype)
    named = zip(_NAMES, tensors, strict=True)
    kinds = [f"{name} is {title(tensor.dtype)}" for name, tensor in named if tensor is not None]
    return f"the dtypes are mixed, which PyTorch mostly refuses: {', '.join(kinds)}"
