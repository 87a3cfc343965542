"""Semantic segmentation: is a transposed convolution better than interpolation on the way back to the picture?

An FCN and a U-Net learn to name each pixel of scenes made of hand-cut photographs (cut_outs.py). Each is trained with
several ways up, once for each seed, from the same first weights and on the same scenes; held-out cut-outs and
photographs are looked at once, at the end. About 12 minutes on two cores, and 320 MB of Debian
packages that are fetched once:

    pip install ".[test]"
    python examples/segmentation.py                         # then open runs/segmentation/page.html
    python examples/segmentation.py --packages FOLDER       # unpacked Debian packages, where there is no apt
    python examples/segmentation.py --quick                 # under a minute; exit code 1 if nothing was learned
    torchrun --nproc-per-node 2 examples/segmentation.py    # each run data-parallel

A run that was killed goes on at its last checkpoint with the numbers of one that was not.
"""

from __future__ import annotations

import copy
import functools
import sys
from pathlib import Path

import shared_parts.command_line  # noqa: F401  it has to be first
import numpy as np
import torch
from segmentation_parts import page
from segmentation_parts.networks import network, predict, tensor_of
from segmentation_parts.scores import intersection_over_union, scores
from segmentation_parts.task import CLASSES, RECIPE, UPS, batch_of, class_weights, options_of, recipes_of, scenes_of
from shared_parts import training
from shared_parts.report import Result, checksum
from torch.nn import functional

import tconv.torch

QUICK = {"output": Path("runs/segmentation-quick"), "steps": 90, "seeds": 1, "scenes": 400, "size": 64, "batch": 16}
PICTURE = 384
"""Height and width of the picture whose inference is timed."""


