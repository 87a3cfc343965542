"""Whole training steps of the networks of three examples: stock PyTorch against tconv.torch's layers, in turns.

    python benchmarks/training_steps.py [--threads 2] [--rounds 15] [-o RESULT.json] [NETWORK ...]

A step is forward, loss, backward and Adam, of the networks and sizes that `examples/` train, contiguous and with
channels last. Both have the same layers; tconv's copy has `tconv.torch.Conv2d` and `ConvTranspose2d` instead of
PyTorch's. The gate comes first: the gradients of a first step are compared with those in float64, and the largest error
with tconv's layers may be twice that with PyTorch's, or 1e-3 of a gradient's largest value: a number within rounding of
zero may fall on either side of a ReLU.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tconv.torch
from tconv.bench.roofline import machine_facts

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from generation_parts import adversaries
from segmentation_parts import networks as segmentation
from shared_parts.side_by_side import step_times
from super_resolution_parts import networks as super_resolution

REPLACED = {nn.Conv2d: tconv.torch.Conv2d, nn.ConvTranspose2d: tconv.torch.ConvTranspose2d}
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
ALLOWED = 1e-3
"""Error that is always allowed, as a share of a gradient's largest value."""


class Training:
    """Networks that learn together: `step()` computes the gradients of each and takes a step of Adam."""

    def __init__(self, nets: list[nn.Module], losses: Callable[..., list[Any]], data: list[torch.Tensor]) -> None:
        self.nets, self.losses, self.data = nn.ModuleList(nets), losses, data
        self.optimisers = [torch.optim.Adam(net.parameters(), 1e-6) for net in nets]

    def gradients(self) -> list[torch.Tensor]:
        """Compute all gradients, each network's of its own loss."""
        for net, loss in zip(self.nets, self.losses(*self.nets, *self.data), strict=True):
            net.zero_grad()
            loss.backward(inputs=list(net.parameters()))
        return [parameter.grad for parameter in self.nets.parameters()]

    def step(self) -> None:
        """Take a step."""
        self.gradients()
        for optimiser in self.optimisers:
            optimiser.step()

    def copy(self, layers: bool, memory_format: Any, dtype: Any = torch.float32) -> Training:
        """Return the same training with PyTorch's layers or, with `layers`, tconv's."""
        nets = [copy.deepcopy(net).to(dtype=dtype, memory_format=memory_format) for net in self.nets]
        for module in (module for net in nets for module in net.modules()):
            if layers and type(module) in REPLACED:
                module.__class__ = REPLACED[type(module)]
        data = [
            one.to(dtype=dtype, memory_format=memory_format) if one.is_floating_point() and one.dim() == 4 else one
            for one in self.data
        ]
        return Training(nets, self.losses, data)


def super_resolving(channels: int, layers: int) -> Training:
    """Return the training of super_resolution.py: 16 patches of 48 pixels."""
    net = super_resolution.network(2, layers, channels)
    nn.init.normal_(net[-1].weight, std=0.05)  # it starts at zero, where most gradients are zero
    side = 48 + 2 * super_resolution.border_of(net)

    def losses(net: Any, luma: torch.Tensor, detail: torch.Tensor) -> list[Any]:
        return [torch.sqrt((net(luma) - detail).square() + 1e-6).mean()]

    return Training([_stock(net)], losses, [torch.rand(16, 1, side, side), torch.rand(16, 1, 96, 96)])


def generating(kernel: int) -> Training:
    """Return the training of generation.py: a DCGAN on 64 pictures of 32 x 32 pixels."""

    def losses(generator: Any, discriminator: Any, z: torch.Tensor, real: torch.Tensor) -> list[Any]:
        made = generator(z)
        softplus = nn.functional.softplus
        judged = softplus(-discriminator(real)).mean() + softplus(discriminator(made.detach())).mean()
        return [softplus(-discriminator(made)).mean(), judged]

    nets = [_stock(adversaries.generator(kernel)), adversaries.discriminator()]
    return Training(nets, losses, [torch.randn(64, adversaries.NUMBERS, 1, 1), torch.rand(64, 1, 32, 32) * 2 - 1])


