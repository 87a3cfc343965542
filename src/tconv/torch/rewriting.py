"""`rewrite`: a copy of a model whose transposed convolutions are other operations, exactly, for an export."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch.nn.modules.lazy import LazyModuleMixin

from tconv import _arrays
from tconv.errors import ArgumentError, MethodError, TconvError
from tconv.geometry import Geometry
from tconv.rewriting.expression import Expression, layer
from tconv.rewriting.facts import layer_facts
from tconv.rewriting.operations import Constant
from tconv.rewriting.plan import LIMITS, RewritePlan
from tconv.rewriting.planner import plan_for, plan_of_steps
from tconv.targets import LayerFacts, Limit, Target
from tconv.targets import target as target_of
from tconv.torch.expression_module import RewrittenConvTranspose
from tconv.torch.forward_pass import Example, eval_without_gradients, tensors_of
from tconv.torch.layer_classes import STOCK
from tconv.torch.modules import DropIn

_SIZES = (6, 32, 128, 1024, 65536)
"""Spatial sizes of the random input of a layer that no example reaches: the first that its crop leaves something of."""


@dataclass(frozen=True, eq=False)
class RewrittenLayer:
    """Report of one layer: its plan, and the largest difference of its output.

    >>> import torch, tconv.torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 6, stride=3), torch.nn.ReLU())
    >>> rewritten, report = tconv.torch.rewrite(model, steps=["conv+depth_to_space"])
    >>> report.layers[0].name, report.layers[0].plan.steps
    ('0', ('conv+depth_to_space',))
    """

    name: str
    plan: RewritePlan
    difference: float | None
    """Largest difference as a share of the largest value; None for a layer that stays as it is."""
    input: tuple[int, ...]
    """Shape for which it was compared."""
    from_example: bool

    def __str__(self) -> str:
        lines = [f"{self.name}:", *(f"  {line}" for line in str(self.plan).splitlines())]
        if self.difference is not None:
            source = "the example's input" if self.from_example else "random input"
            lines.append(f"  largest difference {self.difference:.1e} of the largest value, {source} {self.input}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class ModuleReport:
    """Report of `rewrite`: `print` shows the plan of each layer, what it costs, and how far the outputs differ.

    >>> import torch, tconv.torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 6, stride=3), torch.nn.ReLU())
    >>> rewritten, report = tconv.torch.rewrite(model, target="ethos-u")
    >>> report.target, len(report.layers), report.refused
    ('ethos-u', 1, ())
    """

    target: str
    """Name of the target; "" if there is none."""
    layers: tuple[RewrittenLayer, ...]
    refused: tuple[tuple[str, tuple[str, ...]], ...]
    """Names of layers that stay as they are although the target refuses them, with the reasons."""
    difference: float | None
    """Largest difference of the model's output for the example, as a share of its largest value; None without one."""

    def __str__(self) -> str:
        changed = sum(bool(layer.plan.steps) for layer in self.layers)
        goal = f" for {self.target}" if self.target else ""
        lines = [f"{changed} of {len(self.layers) + len(self.refused)} transposed convolutions rewritten{goal}"]
        lines += [str(layer) for layer in self.layers]
        for name, reasons in self.refused:
            lines += [f"{name}: not rewritten", *(f"  {reason}" for reason in reasons)]
        if self.difference is not None:
            lines.append(f"the model's output differs by {self.difference:.1e} of its largest value for the example")
        return "\n".join(lines)


class Rewritten(NamedTuple):
    """Copy of a model, and the report of what was changed."""

    module: torch.nn.Module
    report: ModuleReport


