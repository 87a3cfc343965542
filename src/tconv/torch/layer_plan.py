"""`plan`: what a layer will run on an input, and why."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tconv.errors import ArgumentError, TconvError
from tconv.kernels.problem import Problem
from tconv.operator.method_choice import explain_method
from tconv.torch.functional import is_trained, way
from tconv.torch.kernel_call import Words, against_bias, is_plain, method_of, problem_of, reasons_against


class LayerPlan(NamedTuple):
    """What runs: `method` is "simd" or "winograd", tconv's, or "pytorch"; `reasons` says why it is not tconv's."""

    method: str
    reasons: tuple[str, ...]
    problem: Problem | None
    """None where the call is one that PyTorch refuses, or answers in its own way."""

    def __str__(self) -> str:
        if self.problem is None or self.method == "pytorch":
            return f"method    pytorch: PyTorch's operator\n          not simd: {'; '.join(self.reasons)}"
        return str(explain_method(self.problem, self.method))


def plan(layer: torch.nn.Module, input: torch.Tensor) -> LayerPlan:
    """What `layer(input)` will run, and why, without running it.

    >>> import torch, tconv.torch
    >>> layer = tconv.torch.ConvTranspose2d(64, 32, 2, stride=2).requires_grad_(False)
    >>> tconv.torch.plan(layer, torch.randn(1, 64, 28, 28)).method
    'simd'
    >>> print(tconv.torch.plan(layer.double(), torch.randn(1, 64, 28, 28).double()))
    method    pytorch: PyTorch's operator
              not simd: x is float64; the kernel computes float32

    A weight that needs gradients, outside of torch.no_grad(), is taken to change in every step.

    `layer` is a transposed convolution, tconv's or PyTorch's (then it says what tconv's would run). A weight with inf
    or NaN goes to PyTorch, too. Raises ArgumentError for other layers.
    """
    if not isinstance(layer, (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)):
        raise ArgumentError(
            f"layer is a {type(layer).__qualname__}; a transposed convolution is needed. Write "
            "tconv.torch.plan(model.up, x), or print what tconv.torch.accelerate(model, x) returns for all of them"
        )
    stride, padding, extra, dilation = (
        tuple(value) for value in (layer.stride, layer.padding, layer.output_padding, layer.dilation)
    )
    words, weight, bias = Words(stride, padding, extra, dilation, layer.groups), layer.weight, layer.bias
    how = way(input, weight, bias)
    reasons = [how] if isinstance(how, str) else []
    x_shape = tuple(input.shape) if input.dim() == len(stride) + 2 else (1, *input.shape)
    if len(x_shape) != len(stride) + 2:
        reasons.append(f"x has {input.dim()} axes")
        return LayerPlan("pytorch", tuple(reasons), None)
    try:
        problem = problem_of(x_shape, tuple(weight.shape), bias is not None, words)
    except TconvError as error:
        return LayerPlan("pytorch", (*reasons, str(error)), None)
    if not reasons and is_plain(weight) and not bool(torch.isfinite(weight).all()):
        reasons.append("the weight holds inf or NaN, which the kernel would multiply with padded zeros")
    reasons += reasons_against(problem)
    if bias is not None and (wrong := against_bias(tuple(bias.shape), problem)):
        reasons.append(wrong)
    if is_trained(input, weight, words):
        reasons.append("the weight needs gradients, and packing it in every step costs more than so few positions save")
    trained = weight.requires_grad and torch.is_grad_enabled()
    return LayerPlan("pytorch" if reasons else method_of(problem, trained), tuple(reasons), problem)
