"""`tconv.torch.plan`: the method that a layer will run on an input, and the reasons."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tconv._arrays.torch_names import notes
from tconv.errors import ArgumentError, TconvError
from tconv.kernels.problem import Problem
from tconv.operator.method_choice import explain_method
from tconv.torch.conv_modules import ConvolutionDropIn
from tconv.torch.element_types import NUMPY, call_dtype, title
from tconv.torch.functional import is_trained, select_route
from tconv.torch.kernel_call import (
    LAST,
    Arguments,
    against_bias,
    format_of,
    is_plain,
    method_of,
    problem_of,
    reasons_against,
    strides_of,
)


class LayerPlan(NamedTuple):
    """Result of `plan`: `method` is tconv's "simd" or "winograd", or "pytorch"; `reasons` are those against tconv's.

    >>> import torch, tconv.torch
    >>> layer = tconv.torch.ConvTranspose2d(64, 32, 2, stride=2).requires_grad_(False)
    >>> found = tconv.torch.plan(layer, torch.randn(1, 64, 28, 28))
    >>> found.method, found.reasons
    ('simd', ())
    """

    method: str
    reasons: tuple[str, ...]
    problem: Problem | None
    """None if PyTorch refuses the call, or has rules of its own for it."""
    notes: tuple[str, ...] = ()
    """Undocumented names that this release of PyTorch lacks, with what follows from it."""
    dtype: str = ""
    """Dtype in which the call runs; empty if PyTorch refuses it."""
    cast: str = ""
    """Dtypes of x and the weight that autocast casts to it; empty if it casts nothing."""
    layout: str = ""
    """"channels last" if the output has that memory format; empty if it is contiguous."""
    strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """Strides of x and the output, in elements, where tconv's kernel runs."""

    def __str__(self) -> str:
        if self.problem is None or self.method == "pytorch":
            computed = f" in {self.dtype}{', ' * bool(self.layout)}{self.layout}" if self.dtype else ""
            text = f"method    pytorch: PyTorch's operator{computed}\n          not simd: {'; '.join(self.reasons)}"
        else:
            # the reasons of "auto" say more than that a method was requested
            chosen = explain_method(self.problem, "auto", self.strides)
            if chosen.method != self.method:
                chosen = explain_method(self.problem, self.method, self.strides)
            text = str(chosen)
        casts = [f"autocast  {self.cast} is cast to {self.dtype}"] if self.cast else []
        return "\n".join([text, *casts, *(f"note      {note}" for note in self.notes)])


def plan(layer: torch.nn.Module, input: torch.Tensor) -> LayerPlan:
    """Return the method that `layer(input)` will run, and the reasons, without running it.

    >>> import torch, tconv.torch
    >>> layer = tconv.torch.ConvTranspose2d(64, 32, 2, stride=2).requires_grad_(False)
    >>> tconv.torch.plan(layer, torch.randn(1, 64, 28, 28)).method
    'simd'
    >>> print(tconv.torch.plan(layer.to(torch.complex64), torch.randn(1, 64, 28, 28).cfloat()))
    method    pytorch: PyTorch's operator in complex64
              not simd: x is complex64; the kernel computes float32, float64, float16 and bfloat16

    A weight that needs gradients, outside of torch.no_grad(), is expected to change in every step.

    `layer` is a transposed convolution, tconv's or PyTorch's (then the plan is that of tconv's layer). A weight with
    inf or NaN goes to PyTorch, too. Raises ArgumentError for other layers.
    """
    if isinstance(layer, ConvolutionDropIn):
        raise ArgumentError(
            f"layer is tconv's {type(layer).__qualname__}, an ordinary convolution, for which there is no plan: in a "
            "training step a rule of shapes, dtype and memory format chooses what of it runs on the kernel, and all "
            "else is PyTorch's (docs/torch.md, Training). Write tconv.torch.plan(model.up, x) for a transposed "
            "convolution"
        )
    if not isinstance(layer, (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)):
        raise ArgumentError(
            f"layer is a {type(layer).__qualname__}; a transposed convolution is needed. Write "
            "tconv.torch.plan(model.up, x), or print what tconv.torch.accelerate(model, x) returns for all of them"
        )
    stride, padding, extra, dilation = (
        tuple(value) for value in (layer.stride, layer.padding, layer.output_padding, layer.dilation)
    )
    arguments, weight, bias = Arguments(stride, padding, extra, dilation, layer.groups), layer.weight, layer.bias
    route = select_route(input, weight, bias)
    reasons = [route] if isinstance(route, str) else []
    dtype = call_dtype(input, weight, bias)
    given = dict.fromkeys(title(tensor.dtype) for tensor in (input, weight) if tensor.dtype is not dtype)
    strided = input.layout is torch.strided and weight.layout is torch.strided
    layout = "channels last" if strided and format_of(input, weight) in LAST.values() else ""
    described = notes(), "" if dtype is None else title(dtype), "" if dtype is None else " and ".join(given), layout
    x_shape = tuple(input.shape) if input.dim() == len(stride) + 2 else (1, *input.shape)
    if len(x_shape) != len(stride) + 2:
        reasons.append(f"x has {input.dim()} axes")
    if len(x_shape) != len(stride) + 2 or dtype not in NUMPY:
        return LayerPlan("pytorch", tuple(reasons), None, *described)
    try:
        problem = problem_of(x_shape, tuple(weight.shape), bias is not None, arguments, dtype)
    except TconvError as error:
        return LayerPlan("pytorch", (*reasons, str(error)), None, *described)
    if not reasons and is_plain(weight) and not bool(torch.isfinite(weight).all()):
        reasons.append("the weight contains inf or NaN, which the kernel would multiply with padded zeros")
    reasons += reasons_against(problem)
    if bias is not None and (reason := against_bias(tuple(bias.shape), problem)):
        reasons.append(reason)
    if is_trained(input, weight, arguments):
        reasons.append("the weight needs gradients, and packing it in every step costs more than so few positions save")
    trained = weight.requires_grad and torch.is_grad_enabled()
    if reasons:
        return LayerPlan("pytorch", tuple(reasons), problem, *described)
    batch = input if input.dim() == len(x_shape) else input[None]
    return LayerPlan(method_of(problem, trained), (), problem, *described, strides_of(batch, weight, problem))
