"""Fusion of a transposed convolution with the batch norm and activation behind it, in eval mode only.

The kernel applies them as it writes its output. A chain is fused if it was observed in a forward pass: the very tensor
that a layer returned was given to a batch norm or an activation, every time. Parameters stay where they are: a copy is
folded, and folded again whenever a byte of it changes. In two bytes PyTorch rounds the output of every module; a chain
is computed in float32 and rounded once. The layer returns a lazy tensor, which only the modules behind
it can pass on; any other reader gets what the layer alone returns. A pass with gradients, in training mode or under a
tracer folds nothing.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from tconv._arrays.torch_names import suggest_memory_format, version
from tconv.acceleration.report import display_name
from tconv.errors import ArgumentError, StaleError, TconvError
from tconv.kernels.activation import Activation, activation_of
from tconv.torch.custom_op import compute
from tconv.torch.element_types import SUMMED, call_dtype, numbers
from tconv.torch.functional import select_route
from tconv.torch.fused_forward import FusedForward
from tconv.torch.kernel_call import Arguments, Call, cached_call, fingerprint, is_plain
from tconv.torch.lazy_tensor import LazyTensor, plain_eager
from tconv.weights import folding

NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
ACTIVATIONS = (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.LeakyReLU, torch.nn.PReLU, torch.nn.Hardtanh)


def fold_batchnorm(layer: torch.nn.Module, norm: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a transposed convolution that includes the batch norm behind it, as it is in eval mode.

    >>> import torch, tconv.torch
    >>> up, norm = torch.nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2), torch.nn.BatchNorm2d(6).eval()
    >>> x = torch.randn(1, 8, 5, 5)
    >>> torch.allclose(tconv.torch.fold_batchnorm(up, norm)(x), norm(up(x)), atol=1e-5)
    True

    The scale of output channel o, gamma/sqrt(var + eps), multiplies the second axis of the weight [C_in, C_out/groups,
    *kernel] within the group of o; not the first axis, as in a convolution (`tconv.fold_batchnorm`).
    Raises ArgumentError for a norm that cannot be folded.
    """
    if reason := reason_against_norm(layer, norm):
        raise ArgumentError(
            f"the norm {reason}. Use norm.eval(), with running statistics and {layer.out_channels} features"
        )
    folded = copy.deepcopy(layer)
    weight, bias = _folded(layer.weight, layer.bias, norm, layer.groups)
    with torch.no_grad():
        folded.weight.copy_(weight)
    folded.bias = torch.nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
    return folded


def reason_against_norm(layer: Any, norm: Any) -> str | None:
    """Return the reason why a batch norm cannot be folded into a layer, or None."""
    if type(norm) not in NORMS and not isinstance(norm, _PassThrough):
        return f"is a {type(norm).__qualname__}, which has no running statistics to fold"
    if norm.running_mean is None or norm.running_var is None:
        return "has no running statistics"
    if norm.num_features != layer.out_channels:
        return f"has {norm.num_features} features, and the layer {layer.out_channels} output channels"
    return "is in training mode" if norm.training else None


