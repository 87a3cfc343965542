"""Gradients of convolutions and transposed convolutions: on tconv's kernel where that is faster, else PyTorch's.

A convolution with weight w [A, B/groups, *kernel] reads x [N, B, *spatial] and returns [N, A, *spatial]; its transpose
goes the other way with the same weight and arguments. So the gradient by x of a convolution is a transposed one, and
that of a transposed convolution with stride 1 is another with `swapped` weight.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch

from tconv._arrays.torch_names import must_be_seen, suggest_memory_format
from tconv.geometry import Geometry
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd import weight_gradient
from tconv.torch.element_types import NUMPY
from tconv.torch.kernel_call import LAST, Arguments, cached_call, is_plain
from tconv.torch.openmp_threads import pytorch_threads
from tconv.torch.training_choice import choose


class BackwardCall(NamedTuple):
    """Arguments of the forward pass of a call, and the gradients that are asked for."""

    arguments: Arguments
    transposed: bool
    bias_sizes: list[int] | None
    wanted: tuple[bool, ...]
    """by x, by the weight, by the bias"""


def compute_gradients(grad: Any, x: Any, weight: Any, given: BackwardCall) -> tuple[Any, Any, Any]:
    """Return the gradients by x, weight and bias that are asked for, and None for the others.

    If they have to be differentiable, or a mode or a transform looks at them, all of them are PyTorch's.
    """
    found: list[Any] = [None, None, None]
    if _may_run(grad, x, weight):
        chosen = choose(x, weight, given.arguments, given.transposed)
        if given.wanted[0] and chosen.by_input:
            found[0] = _by_input(grad, x, weight, given)
        if given.wanted[1] and chosen.by_weight:
            found[1] = _by_weight(grad, x, weight, given)
        if given.wanted[2] and (found[1] is not None or _has_slow_bias(grad, given)):
            found[2] = grad.sum((0, *range(2, grad.dim())))
    left = [asked and one is None for asked, one in zip(given.wanted, found, strict=True)]
    if any(left):
        theirs = _pytorch(grad, x, weight, given, left)
        found = [other if one is None else one for one, other in zip(found, theirs, strict=True)]
    return found[0], found[1], found[2]


def _may_run(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Return True if the gradients are plain numbers, and nothing looks at how they are computed."""
    # with create_graph=True gradients are enabled here
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or must_be_seen():
        return False
    return is_plain(grad) and is_plain(x) and is_plain(weight) and grad.dtype is x.dtype is weight.dtype


def swapped(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the weight [B, A/groups, *kernel] with which stride 1 goes the other way, for [A, B/groups, *kernel].

    >>> swapped(torch.arange(6).reshape(2, 1, 3), 1)
    tensor([[[2, 1, 0],
             [5, 4, 3]]])
    """
    a, b, *kernel = weight.shape
    parts = weight.reshape(groups, a // groups, b, *kernel).transpose(1, 2)
    turned: torch.Tensor = parts.reshape(groups * b, a // groups, *kernel).flip(tuple(range(2, weight.dim())))
    return turned.contiguous()


def swapped_arguments(arguments: Arguments, kernel: Any) -> Arguments | None:
    """Return the arguments of the transposed convolution that goes the other way; None if stride or padding forbid it.

    An output_padding of the one is a cut of the other.
    """
    if any(s != 1 for s in arguments.stride):
        return None
    padding = tuple(d * (k - 1) - p for k, p, d in zip(kernel, arguments.padding, arguments.dilation, strict=True))
    if min(padding) < 0:
        return None
    return arguments._replace(padding=padding, output_padding=tuple(-op for op in arguments.output_padding))


def _by_input(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, given: BackwardCall) -> torch.Tensor | None:
    """Return the gradient by x on the kernel; None if it cannot compute it."""
    arguments, w = given.arguments, weight
    if given.transposed:
        turned = swapped_arguments(arguments, weight.shape[2:])
        w = swapped(weight, arguments.groups)
    else:
        turned = arguments._replace(output_padding=_remainders(x.shape[2:], weight.shape[2:], arguments))
    if turned is None:
        return None
    call = cached_call(grad, w, None, turned)
    return None if call.reasons else call(grad, w, None, True)


def _by_weight(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, given: BackwardCall) -> torch.Tensor | None:
    """Return the gradient by the weight on the kernel; None if it cannot compute it."""
    a, b = (x, grad) if given.transposed else (grad, x)
    call = _weight_call(a.shape, b.shape, a.stride(), b.stride(), x.dtype, weight.shape[2:], given.arguments)
    if call is None:
        return None
    threads = min(torch.get_num_threads(), get_num_threads())
    openmp = pytorch_threads(torch.get_num_threads()) if threads > 1 else None
    return torch.from_numpy(call(a.data_ptr(), b.data_ptr(), threads, openmp)).to(weight.dtype)


@lru_cache(maxsize=64)  # a table of some kilobytes in each, or up to a megabyte
def _weight_call(
    a_shape: Any, b_shape: Any, a_strides: Any, b_strides: Any, dtype: Any, kernel: Any, arguments: Arguments
) -> Any:
    """Return the call of the kernel for tensors of these shapes and strides, or None if it cannot run."""
    crop = [(padding, padding) for padding in arguments.padding]  # where b ends does not matter for its offsets
    g = Geometry(tuple(kernel), arguments.stride, crop, arguments.dilation, arguments.groups)
    if weight_gradient.reasons_against(g, a_shape, b_shape, a_strides, b_strides, NUMPY[dtype]):
        return None
    from tconv.kernels.simd.weight_gradient.call import WeightGradientCall  # this imports LLVM

    return WeightGradientCall(g, tuple(a_shape), tuple(b_shape), a_strides, b_strides, NUMPY[dtype])


def _has_slow_bias(grad: torch.Tensor, given: BackwardCall) -> bool:
    """Return True where PyTorch takes as long for the bias as for the weight: transposed, with channels last."""
    return given.transposed and suggest_memory_format(grad) in LAST.values()


def _remainders(sizes: Any, kernel: Any, arguments: Arguments) -> tuple[int, ...]:
    """Return by how many rows a convolution's input is longer than what its output's rows reach."""
    axes = zip(sizes, kernel, arguments.stride, arguments.padding, arguments.dilation, strict=True)
    return tuple((size + 2 * p - d * (k - 1) - 1) % s for size, k, s, p, d in axes)


def _pytorch(grad: Any, x: Any, weight: Any, given: BackwardCall, wanted: list[bool]) -> Any:
    stride, padding, output_padding, dilation, groups = given.arguments.uncut
    if any(given.arguments.cut):  # what was cut has no gradient
        grad = torch.nn.functional.pad(grad, [side for count in reversed(given.arguments.cut) for side in (0, count)])
    arguments = (given.bias_sizes, stride, padding, dilation, given.transposed, output_padding, groups)
    return torch.ops.aten.convolution_backward(grad, x, weight, *arguments, wanted)
