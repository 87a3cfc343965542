"""`accelerate` and `restore`: replace the transposed convolutions of a model in place, and undo it.

Layers stay the same objects; only their class changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from tconv.errors import ArgumentError
from tconv.torch import fused_forward, fusion
from tconv.torch.layer_timing import Example, ForwardTime, eval_without_gradients, measure, measure_gain
from tconv.torch.method_plan import plan
from tconv.torch.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, DropIn
from tconv.torch.output_readers import Observer
from tconv.torch.report import LayerReport, Report, display_name

NamedReasons = list[tuple[str, str]]
"""Names of layers, each with a text."""
_DROP_INS: dict[Any, Any] = {kind._stock: kind for kind in (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)}
_STOCK = tuple(_DROP_INS)
_FLAG = "_accelerated"
_LEAST_GAIN = 0.95
"""A layer with a smaller measured gain is left to PyTorch."""


def accelerate(model: torch.nn.Module, example: Any = None, *, fuse: bool = False) -> Report:
    """Run every transposed convolution of a model on tconv's kernel, in place; it stays the same model.

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

    Modules keep their identity, parameters, hooks, names and state dict; only their class changes, to a subclass of
    PyTorch's layer. Parametrised, weight-normed, tied and subclassed layers are included; a layer with a forward of its
    own, not yet initialised, or of another device or dtype is left alone and listed in the report.

    `example` contains the model's arguments: a tensor, a tuple of arguments or a dict of named ones. With it, a few
    forward passes are measured (in eval mode, without gradients; random state and running statistics stay), the report
    gives the possible gain, layer by layer, and a layer that PyTorch runs faster on this machine is left to it.

    `fuse=True` needs an example and a model in eval mode. A batch norm and a pointwise activation (ReLU, ReLU6,
    LeakyReLU, PReLU, Hardtanh) that are the only readers of a layer's output are then applied as the output is written;
    in training mode and with gradients they run as before. `report.difference` is the largest absolute change of any
    output.

    Raises ArgumentError if the model is not a module or is compiled already, and for fuse=True without an example or in
    training mode.
    """
    _check_module(model)
    _check_uncompiled(model)
    if not isinstance(fuse, bool):
        raise ArgumentError(f"fuse is {fuse!r}; True or False is needed. Write fuse=True")
    inputs = None if example is None else Example.of(example)
    if fuse and (inputs is None or model.training):
        raise ArgumentError(
            "fuse=True needs a model in eval mode and an example to compare its outputs with. Write "
            "tconv.torch.accelerate(model.eval(), x, fuse=True)"
        )
    layers, left = _find_layers(model)
    measured = None
    if inputs is not None:
        with eval_without_gradients(model):
            measured = measure(model, layers, inputs)
    for layer in layers.values():
        _accelerate_layer(layer)
    with torch.no_grad():
        reports = [_layer_report(name, layer, measured) for name, layer in layers.items()]
    final = []
    for entry in reports:
        if entry.gain is not None and entry.gain < _LEAST_GAIN:
            _restore_layer(layers[entry.name])
            left.append((entry.name, f"PyTorch's operator is faster on this input ({entry.gain:.2f}x)"))
            entry = entry._replace(method="pytorch", reasons=("measured",), gain=1.0)
        final.append(entry)
    fused: NamedReasons = []
    unfused: NamedReasons = []
    difference = None
    if inputs is not None and measured is not None:
        with eval_without_gradients(model):
            if fuse:
                fused, unfused = fuse_all(model, inputs, measured)
            difference = measured.difference(inputs.run(model))
    return Report(
        tuple(final),
        tuple(left),
        None if measured is None else measured.seconds,
        tuple(fused),
        tuple(unfused),
        difference,
    )


def restore(model: torch.nn.Module) -> int:
    """Undo `accelerate`, fused layers included; return the number of layers that are PyTorch's again.

    >>> import torch, tconv.torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose1d(4, 2, 4, 2))
    >>> report = tconv.torch.accelerate(model)
    >>> tconv.torch.restore(model), type(model[0])
    (1, <class 'torch.nn.modules.conv.ConvTranspose1d'>)

    Layers that were created as `tconv.torch.ConvTransposeNd` stay.
    """
    _check_module(model)
    changed = [module for module in model.modules() if module.__dict__.get(_FLAG)]
    for module in changed:
        _restore_layer(module)
    for module in model.modules():
        fused_forward.forget(module)
    return len(changed)


def _check_module(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            f"model is a {type(model).__qualname__}; a torch.nn.Module is needed. Write accelerate(model)"
        )


def _check_uncompiled(model: torch.nn.Module) -> None:
    """Refuse compiled models: a compiled graph calls no layers, so none could be replaced or measured."""
    for name, module in model.named_modules():
        forward = getattr(module, "forward", None)
        compiled = hasattr(forward, "_torchdynamo_orig_callable") and not hasattr(forward, "_torchdynamo_disable")
        if compiled or getattr(module, "_compiled_call_impl", None) is not None:
            raise ArgumentError(
                f"{display_name(name)} is compiled by torch.compile, which hides its layers. Write "
                "tconv.torch.accelerate(model, x) with the uncompiled model, then torch.compile(model)"
            )


def _find_layers(model: torch.nn.Module) -> tuple[dict[str, Any], NamedReasons]:
    """Return the layers to replace, by their first name, and the names of all others with the reason."""
    layers: dict[str, Any] = {}
    left: NamedReasons = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if not any(name.startswith(f"{other}.") or other == "" for other, _ in left):
                left.append((name, "TorchScript has compiled it; accelerate a model before torch.jit.script"))
        elif isinstance(module, _STOCK):
            reason = _reason_against(module)
            if reason is None:
                layers[name] = module
            else:
                left.append((name, reason))
    return layers, left


def _reason_against(module: Any) -> str | None:
    kind = type(module)
    if isinstance(module, DropIn):
        return "it is tconv's already"
    if isinstance(module, LazyModuleMixin):
        return "it is not initialised yet; run the model once before"
    if "forward" in vars(module) or all(kind.forward is not stock.forward for stock in _STOCK):
        return f"{kind.__qualname__} has a forward of its own"
    weight = module.weight
    if type(weight) not in (torch.Tensor, torch.nn.Parameter):
        return f"its weight is a {type(weight).__qualname__}, a subclass with rules of its own"
    if weight.device.type not in ("cpu", "meta"):
        return f"its weight is on {weight.device}; the kernel runs on the CPU"
    if weight.dtype is not torch.float32:
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}; the kernel computes float32"
    return None


# -- classes -----------------------------------------------------------------------------------------------------------


def _accelerate_layer(module: Any) -> None:
    module.__class__ = _replaced_class(module, _drop_in_class)
    module.__dict__[_FLAG] = True


def _restore_layer(module: Any) -> None:
    fusion.remove(module)
    module.__class__ = _replaced_class(module, _stock_class)
    module.__dict__.pop(_FLAG, None)


def _replaced_class(module: Any, replace: Callable[[Any], Any]) -> Any:
    """Return the new class of a module.

    A parametrised module keeps its own class, on a new base, which stays when the parametrisation is removed.
    """
    kind = type(module)
    if parametrize.is_parametrized(module):
        return _with_base(kind, replace(kind.__bases__[0]))
    return replace(kind)


def _drop_in_class(kind: Any) -> Any:
    """Return the drop-in subclass of a class, created by the first call."""
    if kind in _DROP_INS:
        return _DROP_INS[kind]
    members = {
        "_stock": kind,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__reduce_ex__": _reduce,
    }
    _DROP_INS[kind] = created = type(kind.__name__, (DropIn, kind), members)
    return created


def _stock_class(kind: Any) -> Any:
    """Return the class that a drop-in replaces."""
    return kind._stock


def _with_base(kind: Any, base: Any) -> Any:
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__", "__doc__")}
    return type(kind.__name__, (base,), own)


def _reduce(self: Any, protocol: Any) -> Any:
    """Pickle a drop-in of a user's class by that class, because the drop-in cannot be imported."""
    return _rebuild, (self._stock,), self.__getstate__() if hasattr(self, "__getstate__") else vars(self)


