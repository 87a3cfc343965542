"""Convolutions on tconv's kernel where that is faster: with stride 1 each is a transposed convolution, too.

`apply` chooses for a call, and `DifferentiableConv` has the gradients. Whatever is not plain numbers of one dtype, and
every call that gains nothing, is PyTorch's.
"""

from __future__ import annotations

from typing import Any

import torch

from tconv._arrays.torch_names import asked_gradients, is_tracing
from tconv.torch.custom_op import Differentiable
from tconv.torch.functional import select_route
from tconv.torch.gradients import BackwardCall, compute_gradients, swapped, swapped_arguments
from tconv.torch.kernel_call import Arguments, Call, cached_call
from tconv.torch.training_choice import NOTHING, choose


def pytorch_conv(input: Any, weight: Any, bias: Any, arguments: Arguments) -> Any:
    """Run PyTorch's convolution, on any tensors that it takes."""
    stride, padding, _, dilation, groups = arguments
    call = (torch.conv1d, torch.conv2d, torch.conv3d)[len(stride) - 1]
    return call(input, weight, bias, stride, padding, dilation, groups)


def apply(input: Any, weight: Any, bias: Any, arguments: Arguments) -> Any:
    """Run a convolution by the route that fits the present modes, transforms and gradients."""
    # first what takes no time: most calls of a network end here
    if torch.compiler.is_compiling() or is_tracing() or type(input) is not torch.Tensor:
        return pytorch_conv(input, weight, bias, arguments)
    if not _fits(input, weight, arguments):
        return pytorch_conv(input, weight, bias, arguments)
    chosen = choose(input, weight, arguments, transposed=False)
    if chosen is NOTHING or torch.is_autocast_enabled("cpu"):
        return pytorch_conv(input, weight, bias, arguments)
    route = select_route(input, weight, bias)
    if route is Differentiable:
        return DifferentiableConv.apply(input, weight, bias, arguments)
    if route is Call and chosen.forward:
        return _forward(input, weight, bias, arguments, False)
    return pytorch_conv(input, weight, bias, arguments)


def _fits(input: torch.Tensor, weight: torch.Tensor, arguments: Arguments) -> bool:
    """Return True for a batch that the weight takes; PyTorch knows what to do with anything else."""
    axes = len(arguments.stride) + 2
    return bool(input.dim() == weight.dim() == axes and input.shape[1] == weight.shape[1] * arguments.groups)


def _forward(input: Any, weight: Any, bias: Any, arguments: Arguments, trained: bool) -> Any:
    """Run the forward pass on the kernel, or PyTorch's if the kernel cannot."""
    turned = swapped_arguments(arguments, weight.shape[2:])
    if turned is not None and weight.shape[0] % arguments.groups == 0:
        w = swapped(weight, arguments.groups)
        call = cached_call(input, w, bias, turned)
        output = None if call.reasons else call(input, w, bias, trained)
        if output is not None:
            return output
    return pytorch_conv(input, weight, bias, arguments)


class DifferentiableConv(torch.autograd.Function):
    """A convolution with gradients: `apply(input, weight, bias, arguments)`."""

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, bias: Any, arguments: Arguments) -> Any:
        """Run the forward pass, and save the tensors that the gradients need."""
        ctx.arguments, ctx.bias_sizes = arguments, None if bias is None else list(bias.shape)
        ctx.save_for_backward(input, weight)
        if choose(input, weight, arguments, transposed=False).forward:
            return _forward(input, weight, bias, arguments, ctx.needs_input_grad[1])
        return pytorch_conv(input, weight, bias, arguments)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Return the gradients, each on the kernel or PyTorch's."""
        given = BackwardCall(ctx.arguments, False, ctx.bias_sizes, asked_gradients(ctx, ctx.needs_input_grad[:3]))
        x, weight = ctx.saved_tensors
        return (*compute_gradients(grad, x, weight, given), None)
