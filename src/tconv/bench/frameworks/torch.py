"""PyTorch compared with PyTorch on tconv's kernel: whole models, training steps of layers, and the cost of a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from tconv.bench import dtypes
from tconv.bench import layers as registry
from tconv.bench.frameworks.interface import Case, Framework, Gap, Sides
from tconv.bench.layers import known_name
from tconv.bench.networks import NETWORKS
from tconv.bench.peers.interface import UnableError

ALLOWED = {"float32": 1e-5, "float64": 1e-13}
"""Largest difference of two sides' outputs and gradients, as a share of the largest value."""
AUTOCAST = 1.5
"""With autocast to a 2-byte dtype both sides differ from the model in float32: tconv by this many times PyTorch's
difference at most."""
_TINY = {"name": "tiny layer", "n": 1, "c_in": 3, "c_out": 2, "in": [4, 4], "k": 3, "s": 2, "p": 1}


def _names(kind: str) -> list[str]:
    if kind == "models":
        return list(NETWORKS)
    return [layer.name for layer in registry.read()] if kind == "training" else [str(_TINY["name"])]


def _model(name: str, dtype: str, layout: str) -> Sides:
    """Return a network in eval mode, without gradients: PyTorch's, accelerated, and accelerated with fuse=True.

    float64 is the model's own dtype; bfloat16 and float16 are those of autocast. With channels last, the model and its
    input have that memory format. Raises UnableError if there is none.
    """
    torch: Any = import_module("torch")
    tconv_torch: Any = import_module("tconv.torch")
    network = NETWORKS[name]
    formats = {4: "channels_last", 5: "channels_last_3d"}
    if layout == "last" and len(network.shape) not in formats:
        raise UnableError("PyTorch's channels_last is for 2 or 3 spatial axes")
    memory = getattr(torch, formats[len(network.shape)] if layout == "last" else "contiguous_format")
    kind = torch.float64 if dtype == "float64" else torch.float32
    torch.manual_seed(0)
    stock = network.build().eval().to(kind, memory_format=memory)
    x = torch.randn(network.shape).to(kind, memory_format=memory)

    def copied() -> Any:
        copy = network.build().eval().to(kind, memory_format=memory)
        copy.load_state_dict(stock.state_dict())
        return copy

    def context() -> Any:
        return nullcontext() if dtype in ALLOWED else torch.autocast("cpu", getattr(torch, dtype))

    def call_of(network: Any) -> Callable[[], Any]:
        def call() -> Any:
            with torch.no_grad(), context():
                return network(x)

        return call

    accelerated, fused = copied(), copied()
    exact = None if dtype in ALLOWED else torch.no_grad()(stock)(x)
    with context():
        report = tconv_torch.accelerate(accelerated)
        measured = tconv_torch.accelerate(fused, x, fuse=True)
    sides = {"torch": stock, "tconv": accelerated, **({"fused": fused} if measured.fused else {})}
    facts = {"share": measured.share, "layers": len(report.layers), "left": len(report.left)}
    title = (
        network.title + (f", {dtype}" if dtype != "float32" else "") + (", channels last" if layout == "last" else "")
    )
    return _compared({side: call_of(one) for side, one in sides.items()}, {"title": title, **facts}, dtype, exact)


def _training(name: str, dtype: str, layout: str) -> Sides:
    """Return a training step of a layer: forward, gradients of input, weight and bias, and an update of the weight."""
    (layer,) = [layer for layer in registry.read() if layer.name == name]
    return _compared(_layer_sides(layer, trained=True), {"title": name, "flops": 3 * layer.flops}, dtype)


def _overhead(name: str, dtype: str, layout: str) -> Sides:
    """Return a layer with next to nothing to compute, called as a function without gradients."""
    return _compared(_layer_sides(registry.Layer.of(_TINY), trained=False), {"title": name}, dtype)


def _layer_sides(layer: registry.Layer, trained: bool) -> dict[str, Callable[[], Any]]:
    torch: Any = import_module("torch")
    tconv_torch: Any = import_module("tconv.torch")
    torch_peer: Any = import_module("tconv.bench.peers.torch")
    torch.manual_seed(0)
    x = torch.randn(layer.batch, layer.in_channels, *layer.input_shape)
    w, bias = torch.randn(layer.weight_shape), torch.randn(layer.out_channels)
    arguments = torch_peer.arguments(layer)

    def side(operator: Callable[..., Any]) -> Callable[[], Any]:
        if not trained:
            return torch.no_grad()(lambda: operator(x, w, bias, **arguments))  # type: ignore[no-any-return]
        leaves = [tensor.clone().requires_grad_() for tensor in (x, w, bias)]
        output_gradient = torch.randn(layer.output_shape)

        def step() -> Any:
            y = operator(*leaves, **arguments)
            gradients = torch.autograd.grad(y, leaves, output_gradient)
            with torch.no_grad():
                leaves[1].add_(gradients[1], alpha=-1e-6)  # as in training: the weight changes, and is packed anew
            return (y.detach(), *gradients)

        return step

    torch.manual_seed(1)
    stock = side(torch_peer.operator(layer))
    torch.manual_seed(1)
    return {"torch": stock, "tconv": side(tconv_torch.conv_transpose)}


def _difference(a: Any, b: Any) -> float:
    """Return the largest difference of two outputs' tensors, as a share of the largest value of each; NaN stays."""
    torch: Any = import_module("torch")
    leaves: Any = import_module("torch.utils._pytree").tree_leaves
    worst = 0.0
    for one, other in zip(leaves(a), leaves(b), strict=True):
        if isinstance(one, torch.Tensor):
            gap = float((one.double() - other.double()).abs().max()) / float(other.abs().max())
            worst = gap if not gap <= worst else worst
    return worst


def _compared(calls: dict[str, Callable[[], Any]], facts: dict[str, Any], dtype: str, exact: Any = None) -> Sides:
    """Return the sides, to be compared with PyTorch's outputs, or with `exact` ones where both are less exact."""
    stock = calls["torch"]()
    reference = stock if exact is None else exact
    allowed = ALLOWED[dtype] if exact is None else AUTOCAST * _difference(stock, reference)
    return Sides(calls, lambda side, outputs: Gap(_difference(outputs, reference), allowed), facts)


def _start(threads: int, backend: str) -> None:
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)


def _build(kind: str, case: Case) -> Sides:
    build = {"models": _model, "training": _training, "overhead": _overhead}[kind]
    return build(case.name, case.dtype, case.layout)


def _select(kind: str, wanted: Sequence[str]) -> list[str]:
    if kind == "models":
        return [known_name(name, list(NETWORKS), "model") for name in wanted] or list(NETWORKS)
    return [known_name(name, _names(kind), "layer") for name in wanted] or _names(kind)


FRAMEWORK = Framework(
    "PyTorch",
    ("torch",),
    ("models", "training", "overhead"),
    _names,
    _select,
    _start,
    _build,
    dtypes=dtypes.DTYPES["cpu"],
    layouts=dtypes.LAYOUTS,
)