def rewrite(
    module: torch.nn.Module,
    *,
    target: str | Target | None = None,
    steps: Sequence[str] | str | None = None,
    example: Any = None,
    dtype: str | None = None,
    strict: bool = True,
) -> Rewritten:
    """Return a copy of a model whose transposed convolutions are operations that a target accepts, and the report.

    >>> import torch, tconv.torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 6, stride=3), torch.nn.ReLU())
    >>> rewritten, report = tconv.torch.rewrite(model, target="ethos-u")
    >>> report.layers[0].plan.steps, report.layers[0].difference < 1e-6
    (('conv+depth_to_space',), True)
    >>> program = torch.export.export(rewritten, (torch.randn(1, 8, 5, 7),))

    `target` is a name of `tconv.targets.target_names()` or the file of a profile, and decides which layers are changed:
    those that it refuses, by the fewest steps. `steps` are names of steps instead, taken in their order on all layers;
    with a target, only on those that it refuses. `print(report)` shows each plan.

    `example` is a tensor, a tuple of arguments or a dict of named ones: outputs are then compared for it, else for
    random inputs. A layer that the example calls with an output_size can be called with any afterwards; without an
    example a rewritten layer has its own size alone. `dtype` ("int8", "float16") is the type that the layers will have
    behind a later quantisation, for the target's rules.

    The copy runs with any batch and sizes that the model takes, under autograd, `torch.export`, both ONNX exporters and
    TorchScript's tracer. Weight norm and other parametrisations are evaluated. A new layer has its layer's device and
    dtype, and its weights are buffers named `constant_0`, ..., computed once: the model's state dict does not fit the
    copy. Load it into the model, and rewrite again. The model itself stays as it is. Layers are looked for, not calls
    of torch.nn.functional.conv_transpose2d, nor code that reads a layer's weight: `tconv rewrite` takes the exported
    ONNX file of such a model.

    Raises MethodError with the names of all layers that cannot be rewritten, or would differ by more than rounding, and
    the reasons; with `strict=False` they stay, and the report has them. Raises ArgumentError for other models.
    """
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(
            f"model is a {type(module).__qualname__}; a torch.nn.Module is needed. Write tconv.torch.rewrite(model, "
            'target="ethos-u")'
        )
    if target is None and steps is None:
        raise ArgumentError(
            'neither target= nor steps= was given; one is needed. Write tconv.torch.rewrite(model, target="ethos-u")'
        )
    found = None if target is None else _TorchTarget(target if isinstance(target, Target) else target_of(target))
    names = [steps] if isinstance(steps, str) else steps
    layers, refused = _find_layers(module)
    if not layers and not refused:
        raise ArgumentError(
            "the model has no transposed convolution; torch.nn.ConvTranspose1d, 2d and 3d are looked for. Write the "
            "model that contains them"
        )
    given = None if example is None else Example.of(example)
    calls: dict[str, _Call] = {}
    with eval_without_gradients(module):
        before = None
        if given is not None:
            with given.unchanged(module):
                calls = _observe(module, layers, given)
                before = tensors_of(given.run(module))
        reports: list[RewrittenLayer] = []
        replaced: dict[str, RewrittenConvTranspose] = {}
        for name, stock in layers.items():
            try:
                report, new = _rewritten(name, stock, found, names, calls.get(name), dtype)
            except TconvError as error:
                refused.append((name, (str(error),)))
                continue
            if report.plan.result is None:
                refused.append((name, report.plan.reasons))
                continue
            if report.difference is not None and not report.difference <= (allowed := _limit(stock)):
                why = f"its output differs by {report.difference:.1e} of the largest value; {allowed:g} is allowed"
                refused.append((name, (why,)))
                continue
            reports.append(report)
            if new is not None:
                replaced[name] = new
    total = len(layers) + len([name for name, _ in refused if name not in layers])
    if refused and strict:
        reasons = "; ".join(f"{name or 'the model'}: {', '.join(why)}" for name, why in refused)
        raise MethodError(
            f"{len(refused)} of {total} transposed convolutions cannot be rewritten: {reasons}. Write "
            "strict=False to leave them as they are"
        )
    copied = _copy_with(module, {id(layers[name]): new for name, new in replaced.items()})
    difference = None
    if given is not None and before is not None:
        with eval_without_gradients(copied), given.unchanged(copied):
            difference = max(map(_share, before, tensors_of(given.run(copied))), default=0.0)
    goal = "" if found is None else found.name
    return Rewritten(copied, ModuleReport(goal, tuple(reports), tuple(refused), difference))


class _Call(NamedTuple):
    """First call of a layer by the example."""

    input: torch.Tensor
    sized: bool
    """True if any call asks for an output_size."""


class _TorchTarget:
    """Target whose layers must also be ones that PyTorch can say: with equal pads."""

    def __init__(self, target: Target) -> None:
        self._target, self.name = target, target.name

    def limits_against(self, facts: LayerFacts, operation: str = "conv_transpose") -> tuple[Limit, ...]:
        """Return the limits of the target, and PyTorch's own."""
        limits = self._target.limits_against(facts, operation)
        if operation == "conv_transpose" and not any(limit.key == "operator" for limit in limits):
            limits += _own_limits(facts)
        return limits

    def accepts_operation(self, kind: str) -> bool:
        """Return True if the target has an operation."""
        return self._target.accepts_operation(kind)


