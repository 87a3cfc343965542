"""PyTorch against PyTorch on tconv's kernel: whole models, and training steps of layers, two sides in one process.

A case is checked first: the outputs (and, of a training step, all gradients) of the two sides differ by no more than
1e-5 of the largest value. Then rounds: each side takes one sample in every round, in an order that is shuffled anew.

    python -m tconv.bench.torch_comparison models THREADS ROUNDS SECONDS NAME       one case, a JSON line on stdout
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from tconv._extras import install
from tconv.bench import child_process, timing
from tconv.bench import layers as registry
from tconv.bench.networks import NETWORKS
from tconv.bench.worker import private_stdout, versions

ALLOWED = 1e-5
LEAST_ROUNDS = 3
KINDS = ("models", "training", "overhead")
_LIMIT = 400.0  # seconds beside those of the rounds, for building and checking
_TINY = {"name": "tiny layer", "n": 1, "c_in": 3, "c_out": 2, "in": [4, 4], "k": 3, "s": 2, "p": 1}


class Case(NamedTuple):
    """Sides to be called, what each returns to be compared, and what else is known."""

    sides: dict[str, Callable[[], Any]]
    facts: dict[str, Any]


def names(kind: str) -> list[str]:
    """What can be timed."""
    if kind == "models":
        return list(NETWORKS)
    return [layer.name for layer in registry.read()] if kind == "training" else [str(_TINY["name"])]


# -- the parent's side -------------------------------------------------------------------------------------------------


def run(
    kind: str,
    chosen: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float,
    tell: Callable[[str, float], None] = lambda words, share: None,
) -> Iterator[dict[str, Any]]:
    """One entry per case, with samples in ms, or the reason why there are none."""
    begun = time.monotonic()
    for number, name in enumerate(chosen):
        tell(name, number / len(chosen))
        left = max(1.0, (seconds - (time.monotonic() - begun)) / (len(chosen) - number))
        arguments = [kind, str(threads), str(rounds), f"{left:.1f}", name]
        command = [sys.executable, "-P", "-m", "tconv.bench.torch_comparison", *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=child_process.environment(threads), timeout=left + _LIMIT
            )
            entry = json.loads(done.stdout) if done.returncode == 0 else {"reason": _last(done.stderr)}
        except subprocess.TimeoutExpired:
            entry = {"reason": f"no answer in {left + _LIMIT:.0f} s"}
        yield {"name": name, **entry}


def _last(said: str) -> str:
    return next((line.strip()[:300] for line in reversed(said.split("\n")) if line.strip()), "it said nothing")


# -- the child's side --------------------------------------------------------------------------------------------------


def model(name: str) -> Case:
    """A network in eval mode without gradients: PyTorch's, accelerated, and with what can be fused."""
    torch: Any = import_module("torch")
    ours: Any = import_module("tconv.torch")
    accelerating: Any = import_module("tconv.torch.model_acceleration")
    measuring: Any = import_module("tconv.torch.layer_timing")
    network = NETWORKS[name]
    torch.manual_seed(0)
    stock = network.build().eval()
    x = torch.randn(network.shape)

    def copied() -> Any:
        made = network.build().eval()
        made.load_state_dict(stock.state_dict())
        return made

    accelerated, fused = copied(), copied()
    report = ours.accelerate(accelerated)
    found = {layer.name: stock.get_submodule(layer.name) for layer in report.layers}
    with measuring.quiet(stock):
        measured = measuring.measure(stock, found, measuring.Example.of(x))
    share = sum(seen.seconds for seen in measured.layers.values()) / measured.seconds
    sides = {"torch": stock, "tconv": accelerated}
    ours.accelerate(fused)
    with measuring.quiet(fused):
        if accelerating.fuse_all(fused, measuring.Example.of(x), measured)[0]:
            sides["fused"] = fused
    runs = {side: torch.no_grad()(lambda made=made: made(x)) for side, made in sides.items()}
    words = {"words": network.words, "share": share, "layers": len(report.layers), "left": len(report.left)}
    return Case(runs, words)


def training(name: str) -> Case:
    """Forward and backward of a layer of the registry, gradients of input, weight and bias; then the weight changes."""
    (layer,) = [layer for layer in registry.read() if layer.name == name]
    return Case(_layer_sides(layer, True), {"words": name, "flops": 3 * layer.flops})


