"""One case of `tconv bench --models`, `--training` or `--overhead`, in a process of its own.

The process builds the case, compares the outputs of its sides, and then takes samples as it is asked. It may run with
an older tconv (`--base`), so it uses public names of tconv only.

    -> {"do": "build"}                      <- {"state": "built", "sides": {"torch": 0.02, "tconv": 0.01}, ...}
    -> {"do": "sample", "side": "tconv"}    <- {"state": "sampled", "ms": 10.5}

`sides` maps a side to the seconds that one call of it takes. Another state comes with a reason.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any, NamedTuple

from tconv.bench import layers as registry
from tconv.bench import timing
from tconv.bench.networks import NETWORKS
from tconv.bench.peers.interface import UnableError
from tconv.bench.worker import versions
from tconv.bench.worker_protocol import Message, private_stdout, serve

ALLOWED = {"float32": 1e-5, "float64": 1e-13}
"""Largest difference of two sides' outputs and gradients, as a share of the largest value."""
AUTOCAST = 1.5
"""With autocast to a 2-byte dtype both sides differ from the model in float32: tconv by this many times PyTorch's
difference at most."""
KINDS = ("models", "training", "overhead")
_TINY = {"name": "tiny layer", "n": 1, "c_in": 3, "c_out": 2, "in": [4, 4], "k": 3, "s": 2, "p": 1}


class TorchCase(NamedTuple):
    """The sides of a comparison, each a call that returns its outputs, and facts for the table."""

    sides: dict[str, Callable[[], Any]]
    facts: dict[str, Any]
    exact: Any = None
    """Outputs in float32, if those of the sides are less exact."""


def names(kind: str) -> list[str]:
    """Return the names of all cases of a kind."""
    if kind == "models":
        return list(NETWORKS)
    return [layer.name for layer in registry.read()] if kind == "training" else [str(_TINY["name"])]


def model(name: str, dtype: str, layout: str) -> TorchCase:
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
    return TorchCase({side: call_of(one) for side, one in sides.items()}, {"title": title, **facts}, exact)


def training(name: str, dtype: str, layout: str) -> TorchCase:
    """Return a training step of a layer: forward, gradients of input, weight and bias, and an update of the weight."""
    (layer,) = [layer for layer in registry.read() if layer.name == name]
    return TorchCase(_layer_sides(layer, trained=True), {"title": name, "flops": 3 * layer.flops})


def overhead(name: str, dtype: str, layout: str) -> TorchCase:
    """Return a layer with next to nothing to compute, called as a function without gradients."""
    return TorchCase(_layer_sides(registry.Layer.of(_TINY), trained=False), {"title": name})


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


def difference(a: Any, b: Any) -> float:
    """Return the largest difference of two outputs' tensors, as a share of the largest value of each; NaN stays."""
    torch: Any = import_module("torch")
    leaves: Any = import_module("torch.utils._pytree").tree_leaves
    worst = 0.0
    for one, other in zip(leaves(a), leaves(b), strict=True):
        if isinstance(one, torch.Tensor):
            gap = float((one.double() - other.double()).abs().max()) / float(other.abs().max())
            worst = gap if not gap <= worst else worst
    return worst


class CaseWorker:
    """One case between messages."""

    def __init__(self, kind: str, name: str, threads: int, dtype: str = "float32", layout: str = "first") -> None:
        self.kind, self.name, self.threads, self.dtype, self.layout = kind, name, threads, dtype, layout
        self._calls: dict[str, Callable[[], Any]] = {}
        self._once: dict[str, float] = {}  # seconds of one call

    def answer(self, message: Message) -> Message:
        """Return the answer to "build" or "sample"; an exception becomes a state with a reason."""
        try:
            return self._build() if message["do"] == "build" else self._sample(message["side"])
        except UnableError as error:
            return {"state": "unable", "reason": str(error)}
        except ModuleNotFoundError as error:
            return {"state": "missing", "module": error.name, "package": error.name}
        except Exception as error:  # the other cases go on
            return {"state": "error", "reason": f"{type(error).__name__}: {error}"[:600]}

    def _build(self) -> Message:
        torch: Any = import_module("torch")
        tconv: Any = import_module("tconv")
        torch.set_num_threads(self.threads)
        tconv.set_num_threads(self.threads)
        build = {"models": model, "training": training, "overhead": overhead}[self.kind]
        case = build(self.name, self.dtype, self.layout)
        stock = case.sides["torch"]()
        reference = stock if case.exact is None else case.exact
        worst = max(difference(call(), reference) for side, call in case.sides.items() if side != "torch")
        own = difference(stock, reference)
        allowed = ALLOWED[self.dtype] if case.exact is None else AUTOCAST * own
        packages = {"torch", "tconv", *([NETWORKS[self.name].package] if self.kind == "models" else [])}
        facts = {**case.facts, "difference": worst, "torch_difference": own, "versions": versions(sorted(packages))}
        if not worst <= allowed:
            reason = f"wrong: the outputs differ by {worst:.2g} of the largest value; {allowed:.2g} is allowed"
            return {"state": "wrong", "reason": reason, "facts": facts}
        self._calls = case.sides
        self._once = {side: timing.sample(call, 1.0)[0] for side, call in case.sides.items()}
        timing.settle()
        return {"state": "built", "sides": self._once, "facts": facts}

    def _sample(self, side: str) -> Message:
        seconds, _ = timing.sample(self._calls[side], self._once[side])
        timing.settle()
        return {"state": "sampled", "ms": seconds * 1e3}


def main(arguments: Sequence[str]) -> None:
    """Serve one case: KIND NAME THREADS DTYPE LAYOUT."""
    kind, name, threads, dtype, layout = arguments
    answers = private_stdout()
    warnings.simplefilter("ignore")
    serve(CaseWorker(kind, name, int(threads), dtype, layout), sys.stdin, answers.write)


if __name__ == "__main__":
    main(sys.argv[1:])
