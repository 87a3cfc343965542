"""What the segmentation examples share and needs no framework: ways up, scenes, what a step sees, options, runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from shared_parts.side_by_side import amount, parser, positive

from segmentation_parts import cut_outs

CLASSES = list(cut_outs.CLASSES)
UPS = {
    "U-Net": {
        "transposed": "transposed convolution, k2 s2",
        "nearest": "nearest interpolation and 3x3 convolution",
        "bilinear": "bilinear interpolation and 3x3 convolution",
    },
    "FCN": {
        "transposed": "transposed convolution, bilinear start",
        "default": "transposed convolution, default start",
        "nearest": "nearest interpolation",
        "bilinear": "bilinear interpolation",
    },
}
"""The ways up of each network; the first one is what the others are compared with."""
POOLS = {"training": (0, 1), "validation": (1, 0.05), "held-out": (2, 0.1)}
"""Seed of the scenes of each split, and how many there are, as a part of --scenes."""
RECIPE = ("steps", "batch", "rate", "scenes", "size")
"""The options that determine the numbers, beside seeds."""


def scenes_of(recipe, packages, cache):
    """Return {split: (images, labels)} of a recipe, from files in the folder `cache`."""
    splits, pools = cut_outs.load(packages, cache), {}
    for name, (seed, part) in POOLS.items():
        count = max(20, round(part * recipe["scenes"]))
        pools[name] = cut_outs.pool(splits, name, seed, count, recipe["size"], cache)
    return pools


def class_weights(labels):
    """Return float32 [classes]: one over the root of a frequency, with a mean of 1 over pixels, weights of the loss."""
    frequency = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    weights = 1 / np.sqrt(np.maximum(frequency, 1e-6))
    return np.float32(weights / (weights @ frequency))


def batch_of(recipe, number, images, labels):
    """Return the images and labels of step `number` with a seed. Half of the scenes are mirrored."""
    rng, size = np.random.default_rng([recipe["seed"], number]), recipe["batch"]
    chosen, mirrored = rng.integers(len(images), size=size), rng.random(size) < 0.5
    images, labels = images[chosen], labels[chosen]
    images[mirrored], labels[mirrored] = images[mirrored, :, ::-1], labels[mirrored, :, ::-1]
    return images, labels


def options_of(arguments, about, output, steps, quick, **defaults):
    """Return the options of an example; a wrong one is a SystemExit.

    about: The description of the example.
    output, steps, defaults: What holds without options.
    quick: What holds with --quick, unless it is given.
    """
    options = parser(about, output, steps)
    add = options.add_argument
    add("--packages", type=Path, help="folder of unpacked Debian packages, one folder each; else they are fetched")
    add("--cache", type=Path, default=cut_outs.CACHE, help=f"folder of shrunk pictures and scenes ({cut_outs.CACHE})")
    add("--seeds", type=positive, default=3, help="trainings of each network (3)")
    add("--batch", type=positive, default=24, help="scenes of a step, of all processes together (%(default)s)")
    add("--rate", type=amount, default=3e-3, help="highest learning rate (0.003)")
    add("--scenes", type=positive, default=4000, help="scenes to train on, drawn once (4000)")
    add("--size", type=positive, default=96, help="their height and width in pixels, a multiple of 16 (96)")
    options.set_defaults(**defaults)
    found = options.parse_args(arguments)
    if found.quick:
        options.set_defaults(**quick)
        found = options.parse_args(arguments)
    if found.size % 16 or found.size < 32:
        raise SystemExit(
            f"--size {found.size} is given; the networks need a multiple of 16, 32 or more. Write --size 96"
        )
    return found


def recipes_of(options, ups, **about):
    """Return the recipe of each run, the slow ones first, so that no process is idle at the end.

    ups: {net: its ways up}.
    about: More that determines the numbers.
    """
    shared = {**{name: getattr(options, name) for name in RECIPE}, **about}
    return [
        {"name": f"{net} {up} {seed}", "net": net, "up": up, "seed": seed, **shared}
        for net in ups
        for seed in range(options.seed, options.seed + options.seeds)
        for up in ups[net]
    ]