class Run:
    """One training: a network, the same as it was at a quarter of the steps, an optimiser, and what a step does."""

    def __init__(self, recipe, images, labels, layer=tconv.torch.ConvTranspose2d):
        self.recipe, self.images, self.labels = recipe, images, labels
        self.net = network(recipe, layer)
        self.quarter = copy.deepcopy(self.net)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), recipe["rate"], weight_decay=1e-4)
        self.weights = torch.from_numpy(class_weights(labels))
        self.forward, self.mine = training.wrap(self.net), slice(None)
        if training.together():
            self.mine = slice(torch.distributed.get_rank(), None, torch.distributed.get_world_size())

    def parts(self):
        """Return all that changes."""
        return {"net": self.net, "quarter": self.quarter, "optimiser": self.optimiser}

    def batch(self, number):
        """Return this process's share of the images and labels of a step."""
        images, labels = batch_of(self.recipe, number, self.images, self.labels)
        return tensor_of(images[self.mine]), torch.from_numpy(labels[self.mine]).long()

    def step(self, number):
        """Take an optimisation step, and return the loss."""
        images, labels = self.batch(number)
        training.set_rate(self.optimiser, training.cosine(number, self.recipe["steps"], self.recipe["rate"]))
        loss = functional.cross_entropy(self.forward(images), labels, self.weights)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if number + 1 == max(1, self.recipe["steps"] // 4):
            self.quarter.load_state_dict(self.net.state_dict())
        return loss.item()


def train(recipe, folder, show, *, packages, cache, every):
    """Train a network to its end, and return its figures on the held-out scenes."""
    pools = scenes_of(recipe, packages, cache)
    run = Run(recipe, *pools["training"])

    def mean_iou(net, split):
        images, labels = pools[split]
        return float(np.nanmean(intersection_over_union(labels, predict(net, images), len(CLASSES))))

    def measure(step):
        return {"mean IoU": mean_iou(run.net, "validation")}

    path = path_of(recipe, folder)
    fitted = training.fit(run.parts(), run.step, recipe["steps"], path, recipe, every=every, measure=measure, show=show)
    images, labels = pools["held-out"]
    found = scores(labels, predict(run.net, images), len(CLASSES))
    found["mean IoU at a quarter"] = mean_iou(run.quarter, "held-out")
    size = sum(each.numel() for each in run.net.parameters())
    return {**found, "history": fitted.history, "seconds": fitted.seconds, "parameters": size}


def path_of(recipe, folder):
    """Return the path of the checkpoint of a run."""
    return folder / f"{recipe['name'].replace(' ', '-')}.pt"


def trained(recipe, folder):
    """Return the trained network of a finished run, in eval mode."""
    net = network(recipe)
    training.read_checkpoint(path_of(recipe, folder), recipe, {"net": net})
    return net.eval()


def times_of(recipe, net, images, labels, rounds):
    """Return the times of a training step and of inference with PyTorch's layers and with this package's.

    net: The trained network of the recipe.
    images, labels: The scenes that it was trained on.
    """
    ours, theirs = Run(recipe, images, labels), Run(recipe, images, labels, torch.nn.ConvTranspose2d)
    steps = training.step_times({"PyTorch": lambda: theirs.step(0), "tconv": lambda: ours.step(0)}, rounds)
    stock, tiles = network(recipe, torch.nn.ConvTranspose2d).eval(), -(-PICTURE // len(images[0]))
    stock.load_state_dict(net.state_dict())
    picture = tensor_of(np.tile(images[:1], (1, tiles, tiles, 1))[:, :PICTURE, :PICTURE])
    faster = copy.deepcopy(stock)
    with torch.inference_mode():
        report = tconv.torch.accelerate(faster, picture, fuse=True)
        passes = {"PyTorch": lambda: stock(picture), "accelerated": lambda: faster(picture)}
        inference = training.step_times(passes, rounds)
    about = {"shape": list(picture.shape), "difference": float(report.difference), "report": str(report)}
    return {"training step": {**steps, "scenes": recipe["batch"]}, "inference": {**inference, **about}}


def main(arguments=None):
    """Train all networks, compare them on the held-out scenes, and write the folder of results."""
    options = options_of(arguments, __doc__, "runs/segmentation", 360, QUICK, every=90)
    ups = {"U-Net": ["transposed"], "FCN": ["transposed", "default"]} if options.quick else UPS
    share, recipes = training.start_processes(options.batch), recipes_of(options, ups)
    torch.set_num_threads(options.threads)
    with training.first_process_first():
        pools = scenes_of(recipes[0], options.packages, options.cache)
    if share.rank == 0:
        about = {name: getattr(options, name) for name in ("seed", "seeds", *RECIPE, "threads")}
        data = checksum(array for pool in pools.values() for array in pool)
        about |= {"processes": share.world, "data": data}
        result = Result(options.output, "Semantic segmentation: ways up", about)
    function = functools.partial(train, packages=options.packages, cache=options.cache, every=options.every)
    results = training.spread(function, recipes, options.output, options.jobs, options.threads)
    if not training.first_alone():
        return None
    first = [recipe for recipe in recipes if recipe["seed"] == options.seed]
    nets = {(recipe["net"], recipe["up"]): (network(recipe), trained(recipe, options.output)) for recipe in first}
    rounds = 5 if options.quick else 25
    print("the times of a training step and of inference, in turns with stock PyTorch ...", flush=True)
    times = {
        recipe["net"]: times_of(recipe, nets[recipe["net"], recipe["up"]][1], *pools["training"], rounds)
        for recipe in first
        if recipe["up"] == "transposed"
    }
    runs = list(zip(recipes, results, strict=True))
    images = page.some(pools["held-out"])[0]
    guesses = {key: predict(net, images) for key, (_, net) in nets.items()}
    kernels = {
        up: [net.up.weight.detach().numpy() for net in pair]
        for (net, up), pair in nets.items()
        if net == "FCN" and hasattr(pair[0].up, "weight")
    }
    best = page.write(result, runs, guesses, kernels, pools["held-out"], times, __doc__)
    return result.finish(page.shortfalls(best) if options.quick else [])


if __name__ == "__main__":
    sys.exit(main())
