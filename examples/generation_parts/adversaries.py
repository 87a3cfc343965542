"""The networks of `generation.py`: DCGAN's generator and discriminator, a classifier, and a step of their training."""

from __future__ import annotations

import copy
import math
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from shared_parts import training
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import tconv.torch

NUMBERS = 64
"""Numbers that a picture is made from."""
STARTS = {
    "default-5": {"words": "PyTorch's start, kernel 5", "kernel": 5, "start": "default"},
    "icnr-5": {"words": "ICNR, kernel 5", "kernel": 5, "start": "icnr"},
    "default-4": {"words": "PyTorch's start, kernel 4", "kernel": 4, "start": "default"},
    "icnr-4": {"words": "ICNR, kernel 4", "kernel": 4, "start": "icnr"},
    "resize": {"words": "resize, then convolve", "kernel": 3, "start": "resize"},
}
"""Generators that are compared: how their layers start, and the kernel of those that double the size."""


def generator(kernel=4, start="default", channels=32, layer=tconv.torch.ConvTranspose2d):
    """Return DCGAN's generator (Radford et al. 2015, arXiv:1511.06434), from [N, 64, 1, 1] to [N, 1, 32, 32] in -1..1.

    kernel: Of the three layers that double the size; one that is no multiple of 2 has phases with fewer taps.
    start: "default", PyTorch's; "icnr", the same distribution with equal phases; "resize", a convolution of repeated
        pixels instead.
    layer: `torch.nn.ConvTranspose2d` for PyTorch's own operator.
    """
    sizes = [4 * channels, 2 * channels, channels, 1]
    layers = [layer(NUMBERS, sizes[0], 4, bias=False)]
    for before, after in pairwise(sizes):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), *doubling(before, after, kernel, start, layer)]
    return nn.Sequential(*layers, nn.Tanh())


def doubling(before, after, kernel, start, layer):
    """Return the modules that double the size: a transposed convolution, or a convolution of repeated pixels."""
    bias = after == 1  # the others have a batch norm behind them
    if start == "resize":
        return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias)]
    up = layer(before, after, kernel, 2, (kernel - 1) // 2, output_padding=kernel % 2, bias=bias)
    if start == "icnr":
        bound = 1 / math.sqrt(after * kernel**2)  # PyTorch's; the fifth taps of kernel 5 start at 0
        tconv.torch.icnr_(up.weight, up.stride, init=partial(nn.init.uniform_, a=-bound, b=bound))
    return [up]


def upsamplings(net):
    """Return a generator's transposed convolutions with stride 2."""
    return [layer for layer in net if isinstance(layer, nn.ConvTranspose2d) and layer.stride[0] > 1]


def discriminator(channels=16):
    """Return a network from [N, 1, 32, 32] to the logarithm of the odds that a picture is real, [N, 1, 1, 1]."""
    layers = [nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before in (channels, 2 * channels):
        after = 2 * before
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(4 * channels, 1, 4))


class Classifier(nn.Module):
    """Classes of pictures [N, 1, 32, 32]; its body gives 64 features, in which pictures are compared."""

    def __init__(self, classes=10, channels=16):
        super().__init__()
        layers = []
        for before, after, kernel in ((1, channels, 5), (channels, 2 * channels, 3), (2 * channels, 4 * channels, 3)):
            layers += [nn.Conv2d(before, after, kernel, 2, kernel // 2), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * channels, 64))
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        """Return the logarithms of the classes' odds, [N, classes]."""
        return self.head(torch.relu(self.body(x)))


def as_input(pixels):
    """Return pictures uint8 [N, 32, 32] as a float tensor [N, 1, 32, 32] from -1 to 1."""
    return torch.from_numpy(pixels[:, None].astype(np.float32) / 127.5 - 1)


def in_parts(net, x):
    """Return the output of a network in eval mode for many inputs, which its training does not notice."""
    net = copy.deepcopy(net).eval()
    with torch.inference_mode():
        return torch.cat([net(part) for part in x.split(250)])


def numbers_of(rng, count):
    """Return the numbers that `count` pictures are made from, [count, 64, 1, 1]."""
    return torch.from_numpy(rng.standard_normal((count, NUMBERS, 1, 1), np.float32))


def settled(net, z):
    """Return a copy of an untrained generator whose batch norms have the statistics of these inputs, as in training."""
    net = copy.deepcopy(net).train()
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        net(z)
    return net


def draw(net, z):
    """Return the pictures that a generator makes from z, uint8 [N, 32, 32]."""
    made = in_parts(net, z)[:, 0].numpy()
    return np.clip(np.rint((made + 1) * 127.5), 0, 255).astype(np.uint8)


def rate(step, steps, highest):
    """Return the learning rate: a rise in the first twentieth, and from the middle on a straight fall."""
    return highest * min(1, 20 * (step + 1) / steps, 2.02 - 2 * step / steps)


def average_gradients(net):
    """Replace gradients by their means over torchrun's processes.

    DistributedDataParallel does not allow that a discriminator sees two batches before its gradient is computed.
    """
    if training.together():
        for parameter in net.parameters():
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()


class Adversaries:
    """A generator and its discriminator, their optimisers, and the moving average of the generator, the result."""

    def __init__(self, recipe, layer=tconv.torch.ConvTranspose2d):
        torch.manual_seed(recipe["seed"])
        self.recipe = recipe
        self.generator = generator(recipe["kernel"], recipe["start"], recipe["channels"], layer)
        self.discriminator = discriminator(recipe["channels"] // 2)
        self.mean = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(recipe["ema"]), use_buffers=True)
        adam = partial(torch.optim.Adam, lr=recipe["rate"], betas=(0.5, 0.99))
        self.optimisers = [adam(net.parameters()) for net in (self.generator, self.discriminator)]

    def parts(self):
        """Return all that a checkpoint needs."""
        nets = {"generator": self.generator, "discriminator": self.discriminator, "mean": self.mean}
        return nets | dict(zip(("generator optimiser", "discriminator optimiser"), self.optimisers, strict=True))

    def step(self, real, z):
        """Take a step of both networks (non-saturating loss, Goodfellow et al. 2014), and return their losses' sum."""
        net, judge = self.generator, self.discriminator
        made = net(z)
        losses = []
        for player, optimiser in zip((judge, net), reversed(self.optimisers), strict=True):
            judge.requires_grad_(player is judge)
            if player is judge:
                loss = (nn.functional.softplus(-judge(real)) + nn.functional.softplus(judge(made.detach()))).mean()
            else:
                loss = nn.functional.softplus(-judge(made)).mean()
            optimiser.zero_grad()
            loss.backward()
            average_gradients(player)
            optimiser.step()
            losses.append(loss.item())
        self.mean.update_parameters(net)
        return sum(losses)


def classifier_of(path):
    """Return the classifier of a checkpoint."""
    net = Classifier()
    training.read_checkpoint(path, None, {"net": net})
    return net


def generator_of(path, recipe):
    """Return the trained generator of a run's checkpoint, the moving average."""
    pair = Adversaries(recipe)
    training.read_checkpoint(path, recipe, {"mean": pair.mean})
    return pair.mean.module