class _AnyTarget(_TorchTarget):
    """PyTorch alone, for steps that are named without a target."""

    def __init__(self) -> None:
        self.name = ""

    def limits_against(self, facts: LayerFacts, operation: str = "conv_transpose") -> tuple[Limit, ...]:
        """Return PyTorch's own limits."""
        return _own_limits(facts) if operation == "conv_transpose" else ()

    def accepts_operation(self, kind: str) -> bool:
        """Return True: PyTorch has all operations."""
        return True


def _own_limits(facts: LayerFacts) -> tuple[Limit, ...]:
    """Return the reasons why a layer cannot be one of PyTorch's."""
    source = "torch.nn.ConvTranspose2d"
    limits = []
    if facts.pads_begin != facts.pads_end or min(facts.pads_begin) < 0:
        text = f"pads are {facts.pads_begin} in front and {facts.pads_end} behind; PyTorch's layers have equal ones"
        limits.append(Limit("pads", text, source))
    most = [max(s, d) for s, d in zip(facts.stride, facts.dilation, strict=True)]
    if any(op >= limit for op, limit in zip(facts.output_padding, most, strict=True)):
        text = f"output_padding is {facts.output_padding}; PyTorch needs it below stride or dilation"
        limits.append(Limit("output_padding", text, source))
    return tuple(limits)


# -- layers ------------------------------------------------------------------------------------------------------


def _find_layers(model: torch.nn.Module) -> tuple[dict[str, Any], list[tuple[str, tuple[str, ...]]]]:
    """Return the layers by their first names, and those that cannot be rewritten with the reasons."""
    layers: dict[str, Any] = {}
    refused: list[tuple[str, tuple[str, ...]]] = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if "ConvTranspose" in str(getattr(module, "original_name", "")):
                refused.append((name, ("TorchScript has compiled it; rewrite a model before torch.jit.script",)))
        elif isinstance(module, STOCK):
            reasons = tuple(_reasons_against(module))
            if reasons:
                refused.append((name, reasons))
            else:
                layers[name] = module
    return layers, refused


def _reasons_against(module: Any) -> Iterator[str]:
    kind = type(module)
    if isinstance(module, LazyModuleMixin):
        yield "it is not initialised yet; run the model once before"
        return
    base = kind._stock if isinstance(module, DropIn) else kind
    if "forward" in vars(module) or all(base.forward is not stock.forward for stock in STOCK):
        yield f"{base.__qualname__} has a forward of its own"
    if "_chain" in module.__dict__:
        yield "it is fused with the modules behind it; write tconv.torch.restore(model) before"
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    if any(not hasattr(hook, "compute_weight") for hook in hooks):  # weight norm's is evaluated
        yield "it has forward hooks, which a new layer would not run; remove them before"
    weight = module.weight
    if weight.device.type == "meta":
        yield "its weight is on the meta device, without numbers"
    elif weight.is_quantized or weight.layout is not torch.strided:
        form = "quantized" if weight.is_quantized else weight.layout
        yield f"its weight is a {form} tensor; dense numbers are needed"


def _weight_of(module: Any) -> torch.Tensor:
    """Return the weight that the next call uses: a hook of weight norm computes it from its parts."""
    for hook in module._forward_pre_hooks.values():
        if getattr(hook, "name", "") == "weight" and hasattr(hook, "compute_weight"):
            spectral = hasattr(hook, "n_power_iterations")
            weight: torch.Tensor = (
                hook.compute_weight(module, do_power_iteration=False) if spectral else hook.compute_weight(module)
            )
            return weight
    return module.weight


def _constant(tensor: torch.Tensor) -> Constant:
    plain = tensor.detach().cpu().contiguous()
    return Constant.of(_arrays.take(plain.clone(), "weight")[1])


