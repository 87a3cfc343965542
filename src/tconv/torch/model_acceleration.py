"""`accelerate` and `restore`: replace the transposed convolutions of a model in place, and undo it.

Layers stay the same objects; only their class changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.nn.modules.lazy import LazyModuleMixin

from tconv._arrays.torch_names import is_compiled, notes, reason_against_fusion
from tconv.acceleration.layer_choice import Choice, choose
from tconv.acceleration.report import LayerReport, Report, display_name
from tconv.errors import ArgumentError
from tconv.torch import fused_forward, fusion
from tconv.torch.element_types import reason_against
from tconv.torch.forward_pass import Example, ForwardPass, eval_without_gradients, observe
from tconv.torch.layer_classes import STOCK, accelerate_layer, is_accelerated, restore_layer
from tconv.torch.method_plan import LayerPlan
from tconv.torch.modules import DropIn
from tconv.torch.output_readers import Observer

NamedReasons = list[tuple[str, str]]
"""Names of layers, each with a text."""


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
    >>> count = tconv.torch.restore(model)                   # of the layers that stayed on the kernel

    Modules keep their identity, parameters, hooks, names and state dict; only their class changes, to a subclass of
    PyTorch's layer. Parametrised, weight-normed, tied and subclassed layers are included; a layer with a forward of its
    own, not yet initialised, or of a device or dtype that the kernel does not compute is left alone and listed in the
    report.

    `example` contains the model's arguments: a tensor, a tuple of arguments or a dict of named ones. With it, forward
    passes of both forms are timed in turns, for about 4.5 seconds, or 21 passes if they are long. They run in eval mode
    without gradients; random state, the model's buffers and the example's tensors are the same before each pass and
    afterwards. A layer that is not measurably faster in its place is left to PyTorch, and so are all if the model with
    them is not. The report gives the possible gain and the measured one, and those of each layer. If the model raises
    an error, or is interrupted, it stays as it was.

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
    fused_before = _fused_layers(model)
    try:
        if inputs is None:
            for layer in layers.values():
                accelerate_layer(layer)
            entries = tuple(_unmeasured(name, layer, ()) for name, layer in layers.items())
            return Report(entries, tuple(left), None, notes=notes())
        with eval_without_gradients(model), inputs.unchanged(model):
            return _accelerate_measured(model, layers, left, inputs, fuse)
    except BaseException:  # of the model itself, or an interrupt: it stays as it was
        for layer in _fused_layers(model):
            if not any(layer is other for other in fused_before):
                fusion.remove(layer)
        _restore_layers(model, layers.values())
        raise


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
    changed = [module for module in model.modules() if is_accelerated(module)]
    _restore_layers(model, changed)
    return len(changed)


def _restore_layers(model: torch.nn.Module, layers: Iterable[Any]) -> None:
    for layer in layers:
        if is_accelerated(layer):
            restore_layer(layer)
    fused_forward.forget_unused(model)


def _fused_layers(model: torch.nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, DropIn) and "_chain" in module.__dict__]


def _check_module(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            f"model is a {type(model).__qualname__}; a torch.nn.Module is needed. Write accelerate(model)"
        )


def _check_uncompiled(model: torch.nn.Module) -> None:
    """Refuse compiled models: a compiled graph calls no layers, so none could be replaced or measured."""
    for name, module in model.named_modules():
        if is_compiled(module):
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
        elif isinstance(module, STOCK):
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
    if "forward" in vars(module) or all(kind.forward is not stock.forward for stock in STOCK):
        return f"{kind.__qualname__} has a forward of its own"
    weight = module.weight
    if type(weight) not in (torch.Tensor, torch.nn.Parameter):
        return f"its weight is a {type(weight).__qualname__}, a subclass with rules of its own"
    if weight.device.type not in ("cpu", "meta"):
        return f"its weight is on {weight.device}; the kernel runs on the CPU"
    return reason_against("its weight", weight.dtype) or None


class ClassSides:
    """The modules of a model whose classes differ between PyTorch's form and tconv's."""

    def __init__(self) -> None:
        self._classes: dict[int, tuple[Any, type, type]] = {}

    def add(self, module: Any, stock: type, ours: type) -> None:
        """Add a module and its two classes. It is of tconv's class now."""
        self._classes[id(module)] = module, stock, ours

    def remove(self, module: Any) -> None:
        """Leave a module as it is."""
        self._classes.pop(id(module), None)

    def take(self, ours: bool) -> None:
        """Put the model into tconv's form, or PyTorch's."""
        for module, *classes in self._classes.values():
            module.__class__ = classes[ours]