def _folded(weight: Any, bias: Any, norm: Any, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of layer and norm together, on the layer's device, in its memory format."""
    tensors = [weight, bias, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    on_cpu = [None if tensor is None else tensor.detach().cpu() for tensor in tensors]
    folded, shift = folding.fold_batchnorm(*on_cpu, eps=norm.eps, groups=groups)
    memory_format = suggest_memory_format(weight)
    return folded.to(weight.device).contiguous(memory_format=memory_format), shift.to(weight.device)


class Chain:
    """The modules behind one layer: a batch norm, an activation, or both."""

    def __init__(self, norm: Any, activation: Any) -> None:
        self.norm, self.activation = norm, activation
        self.forward: FusedForward | None = None
        self.name = ""
        self.read_elsewhere = False
        """True once other code has read the layer's output: nothing is folded any more."""
        self.in_use = False
        """True once `accelerate` has checked the chain: from then on, the end of fusion is a warning."""
        self._folded: tuple[Any, torch.Tensor, torch.Tensor, int] | None = None
        """Key, weight, bias and the weight's fingerprint."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_folded": None}

    @property
    def parts(self) -> list[Any]:
        """The modules behind the layer, in order."""
        return [part for part in (self.norm, self.activation) if part is not None]

    @property
    def title(self) -> str:
        """Class names of the modules."""
        return ", ".join(_stock_of(type(part)).__qualname__ for part in self.parts)

    def run(self, layer: Any, input: Any, arguments: Arguments) -> torch.Tensor | None:
        """Compute the layer and all modules behind it; return a lazy tensor, or None if the layer must run alone."""
        forward = self.forward
        if self.read_elsewhere or forward is None or not forward.running or input.dim() != len(arguments.stride) + 2:
            return None
        weight, bias = layer.weight, layer.bias
        dtype = call_dtype(input, weight, bias)
        if dtype is None or not self._is_allowed(input, weight, bias, dtype):
            return None
        layer_key, norm_key = _layer_key(weight, bias), self._norm_key()
        folded_weight, folded_bias, weight_key = weight, bias, layer_key[0]
        if self.norm is not None:
            key = dtype, layer_key, norm_key
            try:
                folded_weight, folded_bias, weight_key = self._fold(weight, bias, layer.groups, key)
            except TconvError:  # values that cannot be folded: PyTorch turns them into NaN, module by module
                return None
        activation_key = self._activation_key(dtype)
        activation = self._activation(activation_key, layer.out_channels)
        x, rounded = input.to(dtype), self.norm is None
        call = cached_call(x, folded_weight, folded_bias, arguments, activation, activation_key, rounded)
        if call.reasons:
            return None
        compute_output = partial(call, x, folded_weight, folded_bias, known_fingerprint=weight_key)
        output = compute_output()
        if output is None:
            return None
        inputs = [input, weight] if bias is None else [input, weight, bias]
        fused = FusedCall(self, inputs, arguments, compute_output, output, layer_key, norm_key, activation_key)
        return forward.lazy(ChainTensor(fused, 0))

    def pass_through(self, module: Any, tensor: ChainTensor) -> torch.Tensor | None:
        """Return the output of a module of the chain if the layer has computed it; None if the module has to run."""
        fused = tensor.fused
        if fused.chain is not self or tensor.computed is not None or self.parts[tensor.index] is not module:
            return None
        dtype = fused.output.dtype
        if self.forward is None or not self._is_allowed(*fused.tensors, dtype):
            return None
        if module is self.norm:
            changed = self._norm_key() != fused.norm_key
        else:
            changed = self._activation_key(dtype) != fused.activation_key
        if changed or fused.returned:
            return None
        if module is not self.parts[-1]:
            return self.forward.lazy(ChainTensor(fused, tensor.index + 1))
        fused.returned = True  # a second reader gets a tensor of its own
        if getattr(module, "inplace", False):
            tensor.computed = fused.output
        return fused.output

    def stop(self) -> None:
        """Stop fusing because other code has read the layer's output: from now on, the layer runs alone."""
        if self.in_use and not self.read_elsewhere:
            warnings.warn(
                f"{display_name(self.name)}: other code than the fused {self.title} reads its output, which has to be "
                "computed again; the layer is not fused any more. To fuse the rest, call accelerate with an example "
                "that takes this branch",
                stacklevel=2,
            )
        self.read_elsewhere = True

    def _is_allowed(self, input: Any, weight: Any, bias: Any, dtype: torch.dtype) -> bool:
        """Return True if all is in eval mode, without gradients, modes and tracers, at this moment."""
        if (self.norm is not None and self.norm.training) or select_route(input, weight, bias) is not Call:
            return False
        tensors = self._norm_tensors()
        kinds = {tensor.dtype for tensor in tensors}
        slopes = self.activation.weight if isinstance(self.activation, torch.nn.PReLU) else None
        # PyTorch refuses other mixtures, and raises the error
        if not (kinds <= {dtype} or kinds == {SUMMED[dtype]}) or call_dtype(input, weight, slopes) is not dtype:
            return False
        tensors += [] if slopes is None else [slopes]
        return all(map(is_plain, tensors)) and not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))

    def _norm_tensors(self) -> list[torch.Tensor]:
        norm = self.norm
        tensors = [] if norm is None else [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [tensor for tensor in tensors if tensor is not None]

    def _norm_key(self) -> Any:
        """Key of the norm's values: eps and fingerprints."""
        return None if self.norm is None else (self.norm.eps, *map(fingerprint, self._norm_tensors()))

    def _fold(self, weight: Any, bias: Any, groups: int, key: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return private copies of weight and bias of layer and norm together, and the weight's fingerprint.

        They have the dtype of the sums, so that nothing is rounded before the output.
        """
        cached = self._folded
        if cached is None or cached[0] != key:
            dtype = key[0]
            own_bias = None if bias is None else numbers(bias.detach(), dtype)
            folded, shift = _folded(numbers(weight.detach(), dtype), own_bias, self.norm, groups)
            cached = (key, folded, shift, fingerprint(folded))
            if (dtype, _layer_key(weight, bias), self._norm_key()) == key:  # no other thread has written in between
                self._folded = cached
        return cached[1:]

    def _activation_key(self, dtype: torch.dtype) -> Any:
        """Key of the activation: its kind and values."""
        module = self.activation
        if module is None:
            return None
        if isinstance(module, torch.nn.PReLU):
            return "prelu", numbers(module.weight.detach(), dtype).double().numpy().tobytes()
        if isinstance(module, torch.nn.LeakyReLU):
            return "leaky_relu", module.negative_slope
        if isinstance(module, torch.nn.Hardtanh):  # ReLU6 is one, too
            return "clamp", module.min_val, module.max_val
        return "relu"

    @staticmethod
    def _activation(key: Any, channels: int) -> Activation | None:
        """Return the kernel's form of the activation."""
        if key is None:
            return None
        return activation_of(("prelu", np.frombuffer(key[1], np.float64)) if key[0] == "prelu" else key, channels)


@dataclass
class FusedCall:
    """One call of a fused layer: its output, and everything that it was computed from."""

    chain: Chain
    inputs: list[torch.Tensor]
    """The layer's input, weight and, if it has one, bias."""
    arguments: Arguments
    compute_output: Callable[[], torch.Tensor | None]
    """Computes the fused output once more."""
    output: torch.Tensor
    layer_key: Any
    norm_key: Any
    activation_key: Any
    """Keys of weight and bias, of the norm, and of the activation."""
    returned: bool = False
    """True once the last module of the chain has returned `output`."""

    def __post_init__(self) -> None:
        self._versions, self._version = [*map(version, self.inputs)], version(self.output)

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The layer's input, weight and bias."""
        input, weight, *bias = self.inputs
        return input, weight, bias[0] if bias else None

    def unfused(self, index: int) -> torch.Tensor:
        """Compute the output of the layer alone (0), or of the norm behind it (1).

        Raises StaleError if the inputs have changed since.
        """
        norm = self.chain.norm
        if self._is_changed() or (index == 1 and self.chain._norm_key() != self.norm_key):
            # not a TypeError: Python's operators would take it for "not implemented" and raise another message
            raise StaleError(
                f"the output of {display_name(self.chain.name)}, before its fused {self.chain.title}, is read after "
                "its inputs were changed in place; its values cannot be computed any more. Write "
                "tconv.torch.restore(model), and accelerate it without fuse=True"
            )
        # without autocast, so its casts are made here
        input, weight, bias = (None if given is None else given.to(self.output.dtype) for given in self.tensors)
        stride, padding, output_padding, dilation, groups = self.arguments
        output: torch.Tensor = compute(input, weight, bias, stride, padding, output_padding, dilation, groups)
        if index == 1:
            statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
            output = torch.nn.functional.batch_norm(output, *statistics, False, 0.0, norm.eps)
        return output

    def _is_changed(self) -> bool:
        _, weight, bias = self.tensors
        if [*map(version, self.inputs)] != self._versions:
            return True
        if _layer_key(weight, bias) != self.layer_key:
            return True
        # writes that leave no version: the kernel computes the same bits from the same input
        again = self.compute_output() if version(self.output) == self._version else self.output
        bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[self.output.dtype.itemsize]
        return again is None or not torch.equal(again.view(bits), self.output.view(bits))


def _layer_key(weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[int, int | None]:
    """Key of a layer's values: fingerprints of weight and bias."""
    return fingerprint(weight), None if bias is None else fingerprint(bias)


class ChainTensor:
    """Source of a lazy tensor inside of a chain: the layer's output (index 0) or the norm's (index 1)."""

    def __init__(self, fused: FusedCall, index: int) -> None:
        self.fused, self.index = fused, index
        self.computed: torch.Tensor | None = None

    @property
    def like(self) -> torch.Tensor:
        """A tensor of the same shape and strides."""
        return self.fused.output if self.computed is None else self.computed

    def values(self) -> torch.Tensor:
        """Return the tensor of the unfused model, computed by the first call. Raises StaleError if inputs changed."""
        if self.computed is None:
            with plain_eager(self.fused.output.is_inference()):
                self.computed = self.fused.unfused(self.index)
            self.fused.chain.stop()
        return self.computed


class _PassThrough:
    """Mixin of a module behind a fused layer: it passes on what the layer has computed for it."""

    _stock: Any

    def forward(self: Any, input: Any) -> Any:
        """Return the finished output, or run the stock module."""
        if type(input) is LazyTensor and not torch.compiler.is_compiling():
            output = self.__dict__["_chain"].pass_through(self, input.source)
            if output is not None:
                return output
        return super().forward(input)  # type: ignore[misc]


def pass_through_class(kind: Any) -> Any:
    """Return the subclass of a norm or an activation; the same in every process, so that it can be pickled."""
    return globals()[f"PassThrough{kind.__name__}"]


def _stock_of(kind: Any) -> Any:
    return kind._stock if issubclass(kind, _PassThrough) else kind


for _kind in (*NORMS, *ACTIVATIONS):
    _name = f"PassThrough{_kind.__name__}"
    globals()[_name] = type(_name, (_PassThrough, _kind), {"_stock": _kind, "__module__": __name__})


def install(model: torch.nn.Module, name: str, layer: Any, chain: Chain) -> None:
    """Fuse a layer of a model with the modules behind it."""
    chain.forward, chain.name = FusedForward.of(model), name
    layer.__dict__["_chain"] = chain  # not a submodule: the state dict stays as it is
    for part in chain.parts:
        part.__class__ = pass_through_class(type(part))
        # torch.fx reads __module__ of the instance, and keeps PyTorch's modules whole; a pickle reads the class's
        part.__dict__.update(_chain=chain, __module__=part._stock.__module__)


def remove(layer: Any) -> None:
    """Undo `install`, also after an interrupt of it, or of this function."""
    chain = layer.__dict__.get("_chain")
    for part in chain.parts if chain is not None else ():
        if isinstance(part, _PassThrough):
            part.__class__ = part._stock
        if part.__dict__.get("_chain") is chain:
            part.__dict__.pop("__module__", None)
            del part.__dict__["_chain"]
    layer.__dict__.pop("_chain", None)
