"""The operator `torch.ops.tconv.conv_transpose`, which PyTorch's tracers, transforms and counters know.

One rule for 1 to 3 spatial axes: x [N, C_in, *spatial], weight [C_in, C_out/groups, *kernel], bias [C_out] or None, and
one integer per axis for stride, padding, output_padding and dilation. The gradients of the operator, of any order, are
PyTorch's own convolutions, and so are calls on other devices and dtypes. `Differentiable` is the same without PyTorch's
dispatcher, except that `gradients` may run its gradients of first order on the kernel.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tconv._arrays.torch_names import asked_gradients, cast, count_flops
from tconv.torch.gradients import BackwardCall, compute_gradients
from tconv.torch.kernel_call import Arguments, format_of, run

torch.library.define(
    "tconv::conv_transpose",
    "(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] output_padding, "
    "SymInt[] dilation, SymInt groups) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
OPERATOR = torch.ops.tconv.conv_transpose.default


def pytorch_conv_transpose(input: Any, weight: Any, bias: Any, arguments: Arguments) -> Any:
    """Run PyTorch's operator, on any tensors that it takes, and cut what its arguments cannot."""
    stride, padding, output_padding, dilation, groups = arguments.uncut
    call = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[len(stride) - 1]
    output = call(input, weight, bias, stride, padding, output_padding, groups, dilation)
    for axis, count in enumerate(arguments.cut, -len(stride)):
        if count:
            output = output.narrow(axis, 0, output.shape[axis] - count)
    return output


def compute(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
    trained: bool = False,
) -> Any:
    """Run batched tensors without gradients on tconv's kernel, or on PyTorch's operator with the same output format."""
    arguments = Arguments(tuple(stride), tuple(padding), tuple(output_padding), tuple(dilation), groups)
    output = run(input, weight, bias, arguments, trained)
    if output is None:
        output = pytorch_conv_transpose(input, weight, bias, arguments)
        output = output.contiguous(memory_format=format_of(input, weight))  # in 3-D, PyTorch may change the format
    return output


torch.library.impl("tconv::conv_transpose", "default", compute)


@torch.library.register_fake("tconv::conv_transpose")
def _fake(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> Any:
    torch._check(input.dim() == weight.dim() == len(stride) + 2, lambda: f"x {input.shape}, weight {weight.shape}")
    torch._check(input.shape[1] == weight.shape[0], lambda: f"weight {weight.shape} does not take x {input.shape}")
    torch._check(weight.shape[0] % groups == 0, lambda: f"{groups} groups do not divide the weight {weight.shape}")
    if bias is not None:
        torch._check(
            bias.dim() == 1 and bias.shape[0] == weight.shape[1] * groups,
            lambda: f"bias {bias.shape} is not one number for each of {weight.shape[1] * groups} output channels",
        )
    torch._check(input.dtype == weight.dtype, lambda: f"x is {input.dtype}, the weight {weight.dtype}")
    axes = zip(input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation, strict=True)
    sizes = [(n - 1) * s - 2 * p + d * (k - 1) + op + 1 for n, k, s, p, op, d in axes]
    shape, memory_format = (input.shape[0], weight.shape[1] * groups, *sizes), format_of(input, weight)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format)


# -- gradients ---------------------------------------------------------------------------------------------------------


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    input, weight, bias, *ctx.arguments = inputs
    ctx.bias_sizes = None if bias is None else list(bias.shape)
    ctx.save_for_backward(input, weight)


def _backward(ctx: Any, grad: Any) -> Any:
    stride, padding, output_padding, dilation = map(tuple, ctx.arguments[:4])
    given = Arguments(stride, padding, output_padding, dilation, ctx.arguments[4])
    if any(given.cut):  # what was cut has no gradient
        grad = torch.nn.functional.pad(grad, [side for count in reversed(given.cut) for side in (0, count)])
    uncut = given.uncut
    arguments = (ctx.bias_sizes, stride, padding, dilation, True, uncut.output_padding, given.groups)
    mask = list(ctx.needs_input_grad[:3])
    gradients = torch.ops.aten.convolution_backward(grad, *ctx.saved_tensors, *arguments, mask)
    return (*gradients, None, None, None, None, None)


torch.library.register_autograd("tconv::conv_transpose", _backward, setup_context=_setup)


class Differentiable(torch.autograd.Function):
    """The operator with gradients, without PyTorch's dispatcher: `apply(input, weight, bias, *arguments)`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """Run the kernel, and save the tensors that the gradients need."""
        _setup(ctx, inputs, None)
        input, weight, bias, *arguments = inputs
        stride, padding, output_padding, dilation, groups = arguments
        trained = ctx.needs_input_grad[1]
        return compute(input, weight, bias, stride, padding, output_padding, dilation, groups, trained)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Return the gradients, on the kernel where that is faster."""
        stride, padding, output_padding, dilation, groups = ctx.arguments
        arguments = Arguments(tuple(stride), tuple(padding), tuple(output_padding), tuple(dilation), groups)
        given = BackwardCall(arguments, True, ctx.bias_sizes, asked_gradients(ctx, ctx.needs_input_grad[:3]))
        x, weight = ctx.saved_tensors
        return (*compute_gradients(grad, x, weight, given), None, None, None, None, None)


# -- transforms, autocast, counting ------------------------------------------------------------------------------------


def _vmap(info: Any, in_dims: Any, input: Any, weight: Any, bias: Any, *arguments: Any) -> Any:
    """Run a batch of inputs as one larger batch, and a batch of weights as groups side by side."""
    x_dim, w_dim, bias_dim = in_dims[:3]
    count = info.batch_size
    if bias_dim is not None:  # one bias for each: added afterwards
        y, at = _vmap(info, (x_dim, w_dim, None), input, weight, None, *arguments)
        shift = bias.movedim(bias_dim, 0)
        shift = shift.reshape(count, 1, shift.shape[1], *[1] * len(arguments[0]))
        return y.movedim(at, 0) + shift, 0
    if x_dim is None and w_dim is None:
        return OPERATOR(input, weight, bias, *arguments).unsqueeze(0), 0
    if w_dim is None:
        x = input.movedim(x_dim, 0)
        y = OPERATOR(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), weight, bias, *arguments)
        return y.reshape(count, x.shape[1], *y.shape[1:]), 0
    *axes, groups = arguments
    x = input.unsqueeze(1).expand(-1, count, *input.shape[1:]) if x_dim is None else input.movedim(x_dim, 1)
    w = weight.movedim(w_dim, 0)
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:3]), *x.shape[3:])
    tiled = None if bias is None else bias.repeat(count)
    y = OPERATOR(flat, w.reshape(math.prod(w.shape[:2]), *w.shape[2:]), tiled, *axes, groups * count)
    return y.reshape(y.shape[0], count, y.shape[1] // count, *y.shape[2:]), 1


torch.library.register_vmap("tconv::conv_transpose", _vmap)


def _autocast(device: str) -> Any:
    """Return an implementation with PyTorch's rule for its own convolutions: floats below float64 are cast."""

    def run_cast(*arguments: Any) -> Any:
        dtype = torch.get_autocast_dtype(device)
        with torch.amp.autocast(device, enabled=False):
            return OPERATOR(*cast(arguments, device, dtype))

    return run_cast


_IMPLEMENTED = torch.library.Library("tconv", "IMPL")
for _device, _key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
    _IMPLEMENTED.impl("conv_transpose", _autocast(_device), _key)


# what PyTorch counts for its own operator: 2 x all products, including those that a crop drops
count_flops(torch.ops.tconv.conv_transpose)