def overhead(name: str) -> Case:
    """A layer with next to nothing to compute, called as a function without gradients."""
    return Case(_layer_sides(registry.Layer.of(_TINY), False), {"words": name})


def _layer_sides(layer: registry.Layer, trained: bool) -> dict[str, Callable[[], Any]]:
    torch: Any = import_module("torch")
    ours: Any = import_module("tconv.torch")
    functional: Any = import_module("tconv.bench.peers.torch")
    torch.manual_seed(0)
    x = torch.randn(layer.batch, layer.in_channels, *layer.input_shape)
    w, bias = torch.randn(layer.weight_shape), torch.randn(layer.out_channels)
    words = functional.words(layer)

    def side(call: Callable[..., Any]) -> Callable[[], Any]:
        if not trained:
            return torch.no_grad()(lambda: call(x, w, bias, **words))  # type: ignore[no-any-return]
        given = [tensor.clone().requires_grad_() for tensor in (x, w, bias)]
        towards = torch.randn(layer.output_shape)

        def step() -> Any:
            y = call(*given, **words)
            grads = torch.autograd.grad(y, given, towards)
            with torch.no_grad():
                given[1].add_(grads[1], alpha=-1e-6)  # a weight that is trained changes, and is packed anew
            return (y.detach(), *grads)

        return step

    torch.manual_seed(1)
    stock = side(functional.operator(layer))
    torch.manual_seed(1)
    return {"torch": stock, "tconv": side(ours.conv_transpose)}


def difference(a: Any, b: Any) -> float:
    """The largest difference of two outputs' tensors, as a share of the largest value of each."""
    torch: Any = import_module("torch")
    leaves: Any = import_module("torch.utils._pytree").tree_leaves
    worst = 0.0
    for one, other in zip(leaves(a), leaves(b), strict=True):
        if isinstance(one, torch.Tensor):
            gap = float((one - other).abs().max()) / float(other.abs().max())
            worst = gap if not gap <= worst else worst  # NaN stays
    return worst


def rounds_of(case: Case, rounds: int, seconds: float, seed: int = 0) -> dict[str, list[float]]:
    """Samples in ms by side: one of each in every round, in a random order; at least 3 rounds."""
    order, begun = random.Random(seed), time.perf_counter()
    once = {side: timing.sample(call, 1.0)[0] for side, call in case.sides.items()}
    samples: dict[str, list[float]] = {side: [] for side in case.sides}
    for number in range(rounds):
        for side in order.sample(list(case.sides), len(case.sides)):
            spent, _ = timing.sample(case.sides[side], once[side])
            samples[side].append(float(f"{spent * 1e3:.5g}"))
            timing.settle()
        if number + 1 >= LEAST_ROUNDS and time.perf_counter() - begun > seconds:
            break
    return samples


def main(arguments: Sequence[str]) -> int:
    """KIND THREADS ROUNDS SECONDS NAME, as the parent starts it."""
    kind, threads, rounds, seconds, name = arguments
    answers = private_stdout()
    warnings.simplefilter("ignore")
    try:
        torch: Any = import_module("torch")
        ours: Any = import_module("tconv")
        torch.set_num_threads(int(threads))
        ours.set_num_threads(int(threads))
        case = {"models": model, "training": training, "overhead": overhead}[kind](name)
    except ModuleNotFoundError as error:
        answers.write(json.dumps({"reason": f"{error.name} is not installed: {install(str(error.name))}"}))
        return 0
    right: Any = case.sides["torch"]()
    worst = max(difference(call(), right) for side, call in case.sides.items() if side != "torch")
    entry: dict[str, Any] = {**case.facts, "difference": worst}
    if not worst <= ALLOWED:
        entry["reason"] = f"wrong: the outputs differ by {worst:.2g} of the largest value; {ALLOWED:g} is allowed"
    else:
        entry["samples"] = rounds_of(case, int(rounds), float(seconds))
    packages = {"torch", "tconv", *([NETWORKS[name].package] if kind == "models" else [])}
    answers.write(json.dumps({**entry, "versions": versions(sorted(packages))}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
