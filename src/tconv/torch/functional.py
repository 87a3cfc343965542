"""`conv_transpose`: the kernel called directly, or through PyTorch's dispatcher where somebody watches."""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import Any

import torch
from torch._C._functorch import TransformType, get_interpreter_stack, maybe_current_level
from torch.autograd import forward_ad
from torch.nn.parameter import Parameter

from tconv.torch.custom_op import OPERATOR, Differentiable, pytorchs
from tconv.torch.kernel_call import Call, Words, against_training, is_plain, known

_OWN = frozenset((torch.Tensor, Parameter, torch.nn.Buffer, type(None)))


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
    >>> y.sum().backward()                                  # gradients are PyTorch's own convolutions

    input [N, C_in, *spatial] or [C_in, *spatial], weight [C_in, C_out/groups, *kernel], bias [C_out]; any device and
    dtype that PyTorch takes. float32 on the CPU runs on tconv's kernel, everything else on PyTorch's operator, and
    `tconv.torch.plan(layer, x)` says why. The order of the arguments, the errors and the output's memory format are
    PyTorch's (in 3-D the output is channels last whenever input or weight is, which PyTorch does not always do).

    Threads: at most `torch.get_num_threads()`, and at most `tconv.get_num_threads()`. The result is the same bits on
    any number of them.
    """
    ndim = weight.dim() - 2 if isinstance(weight, torch.Tensor) else 0
    words: Words | None = None
    with suppress(TypeError):
        axes = [_each(word, ndim) for word in (stride, padding, output_padding, dilation)]
        words = Words(axes[0], axes[1], axes[2], axes[3], groups if isinstance(groups, int) else operator.index(groups))
    if words is None or not (1 <= ndim <= 3 and isinstance(input, torch.Tensor)):  # PyTorch says what is wrong
        call = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[min(max(ndim, 1), 3) - 1]
        made: torch.Tensor = call(input, weight, bias, stride, padding, output_padding, groups, dilation)
        return made
    made = apply(input, weight, bias, words)
    return made


def _each(value: Any, ndim: int) -> tuple[int, ...]:
    """One integer per axis; whole numbers of NumPy and of tensors, too. Raises TypeError for anything else."""
    if isinstance(value, int):
        return (value,) * ndim
    if not isinstance(value, (tuple, list)):
        return (operator.index(value),) * ndim
    given = tuple(one if isinstance(one, int) else operator.index(one) for one in value)
    return given * ndim if len(given) == 1 else given


def apply(input: Any, weight: Any, bias: Any, words: Words) -> Any:
    """The call by the way that suits the moment."""
    if torch.compiler.is_compiling():
        how: Any = OPERATOR if _compiled(input, weight) else ""
    else:
        how = way(input, weight, bias)
    if how is not Call and (type(how) is str or is_trained(input, weight, words)):
        return pytorchs(input, weight, bias, words)
    axes = input.dim() - len(words.stride)
    if not 1 <= axes <= 2:  # PyTorch says what is wrong
        return pytorchs(input, weight, bias, words)
    batch = input if axes == 2 else input.unsqueeze(0)
    if how is OPERATOR:
        made = OPERATOR(batch, weight, bias, *words)
    else:
        call = known(batch, weight, bias, words)
        if call.reasons:
            made = None
        elif how is Differentiable:
            made = Differentiable.apply(batch, weight, bias, *words)
        else:
            made = call(batch, weight, bias)
        if made is None:
            return pytorchs(input, weight, bias, words)
    return made if axes == 2 else made.squeeze(0)


def _compiled(input: Any, weight: Any) -> bool:
    """Whether a compiled graph shall hold tconv's operator: exported ones, and other devices and dtypes, shall not."""
    plain = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
    return plain and not torch.compiler.is_exporting() and not torch.is_autocast_enabled("cpu")


def is_trained(input: Any, weight: Any, words: Words) -> bool:
    """Whether the weight may change in every step, and is better left to PyTorch."""
    if not (weight.requires_grad and torch.is_grad_enabled()):
        return False
    batch = input.shape if input.dim() == len(words.stride) + 2 else (1, *input.shape)
    return against_training(batch, weight.shape)


def way(input: Any, weight: Any, bias: Any) -> Any:
    """What is called in eager mode: a `Call`, `Differentiable` or the `OPERATOR`; or why it is PyTorch's, a str.

    PyTorch's is called where subclasses of tensors bring their rules, symbolic tracers must see it, and forward-mode
    derivatives and autocast are known. Vmap, dispatch modes and the profiler see tconv's operator; where nobody looks,
    it is called directly.
    """
    if type(input) not in _OWN or type(weight) not in _OWN or type(bias) not in _OWN:
        return next(why for why in map(_of_its_kind, _NAMES, (input, weight, bias)) if why)
    if torch.is_autocast_enabled("cpu"):
        return "autocast computes in another dtype"
    if torch._C._get_tracing_state() is not None:
        return "the call is being traced"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives are PyTorch's"
    if maybe_current_level() is not None:
        only = all(level.key() == TransformType.Vmap for level in get_interpreter_stack())
        return OPERATOR if only and _compiled(input, weight) else "a transform of torch.func asks for PyTorch's"
    if not (is_plain(input) and is_plain(weight) and (bias is None or is_plain(bias))):
        return next(why for why in map(_of_its_memory, _NAMES, (input, weight, bias)) if why)
    if (
        torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch.autograd._profiler_enabled()
    ):
        return OPERATOR
    if torch.is_grad_enabled() and (
        input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return Differentiable
    return Call


_NAMES = ("x", "the weight", "the bias")


def _of_its_kind(name: str, given: Any) -> str:
    kind = type(given)
    return "" if kind in _OWN else f"{name} is a {kind.__qualname__}, which brings rules of its own"


def _of_its_memory(name: str, tensor: Any) -> str:
    if tensor is None or is_plain(tensor):
        return ""
    if tensor.device.type != "cpu":
        return f"{name} is on {tensor.device}; the kernel runs on the CPU"
    if tensor.dtype is not torch.float32:
        return f"{name} is {str(tensor.dtype).removeprefix('torch.')}; the kernel computes float32"
    return f"{name} is not dense memory (sparse, negated, wrapped by a transform or not aligned)"
