"""`accelerate` and `restore`: the transposed convolutions of a model, in place, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from tconv.errors import ArgumentError
from tconv.torch import fused_forward, fusion
from tconv.torch.layer_timing import Example, Measured, gain, measure, quiet
from tconv.torch.module_order import Observer
from tconv.torch.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, DropIn
from tconv.torch.report import LayerReport, Report, called

Named = list[tuple[str, str]]
"""Names of layers, and words about each."""
_OURS: dict[Any, Any] = {kind._stock: kind for kind in (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)}
_STOCK = tuple(_OURS)
_FLAG = "_accelerated"
_LEAST = 0.95
"""A layer that gains less than this, measured, is left to PyTorch."""


def accelerate(model: torch.nn.Module, example: Any = None, *, fuse: bool = False) -> Report:
    """Put tconv's kernel into every transposed convolution of a model, in place; it stays the same model.

    >>> import torch, tconv.torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(64, 32, 4, 2, 1), torch.nn.Tanh())
    >>> x = torch.randn(1, 64, 20, 20)
    >>> before = model(x)
    >>> report = tconv.torch.accelerate(model, x)
    >>> print(report)                                        # doctest: +ELLIPSIS
    transposed convolutions take ...% of this model: at best ...x
    ...
    >>> torch.allclose(model(x), before, atol=1e-5)
    True
    >>> tconv.torch.restore(model)
    1

    Modules keep their identity, parameters, hooks, names and state dict; only their class changes, to one that is
    PyTorch's layer still. Parametrised, weight-normed, tied and subclassed layers are included; a layer with a forward
    of its own, not yet initialised, or of another device or dtype is left alone, and the report says so.

    `example` is what the model is called with: a tensor, a tuple of arguments or a dict of named ones. With it, a few
    forward passes are measured (in eval mode, without gradients; random state and running statistics stay), the report
    says what can be won, layer by layer, and a layer that PyTorch runs quicker on this machine is left to it.

    `fuse=True` needs an example and a model in eval mode. A batch norm and a pointwise activation (ReLU, ReLU6,
    LeakyReLU, PReLU, Hardtanh) that alone read a layer's output are then done as the output is written; in training
    mode and with gradients they run as before. `report.difference` is the largest absolute change of any output.

    Raises ArgumentError for what is no module or is compiled already, and for fuse=True without an example or in
    training mode.
    """
    _check_module(model)
    _check_uncompiled(model)
    if not isinstance(fuse, bool):
        raise ArgumentError(f"fuse is {fuse!r}; True or False is needed. Write fuse=True")
    given = None if example is None else Example.of(example)
    if fuse and (given is None or model.training):
        raise ArgumentError(
            "fuse=True needs a model in eval mode and an example to compare its outputs with. Write "
            "tconv.torch.accelerate(model.eval(), x, fuse=True)"
        )
    layers, left = _sorted(model)
    measured = None
    if given is not None:
        with quiet(model):
            measured = measure(model, layers, given)
    for layer in layers.values():
        _change(layer)
    with torch.no_grad():
        reports = [_reported(name, layer, measured) for name, layer in layers.items()]
    kept = []
    for entry in reports:
        if entry.gain is not None and entry.gain < _LEAST:
            _back(layers[entry.name])
            left.append((entry.name, f"PyTorch's operator is quicker on this input ({entry.gain:.2f}x)"))
            entry = entry._replace(method="pytorch", reasons=("measured",), gain=1.0)
        kept.append(entry)
    fused: Named = []
    unfused: Named = []
    difference = None
    if given is not None and measured is not None:
        with quiet(model):
            if fuse:
                fused, unfused = fuse_all(model, given, measured)
            difference = measured.difference(given.run(model))
    return Report(
        tuple(kept),
        tuple(left),
        None if measured is None else measured.seconds,
        tuple(fused),
        tuple(unfused),
        difference,
    )


def restore(model: torch.nn.Module) -> int:
    """Undo `accelerate`, fused layers included; returns how many layers are PyTorch's again.

    >>> import torch, tconv.torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose1d(4, 2, 4, 2))
    >>> report = tconv.torch.accelerate(model)
    >>> tconv.torch.restore(model), type(model[0])
    (1, <class 'torch.nn.modules.conv.ConvTranspose1d'>)

    Layers that were made as `tconv.torch.ConvTransposeNd` stay.
    """
    _check_module(model)
    changed = [module for module in model.modules() if module.__dict__.get(_FLAG)]
    for module in changed:
        _back(module)
    for module in model.modules():
        fused_forward.forget(module)
    return len(changed)


def _check_module(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            f"model is a {type(model).__qualname__}; a torch.nn.Module is needed. Write accelerate(model)"
        )


def _check_uncompiled(model: torch.nn.Module) -> None:
    """A compiled graph calls no layers: none could be replaced, nor measured."""
    for name, module in model.named_modules():
        forward = getattr(module, "forward", None)
        compiled = hasattr(forward, "_torchdynamo_orig_callable") and not hasattr(forward, "_torchdynamo_disable")
        if compiled or getattr(module, "_compiled_call_impl", None) is not None:
            raise ArgumentError(
                f"{called(name)} is compiled by torch.compile, and its layers cannot be seen in there. Write "
                "tconv.torch.accelerate(model, x) with the model as it was before, then torch.compile(model)"
            )


def _sorted(model: torch.nn.Module) -> tuple[dict[str, Any], Named]:
    """Layers to replace by their first name, and those to leave alone with the reason."""
    layers: dict[str, Any] = {}
    left: Named = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if not any(name.startswith(f"{other}.") or other == "" for other, _ in left):
                left.append((name, "TorchScript has compiled it; accelerate a model before torch.jit.script"))
        elif isinstance(module, _STOCK):
            reason = _against(module)
            if reason is None:
                layers[name] = module
            else:
                left.append((name, reason))
    return layers, left


def _against(module: Any) -> str | None:
    kind = type(module)
    if isinstance(module, DropIn):
        return "it is tconv's already"
    if isinstance(module, LazyModuleMixin):
        return "it is not initialised yet; run the model once first"
    if "forward" in vars(module) or all(kind.forward is not stock.forward for stock in _STOCK):
        return f"{kind.__qualname__} has a forward of its own"
    weight = module.weight
    if type(weight) not in (torch.Tensor, torch.nn.Parameter):
        return f"its weight is a {type(weight).__qualname__}, which brings rules of its own"
    if weight.device.type not in ("cpu", "meta"):
        return f"its weight is on {weight.device}; the kernel runs on the CPU"
    if weight.dtype is not torch.float32:
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}; the kernel computes float32"
    return None


# -- classes -----------------------------------------------------------------------------------------------------------


def _change(module: Any) -> None:
    module.__class__ = _exchanged(module, _faster)
    module.__dict__[_FLAG] = True


def _back(module: Any) -> None:
    fusion.remove(module)
    module.__class__ = _exchanged(module, _plain)
    module.__dict__.pop(_FLAG, None)


def _exchanged(module: Any, exchange: Callable[[Any], Any]) -> Any:
    """Another class for a module; for a parametrised one the same on another base, which removing it leaves."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        return _rebased(kind, exchange(kind.__bases__[0]))
    return exchange(kind)


