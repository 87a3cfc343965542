"""Random jobs of `tconv.scale`, their results in memory, and what processes of tests run."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import numpy as np

import scale_breakers
import tconv
from tconv.scale.operators.layer import LayerOperator, computed

SOURCES = ("npy", "zarr", "tif")
DTYPES = ("float32", "float16", "float64", "uint8")


def warm_up():
    """Load machine code and modules, with one thread, before processes are forked."""
    before = tconv.get_num_threads()
    tconv.set_num_threads(1)
    computed(
        LayerOperator(np.ones((1, 1, 4, 4), np.float32), None, tconv.Geometry((4, 4), 2)),
        np.ones((1, 9, 9), np.float32),
    )
    tconv.set_num_threads(before)


def random_case(seed, **settings):
    """Return the settings of a random job, as JSON has them."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.choice([1, 2, 2, 2, 3]))
    case = {
        "seed": int(seed),
        "ndim": ndim,
        "images": int(rng.integers(1, 3)),
        "channels": [int(rng.integers(1, 5)) for _ in range(3)],
        "sizes": [int(each) for each in rng.integers(*[(200, 3000), (20, 150), (5, 30)][ndim - 1], ndim)],
        "dtype": str(rng.choice(["float32", "float16", "float64"])),
        "network": str(rng.choice(["layer", "layer", "chain"])),
        "source": "npy",
        "target": str(rng.choice(["npy", "zarr"])),
        "tile": None,
    }
    if rng.random() < 0.1:
        case["sizes"][int(rng.integers(ndim))] = 1
    return case | settings


def network_of(case):
    """Return the layer or the chain of a case."""
    rng = np.random.default_rng(case["seed"] + 1)
    channels = case["channels"] if case["network"] == "chain" else [case["channels"][0], case["channels"][-1]]
    layers = []
    for before, after in zip(channels, channels[1:], strict=False):
        kernel, stride = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        weight = rng.normal(size=(before, after, *[kernel] * case["ndim"])).astype(case["dtype"])
        bias = rng.normal(size=after).astype(case["dtype"])
        layers += [tconv.scale.layer(weight, bias, stride=stride, padding=int(rng.integers(0, (kernel + 1) // 2)))]
    return layers if len(layers) > 1 else layers[0]


def input_of(case):
    """Return the images [N, C, *sizes] of a case."""
    rng = np.random.default_rng(case["seed"] + 2)
    shape = case["images"], case["channels"][0], *case["sizes"]
    return rng.normal(size=shape).astype(case["dtype"])