def _accelerate_measured(
    model: torch.nn.Module, layers: dict[str, Any], left: NamedReasons, example: Example, fuse: bool
) -> Report:
    before = observe(model, layers, example)
    sides = ClassSides()
    for layer in layers.values():
        stock = type(layer)
        accelerate_layer(layer)
        sides.add(layer, stock, type(layer))
    kinds = {name: layer._stock.__qualname__ for name, layer in layers.items()}
    fused: NamedReasons = []
    unfused: NamedReasons = []
    if fuse:
        fused, unfused = fuse_all(model, example, before)
    else:
        example.run(model)  # the kernel is compiled before anything is timed
    clocked = {name: [layers[name], *_fused_parts(layers[name], sides)] for name in before.inputs}
    reasons = {name: planned.reasons for name, planned in before.plans.items() if planned.method == "pytorch"}

    def leave(name: str) -> None:
        restore_layer(layers[name])

    choice = None
    if clocked:
        choice = choose(example.prepare, lambda: example.call(model), sides, clocked, reasons, leave)
    fused_forward.forget_unused(model)
    entries = [
        _measured(name, kinds[name], before.inputs[name], before.plans[name], choice)
        if choice is not None and name in clocked
        else _unmeasured(name, layer, ("the example does not reach it",))
        for name, layer in layers.items()
    ]
    gone = {} if choice is None else choice.left
    return Report(
        tuple(entries),
        (*left, *gone.items()),
        None if choice is None else choice.pairs.seconds()[0],
        tuple((name, modules) for name, modules in fused if name not in gone),
        tuple(unfused),
        before.difference(example.run(model)),
        None if choice is None else choice.gain,
        notes(),
    )


def _fused_parts(layer: Any, sides: ClassSides) -> list[Any]:
    """Return the modules that are fused with a layer, which have two classes, too."""
    chain = layer.__dict__.get("_chain")
    parts = [] if chain is None else chain.parts
    for part in parts:
        sides.add(part, part._stock, type(part))
    return parts


def _unmeasured(name: str, layer: Any, reasons: tuple[str, ...]) -> LayerReport:
    return LayerReport(name, layer._stock.__qualname__, None, None, "simd", reasons, None)


def _measured(name: str, kind: str, input: torch.Tensor, planned: LayerPlan, choice: Choice) -> LayerReport:
    alone = float(np.median(choice.pairs.stock[name]))
    stock, ours = choice.pairs.seconds(name)
    method, reasons, gain = planned.method, planned.reasons, stock / max(ours, 1e-12)
    if name in choice.left:
        method, reasons, gain = "pytorch", reasons if method == "pytorch" else ("measured",), 1.0
    return LayerReport(name, kind, tuple(input.shape), alone, method, reasons, gain, planned.dtype, planned.layout)


def fuse_all(model: torch.nn.Module, example: Example, before: ForwardPass) -> tuple[NamedReasons, NamedReasons]:
    """Fuse one layer after another of an accelerated model, if the model's output stays the same.

    Return the names of fused layers with the modules, and of others with the reason.
    """
    layers = {name: module for name, module in model.named_modules() if is_accelerated(module)}
    if reason := reason_against_fusion():
        example.run(model)  # the kernel is compiled before anything is timed
        return [], [(name, reason) for name in layers]
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
        if before.agrees(example.run(model)) and not chain.read_elsewhere:
            chain.in_use = True
            fused.append((name, chain.title))
        else:
            fusion.remove(layer)
            if chain.read_elsewhere:
                reason = "other code reads its output, too"
            elif before.output:
                reason = "the model's output changed"
            else:
                reason = "the model's output contains no tensor to compare"
            unfused.append((name, reason))
    return fused, unfused
