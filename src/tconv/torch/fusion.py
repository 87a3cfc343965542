"""A batch norm and an activation behind a transposed convolution, done as its output is written; in eval mode only.

A chain is observed, not guessed: in a forward pass, the very tensor that a layer returned was given to a batch norm or
an activation, every time. Parameters stay where they are: what is folded is a copy, made anew whenever a byte of it
changes. The output is a deferred tensor, which only the modules behind can pass; whoever else reads it finds what the
layer alone returns. A pass with gradients, in training mode or under a tracer folds nothing.
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
from torch._prims_common import suggest_memory_format

from tconv.errors import ArgumentError, StaleError, TconvError
from tconv.kernels.activation import Activation, activation_of
from tconv.torch.custom_op import compute
from tconv.torch.functional import way
from tconv.torch.fused_forward import Scope
from tconv.torch.kernel_call import Call, Words, fingerprint, is_plain, known
from tconv.torch.lazy_tensor import Deferred, unwatched
from tconv.torch.report import called
from tconv.weights import folding

NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
ACTIVATIONS = (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.LeakyReLU, torch.nn.PReLU, torch.nn.Hardtanh)


def fold_batchnorm(layer: torch.nn.Module, norm: torch.nn.Module) -> torch.nn.Module:
    """A copy of a transposed convolution that does what it and the batch norm behind it do in eval mode.

    >>> import torch, tconv.torch
    >>> up, norm = torch.nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2), torch.nn.BatchNorm2d(6).eval()
    >>> x = torch.randn(1, 8, 5, 5)
    >>> torch.allclose(tconv.torch.fold_batchnorm(up, norm)(x), norm(up(x)), atol=1e-5)
    True

    The scale of output channel o, gamma/sqrt(var + eps), goes along the second axis of the weight [C_in, C_out/groups,
    *kernel], and to the group that o is in: not along the first, as in a convolution (`tconv.fold_batchnorm`).
    Raises ArgumentError for a norm that cannot be folded.
    """
    if reason := against_norm(layer, norm):
        raise ArgumentError(
            f"the norm {reason}. Write norm.eval() with running statistics, of {layer.out_channels} features"
        )
    folded = copy.deepcopy(layer)
    weight, bias = _folded(layer.weight, layer.bias, norm, layer.groups)
    with torch.no_grad():
        folded.weight.copy_(weight)
    folded.bias = torch.nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
    return folded


def against_norm(layer: Any, norm: Any) -> str | None:
    """Why a batch norm cannot be folded into a layer, or None."""
    if type(norm) not in NORMS and not isinstance(norm, _Passing):
        return f"is a {type(norm).__qualname__}, which has no running statistics to fold"
    if norm.running_mean is None or norm.running_var is None:
        return "keeps no running statistics"
    if norm.num_features != layer.out_channels:
        return f"has {norm.num_features} features, and the layer {layer.out_channels} output channels"
    return "is in training mode" if norm.training else None


def _folded(weight: Any, bias: Any, norm: Any, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the two together, where the layer's are, and as they are stored."""
    given = [weight, bias, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    here = [None if part is None else part.detach().cpu() for part in given]
    folded, shift = folding.fold_batchnorm(*here, eps=norm.eps, groups=groups)
    stored = suggest_memory_format(weight)
    return folded.to(weight.device).contiguous(memory_format=stored), shift.to(weight.device)


class Chain:
    """What stands behind one layer: a batch norm, an activation, or both."""

    def __init__(self, norm: Any, activation: Any) -> None:
        self.norm, self.activation = norm, activation
        self.scope: Scope | None = None
        self.name = ""
        self.read_elsewhere = False
        """Something else read the layer's output once: nothing is folded any more."""
        self.settled = False
        """The chain is in use, and its end is said."""
        self._made: tuple[Any, torch.Tensor, torch.Tensor, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}

    @property
    def parts(self) -> list[Any]:
        """The modules behind the layer, in order."""
        return [part for part in (self.norm, self.activation) if part is not None]

    @property
    def words(self) -> str:
        """The names of what is folded."""
        return ", ".join(_stock_of(type(part)).__qualname__ for part in self.parts)

    def run(self, layer: Any, input: Any, words: Words) -> torch.Tensor | None:
        """A tensor for the modules behind, which holds all their work; None where the layer runs alone."""
        scope = self.scope
        if self.read_elsewhere or scope is None or not scope.running or input.dim() != len(words.stride) + 2:
            return None
        weight, bias = layer.weight, layer.bias
        if not self._may(input, weight, bias):
            return None
        of_layer, of_norm = _known_by(weight, bias), self._norms()
        taken, added, known_by = weight, bias, of_layer[0]
        if self.norm is not None:
            try:
                taken, added, known_by = self._fold(weight, bias, layer.groups, (of_layer, of_norm))
            except TconvError:  # numbers that cannot be folded: PyTorch makes NaN of them, module by module
                return None
        key = self._activations()
        call = known(input, taken, added, words, self._activation(key, layer.out_channels), key)
        if call.reasons:
            return None
        make = partial(call, input, taken, added, known_by=known_by)
        made = make()
        if made is None:
            return None
        given = [input, weight] if bias is None else [input, weight, bias]
        run = Run(self, given, words, make, made, of_layer, of_norm, key)
        return scope.deferred(Stage(run, 0))

    def passes(self, module: Any, stage: Stage) -> torch.Tensor | None:
        """What a module of the chain returns if the layer has done its work; None where it is to run as ever."""
        run = stage.run
        if run.chain is not self or stage.made is not None or self.parts[stage.place] is not module:
            return None
        if self.scope is None or not self._may(*run.tensors):
            return None
        now, then = (self._norms(), run.of_norm) if module is self.norm else (self._activations(), run.activation)
        if now != then or run.handed:
            return None
        if module is not self.parts[-1]:
            return self.scope.deferred(Stage(run, stage.place + 1))
        run.handed = True  # a second reader gets a tensor of its own
        if getattr(module, "inplace", False):
            stage.made = run.made
        return run.made

    def is_read(self) -> None:
        """Something else reads the layer's output: from now on it runs alone, and all is computed once."""
        if self.settled and not self.read_elsewhere:
            warnings.warn(
                f"{called(self.name)}: something else than the fused {self.words} reads its output, which is "
                "computed anew; it is not fused any more. To fuse what can be, accelerate with an example that takes "
                "this branch",
                stacklevel=2,
            )
        self.read_elsewhere = True

    def _may(self, input: Any, weight: Any, bias: Any) -> bool:
        """Whether all of it is eval mode, without gradients and unwatched, at this moment."""
        if (self.norm is not None and self.norm.training) or way(input, weight, bias) is not Call:
            return False
        parts = self._norm_tensors()
        if isinstance(self.activation, torch.nn.PReLU):
            parts.append(self.activation.weight)
        return all(map(is_plain, parts)) and not (torch.is_grad_enabled() and any(p.requires_grad for p in parts))

    def _norm_tensors(self) -> list[torch.Tensor]:
        norm = self.norm
        kept = [] if norm is None else [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [part for part in kept if part is not None]

    def _norms(self) -> Any:
        """What the norm's work is known by."""
        return None if self.norm is None else (self.norm.eps, *map(fingerprint, self._norm_tensors()))

    def _fold(self, weight: Any, bias: Any, groups: int, key: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Weight and bias of layer and norm, which nobody else can write, and the weight's fingerprint."""
        made = self._made
        if made is None or made[0] != key:
            folded, shift = _folded(weight, bias, self.norm, groups)
            made = (key, folded, shift, fingerprint(folded))
            if (_known_by(weight, bias), self._norms()) == key:  # no other thread has written in between
                self._made = made
        return made[1:]

    def _activations(self) -> Any:
        """What the activation's work is known by."""
        module = self.activation
        if module is None:
            return None
        if isinstance(module, torch.nn.PReLU):
            return "prelu", module.weight.detach().numpy().tobytes()
        if isinstance(module, torch.nn.LeakyReLU):
            return "leaky_relu", module.negative_slope
        if isinstance(module, torch.nn.Hardtanh):  # ReLU6 is one, too
            return "clamp", module.min_val, module.max_val
        return "relu"

    @staticmethod
    def _activation(key: Any, channels: int) -> Activation | None:
        """The activation as the kernel applies it."""
        if key is None:
            return None
        return activation_of(("prelu", np.frombuffer(key[1], np.float32)) if key[0] == "prelu" else key, channels)


@dataclass
class Run:
    """One call of a fused layer: its fused output, and what it was made of."""

    chain: Chain
    given: list[torch.Tensor]
    """The layer's input, weight and bias, if there is one."""
    words: Words
    make: Callable[[], torch.Tensor | None]
    """The fused output, once more."""
    made: torch.Tensor
    of_layer: Any
    of_norm: Any
    activation: Any
    """What weight and bias, the norm and the activation were known by."""
    handed: bool = False
    """The chain came to its end, and others have `made`."""

    def __post_init__(self) -> None:
        self._versions, self._version = [*map(_version, self.given)], _version(self.made)

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The layer's input, weight and bias."""
        input, weight, *bias = self.given
        return input, weight, bias[0] if bias else None

    def alone(self, place: int) -> torch.Tensor:
        """What the layer alone returned (0), or the norm behind it (1). Raises StaleError if that is not known."""
        norm = self.chain.norm
        if self._is_changed() or (place == 1 and self.chain._norms() != self.of_norm):
            # no TypeError: an operator of Python would take that for a refusal, and say something else
            raise StaleError(
                f"the output of {called(self.chain.name)}, before its fused {self.chain.words}, is read after "
                "what it was made of was changed in place: its numbers are not known any more. Write "
                "tconv.torch.restore(model), and accelerate it without fuse=True"
            )
        input, weight, bias = self.tensors
        stride, padding, output_padding, dilation, groups = self.words
        made: torch.Tensor = compute(input, weight, bias, stride, padding, output_padding, dilation, groups)
        if place == 1:
            kept = norm.running_mean, norm.running_var, norm.weight, norm.bias
            made = torch.nn.functional.batch_norm(made, *kept, False, 0.0, norm.eps)
        return made

    def _is_changed(self) -> bool:
        _, weight, bias = self.tensors
        if [*map(_version, self.given)] != self._versions:
            return True
        if _known_by(weight, bias) != self.of_layer:
            return True
        # what was written without a version: the kernel makes the same bits of the same input
        again = self.make() if _version(self.made) == self._version else self.made
        return again is None or not torch.equal(again.view(torch.int32), self.made.view(torch.int32))


def _known_by(weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[int, int | None]:
    """What a layer's work is known by."""
    return fingerprint(weight), None if bias is None else fingerprint(bias)


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


class Stage:
    """A tensor inside of a chain: the layer's output, place 0, or the norm's."""

    def __init__(self, run: Run, place: int) -> None:
        self.run, self.place = run, place
        self.made: torch.Tensor | None = None

    @property
    def like(self) -> torch.Tensor:
        """A tensor of the same shape and strides."""
        return self.run.made if self.made is None else self.made

    def numbers(self) -> torch.Tensor:
        """What the unfused model has here, made at the first call. Raises StaleError if it is not known any more."""
        if self.made is None:
            with unwatched(self.run.made.is_inference()):
                self.made = self.run.alone(self.place)
            self.run.chain.is_read()
        return self.made


class _Passing:
    """A module behind a fused layer: it passes what the layer has done for it already."""

    _stock: Any

    def forward(self: Any, input: Any) -> Any:
        """The stock module's, unless the layer in front has done it."""
        if type(input) is Deferred and not torch.compiler.is_compiling():
            made = self.__dict__["_chain"].passes(self, input.source)
            if made is not None:
                return made
        return super().forward(input)  # type: ignore[misc]


def passing(kind: Any) -> Any:
    """The class that stands in for one of a norm or an activation; the same in every process, so that it pickles."""
    return globals()[f"Passing{kind.__name__}"]


def _stock_of(kind: Any) -> Any:
    return kind._stock if issubclass(kind, _Passing) else kind


for _kind in (*NORMS, *ACTIVATIONS):
    _name = f"Passing{_kind.__name__}"
    globals()[_name] = type(_name, (_Passing, _kind), {"_stock": _kind, "__module__": __name__})


def install(model: torch.nn.Module, name: str, layer: Any, chain: Chain) -> None:
    """Let a layer of a model do what stands behind it."""
    chain.scope, chain.name = Scope.of(model), name
    layer.__dict__["_chain"] = chain  # no submodule: the state dict stays as it is
    for part in chain.parts:
        part.__class__ = passing(type(part))
        # torch.fx takes what is PyTorch's, by this word, as a whole; a pickle names the class by the class's own
        part.__dict__.update(_chain=chain, __module__=part._stock.__module__)


def remove(layer: Any) -> None:
    """Undo `install`."""
    chain = layer.__dict__.pop("_chain", None)
    for part in chain.parts if chain is not None else ():
        if isinstance(part, _Passing):
            part.__class__ = part._stock
            del part.__dict__["_chain"], part.__dict__["__module__"]