def _rebuild(kind: Any) -> Any:
    drop_in = _drop_in_class(kind)
    return drop_in.__new__(drop_in)


# -- the report --------------------------------------------------------------------------------------------------------


def _layer_report(name: str, layer: Any, measured: ForwardTime | None) -> LayerReport:
    stock = layer._stock.__qualname__
    time = None if measured is None else measured.layers.get(name)
    if time is None:
        reasons = () if measured is None else ("the example does not reach it",)
        return LayerReport(name, stock, None, None, "simd", reasons, None)
    planned = plan(layer, time.input)
    gain = measure_gain(layer, time) if planned.method != "pytorch" else 1.0
    return LayerReport(name, stock, tuple(time.input.shape), time.seconds, planned.method, planned.reasons, gain)


def fuse_all(model: torch.nn.Module, example: Example, measured: ForwardTime) -> tuple[NamedReasons, NamedReasons]:
    """Fuse one layer after another of an accelerated model, if the model's output stays the same.

    Return the names of fused layers with the modules, and of others with the reason.
    """
    layers = {name: module for name, module in model.named_modules() if module.__dict__.get(_FLAG)}
    observer = Observer(model, list(layers.values()))
    try:
        example.run(model)
    finally:
        observer.close()
    fused: NamedReasons = []
    unfused: NamedReasons = []
    for name, layer in layers.items():
        chain, reason = observer.chain(layer)
        if chain is None:
            unfused.append((name, reason))
            continue
        fusion.install(model, name, layer, chain)
        if measured.agrees(example.run(model)) and not chain.read_elsewhere:
            chain.in_use = True
            fused.append((name, chain.title))
        else:
            fusion.remove(layer)
            if chain.read_elsewhere:
                reason = "other code reads its output, too"
            elif measured.output:
                reason = "the model's output changed"
            else:
                reason = "the model's output contains no tensor to compare"
            unfused.append((name, reason))
    return fused, unfused
