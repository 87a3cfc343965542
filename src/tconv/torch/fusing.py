"""A batch norm and an activation behind a transposed convolution, done as its output is written; in eval mode only.

A chain is observed, not guessed: in a forward pass, the very tensor that a layer returned was given to a batch norm or
an activation, every time. Parameters stay where they are: what is folded is a copy, made anew whenever a byte of it
changes. The output carries a mark, and the modules behind pass what bears it; so a pass with gradients, in training
mode or under a tracer, where nothing is folded, runs them as ever.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import torch
import xxhash

from tconv import folding
from tconv.activation import Activation, activation_of
from tconv.errors import ArgumentError, ArrayError
from tconv.torch.calls import Call, Words, is_plain, known
from tconv.torch.functional import way

NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
ACTIVATIONS = (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.LeakyReLU, torch.nn.PReLU, torch.nn.Hardtanh)
_MARK, _SCOPE = "_tconv_chain", "_tconv_scope"


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
    weight, bias = _folded(layer, norm)
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


def _folded(layer: Any, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the two together, where the layer's are."""
    given = [layer.weight, layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    here = [None if part is None else part.detach().cpu() for part in given]
    made = folding.fold_batchnorm(*here, eps=norm.eps, groups=layer.groups)
    weight, bias = (part.to(layer.weight.device) for part in made)
    return weight, bias


class Folded:
    """The mark of a folded output: whose it is, which modules are still to pass it, and what nobody may change."""

    def __init__(self, chain: Chain, made: torch.Tensor) -> None:
        self.chain, self.left = chain, [part for part in (chain.norm, chain.activation) if part is not None]
        self._version = _version(made)

    def passed(self, module: Any, given: torch.Tensor) -> bool:
        """Whether this module's turn has come, and the numbers are those that the layer made."""
        if self.left[:1] != [module] or (module.training and module is self.chain.norm):
            return False
        del self.left[0]
        return _version(given) == self._version


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


class Scope:
    """A model with fused layers: in which threads it is running, and which chains have not come to their ends there."""

    def __init__(self, model: torch.nn.Module | None = None) -> None:
        self._mine = threading.local()
        if model is not None:
            model.__dict__[_SCOPE] = (
                self,
                [
                    model.register_forward_pre_hook(self.enter),
                    model.register_forward_hook(self.leave, always_call=True),
                ],
            )

    def __reduce__(self) -> Any:
        return Scope, ()

    @staticmethod
    def of(model: torch.nn.Module) -> Scope:
        """The model's scope, made at the first call."""
        known = model.__dict__.get(_SCOPE)
        return Scope(model) if known is None else known[0]

    @property
    def running(self) -> bool:
        """Whether the model is running in this thread."""
        return getattr(self._mine, "depth", 0) > 0

    @property
    def awaited(self) -> list[Folded]:
        """What layers have made, and the last module of its chain has not been given."""
        if not hasattr(self._mine, "awaited"):
            self._mine.awaited = []
        found: list[Folded] = self._mine.awaited
        return found

    def enter(self, model: Any, given: Any) -> None:
        """Before the model's forward."""
        if not torch.compiler.is_compiling():
            self._mine.depth = getattr(self._mine, "depth", 0) + 1

    def leave(self, model: Any, given: Any, made: Any) -> None:
        """After it, or after an error in it. Raises ArrayError for a chain that did not come to its end."""
        if torch.compiler.is_compiling() or not self.running:
            return
        self._mine.depth -= 1
        left: list[Folded] = [] if self.running else self.awaited[:]
        if left:
            self.awaited.clear()
            if made is not None:
                raise ArrayError(
                    f"a fused {left[0].chain.words} was not called after its transposed convolution, which has done "
                    "its work: the model is not the one that was accelerated. Write tconv.torch.restore(model), and "
                    "accelerate it anew"
                )


class Chain:
    """What stands behind one layer: a batch norm, an activation, or both."""

    def __init__(self, norm: Any, activation: Any) -> None:
        self.norm, self.activation = norm, activation
        self.scope: Scope | None = None
        self._made: tuple[Any, torch.Tensor, torch.Tensor | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}

    @property
    def words(self) -> str:
        """The names of what is folded."""
        parts = (part for part in (self.norm, self.activation) if part is not None)
        return ", ".join(_stock_of(type(part)).__qualname__ for part in parts)

    def run(self, layer: Any, input: Any, words: Words) -> torch.Tensor | None:
        """The output of all of it, marked; None where nothing is folded, and the layer runs alone."""
        weight, bias, scope = layer.weight, layer.bias, self.scope
        if scope is None or not scope.running or (self.norm is not None and self.norm.training):
            return None
        if input.dim() != len(words.stride) + 2 or way(input, weight, bias) is not Call:
            return None
        parts = self._parts()
        if isinstance(self.activation, torch.nn.PReLU):
            parts.append(self.activation.weight)
        if not all(map(is_plain, parts)) or (torch.is_grad_enabled() and any(part.requires_grad for part in parts)):
            return None
        if self.norm is not None:
            weight, bias = self._fold(layer)
        activation, key = self._activation(layer.out_channels)
        call = known(input, weight, bias, words, activation, key)
        made = None if call.reasons else call(input, weight, bias)
        if made is not None:
            mark = Folded(self, made)
            setattr(made, _MARK, mark)
            scope.awaited.append(mark)
        return made

    def passes(self, module: Any, input: Any) -> bool:
        """Whether a module of the chain has nothing to do, because its input is what the layer has made for it.

        Raises ArrayError if the layer has made it, and this is another tensor: it would be normalised twice.
        """
        awaited = [] if self.scope is None else self.scope.awaited
        mark = getattr(input, _MARK, None)
        if isinstance(mark, Folded) and mark.chain is self and mark.passed(module, input):
            if not mark.left and mark in awaited:
                awaited.remove(mark)
            return True
        if any(other.chain is self for other in awaited):
            awaited.clear()
            raise ArrayError(
                f"a fused {_stock_of(type(module)).__qualname__} was given another tensor than its transposed "
                "convolution returned: a copy of it, or something else while its output was waited for. Write "
                "tconv.torch.restore(model), and accelerate it without fuse=True"
            )
        return False

    def _parts(self) -> list[torch.Tensor]:
        norm = self.norm
        kept = [] if norm is None else [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [part for part in kept if part is not None]

    def _fold(self, layer: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        given = [layer.weight, *([] if layer.bias is None else [layer.bias]), *self._parts()]
        key = (self.norm.eps, layer.groups, *map(_fingerprint, given))
        made = self._made
        if made is None or made[0] != key:
            self._made = made = (key, *_folded(layer, self.norm))
        return made[1], made[2]

    def _activation(self, channels: int) -> tuple[Activation | None, Any]:
        """The activation as the kernel applies it, and what it is known by."""
        module = self.activation
        if module is None:
            return None, None
        if isinstance(module, torch.nn.PReLU):
            slopes = module.weight.detach().numpy().copy()
            return activation_of(("prelu", slopes), channels), ("prelu", slopes.tobytes())
        given: Any = "relu"
        if isinstance(module, torch.nn.LeakyReLU):
            given = ("leaky_relu", module.negative_slope)
        elif isinstance(module, torch.nn.Hardtanh):  # ReLU6 is one, too
            given = ("clamp", module.min_val, module.max_val)
        return activation_of(given, channels), given


def _fingerprint(tensor: torch.Tensor) -> int:
    dense: np.ndarray[Any, Any] = tensor.detach().contiguous().numpy()
    return xxhash.xxh3_64_intdigest(dense.data)


class _Passing:
    """A module behind a fused layer: it passes what the layer has done for it already."""

    _stock: Any

    def forward(self: Any, input: Any) -> Any:
        """The stock module's, unless the layer in front has done it."""
        if not torch.compiler.is_compiling() and self.__dict__["_chain"].passes(self, input):
            return input
        return super().forward(input)  # type: ignore[misc]


def passing(kind: Any) -> Any:
    """The class that stands in for one of a norm or an activation; the same in every process, so that it pickles."""
    return globals()[f"Passing{kind.__name__}"]


def _stock_of(kind: Any) -> Any:
    return kind._stock if issubclass(kind, _Passing) else kind


for _kind in (*NORMS, *ACTIVATIONS):
    _name = f"Passing{_kind.__name__}"
    globals()[_name] = type(_name, (_Passing, _kind), {"_stock": _kind, "__module__": __name__})


def install(model: torch.nn.Module, layer: Any, chain: Chain) -> None:
    """Let a layer of a model do what stands behind it."""
    chain.scope = Scope.of(model)
    layer.__dict__["_chain"] = chain  # no submodule: the state dict stays as it is
    for part in (chain.norm, chain.activation):
        if part is not None:
            part.__class__ = passing(type(part))
            part.__dict__["_chain"] = chain


def remove(layer: Any) -> None:
    """Undo `install`."""
    chain = layer.__dict__.pop("_chain", None)
    for part in (chain.norm, chain.activation) if chain is not None else ():
        if isinstance(part, _Passing):
            part.__class__ = part._stock
            del part.__dict__["_chain"]


def forget(model: torch.nn.Module) -> None:
    """Take away the hooks of a model without fused layers."""
    _, handles = model.__dict__.pop(_SCOPE, (None, ()))
    for handle in handles:
        handle.remove()