def segmenting(kind: type[nn.Module]) -> Training:
    """Return the training of segmentation.py: 24 scenes of 96 x 96 pixels."""
    classes = torch.randint(0, len(segmentation.CLASSES), (24, 96, 96))

    def losses(net: Any, images: torch.Tensor, labels: torch.Tensor) -> list[Any]:
        return [nn.functional.cross_entropy(net(images), labels)]

    return Training([_stock(kind("transposed"))], losses, [torch.randn(24, 3, 96, 96), classes])


def _stock(net: nn.Module) -> nn.Module:
    """Return the network with PyTorch's own layers."""
    tconv.torch.restore(net)
    return net


TRAININGS: dict[str, Callable[[], Training]] = {
    "super-resolution, 12 channels": partial(super_resolving, 12, 12),
    "super-resolution, 16 channels": partial(super_resolving, 16, 16),
    "DCGAN, kernel 4": partial(generating, 4),
    "DCGAN, kernel 5": partial(generating, 5),
    "U-Net": partial(segmenting, segmentation.UNet),
    "FCN": partial(segmenting, segmentation.FCN),
}


def error(training: Training, truth: list[torch.Tensor]) -> float:
    """Return the largest error of the gradients of a first step, as a share of the largest value of each.

    The value is at least a thousandth of that of all gradients: in front of a batch norm a bias has none.
    """
    least = 1e-3 * max(float(exact.abs().max()) for exact in truth)
    pairs = zip(training.gradients(), truth, strict=True)
    return max(float((one.double() - exact).abs().max() / exact.abs().max().clamp(min=least)) for one, exact in pairs)


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Return the medians of a network's steps in seconds, ratios, and the largest errors of its gradients."""
    torch.manual_seed(0)
    training = TRAININGS[name]()
    truth = training.copy(False, torch.contiguous_format, torch.float64).gradients()
    calls, worst = {}, {}
    for words, memory_format in FORMATS.items():
        pair = {"PyTorch": training.copy(False, memory_format), "tconv": training.copy(True, memory_format)}
        theirs, ours = (error(one, truth) for one in pair.values())
        if ours > max(2 * theirs, ALLOWED):
            sys.exit(f"{name}, {words}: a gradient of tconv is further from float64 than PyTorch's")
        worst[words] = {"PyTorch": theirs, "tconv": ours}
        calls |= {f"{who}, {words}": one.step for who, one in pair.items()}
    seconds = step_times(calls, rounds)["seconds"]
    stock = {words: seconds[f"PyTorch, {words}"] for words in FORMATS}
    ratio = {words: stock[words] / seconds[f"tconv, {words}"] for words in FORMATS}
    best = min(stock.values()) / min(seconds[f"tconv, {words}"] for words in FORMATS)
    return {"network": name, "seconds": seconds, "ratio": ratio, "ratio of the best": best, "errors": worst}


def main() -> None:
    """Measure, print a row for each network, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(TRAININGS)} (all)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path, metavar="RESULT.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    about = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine_facts(),
        "torch": torch.__version__,
    }
    rows, load = [], os.getloadavg()[0]  # of other programs
    heads = f"{'ratio':>7}{'PyTorch cl':>12}{'tconv cl':>10}{'ratio':>7}{'best':>7}"
    print(f"{'ms per step, cl: channels last':32}{'PyTorch':>9}{'tconv':>9}{heads}")
    for name in options.networks or TRAININGS:
        rows.append(measure(name, options.rounds))
        times, ratio = [1e3 * one for one in rows[-1]["seconds"].values()], list(rows[-1]["ratio"].values())
        print(
            f"{name:32}{times[0]:9.1f}{times[1]:9.1f}{ratio[0]:7.2f}{times[2]:12.1f}{times[3]:10.1f}{ratio[1]:7.2f}"
            f"{rows[-1]['ratio of the best']:7.2f}",
            flush=True,
        )
    if options.output:
        about["load before"] = load
        result = {**about, "threads": options.threads, "rounds": options.rounds, "networks": rows}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