def _faster(kind: Any) -> Any:
    """The drop-in for a class."""
    if kind in _OURS:
        return _OURS[kind]
    words = {"_stock": kind, "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__reduce_ex__": _reduce}
    _OURS[kind] = made = type(kind.__name__, (DropIn, kind), words)
    return made


def _plain(kind: Any) -> Any:
    """The class that a drop-in stands in for."""
    return kind._stock


def _rebased(kind: Any, base: Any) -> Any:
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__", "__doc__")}
    return type(kind.__name__, (base,), own)


def _reduce(self: Any, protocol: Any) -> Any:
    """How a drop-in of a user's class is pickled: nobody could import it."""
    return _rebuilt, (self._stock,), self.__getstate__() if hasattr(self, "__getstate__") else vars(self)


def _rebuilt(kind: Any) -> Any:
    made = _faster(kind)
    return made.__new__(made)


# -- the report --------------------------------------------------------------------------------------------------------


def _reported(name: str, layer: Any, measured: Measured | None) -> LayerReport:
    stock = layer._stock.__qualname__
    seen = None if measured is None else measured.layers.get(name)
    if seen is None:
        reasons = () if measured is None else ("the example does not reach it",)
        return LayerReport(name, stock, None, None, "simd", reasons, None)
    from tconv.torch.layer_plan import plan

    what = plan(layer, seen.input)
    won = gain(layer, seen) if what.method != "pytorch" else 1.0
    return LayerReport(name, stock, tuple(seen.input.shape), seen.seconds, what.method, what.reasons, won)


def fuse_all(model: torch.nn.Module, example: Example, measured: Measured) -> tuple[Named, Named]:
    """Install the chains that leave the output of an accelerated model as it is, one after another."""
    ours = {name: module for name, module in model.named_modules() if module.__dict__.get(_FLAG)}
    observer = Observer(model, list(ours.values()))
    try:
        example.run(model)
    finally:
        observer.close()
    fused: Named = []
    unfused: Named = []
    for name, layer in ours.items():
        chain, reason = observer.chain(layer)
        if chain is None:
            unfused.append((name, reason))
            continue
        fusion.install(model, name, layer, chain)
        if measured.agrees(example.run(model)) and not chain.read_elsewhere:
            chain.settled = True
            fused.append((name, chain.words))
        else:
            fusion.remove(layer)
            if chain.read_elsewhere:
                why = "something else reads its output, too"
            else:
                why = (
                    "the model's output changed" if measured.output else "the model's output holds no tensor to compare"
                )
            unfused.append((name, why))
    return fused, unfused