def _expression(stock: Any, sized: bool) -> Expression:
    """Return a layer as an expression; with output_size, that of the largest output that it can have."""
    extra = tuple(s - 1 for s in stock.stride) if sized else stock.output_padding
    crop = [(p, p - op) for p, op in zip(stock.padding, extra, strict=True)]
    geometry = Geometry(stock.kernel_size, stock.stride, crop, stock.dilation, stock.groups)
    words = {"output_padding": tuple(extra)} if any(extra) else {}
    bias = None if stock.bias is None else _constant(stock.bias)
    return layer(_constant(_weight_of(stock)), bias, geometry, **words)


def _rewritten(
    name: str,
    stock: Any,
    target: _TorchTarget | None,
    steps: Sequence[str] | None,
    call: _Call | None,
    dtype: str | None,
) -> tuple[RewrittenLayer, RewrittenConvTranspose | None]:
    """Return the report of a layer, and the module in its place; None if it stays."""
    sized = call is not None and call.sized
    expression = _expression(stock, sized)
    facts = layer_facts(expression.layers[0], expression)
    facts = facts if dtype is None else replace(facts, dtype=dtype)
    goal = _AnyTarget() if target is None else target
    if target is not None and steps is None:
        plan = plan_for(expression, goal, facts=facts, order="CRD")
    else:
        refused = target is None or bool(target.limits_against(facts))
        plan = plan_of_steps(expression, steps if refused and steps else (), goal, facts=facts, order="CRD")
        if plan.result is not None and steps:
            left = plan_for(plan.result, goal, facts=facts, names=()).limits
            if left or (plan.reasons and not plan.steps):
                reasons = (*plan.reasons, *(f"the steps leave: {limit}" for limit in left))
                plan = replace(plan, result=None, planned=(), after=None, reasons=reasons)
    x = _random_input(stock) if call is None else call.input
    shape = tuple(x.shape)
    if plan.result is None or not plan.steps:
        return RewrittenLayer(name, plan, None, shape, call is not None), None
    new = RewrittenConvTranspose(plan.result, stock, plan.steps, sized)
    difference = _share(stock(x), new(x))
    return RewrittenLayer(name, plan, difference, shape, call is not None), new


def _random_input(stock: Any) -> torch.Tensor:
    weight = stock.weight
    for size in _SIZES:
        full = [
            s * (size - 1) + d * (k - 1)
            for s, d, k in zip(stock.stride, stock.dilation, stock.kernel_size, strict=True)
        ]
        if all(n + 1 - 2 * p >= 1 for n, p in zip(full, stock.padding, strict=True)):
            break
    shape = (2, stock.in_channels, *(size + axis for axis in range(len(stock.stride))))
    return torch.randn(shape, dtype=torch.float32).to(weight.device, weight.dtype)


def _observe(model: torch.nn.Module, layers: dict[str, Any], example: Example) -> dict[str, _Call]:
    """Run the example, and note the first input of each layer, and if any call asks for a size."""
    calls: dict[str, _Call] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(_: Any, args: Any, kwargs: Any) -> None:
            given = args[0] if args else kwargs.get("input")
            size = args[1] if len(args) > 1 else kwargs.get("output_size")
            first = calls[name].input if name in calls else given.detach().clone()
            calls[name] = _Call(first, size is not None or (name in calls and calls[name].sized))

        return hook

    handles = [
        module.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True)
        for name, module in layers.items()
    ]
    try:
        example.run(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _copy_with(model: torch.nn.Module, layers: dict[int, RewrittenConvTranspose]) -> torch.nn.Module:
    """Return a copy of a model with other layers, by the id of the old one."""
    memo: dict[int, Any] = dict(layers)
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:  # weight norm's, which has no copy of its own
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def _limit(stock: Any) -> float:
    """Return the largest difference of a layer's output; accelerators may round float32 products to 10 bits."""
    dtype = stock.weight.dtype.to_real()
    rough = stock.weight.device.type != "cpu" and dtype == torch.float32
    return LIMITS["float16" if rough else str(dtype).removeprefix("torch.")]


def _share(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference as a share of the largest value; inf for other shapes."""
    if a.shape != b.shape:
        return float("inf")
    wide = torch.complex128 if a.is_complex() else torch.float64
    first, second = a.detach().cpu().to(wide), b.detach().cpu().to(wide)
    apart = (first - second).abs()[~((first == second) | (first.isnan() & second.isnan()))]
    if not apart.numel():
        return 0.0
    largest = float(first.abs().nan_to_num(0.0, 0.0).max())
    return float(apart.max()) / (largest or 1.0)
